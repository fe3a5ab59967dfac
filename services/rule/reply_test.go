package rule_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	gatewayv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/gateway/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

const (
	delivered     = gatewayv1.OfferOutcome_OFFER_OUTCOME_DELIVERED
	undeliverable = gatewayv1.OfferOutcome_OFFER_OUTCOME_UNDELIVERABLE
	unknown       = gatewayv1.OfferOutcome_OFFER_OUTCOME_UNKNOWN

	isDelivered = rulev1.ClaimState_CLAIM_STATE_DELIVERED
	isReleased  = rulev1.ClaimState_CLAIM_STATE_RELEASED
	isPending   = rulev1.ClaimState_CLAIM_STATE_PENDING
)

// rulesText answers hello once, many three times, and knows a queue and the native desk.
const rulesText = `
rules:
  - {name: hello, match: {exact: [hello]}, do: [{reply: hi}]}
  - {name: many, match: {exact: [many]}, do: [{reply: one}, {reply: two}, {reply: three}]}
  - {name: queue, match: {exact: [queue]}, do: [{reply: welcome}, {transfer: {queue: aftersales}}, {tag: vip}]}
  - {name: human, match: {exact: [human]}, do: [{reply: wait}, {transfer: native}]}
  - {name: card, match: {exact: [card]}, do: [{reply: {menu: {head: h, items: [{id: "1", content: c}]}}}]}
  - {name: quiet, match: {exact: [quiet]}, do: [none, {tag: seen}]}
  - {name: follow, on: subscribe, do: [{reply: thanks}, {reply: more}]}
  - {name: opened, on: view, do: [{reply: seen}]}
  - {name: bye, on: unsubscribe, do: [{webhook: {url: "http://127.0.0.1:1/"}}]}
`

func TestAReplyInTimeGoesThroughTheGateway(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := r.gateway(always(delivered))
	r.replica("rule-a", r.rules(rulesText))
	ev := r.push(r.text("shop", "o_fan", "Hello"))

	rec := r.record(ev, claimIs(isDelivered))
	require.Equal(t, rulev1.Route_ROUTE_PASSIVE, rec.GetRoute())
	require.Equal(t, "hello", rec.GetRule())
	require.Equal(t, "Hello", rec.GetMatched())
	require.NotEmpty(t, rec.GetRuleSetVersion())
	require.True(t, rec.GetKfAllowed())
	require.Equal(t, ev.GetReceivedUnixMs()+(3*attempt+attempt/5).Milliseconds(), rec.GetPassiveUntilUnixMs())
	require.Len(t, g.got(), 1)
	require.Equal(t, ev.GetId(), g.got()[0].GetEventId())
	require.Equal(t, "hi", g.got()[0].GetContent().GetText().GetContent())
	require.Equal(t, ev.GetPassiveDeadlineUnixMs(), g.got()[0].GetDeadlineUnixMs())
	r.settled()
	require.Empty(t, r.sender.got())
	require.Len(t, r.tel.Named("decide"), 1)
}

func TestSeveralRepliesFollowTheFirstInOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.gateway(always(delivered))
	r.replica("rule-a", r.rules(rulesText))
	ev := r.push(r.text("shop", "o_fan", "many"))
	r.record(ev, claimIs(isDelivered))
	r.settled()
	require.Equal(t, []string{"two", "three"}, r.sender.texts())
	first := r.sender.got()[0]
	require.Equal(t, ev.GetId()+":1", first.GetIdempotencyKey())
	require.Equal(t, senderv1.Lane_LANE_RULE, first.GetLane())
	require.Equal(t, ev.GetId(), first.GetCause())
	require.True(t, proto.Equal(&senderv1.GrantEvidence{
		EventId: ev.GetId(), Kind: ev.GetKind(), CreateTime: ev.GetCreateTime(),
	}, first.GetEvidence()))
}

func TestWithoutTheAPINothingFollowsThePassiveReply(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.gateway(always(delivered))
	r.replica("rule-a", r.rules(rulesText))
	r.record(r.push(r.text("nokf", "o_fan", "many")), claimIs(isDelivered))
	r.settled()
	require.Empty(t, r.sender.got())
}

func TestTheWayOfAReplyDependsOnAccountAndEvent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := r.gateway(always(delivered))
	r.replica("rule-a", r.rules(rulesText))
	subscribe, view := eventv1.EventKind_EVENT_KIND_SUBSCRIBE, eventv1.EventKind_EVENT_KIND_EVENT
	text := func(acct, openid, content string) func() *eventv1.InboundEvent {
		return func() *eventv1.InboundEvent { return r.text(acct, openid, content) }
	}
	viewed := func(acct, openid string) func() *eventv1.InboundEvent {
		return func() *eventv1.InboundEvent {
			ev := r.event(acct, openid, view, "view", "https://a")
			ev.AcceptsPassive = false
			return ev
		}
	}
	tests := []struct {
		name    string
		ev      func() *eventv1.InboundEvent
		route   rulev1.Route
		sent    []string
		told    bool
		because string
	}{
		{"ack account", text("ackonly", "f1", "many"), rulev1.Route_ROUTE_ASYNC, []string{"one", "two", "three"}, false, ""},
		{"Mini Program", text("mini", "f2", "hello"), rulev1.Route_ROUTE_ASYNC, []string{"hi"}, true, ""},
		{"content that only the API can send", text("shop", "f3", "card"), rulev1.Route_ROUTE_ASYNC, []string{""}, true, ""},
		{"such content without the API", text("nokf", "f4", "card"), rulev1.Route_ROUTE_REFUSED, nil, true, "may not use"},
		{"queue of an ack account", text("ackonly", "f5", "queue"), rulev1.Route_ROUTE_QUEUE, []string{"welcome"}, false, ""},
		{"nothing matches", text("shop", "f6", "what"), rulev1.Route_ROUTE_NONE, nil, true, ""},
		{"say nothing", text("shop", "f7", "quiet"), rulev1.Route_ROUTE_NONE, nil, true, ""},
		{"native on an ack account", text("ackonly", "f8", "human"), rulev1.Route_ROUTE_REFUSED, []string{"wait"}, false, "only a passive reply"},
		{"an event without reply", viewed("shop", "f9"), rulev1.Route_ROUTE_ASYNC, []string{"seen"}, false, ""},
		{"the same without the API", viewed("nokf", "f10"), rulev1.Route_ROUTE_NONE, nil, false, "shows no reply"},
		{"a follow of an ack account", func() *eventv1.InboundEvent { return r.event("ackonly", "f11", subscribe, "subscribe", "") }, rulev1.Route_ROUTE_ASYNC, []string{"thanks", "more"}, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, sentBefore := len(g.got()), len(r.sender.got())
			rec := r.record(r.push(tt.ev()), hasRoute(tt.route))
			require.Contains(t, rec.GetReason(), tt.because)
			r.settled()
			require.Equal(t, tt.sent, append([]string(nil), r.sender.texts()[sentBefore:]...))
			if !tt.told {
				require.Len(t, g.got(), before)
				return
			}
			require.Len(t, g.got(), before+1)
			require.Nil(t, g.got()[before].GetContent(), "the gateway hears that it may answer success")
		})
	}
}

func TestAQueueDecisionCarriesQueueTagsAndWelcome(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.replica("rule-a", r.rules(rulesText))
	rec := r.record(r.push(r.text("ackonly", "o_fan", "queue")), hasRoute(rulev1.Route_ROUTE_QUEUE))
	require.Equal(t, "aftersales", rec.GetQueue())
	require.Equal(t, []string{"vip"}, rec.GetTags())
	require.Len(t, rec.GetReplies(), 1)
	r.settled()
	require.Equal(t, []string{"welcome"}, r.sender.texts())
}

func TestNativeIsOfferedFirstAndTheTextFollows(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := r.gateway(always(delivered))
	r.replica("rule-a", r.rules(rulesText))
	rec := r.record(r.push(r.text("shop", "o_fan", "human")), claimIs(isDelivered))
	require.Equal(t, rulev1.Route_ROUTE_NATIVE, rec.GetRoute())
	require.NotNil(t, g.got()[0].GetContent().GetNativeTransfer())
	r.settled()
	require.Equal(t, []string{"wait"}, r.sender.texts())
}

func TestWhatTheGatewayCannotDeliverIsSentOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.gateway(always(undeliverable))
	r.replica("rule-a", r.rules(rulesText))
	rec := r.record(r.push(r.text("shop", "o_fan", "many")), hasRoute(rulev1.Route_ROUTE_ASYNC))
	require.Equal(t, isReleased, rec.GetClaims()[0].GetState())
	r.settled()
	require.Equal(t, []string{"one", "two", "three"}, r.sender.texts())
}

func TestASlowWebhookIsTooLateForThePassiveReply(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-release
		_, _ = w.Write([]byte(`{"replies":["from the system"]}`))
	}))
	defer server.Close()
	g := r.gateway(always(delivered))
	r.replica("rule-a", r.rules(fmt.Sprintf("rules:\n  - {name: slow, match: any, do: [{webhook: {url: %q}}]}\n", server.URL)))
	var events []*eventv1.InboundEvent
	for _, acct := range []string{"shop", "nokf"} {
		events = append(events, r.push(r.text(acct, "o_fan", "x")))
	}
	tooLate := time.UnixMilli(events[1].GetPassiveDeadlineUnixMs())
	require.Eventually(t, func() bool { return time.Now().After(tooLate) }, patience, time.Millisecond)
	close(release)

	rec := r.record(events[0], func(*rulev1.DecisionMade) bool { return true })
	require.Equal(t, rulev1.Route_ROUTE_ASYNC, rec.GetRoute(), "created so")
	require.Empty(t, rec.GetClaims())
	require.Equal(t, "too late for a passive reply", rec.GetReason())
	rec = r.record(events[1], func(*rulev1.DecisionMade) bool { return true })
	require.Equal(t, rulev1.Route_ROUTE_REFUSED, rec.GetRoute())
	r.settled()
	require.Equal(t, []string{"from the system"}, r.sender.texts())
	require.Empty(t, g.got())
}

func TestAFailingWebhookIsNoReply(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	r.gateway(always(delivered))
	r.replica("rule-a", r.rules(fmt.Sprintf("rules:\n  - {name: hook, match: any, do: [{webhook: {url: %q}}]}\n", server.URL)))
	rec := r.record(r.push(r.text("shop", "o_fan", "x")), hasRoute(rulev1.Route_ROUTE_NONE))
	require.Equal(t, "webhook: status 404", rec.GetReason())
	require.Equal(t, "hook", rec.GetRule())
	r.settled()
}

func TestRulesAreSilentWhileSomebodyElseOwnsTheFan(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	kv, err := r.env.JS.KeyValue(t.Context(), topology.BucketOwners)
	require.NoError(t, err)
	own := func(openid string, kind agentroutingv1.OwnerKind, name string, epoch uint64) {
		value, err := proto.Marshal(&agentroutingv1.OwnerRecord{Owner: &agentroutingv1.Owner{Kind: kind, Name: name, Epoch: epoch}})
		require.NoError(t, err)
		_, err = kv.Put(t.Context(), "shop."+openid, value)
		require.NoError(t, err)
	}
	own("waits", agentroutingv1.OwnerKind_OWNER_KIND_QUEUE, "aftersales", 1)
	own("talks", agentroutingv1.OwnerKind_OWNER_KIND_AGENT, "li", 2)
	own("back", agentroutingv1.OwnerKind_OWNER_KIND_BOT, "", 7)
	r.gateway(always(delivered))
	r.replica("rule-a", r.rules(rulesText))

	for openid, reason := range map[string]string{"waits": "owner queue aftersales", "talks": "owner agent li"} {
		rec := r.record(r.push(r.text("shop", openid, "many")), hasRoute(rulev1.Route_ROUTE_NONE))
		require.Equal(t, reason, rec.GetReason())
	}
	r.record(r.push(r.event("shop", "talks", eventv1.EventKind_EVENT_KIND_SUBSCRIBE, "subscribe", "")), claimIs(isDelivered))
	r.record(r.push(r.text("shop", "back", "many")), claimIs(isDelivered))
	r.settled()
	require.Equal(t, []string{"two", "three"}, r.sender.texts(), "what follows a reply to an event is silent too")
	require.EqualValues(t, 7, r.sender.got()[0].GetOwnerEpoch())
}

func TestRefusalsOfTheSenderAreFinalAndOutagesAreNot(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.replica("rule-a", r.rules(rulesText))
	r.sender.fail = func(call int, req *senderv1.SendRequest) error {
		switch {
		case req.GetContent().GetText().GetContent() == "two":
			return fault.New(fault.Refused, "window closed")
		case call <= 3:
			return fault.New(fault.Unavailable, "no stream")
		}
		return nil
	}
	r.push(r.text("ackonly", "o_fan", "many"))
	require.Eventually(t, func() bool { return len(r.sender.got()) == 2 }, patience, 5*time.Millisecond)
	r.settled()
	require.Equal(t, []string{"one", "three"}, r.sender.texts())
}

func TestTwoReplicasOnOneEventMakeOneDecision(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := r.gateway(always(delivered))
	file := r.rules(rulesText)
	r.replica("rule-a", file)
	ev := r.text("shop", "o_fan", "many")
	r.record(r.push(ev), claimIs(isDelivered))
	r.settled()

	// The same event once more, stored twice by a publisher outside the dedupe window.
	subject, err := topology.SubjectInbound("shop", r.env.Topology.Partition("shop", "o_fan"), ev.GetKind(), "o_fan")
	require.NoError(t, err)
	data, err := proto.Marshal(ev)
	require.NoError(t, err)
	_, err = r.env.JS.Publish(t.Context(), subject, data)
	require.NoError(t, err)
	r.settled()
	require.Len(t, g.got(), 1)
	require.Equal(t, []string{"two", "three"}, r.sender.texts())
}

func TestEventsThatNobodyAsksForLeaveNoRecord(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.replica("rule-a", r.rules(rulesText))
	ev := r.event("ackonly", "o_fan", eventv1.EventKind_EVENT_KIND_LOCATION, "location", "")
	ev.AcceptsPassive = false
	r.push(ev)
	r.settled()
	_, _, err := r.store.Get(t.Context(), "ackonly", "o_fan", ev.GetId())
	require.ErrorIs(t, err, decision.ErrNotFound)
}

func TestAnEventOfAnUnknownAccountIsADeadLetter(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.replica("rule-a", r.rules(rulesText))
	ev := r.text("ackonly", "o_fan", "hello")
	ev.Account = "gone"
	r.push(ev)
	require.Eventually(t, func() bool {
		stream, err := r.env.JS.Stream(t.Context(), topology.StreamDeadLetters)
		return err == nil && stream.CachedInfo().State.Msgs == 1
	}, patience, 10*time.Millisecond)
}

func TestFansDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.replica("rule-a", r.rules(rulesText))
	slow := r.text("shop", "slow", "hello")
	slow.ReceivedUnixMs += 120_000 // nobody takes it: its fan waits for minutes
	r.record(r.push(slow), claimIs(isReleased))
	later := r.push(r.text("shop", "slow", "quiet"))
	for i := range 20 {
		r.record(r.push(r.text("ackonly", fmt.Sprintf("fan%d", i), "hello")), hasRoute(rulev1.Route_ROUTE_ASYNC))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err := r.store.Await(ctx, "shop", "slow", later.GetId())
	require.Error(t, err, "later pushes of the same fan keep the order")
}
