package process

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/wxbus/wxbus/pkg/clock"
	"github.com/wxbus/wxbus/pkg/fault"
)

const scope = "github.com/wxbus/wxbus/pkg/process"

// clockComponent compares the clock of the process with those of the NATS servers, and says in a metric how far off it
// is. A server inside the process has the same clock.
type clockComponent struct {
	p        *Process
	observed metric.Registration
}

func (*clockComponent) Name() string { return "clock" }

func (c *clockComponent) Start(ctx context.Context) error {
	meter := c.p.rt.Tel.MeterProvider.Meter(scope)
	offset, err := meter.Float64ObservableGauge("wxbus.process.clock.offset", metric.WithUnit("s"),
		metric.WithDescription("How far the clock of this machine is ahead of those of most NATS servers; negative when it is behind."))
	if err != nil {
		return fault.Wrap(fault.Internal, fmt.Errorf("clock metric: %w", err))
	}
	c.observed, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveFloat64(offset, c.p.clock.Ahead().Seconds())
		return nil
	}, offset)
	if err != nil {
		return fault.Wrap(fault.Internal, fmt.Errorf("clock metric: %w", err))
	}
	if c.p.nats != nil {
		return nil
	}
	var streams []string
	for _, s := range c.p.rt.Topology.Streams() {
		streams = append(streams, s.Name)
	}
	c.p.clock.Follow(ctx, clock.Servers(c.p.rt.Bus.JS(), time.Now, streams, c.p.shared.NATS.Replicas))
	return nil
}

func (c *clockComponent) Stop(context.Context) error {
	c.p.clock.Close()
	if c.observed == nil {
		return nil
	}
	return c.observed.Unregister()
}
