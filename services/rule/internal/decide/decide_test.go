package decide_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/topology"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	gatewayv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/gateway/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
	"github.com/wxbus/wxbus/services/rule/internal/decide"
	"github.com/wxbus/wxbus/services/rule/internal/fan"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
	"github.com/wxbus/wxbus/services/rule/internal/webhook"
)

func TestMain(m *testing.M) { testkit.Main(m) }

type fixedRules struct{ set *ruleset.Set }

func (f fixedRules) Set() *ruleset.Set { return f.set }

type nobody struct{}

func (nobody) Of(string, string) (string, uint64) { return "", 0 }

type sender struct {
	senderv1.SenderServiceClient
	mu   sync.Mutex // guards keys
	keys map[string]string
}

func (s *sender) Send(_ context.Context, req *senderv1.SendRequest, _ ...grpc.CallOption) (*senderv1.SendResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := req.GetContent().GetText().GetContent()
	if known, ok := s.keys[req.GetIdempotencyKey()]; ok && known != text {
		return nil, fault.New(fault.Internal, "one key, two contents")
	}
	s.keys[req.GetIdempotencyKey()] = text
	return &senderv1.SendResponse{}, nil
}

// decider returns one that answers every text with two texts of its name.
func decider(t *testing.T, env *bustest.Env, s *sender, name string) *decide.Decider {
	t.Helper()
	rules, err := ruleset.Parse([]byte(fmt.Sprintf("rules:\n  - {name: %[1]s, match: any, do: [{reply: %[1]s 1}, {reply: %[1]s 2}]}", name)), ruleset.Options{})
	require.NoError(t, err)
	set, err := ruleset.Compile(name, rules)
	require.NoError(t, err)
	accounts, err := account.NewDirectory([]account.Account{{
		Name: "shop", AppID: "wx0000000000000001", Reply: account.ReplyPassive, Mode: account.ModePlaintext, AllowInsecure: true, Token: secret.New("token123"),
	}})
	require.NoError(t, err)
	conn := env.NewConn(t, name)
	fans := fan.New(slog.New(slog.DiscardHandler))
	require.NoError(t, fans.Start(t.Context(), conn.JS()))
	t.Cleanup(func() { require.NoError(t, fans.Stop(context.WithoutCancel(t.Context()))) })
	d, err := decide.New(decide.Options{
		AttemptTimeout: time.Second, MinTimeLeft: 10 * time.Millisecond, SendPatience: time.Second,
		Accounts: accounts, Bus: conn, Records: decision.NewStore(conn, env.Topology), Sender: s,
		Rules: fixedRules{set}, Owners: nobody{}, Fans: fans, SlowActions: 8, MaxDelayed: 8,
		Tracer: tracenoop.NewTracerProvider().Tracer(""), Meter: metricnoop.NewMeterProvider().Meter(""),
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Life: t.Context(),
	})
	require.NoError(t, err)
	return d
}

func delivery(t *testing.T, ev *eventv1.InboundEvent, n uint64) *bus.Delivery {
	t.Helper()
	data, err := proto.Marshal(ev)
	require.NoError(t, err)
	return &bus.Delivery{Data: data, NumDelivered: n}
}

func event(id int) *eventv1.InboundEvent {
	now := time.Now()
	return &eventv1.InboundEvent{
		Id: fmt.Sprintf("%032x", id), Account: "shop", Openid: fmt.Sprintf("fan%d", id), Kind: eventv1.EventKind_EVENT_KIND_MESSAGE, MsgType: "text",
		ReceivedUnixMs: now.UnixMilli(), PassiveDeadlineUnixMs: now.Add(2 * time.Second).UnixMilli(), GatewayInstance: "gw-1",
		AcceptsPassive: true, ReplyMode: eventv1.ReplyMode_REPLY_MODE_PASSIVE,
		Payload: &eventv1.InboundEvent_Text{Text: &eventv1.TextMessage{Content: "x"}},
	}
}

// gateway plays gw-1: it decides by the event whether it delivered, and stays with that.
func gateway(t *testing.T, env *bustest.Env) func() map[string][]string {
	t.Helper()
	var mu sync.Mutex // guards written
	written := map[string][]string{}
	subject, err := topology.SubjectOffer("gw-1")
	require.NoError(t, err)
	responder, err := env.Conn.Respond(subject, "", func(_ context.Context, m *nats.Msg) ([]byte, error) {
		offer := &gatewayv1.OfferReplyRequest{}
		if err := proto.Unmarshal(m.Data, offer); err != nil {
			return nil, err
		}
		outcome := gatewayv1.OfferOutcome_OFFER_OUTCOME_UNDELIVERABLE
		mu.Lock()
		defer mu.Unlock()
		if offer.GetEventId()[31]%2 == 0 {
			outcome = gatewayv1.OfferOutcome_OFFER_OUTCOME_DELIVERED
			written[offer.GetEventId()] = append(written[offer.GetEventId()], offer.GetContent().GetText().GetContent())
		}
		return proto.Marshal(&gatewayv1.OfferReplyResponse{Outcome: outcome})
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, responder.Close(context.Background())) })
	return func() map[string][]string {
		mu.Lock()
		defer mu.Unlock()
		return written
	}
}

func TestTwoProcessesWithDifferentRulesMakeOneDecision(t *testing.T) {
	env := bustest.Start(t)
	s := &sender{keys: map[string]string{}}
	written := gateway(t, env)
	deciders := []*decide.Decider{decider(t, env, s, "one"), decider(t, env, s, "two")}
	const events = 40
	var wg sync.WaitGroup
	errs := make(chan error, 2*events)
	for id := range events {
		ev := event(id)
		for i, d := range deciders {
			wg.Go(func() { errs <- d.Handle(t.Context(), delivery(t, ev, uint64(1+i))) })
		}
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}

	store := decision.NewStore(env.Conn, env.Topology)
	for id := range events {
		ev := event(id)
		rec, _, err := store.Get(t.Context(), "shop", ev.GetOpenid(), ev.GetId())
		require.NoError(t, err)
		first, second := rec.GetRule()+" 1", rec.GetRule()+" 2"
		require.Equal(t, second, s.keys[ev.GetId()+":1"])
		for _, body := range written()[ev.GetId()] {
			require.Equal(t, first, body, "the gateway is only ever offered one body")
		}
		if ev.GetId()[31]%2 == 0 {
			require.Equal(t, rulev1.Route_ROUTE_PASSIVE, rec.GetRoute())
			require.NotContains(t, s.keys, ev.GetId()+":0")
		} else {
			require.Equal(t, rulev1.Route_ROUTE_ASYNC, rec.GetRoute())
			require.Equal(t, first, s.keys[ev.GetId()+":0"])
		}
	}
}

// The first handler is cut off at another moment each time, as by a crash.
func TestAHandlerThatDiesAtAnyMomentIsTakenOver(t *testing.T) {
	env := bustest.Start(t)
	s := &sender{keys: map[string]string{}}
	gateway(t, env)
	one, two := decider(t, env, s, "one"), decider(t, env, s, "two")
	store := decision.NewStore(env.Conn, env.Topology)
	for id := range 60 {
		ev := event(id)
		dying, cancel := context.WithTimeout(t.Context(), time.Duration(id)*50*time.Microsecond)
		err := one.Handle(dying, delivery(t, ev, 1))
		cancel()
		if err != nil {
			require.Equal(t, fault.Retry, fault.Dispose(err), "%v", err)
			require.NoError(t, two.Handle(t.Context(), delivery(t, ev, 2)))
		}
		rec, _, err := store.Get(t.Context(), "shop", ev.GetOpenid(), ev.GetId())
		require.NoError(t, err)
		require.True(t, decision.Final(rec.GetRoute()) || decision.AnswerFor(rec, time.Now()) == decision.Serve)
		require.Equal(t, rec.GetRule()+" 2", s.keys[ev.GetId()+":1"])
	}
}

type countedWebhook struct{ calls int }

func (c *countedWebhook) Call(context.Context, webhook.Question) (webhook.Answer, error) {
	c.calls++
	return webhook.Answer{Replies: []*eventv1.Content{{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: fmt.Sprint("answer ", c.calls)}}}}}, nil
}

func TestABusinessSystemIsNotAskedAgainOnceItIsDecided(t *testing.T) {
	env := bustest.Start(t)
	s := &sender{keys: map[string]string{}}
	d := decider(t, env, s, "one")
	rules, err := ruleset.Parse([]byte("rules:\n  - {match: any, do: [{webhook: {url: 'https://a'}}]}"), ruleset.Options{})
	require.NoError(t, err)
	set, err := ruleset.Compile("v", rules)
	require.NoError(t, err)
	hook := &countedWebhook{}
	d.Rules, d.Webhooks = fixedRules{set}, hook
	ev := event(1)
	ev.ReplyMode = eventv1.ReplyMode_REPLY_MODE_ACK
	for n := range uint64(3) {
		require.NoError(t, d.Handle(t.Context(), delivery(t, ev, n+1)))
	}
	require.Equal(t, 1, hook.calls)
	require.Equal(t, map[string]string{ev.GetId() + ":0": "answer 1"}, s.keys)
}

func TestAnEventThatCannotBeReadIsADeadLetter(t *testing.T) {
	d := decider(t, bustest.Start(t), &sender{}, "one")
	for name, data := range map[string][]byte{"garbage": {0xff, 0xff}, "no id": {}} {
		err := d.Handle(t.Context(), &bus.Delivery{Data: data, NumDelivered: 1})
		require.Equal(t, fault.DeadLetter, fault.Dispose(err), name)
	}
}

func TestAnEventWaitsForNATSAndIsNotLost(t *testing.T) {
	env := bustest.Start(t)
	d := decider(t, env, &sender{keys: map[string]string{}}, "one")
	require.NoError(t, env.Server.Stop(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := d.Handle(ctx, delivery(t, event(1), 1))
	require.Equal(t, fault.Retry, fault.Dispose(err), "%v", errors.Unwrap(err))
}
