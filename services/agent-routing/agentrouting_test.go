package agentrouting_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/topology"

	agentrouting "github.com/wxbus/wxbus/services/agent-routing"
)

const (
	bot    = agentroutingv1.OwnerKind_OWNER_KIND_BOT
	queue  = agentroutingv1.OwnerKind_OWNER_KIND_QUEUE
	agent  = agentroutingv1.OwnerKind_OWNER_KIND_AGENT
	native = agentroutingv1.OwnerKind_OWNER_KIND_NATIVE
)

func words(text string) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: text}}}
}

func TestFanIsServed(t *testing.T) {
	w := newWorld(t)
	desk := w.replica()

	ev := w.says("fan-1", "转人工")
	w.decides(ev, "returns")
	rows := w.waiting(desk, 1)
	require.Equal(t, "fan-1", rows[0].GetOpenid())
	require.Equal(t, "returns", rows[0].GetOwner().GetName())
	require.Empty(t, rows[0].GetApplied(), "what only this service needs stays inside")
	require.Empty(t, rows[0].GetOutbox())
	require.Eventually(t, func() bool { return len(texts(w.owner(desk, "fan-1"))) == 1 }, patient, soon)
	require.Equal(t, []string{"转人工"}, texts(w.owner(desk, "fan-1")))

	reply := &agentroutingv1.ReplyRequest{Account: shop, Openid: "fan-1", Agent: "小李", Content: words("您好"), IdempotencyKey: "k1"}
	done, err := desk.Reply(t.Context(), reply)
	require.NoError(t, err)
	require.Equal(t, agent, done.GetRecord().GetOwner().GetKind())
	_, err = desk.Reply(t.Context(), reply)
	require.NoError(t, err)
	sent := w.sender.all()
	require.Len(t, sent, 1, "the same key must send once")
	require.Equal(t, senderv1.Lane_LANE_AGENT, sent[0].GetLane())
	require.Equal(t, uint64(2), sent[0].GetOwnerEpoch())
	require.Equal(t, "您好", sent[0].GetContent().GetText().GetContent())
	w.waiting(desk, 0)

	w.says("fan-1", "谢谢")
	require.Eventually(t, func() bool {
		serving, err := desk.ListServing(t.Context(), &agentroutingv1.ListServingRequest{Agent: "小李"})
		require.NoError(t, err)
		return serving.GetTotal() == 1 && len(texts(serving.GetServing()[0])) == 2
	}, patient, soon)
	none, err := desk.ListServing(t.Context(), &agentroutingv1.ListServingRequest{Agent: "陈"})
	require.NoError(t, err)
	require.Zero(t, none.GetTotal())

	reply.Agent = "陈"
	_, err = desk.Reply(t.Context(), reply)
	require.Equal(t, codes.FailedPrecondition, status.Code(err))
	_, err = desk.Close(t.Context(), &agentroutingv1.CloseRequest{Account: shop, Openid: "fan-1", Agent: "陈"})
	require.Equal(t, codes.FailedPrecondition, status.Code(err))
	closed, err := desk.Close(t.Context(), &agentroutingv1.CloseRequest{Account: shop, Openid: "fan-1", Agent: "小李"})
	require.NoError(t, err)
	require.Equal(t, bot, closed.GetRecord().GetOwner().GetKind())
	require.Empty(t, closed.GetRecord().GetMessages())

	facts := w.facts("fan-1")
	require.Len(t, facts, 3)
	for i, f := range facts {
		require.Equal(t, uint64(i+1), f.GetOwner().GetEpoch())
		require.Equal(t, ev.GetId(), f.GetConversation())
	}
	require.Equal(t, "rule human", facts[0].GetReason())
}

func TestRefusedMessageTellsWhy(t *testing.T) {
	w := newWorld(t)
	desk := w.replica()
	w.decides(w.says("fan", "?"), "q")
	w.eventually(desk, "fan", queue)
	w.sender.refuseWith("window is closed: 45015")
	_, err := desk.Reply(t.Context(), &agentroutingv1.ReplyRequest{Account: shop, Openid: "fan", Agent: "li", Content: words("x"), IdempotencyKey: "k"})
	require.Equal(t, codes.FailedPrecondition, status.Code(err))
	require.Contains(t, err.Error(), "window is closed: 45015")
}

func TestTextOfTheQuestionIsNeverMissing(t *testing.T) {
	t.Run("messages before, between and after", func(t *testing.T) {
		w := newWorld(t)
		desk := w.replica()
		w.says("fan", "earlier, not part of it")
		asked := w.says("fan", "one")
		w.says("fan", "two")
		w.quiet() // all of them were seen while the bot owned the fan
		w.decides(asked, "q")
		w.eventually(desk, "fan", queue)
		w.says("fan", "three")
		w.quiet()
		require.Equal(t, []string{"one", "two", "three"}, texts(w.owner(desk, "fan")))
	})
	t.Run("whichever stream is read first", func(t *testing.T) {
		w := newWorld(t)
		const fans = 20
		for n := range fans { // stored before anybody reads
			openid := fmt.Sprintf("fan-%d", n)
			w.decides(w.says(openid, "one"), "q")
			w.says(openid, "two")
		}
		desk := w.replica()
		w.quiet()
		for n := range fans {
			require.Equal(t, []string{"one", "two"}, texts(w.owner(desk, fmt.Sprintf("fan-%d", n))))
		}
	})
	t.Run("a menu tap asks for an agent", func(t *testing.T) {
		w := newWorld(t)
		desk := w.replica()
		w.decides(w.event("fan", eventv1.EventKind_EVENT_KIND_CLICK, func(ev *eventv1.InboundEvent) { ev.Event, ev.EventKey = "click", "HUMAN" }), "q")
		w.quiet()
		require.Equal(t, []string{"HUMAN"}, texts(w.owner(desk, "fan")))
		require.Len(t, w.facts("fan"), 1, "a fact must be stored before the decision is acknowledged")
	})
}

func TestOneOfManyAgentsWins(t *testing.T) {
	w := newWorld(t)
	replicas := []desk{w.replica(), w.replica()}
	const fans, agents = 5, 6 // nobody can win more than fits
	for n := range fans {
		w.decides(w.says(fmt.Sprintf("fan-%d", n), "hello"), "q")
	}
	w.waiting(replicas[0], fans)
	w.waiting(replicas[1], fans)
	for n := range fans {
		openid := fmt.Sprintf("fan-%d", n)
		errs := make([]error, agents)
		var all sync.WaitGroup
		for a := range agents {
			all.Go(func() {
				_, errs[a] = replicas[a%2].Accept(t.Context(), &agentroutingv1.AcceptRequest{Account: shop, Openid: openid, Agent: fmt.Sprintf("agent-%d", a)})
			})
		}
		all.Wait()
		won := 0
		for a, err := range errs {
			if err == nil {
				won++
				require.Equal(t, fmt.Sprintf("agent-%d", a), w.owner(replicas[0], openid).GetOwner().GetName())
				continue
			}
			require.Equal(t, codes.Aborted, status.Code(err))
		}
		require.Equal(t, 1, won)
		require.Equal(t, uint64(2), w.owner(replicas[1], openid).GetOwner().GetEpoch())
	}
	w.waiting(replicas[1], 0)
}

func TestDuplicatesChangeNothing(t *testing.T) {
	w := newWorld(t)
	desk := w.replica()
	asked := w.says("fan", "human please")
	w.decides(asked, "q")
	w.eventually(desk, "fan", queue)
	w.decides(asked, "q") // a later version of the same decision
	w.quiet()
	require.Equal(t, uint64(1), w.owner(desk, "fan").GetOwner().GetEpoch())

	_, err := desk.Close(t.Context(), &agentroutingv1.CloseRequest{Account: shop, Openid: "fan", Agent: "li"})
	require.NoError(t, err)
	w.decides(asked, "q") // and one that comes after the conversation
	w.quiet()
	rec := w.owner(desk, "fan")
	require.Equal(t, bot, rec.GetOwner().GetKind())
	require.Equal(t, uint64(2), rec.GetOwner().GetEpoch())
	require.Empty(t, rec.GetMessages())
	require.Len(t, w.facts("fan"), 2)
}

func TestTheWelcomeMayGoAnyWay(t *testing.T) {
	w := newWorld(t)
	desk := w.replica()
	asked := w.says("fan", "human please")
	w.decidesBy(asked, "q", rulev1.Route_ROUTE_PASSIVE) // the welcome is on its way passively
	w.eventually(desk, "fan", queue)
	w.decidesBy(asked, "q", rulev1.Route_ROUTE_ASYNC) // and then it was too late for that
	w.decidesBy(w.says("other", "hello"), "", rulev1.Route_ROUTE_PASSIVE)
	w.quiet()
	require.Equal(t, uint64(1), w.owner(desk, "fan").GetOwner().GetEpoch())
	require.Equal(t, bot, w.owner(desk, "other").GetOwner().GetKind(), "an answer of a rule is no queue")
}

func TestNativeDeskOwnsAndReturnsTheFan(t *testing.T) {
	w := newWorld(t)
	desk := w.replica()
	w.native("fan", "kf_create_session", "a@kf")
	require.Equal(t, "a@kf", w.eventually(desk, "fan", native).GetOwner().GetName())
	w.decides(w.says("fan", "hello"), "q")
	w.quiet()
	require.Equal(t, native, w.owner(desk, "fan").GetOwner().GetKind(), "a queue must not take a fan from the native desk")
	_, err := desk.Accept(t.Context(), &agentroutingv1.AcceptRequest{Account: shop, Openid: "fan", Agent: "li"})
	require.Equal(t, codes.FailedPrecondition, status.Code(err))
	w.native("fan", "kf_switch_session", "b@kf")
	w.quiet()
	require.Equal(t, "b@kf", w.owner(desk, "fan").GetOwner().GetName())
	w.native("fan", "kf_close_session", "b@kf")
	require.Equal(t, uint64(3), w.eventually(desk, "fan", bot).GetOwner().GetEpoch())

	t.Run("an end that was never reported", func(t *testing.T) {
		w.native("fan", "kf_create_session", "a@kf")
		w.eventually(desk, "fan", native)
		w.clock.Advance(time.Hour)
		w.says("fan", "still there?")
		w.eventually(desk, "fan", bot)
	})
}

func TestUnfollowErasesWhatTheFanSaid(t *testing.T) {
	w := newWorld(t)
	desk := w.replica()
	w.decides(w.says("fan", "my secret address"), "q")
	require.Eventually(t, func() bool { return len(texts(w.owner(desk, "fan"))) == 1 }, patient, soon)
	w.event("fan", eventv1.EventKind_EVENT_KIND_UNSUBSCRIBE, func(ev *eventv1.InboundEvent) { ev.Event = "unsubscribe" })
	require.Empty(t, w.eventually(desk, "fan", bot).GetMessages())
	w.waiting(desk, 0)
	key, err := topology.FanKey(shop, "fan")
	require.NoError(t, err)
	history, err := w.bucket().History(t.Context(), key)
	require.NoError(t, err)
	for _, entry := range history {
		require.NotContains(t, string(entry.Value()), "secret address")
	}
	w.quiet()
	require.Empty(t, w.facts("fan"), "what was published is erased too")
	proofs, err := desk.privacy.ListErasures(t.Context(), &agentroutingv1.ListErasuresRequest{Account: shop})
	require.NoError(t, err)
	require.Len(t, proofs.GetErasures(), 1)
	require.True(t, proofs.GetErasures()[0].GetVerified())
	require.Equal(t, "policy", proofs.GetErasures()[0].GetActor())
}

// TestUnfollowErasesWhatRulesKnow: also of a fan whom the desk never met, when the rules have handled that the fan left.
func TestUnfollowErasesWhatRulesKnow(t *testing.T) {
	w := newWorld(t)
	w.replica()
	w.rules.learn("stranger")
	ev := w.event("stranger", eventv1.EventKind_EVENT_KIND_UNSUBSCRIBE, func(ev *eventv1.InboundEvent) { ev.Event = "unsubscribe" })
	subject, err := topology.SubjectDecision(shop, ev.GetPartition(), ev.GetId())
	require.NoError(t, err)
	w.publish(subject, "", &rulev1.DecisionMade{
		Id: ev.GetId(), Account: shop, Openid: "stranger", Route: rulev1.Route_ROUTE_NONE, Fan: &rulev1.FanChange{Unsubscribed: true},
	})
	require.Eventually(t, func() bool { return !w.rules.knows("stranger") }, patient, soon)
}

func TestLongestWaitingFirst(t *testing.T) {
	w := newWorld(t)
	desk := w.replica()
	for n, q := range []string{"returns", "flights", "returns", "returns"} {
		w.decides(w.says(fmt.Sprintf("fan-%d", n), "hi"), q)
		w.clock.Advance(time.Second)
	}
	rows := w.waiting(desk, 4)
	for n, row := range rows {
		require.Equal(t, fmt.Sprintf("fan-%d", n), row.GetOpenid())
	}
	got, err := desk.ListWaiting(t.Context(), &agentroutingv1.ListWaitingRequest{Account: shop, Queue: "returns", Limit: 2})
	require.NoError(t, err)
	require.Equal(t, int32(3), got.GetTotal())
	require.Len(t, got.GetWaiting(), 2)
	require.Equal(t, "fan-0", got.GetWaiting()[0].GetOpenid())

	t.Run("a new replica knows the list when it has started", func(t *testing.T) {
		got, err := w.replica().ListWaiting(t.Context(), &agentroutingv1.ListWaitingRequest{})
		require.NoError(t, err)
		require.Equal(t, int32(4), got.GetTotal())
	})
}

func TestForgottenFansGoBackToTheRulesOnce(t *testing.T) {
	w := newWorld(t)
	desk := w.replica()
	w.replica()
	w.decides(w.says("left-alone", "hi"), "q")
	w.decides(w.says("silent", "hi"), "q")
	w.waiting(desk, 2)
	_, err := desk.Accept(t.Context(), &agentroutingv1.AcceptRequest{Account: shop, Openid: "silent", Agent: "li"})
	require.NoError(t, err)

	w.clock.Advance(31 * time.Minute)
	w.eventually(desk, "silent", bot)
	require.Equal(t, queue, w.owner(desk, "left-alone").GetOwner().GetKind())
	w.clock.Advance(48 * time.Hour)
	w.eventually(desk, "left-alone", bot)
	require.Eventually(t, func() bool { return len(w.facts("silent")) == 3 && len(w.facts("left-alone")) == 2 }, patient, soon)
}

func TestUnreadableMessagesBecomeDeadLetters(t *testing.T) {
	w := newWorld(t)
	desk := w.replica()
	subject, err := topology.SubjectDecision(shop, 0, "broken")
	require.NoError(t, err)
	_, err = w.JS.Publish(t.Context(), subject, []byte{0xff, 0xff})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		s, err := w.JS.Stream(t.Context(), topology.StreamDeadLetters)
		require.NoError(t, err)
		return s.CachedInfo().State.Msgs == 1
	}, patient, soon)
	w.decides(w.says("fan", "hi"), "q")
	w.eventually(desk, "fan", queue)
}

func TestWrongRequestsNameTheField(t *testing.T) {
	w := newWorld(t)
	desk := w.replica()
	for _, c := range []struct {
		name string
		call func() error
		code codes.Code
		text string
	}{
		{"no account", func() error {
			_, err := desk.GetOwner(t.Context(), &agentroutingv1.GetOwnerRequest{Openid: "x"})
			return err
		}, codes.InvalidArgument, "account: "},
		{"unknown account", func() error {
			_, err := desk.GetOwner(t.Context(), &agentroutingv1.GetOwnerRequest{Account: "nope", Openid: "x"})
			return err
		}, codes.NotFound, "account: "},
		{"no fan", func() error {
			_, err := desk.GetOwner(t.Context(), &agentroutingv1.GetOwnerRequest{Account: shop})
			return err
		}, codes.InvalidArgument, "openid: "},
		{"no agent", func() error {
			_, err := desk.Accept(t.Context(), &agentroutingv1.AcceptRequest{Account: shop, Openid: "x", Agent: " "})
			return err
		}, codes.InvalidArgument, "agent: "},
		{"control character", func() error {
			_, err := desk.Accept(t.Context(), &agentroutingv1.AcceptRequest{Account: shop, Openid: "x", Agent: "a\nb"})
			return err
		}, codes.InvalidArgument, "agent: "},
		{"no key", func() error {
			_, err := desk.Reply(t.Context(), &agentroutingv1.ReplyRequest{Account: shop, Openid: "x", Agent: "a", Content: words("x")})
			return err
		}, codes.InvalidArgument, "idempotency_key: "},
		{"no content", func() error {
			_, err := desk.Reply(t.Context(), &agentroutingv1.ReplyRequest{Account: shop, Openid: "x", Agent: "a", IdempotencyKey: "k"})
			return err
		}, codes.InvalidArgument, "content: "},
		{"limit", func() error {
			_, err := desk.ListWaiting(t.Context(), &agentroutingv1.ListWaitingRequest{Limit: 501})
			return err
		}, codes.InvalidArgument, "limit: "},
		{"fan of the bot", func() error {
			_, err := desk.Accept(t.Context(), &agentroutingv1.AcceptRequest{Account: shop, Openid: "x", Agent: "a"})
			return err
		}, codes.FailedPrecondition, "does not wait"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.call()
			require.Equal(t, c.code, status.Code(err))
			require.ErrorContains(t, err, c.text)
		})
	}
	rec := w.owner(desk, "a stranger's openid")
	require.Equal(t, bot, rec.GetOwner().GetKind())
}

func TestConfig(t *testing.T) {
	require.NoError(t, agentrouting.DefaultConfig().Validate())
	err := agentrouting.Config{WaitingLimit: -1, ServingIdle: time.Millisecond, NativeIdle: 1}.Validate()
	for _, path := range []string{"waiting_limit: ", "serving_idle: ", "native_idle: ", "max_in_flight: "} {
		require.ErrorContains(t, err, path)
	}
	_, err = agentrouting.New(agentrouting.DefaultConfig(), agentrouting.Deps{})
	require.ErrorContains(t, err, "dependency")
}

func TestStopWithoutStartAndTwice(t *testing.T) {
	w := newWorld(t)
	_, service := w.startReplica(agentrouting.DefaultConfig())
	stop(t, service.Stop)
	stop(t, service.Stop)
}
