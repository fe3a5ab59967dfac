package intake_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/topology"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	"github.com/wxbus/wxbus/services/gateway/internal/intake"
)

// valve stands before a bus and refuses what it shall. A stream that refuses for a while and then takes is more than
// a real server does on demand; what passes goes to a real one.
type valve struct {
	intake.Bus
	mu      sync.Mutex // guards the fields below
	refuses map[string]bool
}

func (v *valve) set(stream string, refuse bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.refuses == nil {
		v.refuses = map[string]bool{}
	}
	v.refuses[stream] = refuse
}

func (v *valve) Publish(ctx context.Context, m bus.Msg) (bus.Ack, error) {
	v.mu.Lock()
	refuse := v.refuses[topology.StreamOf(m.Subject)]
	v.mu.Unlock()
	if refuse {
		return bus.Ack{}, bus.ErrNoStream
	}
	return v.Bus.Publish(ctx, m)
}

// steps lets the mover bring home what it was allowed to, one push at a time.
type steps struct {
	intake.Bus
	mu     sync.Mutex // guards permits
	permit int
}

func (s *steps) allow(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.permit = n
}

func (s *steps) Publish(ctx context.Context, m bus.Msg) (bus.Ack, error) {
	s.mu.Lock()
	defer s.mu.Unlock() // also while publishing: the next one is not on its way before this one is there
	if s.permit == 0 {
		return bus.Ack{}, bus.ErrNoStream
	}
	s.permit--
	return s.Bus.Publish(ctx, m)
}

const unlimited = 1 << 30

// post is one gateway's way to the streams.
type post struct {
	*valve
	away    *intake.Away
	lookout *intake.Lookout
}

func newPost(t testing.TB, env *bustest.Env) *post {
	t.Helper()
	p := &post{valve: &valve{Bus: env.Conn}, away: intake.NewAway(100)}
	p.lookout = intake.NewLookout(env.Conn, p.away, slog.New(slog.DiscardHandler))
	bustest.Run(t, p.lookout)
	return p
}

var patient = intake.Times{Primary: 20 * time.Second, Total: time.Minute}

func (p *post) push(t require.TestingT, times intake.Times, account, fan, id string) (intake.Stored, error) {
	e := &eventv1.InboundEvent{Id: id, Account: account, Openid: fan, Kind: message}
	return intake.NewPublisher(intake.Ways{Home: p, Single: p, Away: p.away, AtHome: p.lookout.Home}, times).Publish(context.Background(), e) //nolint:usetesting // rapid has no context
}

// knows waits until a gateway knows that a push of a fan is away, or knows nothing for sure, unless it is home already.
func (p *post) knows(t require.TestingT, env *bustest.Env, account, fan, id string) {
	subject, err := topology.SubjectInbound(account, 0, message, fan)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return p.away.Held(subject, "next") != nil || slices.Contains(atHome(t, env, account, fan), id)
	}, 30*time.Second, time.Millisecond)
}

// sighted waits until a gateway would send a fan's next push home.
func (p *post) sighted(t require.TestingT, account, fan string) {
	subject, err := topology.SubjectInbound(account, 0, message, fan)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return p.away.Held(subject, "next") == nil }, time.Minute, 5*time.Millisecond)
}

// atHome returns the ids of a fan on the home stream, in order.
func atHome(t require.TestingT, env *bustest.Env, account, fan string) (ids []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := env.JS.Stream(ctx, topology.StreamInbound)
	require.NoError(t, err)
	subject, err := topology.SubjectInbound(account, 0, message, fan)
	require.NoError(t, err)
	for seq := uint64(1); ; seq++ {
		m, err := s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subject))
		if err != nil {
			require.ErrorIs(t, err, jetstream.ErrMsgNotFound)
			return ids
		}
		seq = m.Sequence
		ids = append(ids, m.Header.Get(jetstream.MsgIDHeader))
	}
}

func TestTheNextPushOfAFanFollowsTheOneThatIsAway(t *testing.T) {
	env := bustest.Start(t)
	a, b := newPost(t, env), newPost(t, env)
	b.sighted(t, "shop", "o_1")
	a.set(topology.StreamInbound, true)
	first, err := a.push(t, patient, "shop", "o_1", "1")
	require.NoError(t, err)
	require.True(t, first.Spilled)
	b.knows(t, env, "shop", "o_1", "1")

	second, err := b.push(t, patient, "shop", "o_1", "2")
	require.NoError(t, err)
	require.True(t, second.Spilled, "the home stream would take it, before the first one")
	other, err := b.push(t, patient, "shop", "o_2", "3")
	require.NoError(t, err)
	require.False(t, other.Spilled)

	bustest.Run(t, intake.NewMover(env.Conn, env.Topology, intake.MoverOptions{AtHome: a.lookout.Home}, nil))
	b.sighted(t, "shop", "o_1")
	third, err := b.push(t, patient, "shop", "o_1", "4")
	require.NoError(t, err)
	require.False(t, third.Spilled)
	require.Equal(t, []string{"1", "2", "4"}, atHome(t, env, "shop", "o_1"))
}

func TestAGatewayThatStartsWhilePushesAreAwayIsBlind(t *testing.T) {
	env := bustest.Start(t)
	a := newPost(t, env)
	a.set(topology.StreamInbound, true)
	_, err := a.push(t, patient, "shop", "o_1", "1")
	require.NoError(t, err)

	b := newPost(t, env)
	second, err := b.push(t, patient, "shop", "o_1", "2")
	require.NoError(t, err)
	require.True(t, second.Spilled)
	// Nobody hears of it: what is home is known from the server alone.
	bustest.Run(t, intake.NewMover(env.Conn, env.Topology, intake.MoverOptions{}, nil))
	a.sighted(t, "shop", "o_1")
	b.sighted(t, "shop", "o_1")
	third, err := b.push(t, patient, "shop", "o_1", "3")
	require.NoError(t, err)
	require.False(t, third.Spilled)
	require.Equal(t, []string{"1", "2", "3"}, atHome(t, env, "shop", "o_1"))
}

// interleaving is pushes of some fans at two gateways while streams come and go, notices are lost and gateways start
// anew.
type interleaving struct {
	env     *bustest.Env
	mover   *steps
	account string
	posts   []*post
	acked   map[string][]string // by fan
	pushes  int
}

func (x *interleaving) push(t *rapid.T) {
	p, fan := rapid.SampledFrom(x.posts).Draw(t, "gateway"), rapid.SampledFrom([]string{"o_1", "o_2"}).Draw(t, "fan")
	times := patient
	if spillDown := rapid.IntRange(0, 4).Draw(t, "spill") == 0; spillDown {
		p.set(topology.StreamSpill, true)
		defer p.set(topology.StreamSpill, false)
		times = intake.Times{Primary: 10 * time.Millisecond, Total: 20 * time.Millisecond} // it may be refused
	}
	x.pushes++
	id := fmt.Sprintf("%s-%d", x.account, x.pushes)
	stored, err := p.push(t, times, x.account, fan, id)
	if err != nil {
		return // WeChat would send it again; it has no place in the order yet
	}
	x.acked[fan] = append(x.acked[fan], id)
	if stored.Spilled {
		for _, other := range x.posts {
			other.knows(t, x.env, x.account, fan, id) // WeChat's next push takes longer than this
		}
	}
}

func (x *interleaving) step(t *rapid.T) {
	switch rapid.IntRange(0, 3).Draw(t, "step") {
	case 0:
		rapid.SampledFrom(x.posts).Draw(t, "gateway").set(topology.StreamInbound, rapid.Bool().Draw(t, "down"))
	case 1:
		x.mover.allow(rapid.IntRange(0, 3).Draw(t, "moves"))
	case 2:
		rapid.SampledFrom(x.posts).Draw(t, "gateway").lookout.Look(context.Background())
	default:
		x.push(t)
	}
}

func (x *interleaving) end(t *rapid.T) {
	x.mover.allow(unlimited)
	for fan, want := range x.acked {
		require.Eventually(t, func() bool { return len(intersect(atHome(t, x.env, x.account, fan), want)) == len(want) }, time.Minute, 2*time.Millisecond)
		require.Equal(t, want, intersect(atHome(t, x.env, x.account, fan), want), "order of %s", fan)
	}
}

// intersect returns those of all that are among some, in the order of all.
func intersect(all, some []string) (out []string) {
	in := map[string]bool{}
	for _, s := range some {
		in[s] = true
	}
	for _, s := range all {
		if in[s] {
			out = append(out, s)
		}
	}
	return out
}

func TestEachFansPushesAreAtHomeInTheOrderInWhichTheyWereAcknowledged(t *testing.T) {
	env := bustest.Start(t)
	moves := &steps{Bus: env.Conn}
	var teller *intake.Lookout // of the check that runs
	var mu sync.Mutex
	bustest.Run(t, intake.NewMover(env.Conn, env.Topology, intake.MoverOptions{
		Home: moves, MaxPause: time.Millisecond,
		AtHome: func(id string) {
			mu.Lock()
			defer mu.Unlock()
			if id[len(id)-1]%3 != 0 { // every third notice is lost
				teller.Home(id)
			}
		},
	}, nil))
	checks := 0
	rapid.Check(t, func(rt *rapid.T) {
		checks++
		x := &interleaving{env: env, mover: moves, account: fmt.Sprintf("a%d", checks), acked: map[string][]string{}}
		moves.allow(0)
		x.posts = []*post{newPost(t, env), newPost(t, env)}
		mu.Lock()
		teller = x.posts[0].lookout
		mu.Unlock()
		for range rapid.IntRange(4, 14).Draw(rt, "steps") {
			x.step(rt)
			if rapid.IntRange(0, 9).Draw(rt, "restart") == 0 {
				i := rapid.IntRange(0, 1).Draw(rt, "gateway")
				require.NoError(rt, x.posts[i].lookout.Stop(context.Background()))
				x.posts[i] = newPost(t, env)
			}
		}
		x.end(rt)
		for _, p := range x.posts {
			require.NoError(rt, p.lookout.Stop(context.Background()))
		}
	})
}
