package bus

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// AnswerTimeout bounds every wait for a word of the server. What was sent to a leader that died is gone, and
// nobody will ever answer: who waits for longer, because its own deadline is minutes away, waits in vain.
const AnswerTimeout = 5 * time.Second

// Headers of our own.
const (
	// HeaderReplay marks a message that was requeued from the dead letters. Its value is the service that
	// shall handle it; the consumers of other services acknowledge it unseen.
	HeaderReplay = "Wxbus-Replay"
	// HeaderType names the protobuf message where a subject carries several.
	HeaderType = "Wxbus-Type"
)

// Msg is a message to publish. Data and Header must not be changed before Publish returns, and never
// after it returned ErrTimeout.
type Msg struct {
	Subject string
	// ID makes the message idempotent within the dedupe window of the stream; empty for none.
	ID   string
	Data []byte
	// Header is added to ours; may be nil.
	Header nats.Header
	// ExpectLastSubjectSeq makes the publish a compare-and-set; nil for none. Zero means that the subject
	// must be empty.
	ExpectLastSubjectSeq *uint64
	// ExpectStream refuses the message if another stream would store it; empty for none.
	ExpectStream string
	// Patience ends the wait for the server's word, as the end of ctx does, and costs less than a context of its own; 0
	// is AnswerTimeout, the longest.
	Patience time.Duration
}

// patience is how long to wait for an answer.
func (m *Msg) patience() time.Duration {
	if m.Patience > 0 && m.Patience < AnswerTimeout {
		return m.Patience
	}
	return AnswerTimeout
}

// Publish stores one message and waits for the server's word: until ctx or its patience ends, at most 5 s.
// It never repeats by itself. After ErrTimeout the message may be stored; with an ID the caller may
// publish it again anywhere. The errors are the Err… of this package, with their fault kinds.
func (c *Conn) Publish(ctx context.Context, m Msg) (Ack, error) {
	start := time.Now()
	span, parent := c.startSend(ctx, &m)
	l := c.pick()
	w := waiters.Get().(*waiter)
	w.reset(nil)
	out := outgoings.Get().(*outgoing)
	err := out.send(l, &m, parent, w)
	outgoings.Put(out)
	var ack Ack
	if err == nil {
		ack, err = l.await(ctx, w, m.patience())
	} else {
		waiters.Put(w)
	}
	c.metrics.publish(ctx, m.Subject, err, ack.Duplicate, time.Since(start))
	endSend(span, err)
	return ack, err
}

// await waits for the answer to w and gives w back.
func (l *link) await(ctx context.Context, w *waiter, patience time.Duration) (Ack, error) {
	r, cause := w.await(ctx, patience)
	if cause == nil {
		waiters.Put(w)
		return r.ack, r.err
	}
	if !l.acks.drop(w) {
		r := <-w.answer // the answer won by a hair
		waiters.Put(w)
		return r.ack, r.err
	}
	if errors.Is(cause, context.DeadlineExceeded) {
		l.timedOut.Store(time.Now().UnixNano())
	}
	waiters.Put(w)
	return Ack{}, transportFault(cause)
}

// await returns the answer, or why nobody waits for it any more.
func (w *waiter) await(ctx context.Context, patience time.Duration) (answer, error) {
	w.timer.Reset(patience)
	defer w.timer.Stop()
	select {
	case r := <-w.answer:
		return r, nil
	case <-ctx.Done():
		return answer{}, ctx.Err()
	case <-w.timer.C:
		return answer{}, context.DeadlineExceeded
	}
}

// outgoing is a message under construction. It is reused, so that a publish does not allocate the
// header map and its slices: nats.go has written them out when PublishMsg returns.
type outgoing struct {
	msg   nats.Msg
	slots [5][1]string
	reply []byte
}

var outgoings = sync.Pool{New: func() any {
	return &outgoing{msg: nats.Msg{Header: make(nats.Header, 4)}, reply: make([]byte, 0, 64)}
}}

// send registers w and writes m to the connection. An error means that nothing was sent.
func (o *outgoing) send(l *link, m *Msg, parent traceParent, w *waiter) error {
	h := o.msg.Header
	for k, v := range m.Header {
		h[k] = v
	}
	if m.ID != "" {
		h[jetstream.MsgIDHeader] = o.slot(0, m.ID)
	}
	if m.ExpectLastSubjectSeq != nil {
		h[jetstream.ExpectedLastSubjSeqHeader] = o.slot(1, strconv.FormatUint(*m.ExpectLastSubjectSeq, 10))
	}
	if m.ExpectStream != "" {
		h[jetstream.ExpectedStreamHeader] = o.slot(2, m.ExpectStream)
	}
	if parent.parent != "" {
		h[headerTraceParent] = o.slot(3, parent.parent)
	}
	if parent.state != "" {
		h[headerTraceState] = o.slot(4, parent.state)
	}
	o.reply = l.acks.add(w, o.reply[:0])
	o.msg.Subject, o.msg.Reply, o.msg.Data = m.Subject, string(o.reply), m.Data
	err := l.nc.PublishMsg(&o.msg)
	o.reset()
	if err == nil {
		return nil
	}
	if !l.acks.drop(w) {
		<-w.answer // the connection was lost in this moment
	}
	return transportFault(err)
}

func (o *outgoing) slot(i int, value string) []string {
	o.slots[i][0] = value
	return o.slots[i][:]
}

func (o *outgoing) reset() {
	clear(o.msg.Header)
	o.slots = [5][1]string{}
	o.msg.Data, o.msg.Subject, o.msg.Reply = nil, "", ""
}
