package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

const scope = "github.com/wxbus/wxbus/pkg/bus"

// The W3C headers. NATS headers keep their case (ADR-4), and so must a carrier: the HTTP one does not.
const (
	headerTraceParent = "traceparent"
	headerTraceState  = "tracestate"
)

// Carrier lets a W3C propagator read and write NATS headers as they are.
type Carrier nats.Header

var _ propagation.TextMapCarrier = Carrier(nil)

// Get returns the first value of key, by its exact case.
func (c Carrier) Get(key string) string { return nats.Header(c).Get(key) }

// Set replaces the value of key.
func (c Carrier) Set(key, value string) { c[key] = []string{value} }

// Keys returns all keys.
func (c Carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	return keys
}

var propagator = propagation.TraceContext{}

// traceParent is what goes into the headers of a message.
type traceParent struct{ parent, state string }

func parentOf(sc trace.SpanContext) traceParent {
	if !sc.IsValid() {
		return traceParent{}
	}
	return traceParent{parent: formatParent(sc), state: sc.TraceState().String()}
}

// formatParent writes a traceparent of version 00, as the propagator does through a map.
func formatParent(sc trace.SpanContext) string {
	var b [55]byte
	traceID, spanID := sc.TraceID(), sc.SpanID()
	copy(b[:], "00-")
	hex.Encode(b[3:], traceID[:])
	b[35] = '-'
	hex.Encode(b[36:], spanID[:])
	copy(b[52:], "-0")
	b[54] = '0' + byte(sc.TraceFlags()&trace.FlagsSampled)
	return string(b[:])
}

// startSend starts the span of a publish. An unsampled trace gets no span of ours, which costs nothing; its id still
// travels, for the logs and so that the next service does not start a trace of its own.
func (c *Conn) startSend(ctx context.Context, m *Msg) (trace.Span, traceParent) {
	sc := trace.SpanContextFromContext(ctx)
	if !c.tracing || (sc.IsValid() && !sc.IsSampled()) {
		return nil, parentOf(sc)
	}
	template := topology.Template(m.Subject)
	_, span := c.tracer.Start(ctx, "send "+template, trace.WithSpanKind(trace.SpanKindProducer))
	if span.IsRecording() {
		span.SetAttributes(messageAttributes("send", template, m.ID)...)
	}
	return span, parentOf(span.SpanContext())
}

func endSend(span trace.Span, err error) {
	if span == nil {
		return
	}
	if err != nil && span.IsRecording() {
		span.SetStatus(codes.Error, fault.KindOf(err).String())
		span.SetAttributes(attribute.String("error.type", fault.KindOf(err).String()))
	}
	span.End()
}

func messageAttributes(operation, template, id string) []attribute.KeyValue {
	attrs := []attribute.KeyValue{
		attribute.String("messaging.system", "nats"),
		attribute.String("messaging.operation.name", operation),
		attribute.String("messaging.operation.type", operation),
		attribute.String("messaging.destination.template", template),
	}
	if id != "" {
		attrs = append(attrs, attribute.String("messaging.message.id", SafeID(id)))
	}
	return attrs
}

// SafeID returns id when it is one of our hashes (32 lower-case hex characters, perhaps with a suffix
// after ':'), else its own hash. Some idempotency keys hold an openid, which belongs in no span or log.
func SafeID(id string) string {
	if len(id) >= 32 && (len(id) == 32 || id[32] == ':') && isHex(id[:32]) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "h-" + hex.EncodeToString(sum[:16])
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
