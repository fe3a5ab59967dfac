package gateway_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/topology"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

const (
	pendingState   = rulev1.ClaimState_CLAIM_STATE_PENDING
	deliveredState = rulev1.ClaimState_CLAIM_STATE_DELIVERED
)

// firstAttempt lets one attempt at a push reach a gateway and break off, and returns the stored event.
func (r *rig) firstAttempt(t *testing.T, g *replica, m message) *eventv1.InboundEvent {
	t.Helper()
	ctx, hangUp := context.WithCancel(t.Context())
	answer := g.begin(ctx, t, m)
	e := r.nextEvent(t)
	hangUp()
	require.Error(t, (<-answer).err)
	return e
}

func TestRetryIsServedByAnotherReplica(t *testing.T) {
	r := newRig(t)
	one, two := r.gateway(t, patient(), shop(passiveShop)), r.gateway(t, patient(), shop(passiveShop))
	m := message{id: "1", content: "x"}
	e := r.firstAttempt(t, one, m)
	retry := two.begin(t.Context(), t, m)
	_, err := r.store.Create(t.Context(), decide(e, rulev1.Route_ROUTE_PASSIVE, say("from the record")))
	require.NoError(t, err)
	require.Equal(t, "from the record", requireText(t, <-retry, key))

	rec := r.requireRecord(t, e, func(rec *rulev1.DecisionMade) bool {
		return len(rec.GetClaims()) == 2 && rec.GetClaims()[1].GetState() == deliveredState
	})
	require.Equal(t, e.GetGatewayInstance(), rec.GetClaims()[0].GetServer())
	require.True(t, strings.HasPrefix(rec.GetClaims()[1].GetServer(), two.Instance()+"#"), "one name per connection")
	require.Len(t, r.events(t, topology.StreamInbound), 1)

	// WeChat did not get it and asks a third time: the same body, and no further claim.
	require.Equal(t, "from the record", requireText(t, one.push(t, m), key))
	rec, _, err = r.store.Get(t.Context(), e.GetAccount(), e.GetOpenid(), e.GetId())
	require.NoError(t, err)
	require.Len(t, rec.GetClaims(), 2)
}

func TestRetryFindsTheDecisionThatIsThere(t *testing.T) {
	for _, route := range []rulev1.Route{rulev1.Route_ROUTE_ASYNC, rulev1.Route_ROUTE_NONE, rulev1.Route_ROUTE_QUEUE, rulev1.Route_ROUTE_REFUSED, rulev1.Route_ROUTE_AMBIGUOUS} {
		t.Run(decision.RouteName(route), func(t *testing.T) {
			r := newRig(t)
			g := r.gateway(t, patient(), shop(passiveShop))
			m := message{id: "1", content: "x"}
			e := r.firstAttempt(t, g, m)
			_, err := r.store.Create(t.Context(), decide(e, route, say("not this way")))
			require.NoError(t, err)
			got := g.push(t, m)
			requireSuccess(t, got)
			require.Less(t, got.took, patient().PassiveDeadline)
		})
	}
}

func TestRetryThatLosesAgainstTheSender(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, patient(), shop(passiveShop))
	m := message{id: "1", content: "x"}
	e := r.firstAttempt(t, g, m)
	rec := decide(e, rulev1.Route_ROUTE_PASSIVE, say("once"))
	rec.Claims = nil
	_, err := r.store.Create(t.Context(), rec)
	require.NoError(t, err)
	_, _, err = r.store.Change(t.Context(), e.GetAccount(), e.GetOpenid(), e.GetId(), decision.MoveToAsync{})
	require.NoError(t, err)
	requireSuccess(t, g.push(t, m))
}

func TestThreeReplicasAtOnceServeTheSameBody(t *testing.T) {
	r := newRig(t)
	r.onEvent(t, func(ctx context.Context, e *eventv1.InboundEvent) error {
		if _, err := r.store.Create(ctx, decide(e, rulev1.Route_ROUTE_PASSIVE, say("the one reply"))); err != nil {
			return err
		}
		if _, err := r.offer(ctx, e, say("the one reply")); err != nil {
			return err
		}
		_, _, err := r.store.Change(ctx, e.GetAccount(), e.GetOpenid(), e.GetId(), decision.Deliver{Server: e.GetGatewayInstance()})
		return err
	})
	m := message{id: "1", content: "x"}
	var answers []<-chan response
	for range 3 {
		answers = append(answers, r.gateway(t, patient(), shop(passiveShop)).begin(t.Context(), t, m))
	}
	for _, answer := range answers {
		require.Equal(t, "the one reply", requireText(t, <-answer, key))
	}
	require.Len(t, r.events(t, topology.StreamInbound), 1)
}

// TestThreeReplicasOfACluster makes the server answer "same id in process" (10158), which it does only
// with replicated streams.
func TestThreeReplicasOfACluster(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts three servers")
	}
	cluster := bustest.Cluster(t, 3)
	r := newRigOn(t, cluster.Env)
	cfg := patient()
	cfg.Publish.PrimaryTimeout, cfg.Publish.Total = 13*time.Second, 14*time.Second // three servers beside other tests are slow
	var gateways []*replica
	for range 3 {
		gateways = append(gateways, r.gateway(t, cfg, shop(nil)))
	}
	const pushes = 20
	for id := range pushes {
		m := message{id: time.Unix(int64(id), 0).UTC().Format("150405") + "1", content: "x"}
		var answers []<-chan response
		for _, g := range gateways {
			answers = append(answers, g.begin(t.Context(), t, m))
		}
		for _, answer := range answers {
			requireSuccess(t, <-answer)
		}
	}
	ids := map[string]int{}
	for _, e := range append(r.events(t, topology.StreamInbound), r.events(t, topology.StreamSpill)...) {
		ids[e.GetId()]++
	}
	require.Len(t, ids, pushes)
}

// TestReplyWhoseOfferIsLostIsServedOnRetry: the rule claims for the first gateway and its offer never
// comes. The attempt is not answered with success, because the record is open; the retry serves it.
func TestReplyWhoseOfferIsLostIsServedOnRetry(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g, other := r.gateway(t, quick(), shop(passiveShop)), r.gateway(t, patient(), shop(passiveShop))
	m := message{id: "1", content: "x"}
	first := g.begin(t.Context(), t, m)
	e := r.nextEvent(t)
	_, err := r.store.Create(t.Context(), decide(e, rulev1.Route_ROUTE_PASSIVE, say("found after all")))
	require.NoError(t, err)
	requireUnavailable(t, <-first)
	require.Equal(t, "found after all", requireText(t, other.push(t, m), key))
}

// TestOfferInTheLastMoment: past its deadline the attempt takes no offer; the rule hears so and moves
// the reply on, and the attempt waits for that instead of failing.
func TestOfferInTheLastMoment(t *testing.T) {
	r := newRig(t)
	cfg := quick()
	cfg.AttemptTimeout = 20 * time.Second // time for the rule, after the deadline
	g := r.gateway(t, cfg, shop(passiveShop))
	answer := g.begin(t.Context(), t, message{id: "1", content: "x"})
	e := r.nextEvent(t)
	_, err := r.store.Create(t.Context(), decide(e, rulev1.Route_ROUTE_PASSIVE, say("too late")))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return r.metric(t, "wxbus_gateway_waiting") == 0 }, 30*time.Second, time.Millisecond)
	res, err := r.offer(t.Context(), e, say("too late"))
	require.NoError(t, err)
	require.Equal(t, undeliverable, res.GetOutcome())
	for _, cmd := range []decision.Command{decision.Release{Server: e.GetGatewayInstance()}, decision.MoveToAsync{}} {
		_, _, err = r.store.Change(t.Context(), e.GetAccount(), e.GetOpenid(), e.GetId(), cmd)
		require.NoError(t, err)
	}
	requireSuccess(t, <-answer)
}

func TestNoSuccessWhileTheRecordCannotBeRead(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, quick(), shop(passiveShop))
	require.NoError(t, r.env.JS.DeleteStream(t.Context(), topology.StreamDecisions))
	requireUnavailable(t, g.push(t, message{id: "1", content: "x"}))
}

func TestRetryOfAPushThatIsNotDecided(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, quick(), shop(passiveShop))
	m := message{id: "1", content: "x"}
	r.firstAttempt(t, g, m)
	got := g.push(t, m)
	requireSuccess(t, got)
	require.GreaterOrEqual(t, got.took, quick().PassiveDeadline)
}

func TestRetryWhoseReplyCannotBeEncodedIsReleased(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, patient(), shop(passiveShop))
	m := message{id: "1", content: "x"}
	e := r.firstAttempt(t, g, m)
	rec := decide(e, rulev1.Route_ROUTE_PASSIVE, say(strings.Repeat("x", 3000)))
	rec.Claims = nil
	_, err := r.store.Create(t.Context(), rec)
	require.NoError(t, err)
	requireSuccess(t, g.push(t, m))
	rec = r.requireRecord(t, e, func(rec *rulev1.DecisionMade) bool { return len(rec.GetClaims()) == 1 })
	require.Equal(t, rulev1.ClaimState_CLAIM_STATE_RELEASED, rec.GetClaims()[0].GetState())
}

func stretchShop(early bool) func(*account.Account) {
	return func(a *account.Account) { a.Reply, a.StretchAnswerEarly = account.ReplyStretch, early }
}

// attempt is one attempt of WeChat: it hangs up after the attempt time-out.
func (g *replica) attempt(t *testing.T, m message) response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), quick().AttemptTimeout)
	defer cancel()
	return <-g.begin(ctx, t, m)
}

func TestStretchAnswersTheThirdAttempt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one, two := r.gateway(t, quick(), shop(stretchShop(false))), r.gateway(t, quick(), shop(stretchShop(false)))
	m := message{id: "1", content: "x"}
	first := one.attempt(t, m)
	require.ErrorIs(t, first.err, context.DeadlineExceeded, "held beyond the time-out, never answered")
	e := r.nextEvent(t)
	require.Empty(t, e.GetGatewayInstance(), "nobody takes offers")
	rec := decide(e, rulev1.Route_ROUTE_PASSIVE, say("after some thought"))
	_, err := r.store.Create(t.Context(), rec)
	require.NoError(t, err)

	second := two.attempt(t, m)
	require.ErrorIs(t, second.err, context.DeadlineExceeded, "held although the reply is there")
	third := one.attempt(t, m)
	require.Equal(t, "after some thought", requireText(t, third, key))
	r.requireRecord(t, e, func(rec *rulev1.DecisionMade) bool {
		return len(rec.GetClaims()) == 1 && rec.GetClaims()[0].GetState() == deliveredState
	})
}

func TestStretchBreaksAnAttemptThatWeChatDoesNotGiveUp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := r.gateway(t, quick(), shop(stretchShop(false)))
	got := <-g.begin(t.Context(), t, message{id: "1", content: "x"})
	require.Error(t, got.err, "no answer, the connection is closed")
	require.GreaterOrEqual(t, got.took, quick().AttemptTimeout)
}

func TestStretchAnswersEarlyOnRequest(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, patient(), shop(stretchShop(true)))
	r.onEvent(t, func(ctx context.Context, e *eventv1.InboundEvent) error {
		_, err := r.store.Create(ctx, decide(e, rulev1.Route_ROUTE_PASSIVE, say("at once")))
		return err
	})
	got := g.push(t, message{id: "1", content: "x"})
	require.Equal(t, "at once", requireText(t, got, key))
	require.Less(t, got.took, patient().PassiveDeadline)
}

func TestStretchSaysSuccessWhenNothingWillCome(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, patient(), shop(stretchShop(false)))
	r.onEvent(t, func(ctx context.Context, e *eventv1.InboundEvent) error {
		_, err := r.store.Create(ctx, decide(e, rulev1.Route_ROUTE_NONE, nil))
		return err
	})
	got := g.push(t, message{id: "1", content: "x"})
	requireSuccess(t, got)
	require.Less(t, got.took, patient().PassiveDeadline)
}

func TestStretchWithoutADecisionOnTheThirdAttempt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	cfg := quick()
	cfg.AttemptTimeout = 6 * time.Second // the third attempt has most of it for its answer
	g := r.gateway(t, cfg, shop(stretchShop(false)))
	m := message{id: "1", content: "x"}
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), cfg.AttemptTimeout)
		require.Error(t, (<-g.begin(ctx, t, m)).err)
		cancel()
	}
	got := g.push(t, m)
	requireSuccess(t, got)
	require.Equal(t, http.StatusOK, got.status)
}
