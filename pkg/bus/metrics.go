package bus

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

// metrics are the instruments of one Conn. Labels are bounded: service, stream, outcome; never an
// account, a subject or a fan.
type metrics struct {
	published     metric.Int64Counter
	publishTime   metric.Float64Histogram
	connections   metric.Int64Counter
	handled       metric.Int64Counter
	handleTime    metric.Float64Histogram
	ackErrors     metric.Int64Counter
	lanes         metric.Int64UpDownCounter
	inFlight      metric.Int64UpDownCounter
	pending       metric.Int64Gauge
	publishLabels sync.Map // publishKey -> *labelled
	streams       sync.Map // stream -> true, those that alerts can count on
}

type publishKey struct{ stream, outcome string }

// labelled is one set of labels in the shapes that instruments take, made once so that a measurement
// allocates nothing.
type labelled struct {
	add    []metric.AddOption
	record []metric.RecordOption
}

func newLabelled(attrs ...attribute.KeyValue) *labelled {
	option := metric.WithAttributeSet(attribute.NewSet(attrs...))
	return &labelled{add: []metric.AddOption{option}, record: []metric.RecordOption{option}}
}

// handlerBounds are the buckets of durations in seconds: from an in-memory match to a hung webhook.
var handlerBounds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

func newMetrics(provider metric.MeterProvider) (*metrics, error) {
	meter := provider.Meter(scope)
	m := &metrics{}
	var errs [9]error
	m.published, errs[0] = meter.Int64Counter("wxbus.bus.published",
		metric.WithDescription("Publishes by stream and outcome."))
	m.publishTime, errs[1] = meter.Float64Histogram("wxbus.bus.publish.duration", metric.WithUnit("s"),
		metric.WithDescription("Time from a publish to the server's answer."), metric.WithExplicitBucketBoundaries(handlerBounds...))
	m.connections, errs[2] = meter.Int64Counter("wxbus.bus.connection.events",
		metric.WithDescription("Events of NATS connections: disconnected, reconnected, denied, slow_consumer, error."))
	m.handled, errs[3] = meter.Int64Counter("wxbus.bus.handled",
		metric.WithDescription("Deliveries by service, stream and outcome: ack, retry, dead_letter, skipped."))
	m.handleTime, errs[4] = meter.Float64Histogram("wxbus.bus.handler.duration", metric.WithUnit("s"),
		metric.WithDescription("Time in the handler."), metric.WithExplicitBucketBoundaries(handlerBounds...))
	m.ackErrors, errs[5] = meter.Int64Counter("wxbus.bus.ack.errors",
		metric.WithDescription("Acks, naks and terms that the server did not take; the message comes again."))
	m.lanes, errs[6] = meter.Int64UpDownCounter("wxbus.bus.lanes.active",
		metric.WithDescription("Keys with work now."))
	m.inFlight, errs[7] = meter.Int64UpDownCounter("wxbus.bus.in_flight",
		metric.WithDescription("Messages that a consumer holds now."))
	m.pending, errs[8] = meter.Int64Gauge("wxbus.bus.pending",
		metric.WithDescription("Messages of a partition that wait on the server, as of the last delivery."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fault.Wrap(fault.Internal, err)
	}
	for _, event := range []string{eventDisconnected, eventReconnected, eventDenied, eventSlowConsumer, eventError} {
		m.connections.Add(context.Background(), 0, metric.WithAttributes(attribute.String("event", event)))
	}
	return m, nil
}

func (m *metrics) publish(ctx context.Context, subject string, err error, duplicate bool, took time.Duration) {
	labels := m.publishLabel(ctx, publishKey{topology.StreamOf(subject), publishOutcome(err, duplicate)})
	m.published.Add(ctx, 1, labels.add...)
	m.publishTime.Record(ctx, took.Seconds(), labels.record...)
}

func (m *metrics) publishLabel(ctx context.Context, key publishKey) *labelled {
	if v, ok := m.publishLabels.Load(key); ok {
		return v.(*labelled)
	}
	labels := newLabelled(attribute.String("stream", key.stream), attribute.String("outcome", key.outcome))
	m.publishLabels.Store(key, labels)
	if _, known := m.streams.LoadOrStore(key.stream, true); !known {
		m.promise(ctx, key.stream)
	}
	return labels
}

// promise makes the outcomes that alerts count exist at zero: a rate does not see the first count of a series
// that comes into being with it.
func (m *metrics) promise(ctx context.Context, stream string) {
	for _, outcome := range []string{"stream_full", "timeout"} {
		m.published.Add(ctx, 0, newLabelled(attribute.String("stream", stream), attribute.String("outcome", outcome)).add...)
	}
}

// publishOutcome returns a label for the result of a publish.
func publishOutcome(err error, duplicate bool) string {
	switch {
	case err == nil && duplicate:
		return "duplicate"
	case err == nil:
		return "stored"
	}
	for _, o := range publishOutcomes {
		if errors.Is(err, o.err) {
			return o.label
		}
	}
	return "error"
}

var publishOutcomes = [...]struct {
	err   error
	label string
}{
	{ErrTimeout, "timeout"}, {ErrNoStream, "no_stream"}, {ErrStreamFull, "stream_full"},
	{ErrDuplicateInProcess, "in_process"}, {ErrWrongSequence, "wrong_sequence"}, {ErrDisconnected, "disconnected"},
	{ErrThrottled, "throttled"}, {ErrTooLarge, "too_large"}, {ErrUnavailable, "unavailable"},
	{ErrSubjectFull, "subject_full"}, {ErrWrongStream, "wrong_stream"},
}

// The events of a connection that are counted.
const (
	eventDisconnected = "disconnected"
	eventReconnected  = "reconnected"
	eventDenied       = "denied"
	eventSlowConsumer = "slow_consumer"
	eventError        = "error"
)

func (m *metrics) connection(event string) {
	m.connections.Add(context.Background(), 1, metric.WithAttributes(attribute.String("event", event)))
}
