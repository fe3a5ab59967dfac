package agentrouting

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/wxbus/wxbus/pkg/telemetry"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

const scope = "github.com/wxbus/wxbus/services/agent-routing"

// instrument counts changes of owners by kind and promises to fans, and reports how many fans each kind has. Every
// replica reports the same numbers of fans: take one, never the sum.
func instrument(tel *telemetry.Telemetry, db *store.Store) (meters, error) {
	if tel == nil {
		return meters{}, nil
	}
	meter := tel.MeterProvider.Meter(scope)
	changes, err := meter.Int64Counter("wxbus.owner.changes", metric.WithDescription("Changes of who may talk to a fan, by the new owner."))
	if err != nil {
		return meters{}, fmt.Errorf("create metric: %w", err)
	}
	promises, err := meter.Int64Counter("wxbus.desk.promises", metric.WithDescription("Promises of groups to fans that were kept or broken, by target."))
	if err != nil {
		return meters{}, fmt.Errorf("create metric: %w", err)
	}
	_, err = meter.Int64ObservableGauge("wxbus.owner.fans", metric.WithDescription("Fans who are not with the rules, by owner."),
		metric.WithInt64Callback(func(ctx context.Context, o metric.Int64Observer) error {
			return observe(ctx, db, func(kind domain.Kind, n int64) { o.Observe(n, byKind(kind)) })
		}))
	if err != nil {
		return meters{}, fmt.Errorf("create metric: %w", err)
	}
	return meters{changes, promises}, nil
}

// meters are the counters of the desk; their zero value counts nothing.
type meters struct{ changes, promises metric.Int64Counter }

func (m meters) changed(ctx context.Context, to domain.Kind) {
	if m.changes != nil {
		m.changes.Add(ctx, 1, byKind(to))
	}
}

func (m meters) promised(ctx context.Context, o app.Outcome) {
	if m.promises != nil {
		m.promises.Add(ctx, 1, byOutcome(o))
	}
}

// promising begins the counts of a group at zero, so that the first broken promise is seen as a rise.
func (m meters) promising(ctx context.Context, g domain.Group) {
	for _, t := range domain.AllTargets {
		if m.promises == nil || g.Target(t) == 0 {
			continue
		}
		for _, broken := range []bool{false, true} {
			m.promises.Add(ctx, 0, byOutcome(app.Outcome{Group: g.ID, Target: t, Broken: broken}))
		}
	}
}

func byOutcome(o app.Outcome) metric.MeasurementOption {
	outcome := "kept"
	if o.Broken {
		outcome = "broken"
	}
	return metric.WithAttributes(attribute.String("group", o.Group), attribute.String("target", o.Target.String()), attribute.String("outcome", outcome))
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
