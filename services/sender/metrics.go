package sender

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/services/sender/internal/pace"
)

// metrics are counted by account, endpoint, class of error code, lane and state: all of them are bounded by
// configuration and code.
type metrics struct {
	calls     metric.Float64Histogram
	settled   metric.Int64Counter
	ambiguous metric.Int64Counter
	breakers  metric.Int64Counter
	open      metric.Int64Gauge
	parked    metric.Int64Counter
}

func newMetrics(p metric.MeterProvider) (*metrics, error) {
	meter := p.Meter(scope)
	calls, err1 := meter.Float64Histogram("wxbus.sender.call.duration", metric.WithUnit("s"),
		metric.WithDescription("calls to WeChat that send, by account, endpoint and class of the answer"),
		metric.WithExplicitBucketBoundaries(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10))
	settled, err2 := meter.Int64Counter("wxbus.sender.settled",
		metric.WithDescription("messages that came to an end by account, lane and state"))
	ambiguous, err3 := meter.Int64Counter("wxbus.sender.ambiguous",
		metric.WithDescription("messages of which nobody knows whether the fan got them"))
	breakers, err4 := meter.Int64Counter("wxbus.sender.breaker.changes",
		metric.WithDescription("changes of the circuit breaker by account and new state"))
	open, err5 := meter.Int64Gauge("wxbus.sender.breaker.open",
		metric.WithDescription("1 while the circuit breaker of an account and endpoint lets nothing or one call through"))
	parked, err6 := meter.Int64Counter("wxbus.sender.parked",
		metric.WithDescription("messages that left the queue for a later time by account and WeChat's errcode; 0 for a reason of ours"))
	return &metrics{calls, settled, ambiguous, breakers, open, parked}, errors.Join(err1, err2, err3, err4, err5, err6)
}

// know makes what alerts count about an account exist at zero: a rate does not see the first count of a series that
// comes into being with it.
func (m *metrics) know(account string) {
	ctx := context.Background()
	m.ambiguous.Add(ctx, 0, metric.WithAttributes(attribute.String("account", account)))
	m.parked.Add(ctx, 0, metric.WithAttributes(attribute.String("account", account), attribute.Int("errcode", quotaUsedUp)))
	for _, state := range []senderv1.SendState{senderv1.SendState_SEND_STATE_FAILED, senderv1.SendState_SEND_STATE_SENT} {
		m.settled.Add(ctx, 0, settledLabels(account, senderv1.Lane_LANE_RULE, state))
	}
	m.open.Record(ctx, 0, metric.WithAttributes(attribute.String("account", account), attribute.String("endpoint", kfEndpoint)))
}

const (
	// quotaUsedUp is WeChat's "reach max api daily quota limit".
	quotaUsedUp = 45009
	// kfEndpoint is where replies go.
	kfEndpoint = "custom_send"
)

// Parked implements deliver.Observer.
func (m *metrics) Parked(ctx context.Context, account string, errcode int32) {
	m.parked.Add(ctx, 1, metric.WithAttributes(attribute.String("account", account), attribute.Int("errcode", int(errcode))))
}

// Called implements deliver.Observer.
func (m *metrics) Called(ctx context.Context, account, endpoint, class string, took time.Duration) {
	m.calls.Record(ctx, took.Seconds(), metric.WithAttributes(
		attribute.String("account", account), attribute.String("endpoint", endpoint), attribute.String("class", class)))
}

// Settled implements deliver.Observer.
func (m *metrics) Settled(ctx context.Context, account string, lane senderv1.Lane, state senderv1.SendState) {
	m.settled.Add(ctx, 1, settledLabels(account, lane, state))
	if state == senderv1.SendState_SEND_STATE_AMBIGUOUS {
		m.ambiguous.Add(ctx, 1, metric.WithAttributes(attribute.String("account", account)))
	}
}

func settledLabels(account string, lane senderv1.Lane, state senderv1.SendState) metric.MeasurementOption {
	return metric.WithAttributes(
		attribute.String("account", account), attribute.String("lane", word(lane.String(), "LANE_")),
		attribute.String("state", word(state.String(), "SEND_STATE_")))
}

// breaker is told by the gates about every change of a circuit breaker.
func (m *metrics) breaker(key pace.Key, state string) {
	account, endpoint := attribute.String("account", key.Account), attribute.String("endpoint", key.Endpoint)
	open := int64(1)
	if state == "closed" {
		open = 0
	}
	m.breakers.Add(context.Background(), 1, metric.WithAttributes(account, endpoint, attribute.String("state", state)))
	m.open.Record(context.Background(), open, metric.WithAttributes(account, endpoint))
}

func word(name, prefix string) string { return strings.ToLower(strings.TrimPrefix(name, prefix)) }
