package rule_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/decision"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

func TestARetryServesWhatNobodyWasThereToTake(t *testing.T) {
	t.Parallel()
	r := newRig(t) // no gateway answers
	r.replica("rule-a", r.rules(rulesText))
	ev := r.push(r.text("shop", "o_fan", "many"))
	rec := r.record(ev, claimIs(isReleased))
	require.Equal(t, rulev1.Route_ROUTE_PASSIVE, rec.GetRoute(), "a retry of WeChat may still come")
	require.Empty(t, r.sender.got())

	// The retry reaches another gateway, which claims, writes and settles.
	_, _, err := r.store.Change(t.Context(), "shop", "o_fan", ev.GetId(), decision.Claim{Server: "gw-2#1", Until: time.Now().Add(time.Minute)})
	require.NoError(t, err)
	_, _, err = r.store.Change(t.Context(), "shop", "o_fan", ev.GetId(), decision.Deliver{Server: "gw-2#1"})
	require.NoError(t, err)
	r.settled()
	require.Equal(t, []string{"two", "three"}, r.sender.texts())
}

func TestWithoutARetryTheSenderTakesOverWhenTheSpanIsOver(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.replica("rule-a", r.rules(rulesText))
	ev := r.push(r.text("shop", "o_fan", "hello"))
	rec := r.record(ev, hasRoute(rulev1.Route_ROUTE_ASYNC))
	require.GreaterOrEqual(t, time.Now().UnixMilli(), rec.GetPassiveUntilUnixMs())
	r.settled()
	require.Equal(t, []string{"hi"}, r.sender.texts())
}

func TestWhatCannotBeKnownIsAmbiguousAndSentAgainOnlyByPolicy(t *testing.T) {
	t.Parallel()
	for acct, want := range map[string]struct {
		route rulev1.Route
		sent  []string
	}{
		"shop":  {rulev1.Route_ROUTE_AMBIGUOUS, []string{"two", "three"}},
		"again": {rulev1.Route_ROUTE_ASYNC, []string{"one", "two", "three"}},
	} {
		t.Run(acct, func(t *testing.T) {
			r := newRig(t)
			g := r.gateway(always(unknown))
			r.replica("rule-a", r.rules(rulesText))
			r.record(r.push(r.text(acct, "o_fan", "many")), hasRoute(want.route))
			r.settled()
			require.Equal(t, want.sent, r.sender.texts())
			require.Len(t, g.got(), 1, "the gateway said that it does not know")
		})
	}
}

func TestALostAnswerIsAskedForAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var asked atomic.Int32
	block := make(chan struct{})
	g := r.gateway(func(*offer) (outcome, error) {
		if asked.Add(1) == 1 {
			<-block
		}
		return delivered, nil
	})
	t.Cleanup(func() { close(block) })
	r.replica("rule-a", r.rules(rulesText))
	ev := r.text("shop", "o_fan", "hello")
	ev.ReceivedUnixMs += 5000 // leaves time for the second offer
	rec := r.record(r.push(ev), claimIs(isDelivered))
	require.True(t, rec.GetClaims()[0].GetShared())
	require.Len(t, g.got(), 2)
	r.settled()
	require.Empty(t, r.sender.got())
}

func TestAnotherProcessGoesOnWithARecord(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		answer func(*offer) (outcome, error)
		state  rulev1.ClaimState
		route  rulev1.Route
		sent   []string
	}{
		{"the offer had been delivered", always(delivered), isDelivered, rulev1.Route_ROUTE_PASSIVE, []string{"two", "three"}},
		{"the gateway never got it", always(undeliverable), isReleased, rulev1.Route_ROUTE_ASYNC, []string{"one", "two", "three"}},
		{"the gateway is gone too", nil, isPending, rulev1.Route_ROUTE_AMBIGUOUS, []string{"two", "three"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			file := r.rules(rulesText)
			r.replica("first", file).Stop(t.Context())

			// A handler died between creating the record and offering: the record is all there is.
			ev := r.text("shop", "o_fan", "many")
			ev.ReceivedUnixMs += 1000
			var replies []*eventv1.Content
			for _, text := range []string{"one", "two", "three"} {
				replies = append(replies, &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: text}}})
			}
			_, err := r.store.Create(t.Context(), &rulev1.DecisionMade{
				Id: ev.GetId(), Account: "shop", Openid: "o_fan", Route: rulev1.Route_ROUTE_PASSIVE, Replies: replies, KfAllowed: true,
				PassiveUntilUnixMs: decision.PassiveUntil(time.UnixMilli(ev.GetReceivedUnixMs()), attempt).UnixMilli(),
				Claims:             []*rulev1.Claim{{Server: gateway, State: isPending, UntilUnixMs: ev.GetPassiveDeadlineUnixMs()}},
			})
			require.NoError(t, err)
			if tt.answer != nil {
				r.gateway(tt.answer)
			}
			r.replica("second", file)
			rec := r.record(r.push(ev), func(rec *rulev1.DecisionMade) bool {
				return rec.GetRoute() == tt.route && rec.GetClaims()[0].GetState() == tt.state
			})
			require.True(t, rec.GetClaims()[0].GetShared(), "another handler may have offered before")
			r.settled()
			require.Equal(t, tt.sent, r.sender.texts())
		})
	}
}

func TestAStoppedReplicaLeavesItsWaitsToAnother(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	file := r.rules(rulesText)
	first := r.replica("first", file)
	ev := r.text("shop", "o_fan", "many")
	ev.ReceivedUnixMs += 120_000 // a long span
	r.record(r.push(ev), claimIs(isReleased))
	second := r.replica("second", file)
	began := time.Now()
	require.NoError(t, first.Stop(t.Context()))
	require.Less(t, time.Since(began), time.Minute, "a wait does not hold a stop up")

	_, _, err := r.store.Change(t.Context(), "shop", "o_fan", ev.GetId(), decision.Claim{Server: "gw-2#1", Until: time.Now().Add(time.Minute)})
	require.NoError(t, err)
	_, _, err = r.store.Change(t.Context(), "shop", "o_fan", ev.GetId(), decision.Deliver{Server: "gw-2#1"})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(r.sender.got()) == 2 }, patience, 5*time.Millisecond)
	require.Equal(t, []string{"two", "three"}, r.sender.texts())
	require.NotNil(t, second)
}

func TestStretchWaitsForTheLastAttempt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := r.gateway(always(delivered))
	r.replica("rule-a", r.rules(rulesText))

	t.Run("attempt 3 claims it", func(t *testing.T) {
		ev := r.push(r.text("stretch", "f1", "hello"))
		rec := r.record(ev, hasRoute(rulev1.Route_ROUTE_PASSIVE))
		require.Empty(t, rec.GetClaims())
		_, _, err := r.store.Change(t.Context(), "stretch", "f1", ev.GetId(), decision.Claim{Server: "gw-2#1", Until: time.Now().Add(time.Minute)})
		require.NoError(t, err)
		_, _, err = r.store.Change(t.Context(), "stretch", "f1", ev.GetId(), decision.Deliver{Server: "gw-2#1"})
		require.NoError(t, err)
		r.settled()
		require.Empty(t, g.got(), "nothing is offered")
	})
	t.Run("nobody claims it", func(t *testing.T) {
		rec := r.record(r.push(r.text("stretch", "f2", "hello")), hasRoute(rulev1.Route_ROUTE_REFUSED))
		require.GreaterOrEqual(t, time.Now().UnixMilli(), rec.GetPassiveUntilUnixMs())
		r.settled()
		require.Empty(t, r.sender.got())
	})
	t.Run("answered early where that is wanted", func(t *testing.T) {
		r.record(r.push(r.text("early", "f3", "hello")), claimIs(isDelivered))
		require.Len(t, g.got(), 1)
	})
}
