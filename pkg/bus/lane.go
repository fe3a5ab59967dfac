package bus

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// laneShare is the part of a partition's window that one lane may take: an eighth. The rest of a
	// busy fan's messages wait on the server.
	laneShare = 8
	minLane   = 4
	// maxGivenBack is how often a message may be given back unseen. Each time costs one of the
	// deliveries that the server grants; MaxDeliver-1-maxGivenBack remain for real tries.
	maxGivenBack = 2
)

// holding is a message in our hands.
type holding struct {
	msg      jetstream.Msg
	delivery *Delivery
	key      string
	touched  time.Time   // when the server last heard of it; guarded by partition.mu
	answered atomic.Bool // set before the server is told the outcome
}

// lane is the messages of one key. Exactly one of them is handled at a time.
type lane struct {
	key     string
	running *holding
	told    bool       // whether running knows that others wait
	waiting []*holding // by sequence
	// parked are earlier messages that the server has, by sequence: they go first when they come again.
	parked map[uint64]parking
}

// parking is a message of the lane that is not in our hands.
type parking struct {
	until     time.Time // when we no longer expect it
	givenBack uint64    // deliveries that were no tries
	foreign   bool      // another reader may have it; perhaps it is done
}

// enter puts h into its lane and starts it if it is its turn. p.mu is held.
func (p *partition) enter(h *holding) {
	l := p.lanes[h.key]
	if l == nil {
		l = &lane{key: h.key}
		p.lanes[h.key] = l
	}
	seq := h.delivery.Seq
	if l.has(seq) {
		return // a copy of a message that we still hold; its ack counts for both
	}
	back, parked := l.parked[seq]
	delete(l.parked, seq)
	if parked && back.givenBack < h.delivery.NumDelivered {
		h.delivery.attempt -= back.givenBack
	}
	p.held++
	p.c.conn.metrics.inFlight.Add(p.base, 1, p.c.labels.consumer.add...)
	if p.draining {
		l.insert(h) // giveBack sees to it, in order
		return
	}
	if len(l.waiting) >= max(p.c.cfg.MaxInFlight/laneShare, minLane) && h.delivery.NumDelivered <= maxGivenBack {
		p.postpone(l, h, back.givenBack)
		return
	}
	l.insert(h)
	p.advance(l)
	l.tell()
}

// tell lets the running message know that another one waits. The partition's mu is held.
func (l *lane) tell() {
	if l.running == nil || len(l.waiting) == 0 || l.told {
		return
	}
	l.told = true
	close(l.running.delivery.behind)
}

func (l *lane) has(seq uint64) bool {
	if l.running != nil && l.running.delivery.Seq == seq {
		return true
	}
	_, found := slices.BinarySearchFunc(l.waiting, seq, bySeq)
	return found
}

func (l *lane) insert(h *holding) {
	i, _ := slices.BinarySearchFunc(l.waiting, h.delivery.Seq, bySeq)
	l.waiting = slices.Insert(l.waiting, i, h)
}

func bySeq(h *holding, seq uint64) int {
	switch {
	case h.delivery.Seq < seq:
		return -1
	case h.delivery.Seq > seq:
		return 1
	}
	return 0
}

// postpone gives h back because its lane is full. It comes again when the lane has moved on, behind what
// waits there: the delay grows with each time.
func (p *partition) postpone(l *lane, h *holding, before uint64) {
	delay := p.config.AckWait / 10 << (2 * (h.delivery.NumDelivered - 1)) // 3 s, 12 s
	p.park(l, h.delivery.Seq, delay, before+1, false)
	p.leave(1)
	if err := h.msg.NakWithDelay(delay); err != nil {
		p.c.ackFailed(p.base, "postpone", h, err)
	}
}

// slowServer is how late the server may be to tell what a former reader had before all lanes go on without knowing.
const slowServer = 10 * time.Second

// park notes that a message of the lane is on the server. If it is gone from there, by age or by a
// purge, the lane waits in vain, but not for ever.
func (p *partition) park(l *lane, seq uint64, delay time.Duration, givenBack uint64, foreign bool) {
	if l.parked == nil {
		l.parked = make(map[uint64]parking)
	}
	l.parked[seq] = parking{until: time.Now().Add(delay + 3*p.config.AckWait), givenBack: givenBack, foreign: foreign}
}

// advance starts the next message of the lane unless one runs or an earlier one is parked; a lane without
// anything goes away. p.mu is held.
func (p *partition) advance(l *lane) {
	if l.running != nil || p.draining {
		return
	}
	if h := p.takeNext(l); h != nil {
		p.c.conn.metrics.lanes.Add(p.base, 1, p.c.labels.consumer.add...)
		p.handlers.Go(func() { p.run(l, h) })
	}
}

// takeNext makes the next message of the lane the running one, or forgets the lane. p.mu is held.
func (p *partition) takeNext(l *lane) *holding {
	if len(l.waiting) == 0 {
		if len(l.parked) == 0 {
			delete(p.lanes, l.key)
		}
		return nil
	}
	if !p.blindUntil.IsZero() {
		return nil
	}
	first := l.waiting[0]
	for seq := range l.parked {
		if seq < first.delivery.Seq {
			return nil
		}
	}
	l.waiting[0] = nil
	l.waiting = l.waiting[1:]
	l.running, l.told = first, false
	l.tell()
	return first
}

// run handles messages of the lane until none may be handled now.
func (p *partition) run(l *lane, h *holding) {
	defer p.c.conn.metrics.lanes.Add(p.base, -1, p.c.labels.consumer.add...)
	for h != nil {
		err := p.c.handle(p.base, h.delivery)
		h.answered.Store(true)
		retry, delay := p.c.settle(p.base, p.stop, h, err)
		p.mu.Lock()
		l.running = nil
		if retry {
			p.park(l, h.delivery.Seq, delay, h.delivery.NumDelivered-h.delivery.attempt, false)
		}
		p.leave(1)
		h = nil
		if !p.draining {
			h = p.takeNext(l)
		}
		p.mu.Unlock()
	}
}

// giveBack returns what no handler has begun when the partition ends.
func (p *partition) giveBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.giveWaitingBack()
	p.lanes = make(map[string]*lane)
}

// giveWaitingBack returns what no handler has begun, in the order of the stream and without a delay: the
// server delivers such messages before any new one, so the next reader gets them in order. p.mu is held.
func (p *partition) giveWaitingBack() {
	var rest []*holding
	for _, l := range p.lanes {
		rest = append(rest, l.waiting...)
		l.waiting = nil
		if l.running == nil && len(l.parked) == 0 {
			delete(p.lanes, l.key)
		}
	}
	slices.SortFunc(rest, func(a, b *holding) int { return bySeq(a, b.delivery.Seq) })
	for _, h := range rest {
		if err := h.msg.Nak(); err != nil {
			p.c.ackFailed(p.base, "give back", h, err)
		}
	}
	p.leave(len(rest))
}

// waiting counts what no handler has begun. p.mu is held.
func (p *partition) waiting() (n int) {
	for _, l := range p.lanes {
		n += len(l.waiting)
	}
	return n
}

// tick keeps what we hold from being delivered again, lets lanes go on whose parked message is overdue,
// and ends a recovery; until drain, and beyond while handlers run.
func (p *partition) tick() {
	every := min(p.config.AckWait/3, time.Second)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var recovery <-chan time.Time
	for {
		select {
		case <-p.stop:
			p.tickUntilIdle(ticker)
			return
		case <-p.watch:
			recovery = time.After(recoveryPoll)
		case <-recovery:
			recovery = nil
			if p.endRecovery() {
				recovery = time.After(recoveryPoll)
			}
		case now := <-ticker.C:
			p.touch(now)
			p.expire(now)
			p.passOn(now)
		}
	}
}

// tickUntilIdle touches what is still being handled while the partition stops.
func (p *partition) tickUntilIdle(ticker *time.Ticker) {
	idle := make(chan struct{})
	go func() { // ends with the handlers
		p.handlers.Wait()
		close(idle)
	}()
	for {
		select {
		case <-idle:
			return
		case now := <-ticker.C:
			p.touch(now)
		}
	}
}

func (p *partition) touch(now time.Time) {
	p.mu.Lock()
	var due []*holding
	for _, l := range p.lanes {
		if l.running != nil && now.Sub(l.running.touched) >= p.config.AckWait/3 {
			due = append(due, l.running)
		}
		for _, h := range l.waiting {
			if now.Sub(h.touched) >= p.config.AckWait/3 {
				due = append(due, h)
			}
		}
	}
	for _, h := range due {
		h.touched = now
	}
	p.mu.Unlock()
	for _, h := range due {
		// An error means that the connection is down; the next tick tries again.
		_ = h.msg.InProgress()
	}
}

// expire stops waiting for parked messages that do not come, and for a former reader's that nobody knows.
func (p *partition) expire(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	released := !p.blindUntil.IsZero() && now.After(p.blindUntil)
	if released {
		p.blindUntil = time.Time{}
	}
	for _, l := range p.lanes {
		before := len(l.parked)
		for seq, parked := range l.parked {
			if now.After(parked.until) {
				delete(l.parked, seq)
				if !parked.foreign {
					p.c.conn.log.Warn("a message that was to come again did not",
						"service", p.c.cfg.Service, "durable", p.durable, "seq", seq)
				}
			}
		}
		if released || len(l.parked) != before {
			p.advance(l)
		}
	}
}
