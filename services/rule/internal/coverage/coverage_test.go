package coverage_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/sqldb/sqldbtest"
	"github.com/wxbus/wxbus/pkg/topology"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/coverage"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
	"github.com/wxbus/wxbus/services/rule/internal/tables"
)

func TestMain(m *testing.M) { sqldbtest.Main(m) }

const patience = 30 * time.Second

// world is the streams and the tables that a counter works on.
type world struct {
	*testing.T
	env     *bustest.Env
	db      *sqldb.DB
	records *decision.Store
	set     *ruleset.Set
	next    int
}

func onEach(t *testing.T, test func(w *world)) {
	sqldbtest.Each(t, tables.Migrations(), func(t *testing.T, db *sqldb.DB) {
		env := bustest.Start(t)
		file, err := ruleset.Parse([]byte(`rules:
  - {name: apple, match: {contains: [apple]}, do: [{reply: x}]}
  - {name: follow, on: subscribe, match: any, do: [{reply: x}]}
  - {name: rest, priority: -1, on: any_message, match: any, do: [{reply: x}]}
`), ruleset.Options{})
		require.NoError(t, err)
		set, err := ruleset.Compile("v1", file)
		require.NoError(t, err)
		test(&world{T: t, env: env, db: db, records: decision.NewStore(env.Conn, env.Topology), set: set})
	})
}

// counter runs a counter until the test ends or stop is called.
func (w *world) counter(db func() (*sqldb.DB, error)) (stop func()) {
	c := coverage.New(coverage.Options{
		JS: w.env.JS, DB: db, Rules: func() *ruleset.Set { return w.set }, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	c.Start(w.Context())
	w.Cleanup(c.Stop)
	return c.Stop
}

func (w *world) open() (*sqldb.DB, error) { return w.db, nil }

// push stores a text, or an event without one, and returns its id and sequence.
func (w *world) push(kind eventv1.EventKind, text string) *eventv1.InboundEvent {
	w.Helper()
	w.next++
	ev := &eventv1.InboundEvent{Id: fmt.Sprintf("%032x", w.next), Account: "shop", Openid: fmt.Sprintf("o_%d", w.next), Kind: kind, MsgType: "text"}
	if text != "" {
		ev.Payload = &eventv1.InboundEvent_Text{Text: &eventv1.TextMessage{Content: text}}
	}
	return ev
}

// decide stores a push and its decision, and returns the record.
func (w *world) decide(ev *eventv1.InboundEvent, rec *rulev1.DecisionMade) *rulev1.DecisionMade {
	w.Helper()
	subject, err := topology.SubjectInbound(ev.GetAccount(), w.env.Topology.Partition(ev.GetAccount(), ev.GetOpenid()), ev.GetKind(), ev.GetOpenid())
	require.NoError(w, err)
	data, err := proto.Marshal(ev)
	require.NoError(w, err)
	ack, err := w.env.Conn.Publish(w.Context(), bus.Msg{Subject: subject, ID: ev.GetId(), Data: data})
	require.NoError(w, err)
	rec.Id, rec.Account, rec.Openid, rec.InboundSequence = ev.GetId(), ev.GetAccount(), ev.GetOpenid(), ack.Seq
	rec.DecidedUnixMs = time.Now().UnixMilli()
	if rec.Route == rulev1.Route_ROUTE_UNSPECIFIED {
		rec.Route = rulev1.Route_ROUTE_ASYNC
	}
	_, err = w.records.Create(w.Context(), rec)
	require.NoError(w, err)
	return rec
}

// says stores a text and the decision that the rules of the test make.
func (w *world) says(text, rule, matched string) {
	w.Helper()
	rec := &rulev1.DecisionMade{Rule: rule, Matched: matched, RuleSetVersion: "v1"}
	if rule == "" {
		rec.Route = rulev1.Route_ROUTE_NONE
	}
	w.decide(w.push(eventv1.EventKind_EVENT_KIND_MESSAGE, text), rec)
}

func (w *world) report() *coverage.Report {
	w.Helper()
	r, err := coverage.Read(w.Context(), w.db, coverage.Query{Since: time.Now().Add(-time.Hour), Phrases: 10})
	require.NoError(w, err)
	return r
}

// await waits until so many decisions are counted.
func (w *world) await(n int64) *coverage.Report {
	w.Helper()
	require.Eventually(w, func() bool { return w.report().Decided() >= n }, patience, 20*time.Millisecond)
	r := w.report()
	require.Equal(w, n, r.Decided())
	return r
}

func TestWhatTheRulesDidIsCounted(t *testing.T) {
	onEach(t, func(w *world) {
		w.says("an apple", "apple", "apple")
		w.counter(w.open)
		w.says("怎么退货", "rest", "")
		w.says("怎么退货？", "rest", "")
		w.says("help", "", "")
		w.decide(w.push(eventv1.EventKind_EVENT_KIND_MESSAGE, "to an agent"), &rulev1.DecisionMade{Route: rulev1.Route_ROUTE_NONE, Reason: "owner agent"})
		w.decide(w.push(eventv1.EventKind_EVENT_KIND_SUBSCRIBE, ""), &rulev1.DecisionMade{Rule: "follow", RuleSetVersion: "v1"})
		w.decide(w.push(eventv1.EventKind_EVENT_KIND_UNSUBSCRIBE, ""), &rulev1.DecisionMade{Route: rulev1.Route_ROUTE_NONE, RuleSetVersion: "v1"})
		w.decide(w.push(eventv1.EventKind_EVENT_KIND_MESSAGE, ""), &rulev1.DecisionMade{Rule: "rest", RuleSetVersion: "v1"})

		r := w.await(7)
		require.Equal(w, coverage.Totals{Matched: 2, Caught: 3, Missed: 1, Silent: 1}, r.Totals)
		require.Equal(w, []string{"rest 3", "apple 1", "follow 1"}, hits(r))
		require.Len(w, r.Phrases, 2)
		require.EqualValues(w, 2, r.Phrases[0].Count)
		require.Contains(w, r.Phrases[0].Text, "怎么退货")
		require.Equal(w, "help", r.Phrases[1].Text)
		require.WithinDuration(w, time.Now(), r.Counted, patience)

		few, err := coverage.ReadHits(w.Context(), w.db, coverage.Query{Account: "shop"}, []string{"apple", "nobody"})
		require.NoError(w, err)
		require.Len(w, few, 1)
		none, err := coverage.ReadTotals(w.Context(), w.db, coverage.Query{Account: "club"})
		require.NoError(w, err)
		require.Zero(w, none.Decided())
	})
}

func hits(r *coverage.Report) []string {
	var out []string
	for _, h := range r.Rules {
		out = append(out, fmt.Sprint(h.Rule, " ", h.Hits))
	}
	return out
}

func TestADecisionIsCountedOnceWhenItsReplyIsOnItsWay(t *testing.T) {
	onEach(t, func(w *world) {
		w.counter(w.open)
		now := time.Now()
		rec := w.decide(w.push(eventv1.EventKind_EVENT_KIND_MESSAGE, "apple"), &rulev1.DecisionMade{
			Rule: "apple", Matched: "apple", RuleSetVersion: "v1", Route: rulev1.Route_ROUTE_PASSIVE, PassiveUntilUnixMs: now.Add(time.Hour).UnixMilli(),
			Claims: []*rulev1.Claim{{Server: "gw", State: rulev1.ClaimState_CLAIM_STATE_PENDING, UntilUnixMs: now.Add(time.Hour).UnixMilli()}},
		})
		w.says("help", "", "")
		w.await(1)
		change := func(c decision.Command) {
			_, _, err := w.records.Change(w.Context(), rec.GetAccount(), rec.GetOpenid(), rec.GetId(), c)
			require.NoError(w, err)
		}
		change(decision.Deliver{Server: "gw"})
		w.await(2)
		change(decision.Claim{Server: "gw#2", Until: now.Add(time.Hour)})
		change(decision.Deliver{Server: "gw#2"})
		w.says("more", "", "")
		require.Equal(w, []string{"apple 1"}, hits(w.await(3)), "a second gateway that writes the same reply is no second hit")
	})
}

func TestCountingGoesOnWhereItEnded(t *testing.T) {
	onEach(t, func(w *world) {
		stop := w.counter(w.open)
		w.says("one", "", "")
		w.await(1)
		stop()
		w.says("two", "", "")
		second := w.counter(w.open)
		w.await(2)
		w.counter(w.open) // a third one that stands by
		w.says("three", "", "")
		w.await(3)
		second()
		w.says("four", "", "")
		w.await(4)
		require.Len(w, w.report().Phrases, 4)
	})
}

func TestWithoutTheDatabaseNothingIsLost(t *testing.T) {
	onEach(t, func(w *world) {
		down := make(chan struct{})
		w.counter(func() (*sqldb.DB, error) {
			select {
			case <-down:
				return w.db, nil
			default:
				return nil, fault.New(fault.Unavailable, "down")
			}
		})
		w.says("one", "", "")
		w.says("two", "", "")
		close(down)
		w.await(2)
	})
}
