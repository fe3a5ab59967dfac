package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/trace"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/topology"
)

// Delivery is one message as a handler sees it. It must not be changed.
type Delivery struct {
	Subject string
	Header  nats.Header
	Data    []byte
	// Stream and Durable that it came through.
	Stream, Durable string
	// Seq is its sequence in the stream.
	Seq uint64
	// NumDelivered counts how often the server gave it out, from 1; also for reasons that were no
	// failure, such as a restart.
	NumDelivered uint64
	// Stored is when the stream took it.
	Stored time.Time

	// attempt counts the tries of this message as far as we know, from 1: NumDelivered without the
	// deliveries that were given back unseen.
	attempt uint64
	// behind is closed when a later message of the lane waits.
	behind chan struct{}
}

// Behind is closed when a later message of the lane is here and waits for this one. A handler that does nothing but
// let time pass should stop then. It is nil, and blocks for ever, for a Delivery that no Consumer made.
func (d *Delivery) Behind() <-chan struct{} { return d.behind }

// Handler handles one message. Its error decides: nil acknowledges; a kind that a retry cannot help
// (Invalid, NotFound, Permanent, Refused) dead-letters at once; every other error is tried again
// later, fault.After says when. A message may come more than once, so handlers are idempotent.
type Handler func(ctx context.Context, d *Delivery) error

// Middleware wraps a Handler.
type Middleware func(Handler) Handler

// ConsumerConfig says what to read and how.
type ConsumerConfig struct {
	// Service that reads; it names dead letters, metrics and replays.
	Service string
	// Stream to read.
	Stream string
	// Partitions to read when Durables is empty: topology.Durable(Service, Stream, 0…Partitions-1).
	Partitions int
	// Durables to read.
	Durables []string
	// Lane returns the key within which messages are handled one after the other;
	// topology.LaneKey of the subject when nil.
	Lane func(*Delivery) string
	// MaxInFlight bounds the messages held for each durable, waiting ones included; 256 when zero.
	MaxInFlight int
	// Timeout bounds one call of the handler; 30 s when zero.
	Timeout time.Duration
	// Backoff returns the delay before try n+1, n from 1; 250 ms times four each time, at most 30 s,
	// when nil.
	Backoff func(n uint64) time.Duration
	// Confirm waits for the server's word that an ack was taken: for effects outside of NATS.
	Confirm bool
	// DeadLetterAfter is the try at which a failing message becomes a dead letter; 5 when zero. At
	// most topology.MaxDeliver-1.
	DeadLetterAfter uint64
}

const (
	defaultMaxInFlight     = 256
	defaultTimeout         = 30 * time.Second
	defaultDeadLetterAfter = 5
	confirmTimeout         = 5 * time.Second
	maxBackoff             = 30 * time.Second
)

// Consumer reads the durables of one service on one stream. Each durable is read by one process at a
// time; the others stand by and take over. It is a lifecycle.Component.
//
// Within a lane messages are handled one after the other in the order of the stream, whatever fails:
// a message that waits for its next try holds its lane, and only its lane. After a takeover, and when a
// delivery got lost, lanes with messages that nobody here has are held until those came again.
type Consumer struct {
	conn   *Conn
	cfg    ConsumerConfig
	handle Handler
	labels consumerLabels

	mu         sync.Mutex // guards the fields below
	partitions []*partition
	base       context.Context
	cancel     context.CancelFunc
}

var _ lifecycle.Component = (*Consumer)(nil)

// NewConsumer returns a consumer that Start starts. The middlewares are innermost, the first of them
// outermost among themselves; see chain for what is around them.
func (c *Conn) NewConsumer(cfg ConsumerConfig, h Handler, mw ...Middleware) *Consumer {
	if cfg.MaxInFlight <= 0 {
		cfg.MaxInFlight = defaultMaxInFlight
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.DeadLetterAfter == 0 {
		cfg.DeadLetterAfter = defaultDeadLetterAfter
	}
	if cfg.Backoff == nil {
		cfg.Backoff = backoff
	}
	if cfg.Lane == nil {
		cfg.Lane = func(d *Delivery) string { return topology.LaneKey(d.Subject) }
	}
	if len(cfg.Durables) == 0 {
		for p := range cfg.Partitions {
			cfg.Durables = append(cfg.Durables, topology.Durable(cfg.Service, cfg.Stream, uint32(p)))
		}
	}
	consumer := &Consumer{conn: c, cfg: cfg, labels: newConsumerLabels(cfg.Service, cfg.Stream)}
	consumer.labels.promise(c.metrics)
	consumer.handle = consumer.chain(h, mw)
	return consumer
}

// backoff is 250 ms, 1 s, 4 s, 16 s, 30 s.
func backoff(n uint64) time.Duration {
	d := 250 * time.Millisecond
	for ; n > 1 && d < maxBackoff; n-- {
		d *= 4
	}
	return min(d, maxBackoff)
}

// Name returns "consumer <service> <stream>".
func (c *Consumer) Name() string { return "consumer " + c.cfg.Service + " " + c.cfg.Stream }

// Start looks the durables up and returns when all are being read. A durable that is missing is a
// Permanent fault that says what to do.
func (c *Consumer) Start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.base != nil {
		return fault.Errorf(fault.Internal, "%s: started twice", c.Name())
	}
	if err := c.validate(); err != nil {
		return err
	}
	stream, err := lookUp(ctx, c, "stream "+c.cfg.Stream, func(ctx context.Context) (jetstream.Stream, error) {
		return c.conn.js.Stream(ctx, c.cfg.Stream)
	})
	if err != nil {
		return err
	}
	var partitions []*partition
	for _, durable := range c.cfg.Durables {
		reader, err := lookUp(ctx, c, "durable "+durable+" on "+c.cfg.Stream, func(ctx context.Context) (jetstream.Consumer, error) {
			return c.conn.js.Consumer(ctx, c.cfg.Stream, durable)
		})
		if err != nil {
			return err
		}
		partitions = append(partitions, newPartition(c, durable, stream, reader))
	}
	// Handlers outlive the signal to stop; Stop ends their context. Their trace comes with the message.
	c.base, c.cancel = context.WithCancel(trace.ContextWithSpanContext(context.WithoutCancel(ctx), trace.SpanContext{}))
	c.partitions = partitions
	for _, p := range partitions {
		p.start(c.base) //nolint:contextcheck // see above
	}
	return nil
}

func (c *Consumer) validate() error {
	var errs []error
	if err := topology.CheckToken("service", c.cfg.Service); err != nil {
		errs = append(errs, err)
	}
	if len(c.cfg.Durables) == 0 {
		errs = append(errs, errors.New("no durable to read"))
	}
	for _, d := range c.cfg.Durables {
		if d == "" {
			errs = append(errs, errors.New("a durable has no name: does the topology know that this service reads this stream?"))
		}
	}
	if c.cfg.DeadLetterAfter >= topology.MaxDeliver {
		errs = append(errs, fmt.Errorf("dead letter after %d tries: must be less than %d", c.cfg.DeadLetterAfter, topology.MaxDeliver))
	}
	if len(errs) == 0 {
		return nil
	}
	return fault.Errorf(fault.Invalid, "%s: %w", c.Name(), errors.Join(errs...))
}

const (
	lookUpTry      = 5 * time.Second
	lookUpPatience = 20 * time.Second
	lookUpPause    = 200 * time.Millisecond
)

// lookUp asks again while the server does not answer, as during an election: a process that ended for it would only
// start over and ask the same.
func lookUp[T any](ctx context.Context, c *Consumer, what string, look func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, lookUpPatience)
	defer cancel()
	for {
		try, end := context.WithTimeout(ctx, lookUpTry)
		found, err := look(try)
		end()
		if err == nil {
			return found, nil
		}
		if err = c.lookupFault(what, err); fault.KindOf(err) != fault.Unavailable {
			return found, err
		}
		select {
		case <-ctx.Done():
			return found, err
		case <-time.After(lookUpPause):
		}
	}
}

func (c *Consumer) lookupFault(what string, err error) error {
	if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return fault.Errorf(fault.Permanent, `%s: %s is missing, run "wxbus provision": %w`, c.Name(), what, err)
	}
	return fault.Errorf(fault.Unavailable, "%s: look up %s: %w", c.Name(), what, err)
}

// Stop stops reading, gives messages back that no handler has begun, and waits for the handlers. When
// ctx ends it cancels their context, waits for them all the same, and returns an error. Standby readers
// take over at once.
func (c *Consumer) Stop(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.base == nil {
		return nil
	}
	for _, p := range c.partitions {
		p.drain()
	}
	expired := context.AfterFunc(ctx, c.cancel)
	for _, p := range c.partitions {
		p.wait()
	}
	late := !expired()
	for _, p := range c.partitions {
		p.handOver(ctx)
	}
	c.cancel()
	c.base, c.partitions = nil, nil
	if late {
		return fault.Errorf(fault.Unavailable, "%s: handlers were cut off: %w", c.Name(), ctx.Err())
	}
	return nil
}
