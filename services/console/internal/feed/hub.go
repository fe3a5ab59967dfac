// Package feed carries the facts of conversations to browsers, in order, without a gap and without a
// repetition, however often a connection is cut.
//
// One reader follows the stream CONVERSATIONS for all clients of the process. A client that joins gets what is
// stored between its own position and the reader's, then what the reader sees. The position is the sequence of
// the stream, so that a client may resume at any replica.
package feed

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/topology"
)

const (
	// DefaultBuffer is how many facts may wait for one client.
	DefaultBuffer = 1024
	// DefaultMaxClients bounds the clients of one process.
	DefaultMaxClients = 5000
	// signalBuffer is how many signals may wait for one client.
	signalBuffer = 64
	// restartPause is between two tries to follow the stream.
	restartPause = time.Second
)

// Options of a Hub. JetStream, Log and Now are required.
type Options struct {
	JetStream jetstream.JetStream
	// Signals is where colleagues' typing and viewing comes from; none when nil.
	Signals    *nats.Conn
	Log        *slog.Logger
	Now        func() time.Time
	Buffer     int
	MaxClients int
	// Meter measures the delay of the feed; required.
	Meter metric.MeterProvider
	// Heartbeat is how often a silent client hears from us; 15 s when zero.
	Heartbeat time.Duration
}

// Hub follows the stream. Start it before clients watch. It is safe for concurrent use.
type Hub struct {
	o Options

	mu      sync.Mutex // guards the rest
	clients map[*client]struct{}
	last    uint64 // newest sequence that clients were given
	follows bool   // last is known

	delay   metric.Float64Histogram
	signals *nats.Subscription
	stop    context.CancelFunc
	done    chan struct{}
}

// fact is one stored message.
type fact struct {
	seq   uint64
	event *consolev1.FeedEvent
}

// client is one browser.
type client struct {
	sees    func(account string) bool
	facts   chan fact
	signals chan *agentroutingv1.DeskSignal
	slow    bool // the buffer was full once; guarded by Hub.mu
}

// New returns a hub.
func New(o Options) *Hub {
	if o.Buffer <= 0 {
		o.Buffer = DefaultBuffer
	}
	if o.MaxClients <= 0 {
		o.MaxClients = DefaultMaxClients
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = 15 * time.Second
	}
	h := &Hub{o: o, clients: map[*client]struct{}{}, done: make(chan struct{})}
	h.instrument()
	return h
}

// delayBounds are the buckets of the feed's delay in seconds: an agent should see a fact within 0.3.
var delayBounds = []float64{.005, .01, .025, .05, .1, .2, .3, .5, 1, 2.5, 5, 10, 60}

// instrument makes the metrics; they fail only for invalid names, and these are constant.
func (h *Hub) instrument() {
	meter := h.o.Meter.Meter("github.com/wxbus/wxbus/services/console")
	var err error
	h.delay, err = meter.Float64Histogram("wxbus.console.feed.delay", metric.WithUnit("s"),
		metric.WithDescription("Time from a fact of the desk being stored until this replica gives it to its browsers."),
		metric.WithExplicitBucketBoundaries(delayBounds...))
	if err != nil {
		h.delay = metricnoop.Float64Histogram{}
	}
	_, err = meter.Int64ObservableGauge("wxbus.console.feed.clients", metric.WithDescription("Browsers that follow the feed of this replica."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(h.Clients()))
			return nil
		}))
	if err != nil {
		h.o.Log.Warn("metric of the feed not made", logkey.Error, err)
	}
}

// Start begins to follow the stream at its end. It does not wait for the server.
func (h *Hub) Start(ctx context.Context) error {
	if h.o.Signals != nil {
		var err error
		if h.signals, err = h.o.Signals.Subscribe(topology.FilterDeskSignals(), h.signal); err != nil {
			return fault.Errorf(fault.Unavailable, "listen to signals of the desk: %w", err)
		}
	}
	var base context.Context
	base, h.stop = context.WithCancel(context.WithoutCancel(ctx))
	go h.run(base)
	return nil
}

// Stop ends the reader. Clients end with their requests.
func (h *Hub) Stop(context.Context) error {
	if h.stop == nil {
		return nil
	}
	h.stop()
	<-h.done
	if h.signals != nil && h.signals.IsValid() {
		return h.signals.Unsubscribe()
	}
	return nil
}

// signal passes on what somebody does right now. A client without room misses it: it would be stale anyhow.
func (h *Hub) signal(m *nats.Msg) {
	s := &agentroutingv1.DeskSignal{}
	if proto.Unmarshal(m.Data, s) != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.clients {
		if !c.sees(s.GetAccount()) {
			continue
		}
		select {
		case c.signals <- s:
		default:
		}
	}
}

// run follows the stream until the end, and begins anew at the same place when that fails.
func (h *Hub) run(ctx context.Context) {
	defer close(h.done)
	for {
		err := h.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		h.o.Log.WarnContext(ctx, "the feed does not follow its stream", logkey.Error, err)
		select {
		case <-time.After(restartPause):
		case <-ctx.Done():
			return
		}
	}
}

func (h *Hub) follow(ctx context.Context) error {
	start, err := h.position(ctx)
	if err != nil {
		return err
	}
	consumer, err := h.o.JetStream.OrderedConsumer(ctx, topology.StreamConversations, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: start + 1,
	})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, messages.Stop)()
	defer messages.Stop()
	for {
		m, err := messages.Next()
		if err != nil {
			return err
		}
		f, err := read(m)
		if err != nil {
			return err
		}
		h.give(ctx, f)
	}
}

// position returns where to begin: after what clients were given, or at the end of the stream the first time.
func (h *Hub) position(ctx context.Context) (uint64, error) {
	h.mu.Lock()
	last, follows := h.last, h.follows
	h.mu.Unlock()
	if follows {
		return last, nil
	}
	stream, err := h.o.JetStream.Stream(ctx, topology.StreamConversations)
	if err != nil {
		return 0, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last, h.follows = stream.CachedInfo().State.LastSeq, true
	return h.last, nil
}

// give hands a fact to every client that may see it. A client that does not keep up is marked, never waited for.
func (h *Hub) give(ctx context.Context, f fact) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.seq <= h.last {
		return
	}
	h.last = f.seq
	if f.event == nil {
		return
	}
	h.delay.Record(ctx, max(h.o.Now().Sub(time.UnixMilli(f.event.GetStoredUnixMs())), 0).Seconds())
	for c := range h.clients {
		if c.slow || !c.sees(f.event.GetAccount()) {
			continue
		}
		select {
		case c.facts <- f:
		default:
			c.slow = true
			close(c.facts)
		}
	}
}

// errTooMany means that there are more clients than one process serves.
var errTooMany = fault.New(fault.Exhausted, "too many browsers are connected to this replica")

// join adds a client and returns the position up to which it has to look after itself.
func (h *Hub) join(sees func(string) bool) (*client, uint64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !h.follows:
		return nil, 0, fault.New(fault.Unavailable, "the feed does not follow its stream yet")
	case len(h.clients) >= h.o.MaxClients:
		return nil, 0, errTooMany
	}
	c := &client{sees: sees, facts: make(chan fact, h.o.Buffer), signals: make(chan *agentroutingv1.DeskSignal, signalBuffer)}
	h.clients[c] = struct{}{}
	return c, h.last, nil
}

func (h *Hub) leave(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.clients, c)
}

// idle returns the position of the feed for a client that has been given everything; false when something waits.
func (h *Hub) idle(c *client) (uint64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last, len(c.facts) == 0 && !c.slow
}

// Clients is the number of browsers that watch.
func (h *Hub) Clients() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.clients)
}

// read turns a stored message into a fact; its event is nil when this version does not know the type.
func read(m jetstream.Msg) (fact, error) {
	meta, err := m.Metadata()
	if err != nil {
		return fact{}, err
	}
	f := fact{seq: meta.Sequence.Stream}
	subject, err := topology.ParseConversation(m.Subject())
	if err != nil {
		return f, nil //nolint:nilerr // not ours: nobody can see it
	}
	event := &consolev1.FeedEvent{StoredUnixMs: meta.Timestamp.UnixMilli(), Account: subject.Account, Conversation: subject.Conversation}
	switch m.Headers().Get(bus.HeaderType) {
	case string((&agentroutingv1.ConversationEvent{}).ProtoReflect().Descriptor().FullName()):
		changed := &agentroutingv1.ConversationEvent{}
		err = proto.Unmarshal(m.Data(), changed)
		event.Fact = &consolev1.FeedEvent_ConversationEvent{ConversationEvent: changed}
	case string((&agentroutingv1.OwnerChanged{}).ProtoReflect().Descriptor().FullName()):
		changed := &agentroutingv1.OwnerChanged{}
		err = proto.Unmarshal(m.Data(), changed)
		event.Fact = &consolev1.FeedEvent_OwnerChanged{OwnerChanged: changed}
	default:
		err = errors.New("unknown type")
	}
	if err == nil {
		f.event = event
	}
	return f, nil
}
