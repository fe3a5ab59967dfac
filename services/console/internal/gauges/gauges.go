// Package gauges measures the bus for alerts: how full each stream is, how much each service has still to read, and
// how many dead letters there are. The server knows all that also when the service that should read is gone.
//
// Every replica reports the same numbers: take one, never the sum.
package gauges

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/topology"
)

const (
	defaultEvery = 10 * time.Second
	// patience bounds one round.
	patience = 8 * time.Second
)

// Options of Gauges; all but Every required.
type Options struct {
	JetStream jetstream.JetStream
	Topology  *topology.Topology
	Meter     metric.MeterProvider
	Log       *slog.Logger
	// Every is how often the server is asked, however often metrics are read; 10 s when zero.
	Every time.Duration
}

// stream is the state of one stream.
type stream struct{ messages, bytes, limit int64 }

// reader is one service on one stream.
type reader struct{ service, stream string }

// Gauges asks the server now and then, and reports the last answer. A stream that could not be read is left out,
// so that an old number never passes for a new one. It is a lifecycle.Component.
type Gauges struct {
	o      Options
	limits map[string]int64

	mu      sync.Mutex // guards streams and waiting, which are replaced as a whole
	streams map[string]stream
	waiting map[reader]int64

	registration metric.Registration
	stop         context.CancelFunc
	done         chan struct{}
}

// New returns gauges that report once they are started.
func New(o Options) *Gauges {
	if o.Every <= 0 {
		o.Every = defaultEvery
	}
	g := &Gauges{o: o, limits: map[string]int64{}}
	for _, s := range o.Topology.Streams() {
		g.limits[s.Name] = s.MaxBytes
	}
	return g
}

// Name returns "bus gauges".
func (g *Gauges) Name() string { return "bus gauges" }

// Start begins to ask. It does not wait for the first answer.
func (g *Gauges) Start(ctx context.Context) error {
	if err := g.instrument(); err != nil {
		return fault.Wrap(fault.Internal, fmt.Errorf("make metrics of the bus: %w", err))
	}
	ctx, g.stop = context.WithCancel(context.WithoutCancel(ctx))
	g.done = make(chan struct{})
	go g.run(ctx)
	return nil
}

// Stop ends what Start began. It is safe without Start.
func (g *Gauges) Stop(context.Context) error {
	if g.stop == nil {
		return nil
	}
	g.stop()
	<-g.done
	return g.registration.Unregister()
}

func (g *Gauges) instrument() error {
	meter := g.o.Meter.Meter("github.com/wxbus/wxbus/services/console")
	messages, err1 := meter.Int64ObservableGauge("wxbus.bus.stream.messages", metric.WithDescription("Messages that a stream holds."))
	size, err2 := meter.Int64ObservableGauge("wxbus.bus.stream.size", metric.WithUnit("By"), metric.WithDescription("Bytes that a stream takes."))
	limit, err3 := meter.Int64ObservableGauge("wxbus.bus.stream.limit", metric.WithUnit("By"), metric.WithDescription("Bytes that a stream may take."))
	waiting, err4 := meter.Int64ObservableGauge("wxbus.bus.waiting",
		metric.WithDescription("Messages of a stream that a service has not finished: not delivered yet, or delivered and not acknowledged."))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	var err error
	g.registration, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		g.mu.Lock()
		defer g.mu.Unlock()
		for name, s := range g.streams {
			label := metric.WithAttributes(attribute.String("stream", name))
			o.ObserveInt64(messages, s.messages, label)
			o.ObserveInt64(size, s.bytes, label)
			o.ObserveInt64(limit, s.limit, label)
		}
		for r, n := range g.waiting {
			o.ObserveInt64(waiting, n, metric.WithAttributes(attribute.String("service", r.service), attribute.String("stream", r.stream)))
		}
		return nil
	}, messages, size, limit, waiting)
	return err
}

func (g *Gauges) run(ctx context.Context) {
	defer close(g.done)
	tick := time.NewTicker(g.o.Every)
	defer tick.Stop()
	for {
		if err := g.ask(ctx); err != nil && ctx.Err() == nil {
			g.o.Log.WarnContext(ctx, "state of the bus not read", logkey.Error, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// ask replaces what is reported by what the server says now.
func (g *Gauges) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	streams, waiting := map[string]stream{}, map[reader]int64{}
	var errs []error
	for name := range g.limits {
		if err := g.askStream(ctx, name, streams, waiting); err != nil {
			errs = append(errs, fmt.Errorf("stream %s: %w", name, err))
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.streams, g.waiting = streams, waiting
	return errors.Join(errs...)
}

func (g *Gauges) askStream(ctx context.Context, name string, streams map[string]stream, waiting map[reader]int64) error {
	s, err := g.o.JetStream.Stream(ctx, name)
	if err != nil {
		return err
	}
	state := s.CachedInfo().State
	found := map[reader]int64{}
	for _, c := range g.o.Topology.Consumers() {
		if c.Stream != name {
			continue
		}
		durable, err := s.Consumer(ctx, c.Config.Durable) // by name: listing is a right that nobody needs
		if err != nil {
			return err
		}
		info := durable.CachedInfo()
		found[reader{c.Service, name}] += int64(info.NumPending) + int64(info.NumAckPending)
	}
	maps.Copy(waiting, found)
	streams[name] = stream{messages: int64(state.Msgs), bytes: int64(state.Bytes), limit: g.limits[name]}
	return nil
}
