package decide

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/fault"
	gatewayv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/gateway/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/chat"
)

// metrics are the instruments of the decider. Labels are bounded: accounts come from the
// configuration, and a rule is never one.
type metrics struct {
	decisions metric.Int64Counter
	settled   metric.Float64Histogram
	offers    metric.Int64Counter
	sends     metric.Int64Counter
	webhooks  metric.Int64Counter
	models    metric.Int64Counter
	fans      metric.Int64Counter
	delays    metric.Int64Counter
	matchTime metric.Float64Histogram
}

func newMetrics(meter metric.Meter) (*metrics, error) {
	m := &metrics{}
	var errs [9]error
	m.decisions, errs[0] = meter.Int64Counter("wxbus.rule.decisions",
		metric.WithDescription("Decisions by account, first route, and whether a rule matched."))
	m.settled, errs[1] = meter.Float64Histogram("wxbus.rule.settle.duration", metric.WithUnit("s"),
		metric.WithDescription("Time from the first attempt of a push until its replies are settled, by last route."),
		metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 20, 30))
	m.offers, errs[2] = meter.Int64Counter("wxbus.rule.offers",
		metric.WithDescription("Offers to gateways by what was offered and outcome."))
	m.sends, errs[3] = meter.Int64Counter("wxbus.rule.sends",
		metric.WithDescription("Replies for the sender by outcome: accepted, refused, not_allowed, silent, failed; left_under_way: the fan's next reply may overtake it."))
	m.webhooks, errs[4] = meter.Int64Counter("wxbus.rule.webhooks",
		metric.WithDescription("Webhook calls by outcome: ok, failed, busy: too many slow actions at once."))
	m.models, errs[6] = meter.Int64Counter("wxbus.rule.chats",
		metric.WithDescription("Questions to chat models by outcome: ok, failed, busy, budget: the tokens of the day are used up."))
	m.fans, errs[7] = meter.Int64Counter("wxbus.rule.fan.changes",
		metric.WithDescription("Changes of what is kept about fans by outcome: ok, failed: given up, unavailable: tried again."))
	m.delays, errs[8] = meter.Int64Counter("wxbus.rule.delays",
		metric.WithDescription("Delayed replies by outcome: waited, cut_short: the fan's next push came, skipped: too many wait."))
	m.matchTime, errs[5] = meter.Float64Histogram("wxbus.rule.match.duration", metric.WithUnit("s"),
		metric.WithDescription("Time to find the winning rule."),
		metric.WithExplicitBucketBoundaries(1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 1e-3, 1e-2))
	return m, fault.Wrap(fault.Internal, errors.Join(errs[:]...))
}

func (m *metrics) decided(ctx context.Context, rec *rulev1.DecisionMade) {
	m.decisions.Add(ctx, 1, metric.WithAttributes(
		attribute.String("account", rec.GetAccount()), attribute.String("route", decision.RouteName(rec.GetRoute())),
		attribute.Bool("matched", rec.GetRule() != "")))
}

func (m *metrics) finished(ctx context.Context, rec *rulev1.DecisionMade, took time.Duration) {
	m.settled.Record(ctx, max(took, 0).Seconds(), metric.WithAttributes(
		attribute.String("account", rec.GetAccount()), attribute.String("route", decision.RouteName(rec.GetRoute()))))
}

func (m *metrics) offered(ctx context.Context, outcome gatewayv1.OfferOutcome, err error, success bool) {
	what, label := "reply", "unknown"
	if success {
		what = "success"
	}
	switch {
	case errors.Is(err, bus.ErrNoResponders):
		label = "nobody"
	case errors.Is(err, bus.ErrTimeout):
		label = "timeout"
	case err != nil:
		label = "error"
	case outcome == gatewayv1.OfferOutcome_OFFER_OUTCOME_DELIVERED:
		label = "delivered"
	case outcome == gatewayv1.OfferOutcome_OFFER_OUTCOME_UNDELIVERABLE:
		label = "undeliverable"
	}
	m.offers.Add(ctx, 1, metric.WithAttributes(attribute.String("offer", what), attribute.String("outcome", label)))
}

func (m *metrics) sent(ctx context.Context, outcome string) {
	m.sends.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
}

// asked counts a question to somebody outside.
func (m *metrics) asked(ctx context.Context, counter metric.Int64Counter, err error) {
	outcome := "ok"
	switch {
	case errors.Is(err, errBusy):
		outcome = "busy"
	case errors.Is(err, chat.ErrBudget):
		outcome = "budget"
	case err != nil:
		outcome = "failed"
	}
	counter.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
}

func (m *metrics) changed(ctx context.Context, outcome string) {
	m.fans.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
}

func (m *metrics) waited(ctx context.Context, outcome string) {
	m.delays.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
}
