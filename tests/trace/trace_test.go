package trace

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/process"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

const (
	server   = oteltrace.SpanKindServer
	client   = oteltrace.SpanKindClient
	producer = oteltrace.SpanKindProducer
	consumer = oteltrace.SpanKindConsumer
	internal = oteltrace.SpanKindInternal
)

func TestOneTraceFromThePushToWeChatsAPI(t *testing.T) {
	w := start(t, "")
	require.Equal(t, firstReply, w.push(t))
	got := within(t, w.tel, map[edge]int{
		{spanPush, server, ""}:                         1,
		{spanSendIn, producer, spanPush}:               1,
		{spanProcessIn, consumer, spanSendIn}:          3,
		{spanDecide, internal, spanProcessIn}:          1,
		{spanSendDecision, producer, spanDecide}:       1, // the decision with the claim of the gateway
		{spanSendDecision, producer, spanProcessIn}:    1, // the claim settled as delivered
		{spanReadDecision, consumer, spanSendDecision}: 1,
		{spanAskGateway, client, spanProcessIn}:        1,
		{spanGateway, server, spanAskGateway}:          1,
		{spanSender, client, spanProcessIn}:            1,
		{spanSender, server, spanSender}:               1,
		{spanSendOut, producer, spanSender}:            1,
		{spanProcessOut, consumer, spanSendOut}:        1,
		{spanToken, client, spanProcessOut}:            1,
		{spanToken, server, spanToken}:                 1,
		{spanWeChat, client, spanProcessOut}:           1,
		{spanSendDelivery, producer, spanProcessOut}:   2, // attempted, settled
	})
	t.Logf("the trace of one push with two replies:\n%s", got)

	readers := map[string]bool{}
	for _, s := range got.spans {
		if s.Name == spanProcessIn {
			service, _, _ := strings.Cut(attribute(s, "messaging.consumer.group.name"), "-")
			readers[service] = true
		}
	}
	require.Equal(t, map[string]bool{"rule": true, "sender": true, "agent": true}, readers)

	// Which spans are below which, not only below what name.
	rule := got.byID[got.one(t, spanDecide, internal).Parent.SpanID()]
	require.Equal(t, rule.SpanContext.SpanID(), got.one(t, spanAskGateway, client).Parent.SpanID())
	require.Equal(t, rule.SpanContext.SpanID(), got.one(t, spanSender, client).Parent.SpanID())
	require.Equal(t, got.one(t, spanSender, client).SpanContext.SpanID(), got.one(t, spanSender, server).Parent.SpanID())
	require.Equal(t, got.one(t, spanSender, server).SpanContext.SpanID(), got.one(t, spanSendOut, producer).Parent.SpanID())

	sends := w.weChat.sent()
	require.Len(t, sends, 1)
	require.Equal(t, secondReply, sends[0].text)
	require.Empty(t, sends[0].header.Get("traceparent"), "our trace ends with the span of the call: WeChat has no use for its id")
	keepsSecrets(t, w.tel)
}

// busySender is the sender service as a caller sees it when its first call fails.
type busySender struct {
	senderv1.UnimplementedSenderServiceServer
	calls atomic.Int32
}

// Send implements senderv1.SenderServiceServer.
func (s *busySender) Send(_ context.Context, req *senderv1.SendRequest) (*senderv1.SendResponse, error) {
	if s.calls.Add(1) == 1 {
		return nil, fault.New(fault.Unavailable, "no leader yet")
	}
	return &senderv1.SendResponse{Id: req.GetIdempotencyKey()}, nil
}

func (s *busySender) module() process.Module {
	return process.Module{
		Name: "sender", Section: config.Section{Name: "sender", Into: &struct{}{}},
		Build: func(_ context.Context, rt *process.Runtime) (lifecycle.Component, error) {
			senderv1.RegisterSenderServiceServer(rt.GRPC(), s)
			return lifecycle.NewGroup(rt.Log).With(lifecycle.Options{Name: "sender"}), nil
		},
	}
}

func TestARedeliveryIsATraceOfItsOwnLinkedToTheFirst(t *testing.T) {
	var sender busySender
	w := start(t, "rule: {send_patience: 0s}\n", sender.module())
	require.Equal(t, firstReply, w.push(t))
	first := within(t, w.tel, map[edge]int{
		{spanProcessIn, consumer, spanSendIn}: 2, // rule, agent-routing
		{spanSender, server, spanSender}:      1,
	})
	sent := first.one(t, spanSendIn, producer).SpanContext
	var again tracetest.SpanStub
	require.Eventually(t, func() bool {
		for _, s := range w.tel.Named(spanProcessIn) {
			if attribute(s, "wxbus.deliveries") == "2" {
				again = s
				return true
			}
		}
		return false
	}, 30*time.Second, 10*time.Millisecond, "no second delivery")

	require.Contains(t, attribute(again, "messaging.consumer.group.name"), "rule")
	require.False(t, again.Parent.IsValid(), "a redelivery is a root")
	require.NotEqual(t, sent.TraceID(), again.SpanContext.TraceID())
	require.Len(t, again.Links, 1)
	require.Equal(t, sent.TraceID(), again.Links[0].SpanContext.TraceID())
	require.Equal(t, sent.SpanID(), again.Links[0].SpanContext.SpanID(), "the link leads to the publish of the event")

	second := newTree(w.tel.Spans(), again.SpanContext.TraceID())
	call := second.one(t, spanSender, client)
	require.Equal(t, again.SpanContext.SpanID(), call.Parent.SpanID(), "what the redelivery does is in its trace\n%s", second)
	require.Equal(t, int32(2), sender.calls.Load())
	keepsSecrets(t, w.tel)
}
