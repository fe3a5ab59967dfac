package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
)

const messageID = "0af7651916cd43dd8448eb211c80319c"

func newTracer(sampler sdktrace.Sampler) (*tracetest.InMemoryExporter, *sdktrace.TracerProvider) {
	spans := tracetest.NewInMemoryExporter()
	return spans, sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans), sdktrace.WithSampler(sampler))
}

func TestOneTraceFromPublishToHandlerAndLinksAfterwards(t *testing.T) {
	spans, provider := newTracer(sdktrace.AlwaysSample())
	e := bustest.Start(t, bustest.WithTracer(provider))
	seen := make(chan trace.SpanContext, 2)
	bustest.Run(t, e.Conn.NewConsumer(ruleConsumer(nil), func(ctx context.Context, d *bus.Delivery) error {
		seen <- trace.SpanContextFromContext(ctx)
		if d.NumDelivered == 1 {
			return errors.New("once more")
		}
		return nil
	}))
	ctx, root := provider.Tracer("test").Start(t.Context(), "POST /wx/{account}")
	_, err := e.Conn.Publish(ctx, bus.Msg{Subject: inbound(t, 0, "oSecretFan"), ID: messageID, Data: []byte("x")})
	require.NoError(t, err)
	root.End()
	first, second := <-seen, <-seen
	require.Equal(t, root.SpanContext().TraceID(), first.TraceID(), "the handler must see the trace of the push")
	require.NotEqual(t, root.SpanContext().TraceID(), second.TraceID(), "a redelivery is a trace of its own")

	var send, redelivery tracetest.SpanStub
	require.Eventually(t, func() bool {
		for _, s := range spans.GetSpans() {
			switch {
			case s.SpanKind == trace.SpanKindProducer:
				send = s
			case s.SpanKind == trace.SpanKindConsumer && s.SpanContext.SpanID() == second.SpanID():
				redelivery = s
			}
		}
		return redelivery.Name != ""
	}, wait, wait/1000)
	require.Equal(t, "send wx.in.{account}.{partition}.{kind}.{openid}", send.Name)
	require.Equal(t, root.SpanContext().SpanID(), send.Parent.SpanID())
	require.Equal(t, "process wx.in.{account}.{partition}.{kind}.{openid}", redelivery.Name)
	require.False(t, redelivery.Parent.IsValid())
	require.Len(t, redelivery.Links, 1)
	require.Equal(t, send.SpanContext.SpanID(), redelivery.Links[0].SpanContext.SpanID(), "the link leads to the publish")
	for _, s := range spans.GetSpans() {
		require.NotContains(t, fmt.Sprint(s.Name, s.Attributes, s.Status), "oSecretFan")
		for _, a := range s.Attributes {
			if a.Key == "messaging.message.id" {
				require.Equal(t, messageID, a.Value.AsString())
			}
		}
	}
}

func TestUnsampledTraceStillTravels(t *testing.T) {
	spans, provider := newTracer(sdktrace.ParentBased(sdktrace.AlwaysSample()))
	e := bustest.Start(t, bustest.WithTracer(provider))
	parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	seen := make(chan trace.SpanContext, 1)
	bustest.Run(t, e.Conn.NewConsumer(ruleConsumer(nil), func(ctx context.Context, _ *bus.Delivery) error {
		seen <- trace.SpanContextFromContext(ctx)
		return nil
	}))
	_, err := e.Conn.Publish(trace.ContextWithSpanContext(t.Context(), parent), bus.Msg{Subject: inbound(t, 0, "a")})
	require.NoError(t, err)
	got := <-seen
	require.Equal(t, parent.TraceID(), got.TraceID(), "logs need the id")
	require.False(t, got.IsSampled(), "the decision of the first service counts")
	require.Empty(t, spans.GetSpans())
}

func TestReplayIsLinked(t *testing.T) {
	_, provider := newTracer(sdktrace.AlwaysSample())
	e := bustest.Start(t, bustest.WithTracer(provider))
	seen := make(chan trace.SpanContext, 1)
	bustest.Run(t, e.Conn.NewConsumer(ruleConsumer(nil), func(ctx context.Context, _ *bus.Delivery) error {
		seen <- trace.SpanContextFromContext(ctx)
		return nil
	}))
	ctx, span := provider.Tracer("test").Start(t.Context(), "requeue")
	defer span.End()
	_, err := e.Conn.Publish(ctx, bus.Msg{Subject: inbound(t, 0, "a"), Header: nats.Header{bus.HeaderReplay: {"rule"}}})
	require.NoError(t, err)
	require.NotEqual(t, span.SpanContext().TraceID(), (<-seen).TraceID())
}

func TestTraceParentIsThatOfThePropagator(t *testing.T) {
	for _, flags := range []trace.TraceFlags{0, trace.FlagsSampled} {
		sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{0xab, 15: 1}, SpanID: trace.SpanID{0xcd, 7: 2}, TraceFlags: flags})
		h := nats.Header{}
		propagation.TraceContext{}.Inject(trace.ContextWithSpanContext(t.Context(), sc), bus.Carrier(h))
		require.Equal(t, h["traceparent"][0], bus.FormatParent(sc))
	}
}

func TestCarrierKeepsTheCase(t *testing.T) {
	h := nats.Header{}
	bus.Carrier(h).Set("traceparent", "x")
	require.Equal(t, nats.Header{"traceparent": {"x"}}, h)
	require.Equal(t, "x", bus.Carrier(h).Get("traceparent"))
	require.Empty(t, bus.Carrier(h).Get("Traceparent"))
	require.Equal(t, []string{"traceparent"}, bus.Carrier(h).Keys())
}

func TestIdsWithAnOpenIDAreHashed(t *testing.T) {
	require.Equal(t, messageID, bus.SafeID(messageID))
	require.Equal(t, messageID+":settled", bus.SafeID(messageID+":settled"))
	for _, id := range []string{"shop:oSecretFan:7", "0AF7651916CD43DD8448EB211C80319C", messageID + "x", "short"} {
		require.Regexp(t, `^h-[0-9a-f]{32}$`, bus.SafeID(id))
	}
}
