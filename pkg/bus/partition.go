package bus

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/wxbus/wxbus/pkg/topology"
)

const (
	// pinHeader tells a reader under which pin it got a message.
	pinHeader       = "Nats-Pin-Id"
	minExpiry       = time.Second // of a pull request, by nats.go
	handOverTimeout = 250 * time.Millisecond
)

// partition reads one durable.
type partition struct {
	c       *Consumer
	durable string
	stream  jetstream.Stream
	reader  jetstream.Consumer
	config  jetstream.ConsumerConfig
	expiry  time.Duration
	base    context.Context

	loops    sync.WaitGroup // read and tick
	handlers sync.WaitGroup
	stop     chan struct{}
	stopOnce sync.Once
	freed    chan struct{} // a message left; capacity 1
	watch    chan struct{} // a recovery began; capacity 1

	mu         sync.Mutex // guards the fields below
	iterator   jetstream.MessagesContext
	lanes      map[string]*lane
	held       int // messages in our hands
	draining   bool
	pin        string    // under which the newest message came
	pinned     time.Time // when
	delivery   uint64    // its number among all deliveries of the durable
	blindUntil time.Time // until when no lane goes on, because nobody knows what a former reader had; zero for not
}

func newPartition(c *Consumer, durable string, stream jetstream.Stream, reader jetstream.Consumer) *partition {
	p := &partition{
		c: c, durable: durable, stream: stream, reader: reader, config: reader.CachedInfo().Config,
		stop: make(chan struct{}), freed: make(chan struct{}, 1), watch: make(chan struct{}, 1), lanes: make(map[string]*lane),
	}
	// Asking again well before the pin runs out keeps it.
	p.expiry = max(p.config.PinnedTTL*2/5, minExpiry)
	if p.config.PinnedTTL == 0 {
		p.expiry = 5 * time.Second
	}
	return p
}

func (p *partition) start(base context.Context) {
	p.base = base
	p.loops.Go(p.read)
	p.loops.Go(p.tick)
}

// read fetches as many messages as there is room for, until drain.
func (p *partition) read() {
	for failures := 0; ; {
		room := p.awaitRoom()
		if room == 0 {
			return
		}
		err := p.fetch(room)
		if err == nil {
			failures = 0
			continue
		}
		failures++
		p.c.conn.log.Warn("read durable", "service", p.c.cfg.Service, "durable", p.durable, "error", err)
		select {
		case <-p.stop:
			return
		case <-time.After(min(time.Duration(failures)*100*time.Millisecond, 5*time.Second) + rand.N(100*time.Millisecond)): //nolint:gosec // jitter is no secret
		}
	}
}

// awaitRoom returns how many messages may be fetched, or zero when the partition stops. It waits until
// a quarter of the window is free, so that a busy partition fetches in batches. A partition that stays
// full asks for one more message in time, because the server gives a silent reader's pin away.
func (p *partition) awaitRoom() int {
	window := p.c.cfg.MaxInFlight
	keepPin := time.NewTimer(p.expiry)
	defer keepPin.Stop()
	for {
		room, draining := p.room(window)
		if draining {
			return 0
		}
		if room >= max(window/4, 1) {
			return room
		}
		select {
		case <-p.stop:
			return 0
		case <-p.freed:
		case <-keepPin.C:
			return max(room, 1)
		}
	}
}

// room returns how much of the window is free. Messages that wait for an earlier one on the server do
// not count: if they did, they could keep that very message from being fetched. The server's limit of
// unanswered messages bounds them.
func (p *partition) room(window int) (room int, draining bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	room = window - p.held
	if room >= max(window/4, 1) {
		return room, p.draining
	}
	for _, l := range p.lanes {
		if l.running == nil {
			room += len(l.waiting)
		}
	}
	return min(room, window), p.draining
}

// fetch takes n messages; it returns early when the partition drains or the iterator fails.
func (p *partition) fetch(n int) error {
	opts := []jetstream.PullMessagesOpt{
		// StopAfter is what bounds; the other number is also the buffer, which heartbeats share.
		jetstream.PullMaxMessages(max(n, 64)), jetstream.StopAfter(n), jetstream.PullExpiry(p.expiry),
		jetstream.WithMessagesErrOnMissingHeartbeat(false),
	}
	if len(p.config.PriorityGroups) > 0 {
		opts = append(opts, jetstream.PullPriorityGroup(p.config.PriorityGroups[0]))
	}
	iterator, err := p.reader.Messages(opts...)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.iterator = iterator
	if p.draining {
		iterator.Drain()
	}
	p.mu.Unlock()
	for {
		msg, err := iterator.Next()
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) && !errors.Is(err, jetstream.ErrConnectionClosed) {
			return nil // all n came, or the partition drains
		}
		if err != nil {
			iterator.Stop()
			return err
		}
		p.accept(msg)
	}
}

// accept takes one message into its lane.
func (p *partition) accept(msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		p.c.conn.log.Error("message without metadata", "durable", p.durable, "error", err)
		return
	}
	p.c.conn.metrics.pending.Record(p.base, int64(meta.NumPending), p.c.labels.of(p.durable).record...)
	d := &Delivery{
		Subject: msg.Subject(), Header: msg.Headers(), Data: msg.Data(), Stream: meta.Stream, Durable: p.durable,
		Seq: meta.Sequence.Stream, NumDelivered: meta.NumDelivered, Stored: meta.Timestamp, attempt: meta.NumDelivered,
		behind: make(chan struct{}),
	}
	p.noteDelivery(d.Header.Get(pinHeader), meta.Sequence.Consumer)
	h := &holding{msg: msg, delivery: d, key: p.c.laneOf(d), touched: time.Now()}
	p.mu.Lock()
	defer p.mu.Unlock()
	if replay := d.Header.Get(HeaderReplay); replay != "" && replay != p.c.cfg.Service {
		p.skip(h)
		return
	}
	p.enter(h)
}

// skip acknowledges a replay that is meant for another service. p.mu is held.
func (p *partition) skip(h *holding) {
	if l := p.lanes[h.key]; l != nil {
		delete(l.parked, h.delivery.Seq)
		p.advance(l)
	}
	p.c.conn.metrics.handled.Add(p.base, 1, p.c.labels.outcome(outcomeSkipped).add...)
	if err := h.msg.Ack(); err != nil {
		p.c.ackFailed(p.base, "skip", h, err)
	}
}

// noteDelivery recovers the lanes when the message came under a new pin, because another reader had the partition,
// and when the server counts deliveries that did not come here: what it sent on a connection that broke is lost, and
// comes again only after AckWait, behind newer messages.
func (p *partition) noteDelivery(pin string, number uint64) {
	p.mu.Lock()
	missed := pin != p.pin || number != p.delivery+1
	p.pin, p.pinned, p.delivery = pin, time.Now(), number
	p.mu.Unlock()
	if missed {
		p.recoverLanes()
	}
}

// leave counts a message out. p.mu is held.
func (p *partition) leave(n int) {
	p.held -= n
	p.c.conn.metrics.inFlight.Add(p.base, -int64(n), p.c.labels.consumer.add...)
	select {
	case p.freed <- struct{}{}:
	default:
	}
}

// drain ends the intake. Messages that the server has sent already still arrive and are given back.
func (p *partition) drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draining = true
	if p.iterator != nil {
		p.iterator.Drain()
	}
	// Only now: whoever hears of the stop may wait for the handlers, and no new one begins after this.
	p.stopOnce.Do(func() { close(p.stop) })
}

// wait returns when nothing runs any more.
func (p *partition) wait() {
	p.loops.Wait()
	p.handlers.Wait()
	p.giveBack()
}

// handOver lets a standby reader have the partition now and not after the pin has run out.
func (p *partition) handOver(ctx context.Context) {
	p.mu.Lock()
	mine := p.pin != "" && time.Since(p.pinned) < p.config.PinnedTTL
	p.mu.Unlock()
	if !mine || !p.c.conn.NC().IsConnected() {
		return
	}
	// Also after the deadline of Stop: a quarter of a second here saves the next reader seconds.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handOverTimeout)
	defer cancel()
	// Without the right to do so, or on another error, the pin runs out by itself.
	if err := p.stream.UnpinConsumer(ctx, p.durable, topology.PriorityGroup); err != nil {
		p.c.conn.log.Debug("unpin", "durable", p.durable, "error", err)
	}
}
