package bus

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/trace"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

// headerError carries the kind of a failed answer; the data is its text.
const headerError = "Wxbus-Error"

// maxResponding bounds the requests that one Responder answers at the same time.
const maxResponding = 1024

// Request sends a core NATS request and waits for the answer: until ctx ends, or 5 s without a deadline.
// Errors: ErrNoResponders when nobody listens, ErrTimeout when the outcome is unknown, ErrDisconnected,
// and what the other side's handler returned, with its kind.
func (c *Conn) Request(ctx context.Context, subject string, data []byte) (*nats.Msg, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, AnswerTimeout)
		defer cancel()
	}
	template := topology.Template(subject)
	ctx, span := c.tracer.Start(ctx, "request "+template, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(messageAttributes("send", template, "")...))
	msg := &nats.Msg{Subject: subject, Data: data, Header: nats.Header{}}
	propagator.Inject(ctx, Carrier(msg.Header))
	answer, err := c.pick().nc.RequestMsgWithContext(ctx, msg)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		err = fault.Wrap(fault.Unavailable, &publishError{sentinel: ErrNoResponders, cause: errors.New(template)})
	case err != nil:
		err = transportFault(err)
	default:
		err = remoteFault(answer)
	}
	endSend(span, err)
	if err != nil {
		return nil, err
	}
	return answer, nil
}

func remoteFault(m *nats.Msg) error {
	text := m.Header.Get(headerError)
	if text == "" {
		return nil
	}
	kind, err := strconv.ParseUint(text, 10, 8)
	if err != nil {
		kind = uint64(fault.Internal)
	}
	return fault.New(fault.Kind(kind), string(m.Data))
}

// Responder answers core NATS requests until Close.
type Responder struct {
	conn    *Conn
	sub     *nats.Subscription
	handle  func(context.Context, *nats.Msg) ([]byte, error)
	slots   chan struct{}
	running sync.WaitGroup
	ctx     context.Context
	cancel  context.CancelFunc
	closing sync.Once
}

// Respond answers requests on subject with h, each on its own goroutine, at most 1024 at once; queue may
// be empty. The context of h ends when Close gives up. An error of h reaches the caller
// with its kind and text; an Internal one without its text. A panic is an Internal error.
func (c *Conn) Respond(subject, queue string, h func(context.Context, *nats.Msg) ([]byte, error)) (*Responder, error) {
	r := &Responder{conn: c, handle: h, slots: make(chan struct{}, maxResponding)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	sub, err := c.NC().QueueSubscribe(subject, queue, r.receive)
	if err != nil {
		r.cancel()
		return nil, transportFault(err)
	}
	// Once the server knows the subscription a requester no longer gets ErrNoResponders.
	if err := c.NC().FlushTimeout(connectTimeout); err != nil {
		r.cancel()
		return nil, errors.Join(transportFault(err), sub.Unsubscribe())
	}
	r.sub = sub
	return r, nil
}

// receive runs on the goroutine of the subscription; a full house makes the requests wait in its queue.
func (r *Responder) receive(m *nats.Msg) {
	r.slots <- struct{}{}
	r.running.Go(func() {
		defer func() { <-r.slots }()
		r.answer(m)
	})
}

func (r *Responder) answer(m *nats.Msg) {
	ctx := propagator.Extract(r.ctx, Carrier(m.Header))
	template := topology.Template(m.Subject)
	ctx, span := r.conn.tracer.Start(ctx, "respond "+template, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(messageAttributes("process", template, "")...))
	data, err := r.guarded(ctx, m)
	endSend(span, err)
	reply := &nats.Msg{Data: data}
	if err != nil {
		kind, text := fault.KindOf(err), err.Error()
		if kind == fault.Internal {
			text = "internal error"
			r.conn.log.ErrorContext(ctx, "request failed", "subject", template, "error", err)
		}
		reply = &nats.Msg{Data: []byte(text), Header: nats.Header{headerError: {strconv.Itoa(int(kind))}}}
	}
	if err := m.RespondMsg(reply); err != nil {
		r.conn.log.WarnContext(ctx, "answer not sent", "subject", template, "error", err)
	}
}

func (r *Responder) guarded(ctx context.Context, m *nats.Msg) (data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicFault(p)
		}
	}()
	return r.handle(ctx, m)
}

// Close stops listening, answers what has arrived, and waits for the handlers; when ctx ends it cancels
// their context and waits on. Handlers must heed their context.
func (r *Responder) Close(ctx context.Context) error {
	var err error
	r.closing.Do(func() {
		defer r.cancel()
		drained := make(chan struct{})
		r.sub.SetClosedHandler(func(string) { close(drained) })
		if derr := r.sub.Drain(); derr != nil {
			close(drained) // the connection is gone and the subscription with it
		}
		stop := context.AfterFunc(ctx, r.cancel)
		defer stop()
		select {
		case <-drained:
		case <-ctx.Done():
			err = fault.Errorf(fault.Unavailable, "close responder: %w", ctx.Err())
		}
		r.running.Wait()
	})
	return err
}
