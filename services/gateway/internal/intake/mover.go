package intake

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
)

// MoverOptions tune the mover; zero fields take their defaults.
type MoverOptions struct {
	// Patience is how long one delivery waits for the home stream before it counts as a failed try.
	Patience time.Duration
	// MaxInFlight bounds the spilled pushes that are being moved.
	MaxInFlight int
	// MaxPause is the longest pause between two tries at the home stream.
	MaxPause time.Duration
	// Home takes what comes home; the connection when nil.
	Home Bus
	// AtHome hears of each push that is home, by its id; may be nil.
	AtHome func(id string)
}

const (
	defaultPatience    = time.Hour
	defaultInFlight    = 64
	defaultMaxPause    = 5 * time.Second
	firstPause         = 50 * time.Millisecond
	homePublishTimeout = 2 * time.Second
)

// Mover brings spilled pushes home, in the order of each fan. It is a lifecycle component; one replica
// moves at a time, the others stand by.
type Mover struct {
	consumer *bus.Consumer
	bus      Bus
	maxPause time.Duration
	atHome   func(id string)
	moved    func(ctx context.Context, away time.Duration)
	stopping chan struct{}
	stop     sync.Once
}

// NewMover returns a mover. The home stream may be away for hours, so a delivery waits for it instead of
// failing: a push must not become a dead letter because the stream that it waits for is what is broken.
// moved hears of each push that is home, with the time that it was away, and may be nil.
func NewMover(conn *bus.Conn, t *topology.Topology, o MoverOptions, moved func(ctx context.Context, away time.Duration)) *Mover {
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	if o.MaxInFlight <= 0 {
		o.MaxInFlight = defaultInFlight
	}
	if o.MaxPause <= 0 {
		o.MaxPause = defaultMaxPause
	}
	if moved == nil {
		moved = func(context.Context, time.Duration) {}
	}
	if o.Home == nil {
		o.Home = conn
	}
	if o.AtHome == nil {
		o.AtHome = func(string) {}
	}
	m := &Mover{bus: o.Home, maxPause: o.MaxPause, atHome: o.AtHome, moved: moved, stopping: make(chan struct{})}
	m.consumer = conn.NewConsumer(bus.ConsumerConfig{
		Service: topology.ServiceGateway, Stream: topology.StreamSpill,
		Durables:    t.Durables(topology.ServiceGateway, topology.StreamSpill),
		MaxInFlight: o.MaxInFlight, Timeout: o.Patience, DeadLetterAfter: topology.MaxDeliver - 1,
	}, m.move)
	return m
}

// Name returns the name of the consumer.
func (m *Mover) Name() string { return m.consumer.Name() }

// Start returns when the spill stream is being read.
func (m *Mover) Start(ctx context.Context) error { return m.consumer.Start(ctx) }

// Stop gives back what is not home and waits for what is on its way.
func (m *Mover) Stop(ctx context.Context) error {
	m.stop.Do(func() { close(m.stopping) })
	return m.consumer.Stop(ctx)
}

// move publishes one spilled push home under its own id, so that a copy that the home stream had stored
// after all stays the only one. The trace goes on: the context is a child of the gateway's span.
func (m *Mover) move(ctx context.Context, d *bus.Delivery) error {
	subject, err := topology.HomeOfSpill(d.Subject)
	if err != nil {
		return err
	}
	var e eventv1.InboundEvent
	if err := proto.Unmarshal(d.Data, &e); err != nil {
		return fault.Errorf(fault.Invalid, "decode spilled event: %w", err)
	}
	msg := bus.Msg{Subject: subject, ID: e.GetId(), Data: d.Data, Header: homeHeader(d.Header)}
	for wait := firstPause; ; wait = min(2*wait, m.maxPause) {
		err := m.publish(ctx, msg)
		if err == nil {
			m.atHome(msg.ID)
			m.moved(ctx, time.Since(d.Stored))
			return nil
		}
		if errors.Is(err, bus.ErrTooLarge) {
			return err
		}
		if !m.rest(ctx, wait) {
			return err
		}
	}
}

// rest pauses between two tries; it reports false when there shall be no further one.
func (m *Mover) rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-m.stopping:
		return false
	case <-ctx.Done():
		return false
	}
}

func (m *Mover) publish(ctx context.Context, msg bus.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, homePublishTimeout)
	defer cancel()
	_, err := m.bus.Publish(ctx, msg)
	return err
}

// homeHeader leaves out what was meant for the spill stream alone: the server's headers and the mark of
// a requeued dead letter, which would make the other services pass the push by.
func homeHeader(h nats.Header) nats.Header {
	var out nats.Header
	for key, values := range h {
		if strings.HasPrefix(key, "Nats-") || key == bus.HeaderReplay || key == "traceparent" || key == "tracestate" {
			continue
		}
		if out == nil {
			out = nats.Header{}
		}
		out[key] = values
	}
	return out
}
