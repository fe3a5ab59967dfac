package token

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/services/token/internal/refresh"
)

// metrics counts by account, mode and fault kind: all of them are bounded by configuration and code.
type metrics struct {
	refreshes metric.Int64Counter
	outside   metric.Int64Counter
}

func newMetrics(p metric.MeterProvider) (*metrics, error) {
	meter := p.Meter(scope)
	refreshes, err1 := meter.Int64Counter("wxbus.token.refreshes",
		metric.WithDescription("calls to WeChat's token API by account, what (token, jsapi, wx_card), mode (normal, forced) and result"))
	outside, err2 := meter.Int64Counter("wxbus.token.outside_refreshes",
		metric.WithDescription("tokens that went bad because another system refreshes with the same AppSecret"))
	return &metrics{refreshes, outside}, errors.Join(err1, err2)
}

// know makes what alerts count about an account exist at zero: a rate does not see the first count of a series that
// comes into being with it.
func (m *metrics) know(account string) {
	ctx := context.Background()
	m.outside.Add(ctx, 0, metric.WithAttributes(attribute.String("account", account)))
	for _, mode := range []string{"normal", "forced"} {
		m.refreshes.Add(ctx, 0, refreshLabels(account, refresh.Token, mode, "ok"))
	}
	m.refreshes.Add(ctx, 0, refreshLabels(account, refresh.Token, "normal", fault.Unavailable.String()))
}

// Refreshed implements refresh.Observer.
func (m *metrics) Refreshed(ctx context.Context, account string, kind refresh.Kind, mode, result string) {
	m.refreshes.Add(ctx, 1, refreshLabels(account, kind, mode, result))
}

func refreshLabels(account string, kind refresh.Kind, mode, result string) metric.MeasurementOption {
	what := string(kind)
	if kind == refresh.Token {
		what = "token"
	}
	return metric.WithAttributes(
		attribute.String("account", account), attribute.String("what", what), attribute.String("mode", mode), attribute.String("result", result))
}

// Outside implements refresh.Observer.
func (m *metrics) Outside(ctx context.Context, account string) {
	m.outside.Add(ctx, 1, metric.WithAttributes(attribute.String("account", account)))
}
