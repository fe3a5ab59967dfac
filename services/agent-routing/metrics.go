package agentrouting

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/wxbus/wxbus/pkg/telemetry"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

const scope = "github.com/wxbus/wxbus/services/agent-routing"

// instrument counts changes of owners by kind and reports how many fans each kind has. Every
// replica reports the same numbers of fans: take one, never the sum.
func instrument(tel *telemetry.Telemetry, db *store.Store) (func(context.Context, domain.Kind), error) {
	if tel == nil {
		return func(context.Context, domain.Kind) {}, nil
	}
	meter := tel.MeterProvider.Meter(scope)
	changes, err := meter.Int64Counter("wxbus.owner.changes", metric.WithDescription("Changes of who may talk to a fan, by the new owner."))
	if err != nil {
		return nil, fmt.Errorf("create metric: %w", err)
	}
	_, err = meter.Int64ObservableGauge("wxbus.owner.fans", metric.WithDescription("Fans who are not with the rules, by owner."),
		metric.WithInt64Callback(func(ctx context.Context, o metric.Int64Observer) error {
			return observe(ctx, db, func(kind domain.Kind, n int64) { o.Observe(n, byKind(kind)) })
		}))
	if err != nil {
		return nil, fmt.Errorf("create metric: %w", err)
	}
	return func(ctx context.Context, to domain.Kind) { changes.Add(ctx, 1, byKind(to)) }, nil
}

func byKind(k domain.Kind) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("owner", k.String()))
}

// observe counts fans by owner. Nothing is reported while the database is away.
func observe(ctx context.Context, db *store.Store, report func(domain.Kind, int64)) error {
	q, err := db.Query()
	if err != nil {
		return nil //nolint:nilerr // a metric that cannot be read is left out
	}
	for _, kind := range []domain.Kind{domain.Queue, domain.Agent, domain.Native} {
		n, err := q.OwnedBy(ctx, kind)
		if err != nil {
			return fmt.Errorf("count fans: %w", err)
		}
		report(kind, n)
	}
	return nil
}
