package bus

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wxbus/wxbus/pkg/topology"
)

// acks matches the answers of the server with the publishers that wait for them, one set for each
// connection. nats.go has the same (Conn.Request); this one allocates a third of it and lets many
// messages leave together.
type acks struct {
	prefix string // of the reply subjects

	mu      sync.Mutex // guards the fields below
	last    uint64
	waiting map[uint64]*waiter
}

// waiter is one publisher that waits. It is reused after its answer was taken.
type waiter struct {
	answer  chan answer
	timer   *time.Timer // stopped outside of await
	token   uint64
	batcher *Batcher // hears when the wait is over; nil outside of batches
	// In a batch another goroutine sends: link says where, gone says that nobody waits any more.
	link atomic.Pointer[link]
	gone atomic.Bool
}

func (w *waiter) reset(b *Batcher) {
	w.batcher = b
	w.link.Store(nil)
	w.gone.Store(false)
}

type answer struct {
	ack Ack
	err error
}

var waiters = sync.Pool{New: func() any {
	w := &waiter{answer: make(chan answer, 1), timer: time.NewTimer(time.Hour)}
	w.timer.Stop()
	return w
}}

func newAcks() *acks { return &acks{waiting: make(map[uint64]*waiter)} }

// listen subscribes to the answers that come over nc.
func (a *acks) listen(nc *nats.Conn) error {
	a.prefix = nc.NewInbox() + "."
	sub, err := nc.Subscribe(a.prefix+"*", a.receive)
	if err != nil {
		return err
	}
	// The publishers bound how many answers can be on the way.
	return sub.SetPendingLimits(-1, -1)
}

// add registers w and appends its reply subject to buf.
func (a *acks) add(w *waiter, buf []byte) []byte {
	a.mu.Lock()
	a.last++
	w.token = a.last
	a.waiting[w.token] = w
	a.mu.Unlock()
	return strconv.AppendUint(append(buf, a.prefix...), w.token, 36)
}

// drop unregisters w; false means that an answer is in its channel or about to be.
func (a *acks) drop(w *waiter) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting[w.token] != w {
		return false
	}
	delete(a.waiting, w.token)
	return true
}

func (a *acks) take(token uint64) *waiter {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.waiting[token]
	delete(a.waiting, token)
	return w
}

// receive runs on the goroutine of the subscription.
func (a *acks) receive(m *nats.Msg) {
	if len(m.Subject) <= len(a.prefix) {
		return
	}
	token, err := strconv.ParseUint(m.Subject[len(a.prefix):], 36, 64)
	if err != nil {
		return
	}
	w := a.take(token)
	if w == nil {
		return // nobody waits any more
	}
	w.finish(answerOf(m))
}

func answerOf(m *nats.Msg) answer {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return answer{err: transportFault(nats.ErrNoResponders)}
	}
	ack, err := decodeAck(m.Data)
	return answer{ack: ack, err: err}
}

// failAll ends every wait with err: after a lost connection the answers will not come.
func (a *acks) failAll(err error) {
	a.mu.Lock()
	lost := a.waiting
	a.waiting = make(map[uint64]*waiter)
	a.mu.Unlock()
	for _, w := range lost {
		w.finish(answer{err: err})
	}
}

// finish hands the answer over. The waiter may be reused from then on.
func (w *waiter) finish(r answer) {
	batcher := w.batcher
	w.answer <- r
	if batcher != nil {
		batcher.settled()
	}
}

// streamName returns one of our names without allocating.
func streamName(b []byte) string {
	switch string(b) {
	case topology.StreamInbound:
		return topology.StreamInbound
	case topology.StreamSpill:
		return topology.StreamSpill
	case topology.StreamDecisions:
		return topology.StreamDecisions
	case topology.StreamOutbound:
		return topology.StreamOutbound
	case topology.StreamDelivery:
		return topology.StreamDelivery
	}
	return string(b)
}
