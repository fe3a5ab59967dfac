package app_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/sqldb/sqldbtest"
	"github.com/wxbus/wxbus/pkg/testkit"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

func TestMain(m *testing.M) { sqldbtest.Main(m) }

const shop = "shop"

var morning = time.Date(2026, 11, 20, 2, 0, 0, 0, time.UTC) // 10:00 in Shanghai, a Friday

// tester is what *testing.T and *rapid.T have in common.
type tester interface {
	require.TestingT
	Helper()
}

// world is a desk with everything around it in memory, and a real database.
type world struct {
	t     tester
	ctx   context.Context
	clock *testkit.Clock
	store *store.Store
	*around
	desk *app.Desk
}

func newWorld(t testing.TB, db *sqldb.DB) *world {
	s := store.New()
	s.Use(db)
	w := &world{t: t, ctx: t.Context(), clock: testkit.NewClock(morning), store: s, around: newAround()}
	w.desk = w.replica()
	return w
}

// replica returns a further desk on the same database and bus.
func (w *world) replica() *app.Desk {
	return app.New(app.Options{
		Store: w.store, Owners: w.around, Facts: facts{w.around}, Transcript: w.around, Rules: rules{w.around}, Sender: w.around, Platform: w.around, Files: w.around,
		Limits: domain.Limits{Waiting: 48 * time.Hour, Serving: 30 * time.Minute, KeptForEnd: 1}, NativeIdle: 30 * time.Minute, Lease: time.Minute, EraseOnLeave: false,
		Changed: func(context.Context, domain.Kind) {}, Promised: w.promised, Promising: func(context.Context, domain.Group) {}, Met: w.meet, Log: slog.New(slog.DiscardHandler), Now: w.clock.Now,
	})
}

// around plays bus, sender and WeChat.
type around struct {
	mu     sync.Mutex // guards the fields below
	dead   bool       // nothing outside answers
	away   bool       // the rules do not answer
	owners map[string]*agentroutingv1.OwnerRecord
	epochs map[string]string // fan and epoch: owner
	ids    map[string]bool
	events []*agentroutingv1.ConversationEvent
	facts  []*agentroutingv1.OwnerChanged
	sent   []*senderv1.SendRequest
	keys   map[string]int
	refuse error
	// windows holds what may still be sent to the fans that have one; to all others everything may.
	windows map[string]int
	// late holds, for fans whose last message the sender has not counted yet, what their window was before.
	late map[string]int
	// said is what the streams hold.
	said   map[string][]app.Line
	purged []string
	known  map[string]int // what rules know, by fan
	next   int
	// outcomes counts promises.
	outcomes map[app.Outcome]int
	// met are the fans about whom WeChat is to be asked, and profile is what it tells.
	met     []string
	profile app.Profile
}

func (a *around) meet(_, openID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.met = append(a.met, openID)
}

func (a *around) promised(_ context.Context, o app.Outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.outcomes[o]++
}

func newAround() *around {
	return &around{owners: map[string]*agentroutingv1.OwnerRecord{}, epochs: map[string]string{}, ids: map[string]bool{}, windows: map[string]int{}, keys: map[string]int{}, said: map[string][]app.Line{}, outcomes: map[app.Outcome]int{}, known: map[string]int{}}
}

var errDead = fault.New(fault.Unavailable, "nobody answers")

// enter locks and fails while everything is dead.
func (a *around) enter() (func(), error) {
	a.mu.Lock()
	if a.dead {
		a.mu.Unlock()
		return nil, errDead
	}
	return a.mu.Unlock, nil
}

// rules play what rules know about fans.
type rules struct{ *around }

func (r rules) Get(_ context.Context, account, openID string) (*rulev1.GetFanMemoryResponse, error) {
	leave, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	if r.known[account+"/"+openID] == 0 {
		return &rulev1.GetFanMemoryResponse{}, nil
	}
	return &rulev1.GetFanMemoryResponse{Record: &rulev1.FanRecord{Tags: []string{"vip"}}}, nil
}

func (r rules) Erase(_ context.Context, account, openID string) ([]*agentroutingv1.ErasedItem, error) {
	leave, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	if r.away {
		return nil, errDead
	}
	n := r.known[account+"/"+openID]
	delete(r.known, account+"/"+openID)
	return []*agentroutingv1.ErasedItem{{Place: "bucket fans", Erased: int64(n)}}, nil
}

func (a *around) setDead(dead bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dead = dead
}

func (a *around) Owner(_ context.Context, account, openID string) (domain.Owner, bool, error) {
	leave, err := a.enter()
	if err != nil {
		return domain.Owner{}, false, err
	}
	defer leave()
	rec, ok := a.owners[account+"/"+openID]
	if !ok {
		return domain.Owner{Kind: domain.Bot}, false, nil
	}
	return wire.OwnerOf(rec.GetOwner()), true, nil
}

func (a *around) Project(_ context.Context, rec *agentroutingv1.OwnerRecord) error {
	leave, err := a.enter()
	if err != nil {
		return err
	}
	defer leave()
	key := rec.GetAccount() + "/" + rec.GetOpenid()
	named := fmt.Sprintf("%s@%d", key, rec.GetOwner().GetEpoch())
	owner := rec.GetOwner().GetKind().String() + rec.GetOwner().GetName()
	if known, ok := a.epochs[named]; ok && known != owner {
		panic("one epoch names two owners: " + named + " " + known + " " + owner)
	}
	a.epochs[named] = owner
	if cur := a.owners[key]; cur.GetOwner().GetEpoch() < rec.GetOwner().GetEpoch() {
		a.owners[key] = rec
	}
	return nil
}

func (a *around) Forget(_ context.Context, account, openID string) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.owners[account+"/"+openID]
	delete(a.owners, account+"/"+openID)
	return ok, nil
}

func (a *around) publish(id string) (bool, func(), error) {
	leave, err := a.enter()
	if err != nil {
		return false, nil, err
	}
	fresh := !a.ids[id]
	a.ids[id] = true
	return fresh, leave, nil
}

func (a *around) Event(_ context.Context, _, _, id string, event []byte) error {
	fresh, leave, err := a.publish(id)
	if err != nil {
		return err
	}
	defer leave()
	if fresh {
		ev := new(agentroutingv1.ConversationEvent)
		if err := proto.Unmarshal(event, ev); err != nil {
			return err
		}
		a.events = append(a.events, ev)
	}
	return nil
}

// facts is around as the stream: its Owner publishes.
type facts struct{ *around }

func (a facts) Owner(_ context.Context, f *agentroutingv1.OwnerChanged) error {
	fresh, leave, err := a.publish(fmt.Sprintf("%s/%s@%d", f.GetAccount(), f.GetOpenid(), f.GetOwner().GetEpoch()))
	if err != nil {
		return err
	}
	defer leave()
	if fresh {
		a.facts = append(a.facts, f)
	}
	return nil
}

func (a *around) Purge(_ context.Context, account, conversation string) (int64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.purged = append(a.purged, account+"/"+conversation)
	return 1, nil
}

func (a *around) Around(_ context.Context, account, openID, event string, _ time.Time) (before, since []app.Line, err error) {
	leave, err := a.enter()
	if err != nil {
		return nil, nil, err
	}
	defer leave()
	all := a.said[account+"/"+openID]
	for i, l := range all {
		if l.Event.GetId() == event {
			return all[:i:i], all[i:len(all):len(all)], nil
		}
	}
	return all, nil, nil
}

func (a *around) Send(_ context.Context, in *senderv1.SendRequest) (*senderv1.SendResponse, error) {
	leave, err := a.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	if a.refuse != nil {
		return nil, a.refuse
	}
	n, known := a.keys[in.GetIdempotencyKey()]
	if !known {
		if left, bounded := a.windows[in.GetOpenid()]; bounded && left == 0 {
			return nil, fault.New(fault.Refused, "window exhausted")
		} else if bounded {
			a.windows[in.GetOpenid()]--
		}
		n = len(a.sent)
		a.keys[in.GetIdempotencyKey()] = n
		a.sent = append(a.sent, in)
	}
	return &senderv1.SendResponse{Id: fmt.Sprint("send-", n), Replayed: known}, nil
}

func (a *around) Window(_ context.Context, _, openID string, catchUp bool) (app.Window, error) {
	leave, err := a.enter()
	if err != nil {
		return app.Window{}, err
	}
	defer leave()
	left := a.windows[openID]
	if before, late := a.late[openID]; late && !catchUp {
		left = before
	}
	return app.Window{Open: left > 0, Remaining: left}, nil
}

// window gives a fan a window, which every message of theirs fills.
func (a *around) window(openID string, left int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.windows[openID] = left
}

func (a *around) Profile(context.Context, string, string) (app.Profile, error) {
	leave, err := a.enter()
	if err != nil {
		return app.Profile{}, err
	}
	defer leave()
	return a.profile, nil
}

func (a *around) Typing(context.Context, string, string) error { return nil }
func (a *around) Delete(context.Context, string) (bool, error) { return false, nil }
func (a *around) texts() (out []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.sent {
		switch b := s.GetContent().GetBody().(type) {
		case *eventv1.Content_Text:
			out = append(out, b.Text.GetContent())
		case *eventv1.Content_Menu:
			out = append(out, "menu: "+b.Menu.GetHead())
		}
	}
	return out
}

// event is something a fan says; it is on the stream before anybody hears of it.
func (w *world) event(openID, text string) *eventv1.InboundEvent {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next++
	ev := &eventv1.InboundEvent{
		Id: fmt.Sprintf("ev-%d", w.next), Account: shop, Openid: openID, Kind: eventv1.EventKind_EVENT_KIND_MESSAGE, MsgType: "text",
		ReceivedUnixMs: w.clock.Now().UnixMilli(), Payload: &eventv1.InboundEvent_Text{Text: &eventv1.TextMessage{Content: text}},
	}
	w.said[shop+"/"+openID] = append(w.said[shop+"/"+openID], app.Line{Event: ev})
	if _, bounded := w.windows[openID]; bounded {
		w.windows[openID] = 5
	}
	return ev
}

// ruleSays puts an answer of the rules onto the streams.
func (w *world) ruleSays(openID string, m *agentroutingv1.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said[shop+"/"+openID] = append(w.said[shop+"/"+openID], app.Line{Answer: proto.CloneOf(m)})
}

func (w *world) says(openID, text string) error { return w.desk.Said(w.ctx, w.event(openID, text)) }

// asks makes a fan ask for an agent and returns the conversation.
func (w *world) asks(openID, queue string) (string, error) {
	ev := w.event(openID, "转人工")
	return ev.GetId(), w.join(ev, queue)
}

func (w *world) join(ev *eventv1.InboundEvent, queue string) error {
	return w.desk.Join(w.ctx, app.Join{Account: shop, OpenID: ev.GetOpenid(), Event: ev.GetId(), Queue: queue, Reason: "rule human", Asked: w.clock.Now(), Made: w.clock.Now()})
}

func (w *world) group(g domain.Group) {
	w.t.Helper()
	if g.Name == "" {
		g.Name = g.ID
	}
	_, err := w.desk.PutGroup(w.ctx, g)
	require.NoError(w.t, err)
}

func (w *world) agent(m domain.Member) {
	w.t.Helper()
	if m.Name == "" {
		m.Name = m.ID
	}
	_, err := w.desk.PutAgent(w.ctx, m)
	require.NoError(w.t, err)
}

func (w *world) online(ids ...string) {
	w.t.Helper()
	for _, id := range ids {
		_, err := w.desk.SetPresence(w.ctx, id, domain.Online)
		require.NoError(w.t, err)
	}
}

func (w *world) conversation(id string) domain.Conversation {
	w.t.Helper()
	q, err := w.store.Query()
	require.NoError(w.t, err)
	c, ok, err := q.Conversation(w.ctx, shop, id)
	require.NoError(w.t, err)
	require.True(w.t, ok)
	return c
}

func (w *world) care() {
	w.t.Helper()
	require.NoError(w.t, w.desk.Care(w.ctx))
}

// later lets time pass while everybody who is online stays so.
func (w *world) later(d time.Duration, alive ...string) {
	w.t.Helper()
	w.clock.Advance(d)
	for _, id := range alive {
		_, err := w.desk.SetPresence(w.ctx, id, domain.Online)
		require.NoError(w.t, err)
	}
	w.care()
}

func act(id, agent string) app.Act { return app.Act{Account: shop, Conversation: id, Agent: agent} }

func text(s string) *eventv1.Content { return wire.Text(s) }

// changes returns what happened to a conversation, as published.
func (w *world) changes(id string) (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ev := range w.events {
		if c := ev.GetConversationChanged(); c != nil && ev.GetConversation() == id {
			out = append(out, c.GetChange())
		}
	}
	return out
}

// requireNumbered checks that every change was published once, in order, without a gap.
func (w *world) requireNumbered() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	last := map[string]uint64{}
	for _, ev := range w.events {
		require.Equal(w.t, last[ev.GetConversation()]+1, ev.GetNumber(), "numbers of %s", ev.GetConversation())
		last[ev.GetConversation()] = ev.GetNumber()
	}
}
