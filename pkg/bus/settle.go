package bus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

// This file is the one place that answers the server for a message.

const (
	outcomeSkipped = "skipped"
	maxStack       = 4096
)

// triesSpentError marks an error that would be worth a retry, but for the number of tries.
type triesSpentError struct {
	tries uint64
	err   error
}

func (e *triesSpentError) Error() string {
	return fmt.Sprintf("gave up after %d tries: %v", e.tries, e.err)
}
func (e *triesSpentError) Unwrap() error { return e.err }

// disposition is fault.Dispose, and the end of patience.
func disposition(err error) fault.Disposition {
	if _, spent := errors.AsType[*triesSpentError](err); spent {
		return fault.DeadLetter
	}
	return fault.Dispose(err)
}

// settle answers the server after the handler returned err. It reports whether the message comes again
// and after which delay. It waits only while no dead letter can be stored, and not beyond stop.
func (c *Consumer) settle(base context.Context, stop <-chan struct{}, h *holding, err error) (retry bool, delay time.Duration) {
	if err != nil && base.Err() != nil {
		// Stop cut the handler off: the next reader begins anew, at once.
		c.answered(base, "give back", h, h.msg.Nak())
		return true, 0
	}
	switch disposition(err) {
	case fault.Ack:
		c.acknowledge(base, h)
		return false, 0
	case fault.DeadLetter:
		return c.bury(base, stop, h, err)
	default:
		delay = c.delay(h.delivery, err)
		c.answered(base, "nak", h, h.msg.NakWithDelay(delay))
		return true, delay
	}
}

// bury stores the dead letter and only then lets the server forget the message. While it cannot be
// stored the message is given back, except for the last time that the server would deliver it:
// then it stays here until it can.
func (c *Consumer) bury(base context.Context, stop <-chan struct{}, h *holding, cause error) (retry bool, delay time.Duration) {
	delay = c.cfg.Backoff(c.cfg.DeadLetterAfter)
	for {
		err := c.deadLetter(base, h.delivery, cause)
		if err == nil {
			c.answered(base, "term", h, h.msg.TermWithReason(termReason(cause)))
			return false, 0
		}
		c.conn.log.ErrorContext(base, "dead letter not stored", "service", c.cfg.Service, "stream", c.cfg.Stream,
			"seq", h.delivery.Seq, "error", err)
		if h.delivery.NumDelivered < topology.MaxDeliver-1 {
			break
		}
		select {
		case <-stop:
		case <-time.After(delay):
			continue
		}
		break
	}
	c.answered(base, "nak", h, h.msg.NakWithDelay(delay))
	return true, delay
}

func (c *Consumer) acknowledge(base context.Context, h *holding) {
	if !c.cfg.Confirm {
		c.answered(base, "ack", h, h.msg.Ack())
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(base), confirmTimeout)
	defer cancel()
	c.answered(base, "confirmed ack", h, h.msg.DoubleAck(ctx))
}

// answered counts an answer that did not go out. The server delivers the message again after AckWait.
func (c *Consumer) answered(base context.Context, what string, h *holding, err error) {
	if err != nil {
		c.ackFailed(base, what, h, err)
	}
}

func (c *Consumer) ackFailed(base context.Context, what string, h *holding, err error) {
	c.conn.metrics.ackErrors.Add(base, 1, c.labels.consumer.add...)
	c.conn.log.WarnContext(base, "answer to the server not sent", "answer", what, "service", c.cfg.Service,
		"stream", c.cfg.Stream, "seq", h.delivery.Seq, "error", err)
}

// delay returns what the error asks for, else the backoff with up to a fifth of jitter: messages that
// failed together shall not come back together.
func (c *Consumer) delay(d *Delivery, err error) time.Duration {
	if after, ok := fault.RetryAfter(err); ok && after > 0 {
		return after
	}
	delay := c.cfg.Backoff(d.attempt)
	if delay <= 0 {
		return time.Millisecond
	}
	return delay + rand.N(delay/5+1) //nolint:gosec // jitter is no secret
}

func termReason(err error) string {
	text := fault.KindOf(err).String()
	if _, spent := errors.AsType[*triesSpentError](err); spent {
		text = "tries spent"
	}
	return text
}

// lastTry reports whether a failure of this delivery must not be retried: the tries are spent, or the
// server would give up silently after one more.
func (c *Consumer) lastTry(d *Delivery) bool {
	return d.attempt >= c.cfg.DeadLetterAfter || d.NumDelivered >= topology.MaxDeliver-1
}

// panicError is a panic of a handler.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// panicFault makes a panic an Internal fault with a bounded stack; call it in the deferred function.
func panicFault(value any) error {
	stack := debug.Stack()
	return fault.Wrap(fault.Internal, &panicError{value: value, stack: stack[:min(len(stack), maxStack)]})
}

// laneOf asks the configured function; one that panics must not end the process.
func (c *Consumer) laneOf(d *Delivery) (key string) {
	defer func() {
		if v := recover(); v != nil {
			c.conn.log.Error("lane function failed", "service", c.cfg.Service, "error", panicFault(v))
			key = d.Subject
		}
	}()
	return c.cfg.Lane(d)
}
