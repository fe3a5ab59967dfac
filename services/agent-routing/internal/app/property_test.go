package app_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/sqldb/sqldbtest"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

// desks is a world of several replicas in which anything may happen.
type desks struct {
	*world
	db       *sqldb.DB
	replicas []*app.Desk
	agents   []string
	groups   []string
	fans     int
}

var skills = []string{"returns", "flights"}

func newDesks(t testing.TB, db *sqldb.DB, agents, fans int) *desks {
	d := &desks{world: newWorld(t, db), db: db, groups: []string{"g0", "g1", "g2", "g3"}, fans: fans}
	d.replicas = []*app.Desk{d.desk, d.replica(), d.replica()}
	methods := []domain.Method{domain.LeastLoad, domain.Rotation, domain.LastAgent, domain.LeastLoad}
	for i, id := range d.groups {
		g := domain.Group{ID: id, Method: methods[i], Capacity: i + 1, Survey: i == 0}
		if i > 1 {
			g.Skills = skills[i-2 : i-1]
		}
		if i == 3 {
			g.QueueAction, g.ForwardGroup, g.OfflineAction = domain.QueueForward, "g0", domain.OfflineForward
		}
		d.group(g)
	}
	for i := range agents {
		id := fmt.Sprintf("agent-%02d", i)
		d.agents = append(d.agents, id)
		d.agent(domain.Member{
			ID: id, Groups: []string{d.groups[i%4], d.groups[(i/4)%4]}, Skills: skills[:i%3], AutoAccept: i%2 == 0, Capacity: i % 3,
		})
	}
	return d
}

// clearTables empties the tables, so that one database serves many runs.
func clearTables(ctx context.Context, t require.TestingT, db *sqldb.DB) {
	for _, table := range []string{"desk_groups", "agents", "agent_groups", "fans", "conversations", "messages", "grams", "changes", "outbox", "media"} {
		_, err := db.Exec(ctx, "DELETE FROM "+table)
		require.NoError(t, err)
	}
}

// expected are the errors with which the desk may answer: refusals, lost races, and trouble with what is around.
func expected(err error) bool {
	switch fault.KindOf(err) {
	case fault.Refused, fault.Conflict, fault.NotFound, fault.Unavailable, fault.Retryable, fault.Invalid:
		return true
	default:
		return err == nil
	}
}

// step lets one thing happen and returns what nobody expects. draw returns a number from 0 to n-1.
func (d *desks) step(draw func(what string, n int) int) error {
	desk := d.replicas[draw("replica", len(d.replicas))]
	who := draw("fan", d.fans)
	if draw("busy", 2) == 0 {
		who %= 40 // so that things happen to the same fans
	}
	fan := fmt.Sprintf("fan-%d", who)
	agent := d.agents[draw("agent", len(d.agents))]
	ctx := d.ctx
	a, err := d.someConversation(draw, fan, agent)
	if err != nil {
		return err
	}
	switch draw("what", 22) {
	case 0, 1, 2, 3:
		ev := d.event(fan, "转人工")
		err = desk.Join(ctx, app.Join{Account: shop, OpenID: fan, Event: ev.GetId(), Queue: d.groups[draw("group", 4)], Reason: "rule", Asked: d.clock.Now(), Made: d.clock.Now()})
	case 4, 5:
		err = desk.Said(ctx, d.event(fan, "你好"))
	case 6, 7, 8:
		_, err = desk.SetPresence(ctx, agent, domain.Presence(1+draw("presence", 10)/8)) // mostly online
	case 9:
		_, err = desk.Accept(ctx, a)
	case 10:
		_, err = desk.Reply(ctx, app.Reply{Act: a, Key: fmt.Sprint(draw("key", 1000)), Content: text("好")})
	case 11:
		_, err = desk.Decline(ctx, a)
	case 12:
		_, err = desk.Transfer(ctx, a, d.agents[draw("to", len(d.agents))], "", "")
	case 13:
		_, err = desk.Transfer(ctx, a, "", d.groups[draw("to", 4)], "note")
	case 14:
		_, err = desk.Hold(ctx, a, d.clock.Now().Add(time.Minute))
	case 15:
		_, err = desk.Unhold(ctx, a)
	case 16, 17:
		_, err = desk.Close(ctx, a, false)
	case 18:
		_, err = desk.Reopen(ctx, a)
	case 19:
		_, err = desk.Take(ctx, a)
	case 20:
		d.setDead(draw("dead", 3) == 0) // the process is cut off from everything outside
	default:
		d.clock.Advance(time.Duration(draw("seconds", 400)) * time.Second)
		err = desk.Care(ctx)
	}
	if expected(err) {
		return nil
	}
	return err
}

// someConversation is the open one of a fan, acted on by whoever has it, or by somebody.
func (d *desks) someConversation(draw func(string, int) int, fan, agent string) (app.Act, error) {
	a := app.Act{Account: shop, OpenID: fan, Agent: agent}
	q, err := d.store.Query()
	if err != nil {
		return a, err
	}
	f, ok, err := q.Fan(d.ctx, shop, fan)
	if err != nil || !ok || f.LastConversation == "" {
		return a, err
	}
	c, _, err := q.Conversation(d.ctx, shop, f.LastConversation)
	a.Conversation = c.ID
	if c.Agent != "" && draw("owner", 4) > 0 {
		a.Agent = c.Agent
	}
	return a, err
}

// requireSound checks what must hold at every moment.
func (d *desks) requireSound() {
	d.t.Helper()
	q, err := d.store.Query()
	require.NoError(d.t, err)
	members, err := q.Members(d.ctx, "")
	require.NoError(d.t, err)
	for _, m := range members {
		require.LessOrEqual(d.t, m.Load, m.Places, "%s has more than fits", m.ID)
	}
	open, _, err := q.Conversations(d.ctx, store.Filter{States: []domain.State{domain.Waiting, domain.Offered, domain.Active, domain.OnHold, domain.LeftMessage}}, store.NewestOpened, 0, 1<<20)
	require.NoError(d.t, err)
	seen := map[string]string{}
	for _, c := range open {
		require.Empty(d.t, seen[c.OpenID], "%s has two open conversations", c.OpenID)
		seen[c.OpenID] = c.ID
		f, _, err := q.Fan(d.ctx, shop, c.OpenID)
		require.NoError(d.t, err)
		kind, name := c.Owner()
		require.Equal(d.t, c.ID, f.Conversation)
		require.True(d.t, f.Owner.Same(domain.Owner{Kind: kind, Name: name}), "%s: %s of %s, but %v", c.OpenID, c.State, name, f.Owner)
	}
}

// requireServed checks that nobody waits while an agent with the skill has a free place.
func (d *desks) requireServed() {
	d.t.Helper()
	q, err := d.store.Query()
	require.NoError(d.t, err)
	for _, id := range d.groups {
		g, err := q.Group(d.ctx, id)
		require.NoError(d.t, err)
		members, err := q.Members(d.ctx, id)
		require.NoError(d.t, err)
		waiting, err := q.WaitingConversations(d.ctx, id, 1<<20)
		require.NoError(d.t, err)
		for _, c := range waiting {
			m, why := domain.Choose(c, g, members, "", d.clock.Now())
			require.Empty(d.t, m.ID, "%s waits in %s while somebody is free: %+v", c.OpenID, id, why)
		}
	}
}

// settle lets everything come to rest.
func (d *desks) settle() {
	d.t.Helper()
	d.setDead(false)
	d.clock.Advance(3 * time.Second)
	for range 3 {
		require.NoError(d.t, d.desk.Care(d.ctx))
	}
}

// open counts the conversations that go on.
func (d *desks) open() int {
	d.t.Helper()
	q, err := d.store.Query()
	require.NoError(d.t, err)
	_, n, err := q.Conversations(d.ctx, store.Filter{States: []domain.State{domain.Waiting, domain.Offered, domain.Active, domain.OnHold, domain.LeftMessage}}, store.NewestOpened, 0, 1)
	require.NoError(d.t, err)
	return n
}

// requireEnds checks that every conversation ends when nobody does anything any more.
func (d *desks) requireEnds() {
	d.t.Helper()
	for range 12 {
		d.clock.Advance(12 * time.Hour)
		for range 2 + d.fans/200 { // one round of the caretaker is bounded
			require.NoError(d.t, d.desk.Care(d.ctx))
		}
		if d.open() == 0 {
			break
		}
	}
	require.Zero(d.t, d.open(), "conversations that never end")
	d.settle()
	q, err := d.store.Query()
	require.NoError(d.t, err)
	for key, rec := range d.owners {
		f, ok, err := q.Fan(d.ctx, shop, rec.GetOpenid())
		require.NoError(d.t, err)
		require.True(d.t, ok)
		require.Equal(d.t, f.Owner.Epoch, rec.GetOwner().GetEpoch(), "the bucket has the newest owner of %s", key)
		require.Equal(d.t, domain.Bot, f.Owner.Kind)
	}
	d.requireNumbered()
}

// Whatever happens, in whatever order, on whichever replica: no agent has more than fits, no fan two owners, nobody waits while somebody
// is free, every change is told once and in order, and every conversation ends.
//
// One run in five is on SQLite, which is Go code that the race detector makes ten times slower; both engines have one query layer.
func TestTheDeskIsSound(t *testing.T) {
	t.Parallel()
	dbs := []*sqldb.DB{sqldbtest.Open(t, sqldbtest.Options(t, sqldb.Postgres, store.Migrations())), sqldbtest.Open(t, sqldbtest.Options(t, sqldb.SQLite, store.Migrations()))}
	rapid.Check(t, func(rt *rapid.T) {
		db := dbs[rapid.IntRange(0, 4).Draw(rt, "engine")/4]
		clearTables(t.Context(), rt, db)
		d := newDesks(t, db, 5, 8)
		d.t = rt
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			require.NoError(rt, d.step(func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(rt, what) }))
			d.requireSound()
		}
		d.settle()
		d.requireServed()
		d.requireSound()
		d.requireEnds()
	})
}

// The same at its real size, with replicas that truly run at the same time: 50 agents, 2 000 fans, everything at once.
func TestFiftyAgentsAndTwoThousandFans(t *testing.T) {
	t.Parallel()
	const workers, rounds, perRound = 4, 3, 200
	db := sqldbtest.Open(t, sqldbtest.Options(t, sqldb.Postgres, store.Migrations()))
	d := newDesks(t, db, 50, 2000)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for round := range rounds {
		var group errgroup.Group
		for worker := range workers {
			random := rand.New(rand.NewPCG(seed, uint64(round*workers+worker)))
			group.Go(func() error {
				for range perRound {
					if err := d.step(func(_ string, n int) int { return random.IntN(n) }); err != nil {
						return err
					}
				}
				return nil
			})
		}
		require.NoError(t, group.Wait())
		d.requireSound()
		d.settle()
		d.requireServed()
	}
	d.requireEnds()
}
