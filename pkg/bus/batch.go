package bus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
)

// BatchOptions tune a Batcher; the zero value is good.
type BatchOptions struct {
	// Window is the longest time that a message waits for others; 1 ms when zero.
	Window time.Duration
	// MaxBatch is how many messages leave together at most; 64 when zero.
	MaxBatch int
	// Free is how many unanswered messages still let the next one leave at once; 0 groups most.
	Free int
}

// Batcher publishes for many callers at once. While nothing is on the way a message leaves immediately;
// while earlier ones wait for their answers, newcomers gather and leave together: when the answers are
// in, or after Window. So a lone push pays nothing, and under load many share one write, one wake-up
// and one read.
//
// Every message keeps its own id, ack, duplicate flag and error: a batch is no transaction.
// ADR-50 of NATS offers two other kinds of batch, and neither fits: an atomic batch is refused as a
// whole for one repeated id and costs a staging store each time; fast ingest drops repeated ids
// in silence and acknowledges only the last message.
//
// It is safe for concurrent use and has no goroutine of its own.
type Batcher struct {
	conn *Conn
	opts BatchOptions

	mu       sync.Mutex // guards the fields below
	queue    []queued
	spare    []queued // the slice of an earlier batch, to be used again
	inFlight int      // messages that left and have no answer
	timer    *time.Timer
	armed    bool
	closed   bool
}

// queued is one caller's message.
type queued struct {
	msg    Msg
	parent traceParent
	waiter *waiter
}

// errBatcherClosed is Unavailable: another replica, or this one after a restart, can take the message.
var errBatcherClosed = fault.New(fault.Unavailable, "batcher is closed")

// NewBatcher returns a batcher on c. Close it before c.
func (c *Conn) NewBatcher(o BatchOptions) *Batcher {
	if o.Window <= 0 {
		o.Window = time.Millisecond
	}
	if o.MaxBatch <= 0 {
		o.MaxBatch = 64
	}
	b := &Batcher{conn: c, opts: o}
	b.timer = time.AfterFunc(time.Hour, b.tick)
	b.timer.Stop()
	return b
}

// Publish is Conn.Publish, together with whoever else publishes now.
func (b *Batcher) Publish(ctx context.Context, m Msg) (Ack, error) {
	start := time.Now()
	span, parent := b.conn.startSend(ctx, &m)
	ack, err := b.publish(ctx, m, parent)
	b.conn.metrics.publish(ctx, m.Subject, err, ack.Duplicate, time.Since(start))
	endSend(span, err)
	return ack, err
}

func (b *Batcher) publish(ctx context.Context, m Msg, parent traceParent) (Ack, error) {
	w := waiters.Get().(*waiter)
	w.reset(b)
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		waiters.Put(w)
		return Ack{}, errBatcherClosed
	}
	b.queue = append(b.queue, queued{msg: m, parent: parent, waiter: w})
	batch := b.due()
	b.mu.Unlock()
	b.send(batch)
	return b.await(ctx, w, m.patience())
}

// due takes the queue if it may leave now, else sees to it that it leaves after Window. b.mu is held.
func (b *Batcher) due() []queued {
	if b.inFlight <= b.opts.Free || len(b.queue) >= b.opts.MaxBatch {
		return b.take()
	}
	if !b.armed && len(b.queue) > 0 {
		b.armed = true
		b.timer.Reset(b.opts.Window)
	}
	return nil
}

func (b *Batcher) take() []queued {
	if len(b.queue) == 0 {
		return nil
	}
	batch := b.queue
	b.queue, b.spare = b.spare, nil
	b.inFlight += len(batch)
	return batch
}

func (b *Batcher) tick() {
	b.mu.Lock()
	b.armed = false
	batch := b.take()
	b.mu.Unlock()
	b.send(batch)
}

// settled hears that a message left the wait, with or without an answer.
func (b *Batcher) settled() {
	b.mu.Lock()
	b.inFlight--
	batch := b.due()
	b.mu.Unlock()
	b.send(batch)
}

// send writes a batch to one connection. Messages that cannot be sent are answered here; if that
// empties the way, the next batch follows.
func (b *Batcher) send(batch []queued) {
	for len(batch) > 0 {
		failed := b.write(batch)
		clear(batch)
		b.mu.Lock()
		if b.spare == nil {
			b.spare = batch[:0]
		}
		b.inFlight -= failed
		batch = nil
		if failed > 0 {
			batch = b.due()
		}
		b.mu.Unlock()
	}
}

func (b *Batcher) write(batch []queued) (failed int) {
	l := b.conn.pick()
	out := outgoings.Get().(*outgoing)
	defer outgoings.Put(out)
	for i := range batch {
		q := &batch[i]
		q.waiter.link.Store(l)
		err := out.send(l, &q.msg, q.parent, q.waiter)
		switch {
		case err != nil:
			failed++
			q.waiter.answer <- answer{err: err}
		case q.waiter.gone.Load() && l.acks.drop(q.waiter):
			failed++ // its caller left before it was registered
		}
	}
	return failed
}

// await waits for the answer to w, and gives w back unless somebody else may still hold it.
func (b *Batcher) await(ctx context.Context, w *waiter, patience time.Duration) (Ack, error) {
	r, cause := w.await(ctx, patience)
	if cause == nil {
		waiters.Put(w)
		return r.ack, r.err
	}
	b.leave(w, cause)
	return Ack{}, transportFault(cause)
}

// leave takes w out of the queue, or out of the waiting ones.
func (b *Batcher) leave(w *waiter, cause error) {
	b.mu.Lock()
	for i := range b.queue {
		if b.queue[i].waiter == w {
			b.queue = append(b.queue[:i], b.queue[i+1:]...)
			b.mu.Unlock()
			return
		}
	}
	b.mu.Unlock()
	// From here on either this goroutine or write finds w registered and drops it.
	w.gone.Store(true)
	l := w.link.Load()
	if l == nil {
		return
	}
	if errors.Is(cause, context.DeadlineExceeded) {
		l.timedOut.Store(time.Now().UnixNano())
	}
	if l.acks.drop(w) {
		b.settled()
	}
}

// Close sends what is queued and refuses newcomers. Callers that wait for an answer still get it.
func (b *Batcher) Close() {
	b.mu.Lock()
	b.closed = true
	b.timer.Stop()
	batch := b.take()
	b.mu.Unlock()
	b.send(batch)
}
