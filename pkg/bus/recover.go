package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/wxbus/wxbus/pkg/topology"
)

const (
	// The recovery looks at no more than this many messages. More are pending only when some wait for
	// a distant try; those hold no lane then.
	maxRecovered  = 4096
	maxRecoverGap = 100_000
	recoveryPoll  = 100 * time.Millisecond
)

// recoverLanes runs when the partition came to this reader, and when deliveries to it got lost. A former
// reader may have died with messages in work; the server delivers those again only after AckWait, in any
// order, and meanwhile delivers newer ones. Without care a fan's second message would be handled before the first.
//
// The server does not tell which messages those are, only that they lie between the ack floor and the
// last delivered one. So the lanes of all messages in that range are held until they came again, or until
// the server counts none that we do not have. While the range cannot be read, all lanes are held. It runs
// before the first message enters.
func (p *partition) recoverLanes() {
	err := p.holdInDoubt()
	if err == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blindUntil = time.Now().Add(p.config.AckWait + slowServer)
	p.wakeRecovery()
	p.c.conn.log.Warn("takeover without knowing what the former reader had: all lanes wait until the server tells",
		"service", p.c.cfg.Service, "durable", p.durable, "error", err)
}

// holdInDoubt holds the lanes of what is in doubt, and no others.
func (p *partition) holdInDoubt() error {
	// Not longer, or the pin runs out meanwhile.
	ctx, cancel := context.WithTimeout(p.base, p.expiry)
	defer cancel()
	pending, floor, err := p.inDoubt(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.blindUntil = time.Time{}
	}
	for _, l := range p.lanes {
		for seq, parked := range l.parked {
			if seq <= floor {
				delete(l.parked, seq)
				continue
			}
			parked.foreign = true // what we gave back for a later try, another reader may have got
			l.parked[seq] = parked
		}
	}
	for _, d := range pending {
		p.doubt(d)
	}
	for _, l := range p.lanes {
		p.advance(l)
	}
	if len(pending) > 0 {
		p.wakeRecovery()
	}
	return err
}

// wakeRecovery lets tick look whether the recovery is over.
func (p *partition) wakeRecovery() {
	select {
	case p.watch <- struct{}{}:
	default:
	}
}

// doubt holds the lane of a message that a former reader may have. p.mu is held.
func (p *partition) doubt(d *Delivery) {
	key := p.c.laneOf(d)
	l := p.lanes[key]
	if l == nil {
		l = &lane{key: key}
		p.lanes[key] = l
	}
	if _, parked := l.parked[d.Seq]; !parked && !l.has(d.Seq) {
		p.park(l, d.Seq, 0, 0, true)
	}
}

// inDoubt lists the messages between the ack floor and the last delivered one that this durable reads.
func (p *partition) inDoubt(ctx context.Context) (pending []*Delivery, floor uint64, err error) {
	info, err := p.reader.Info(ctx)
	if err != nil {
		return nil, 0, err
	}
	floor, last := info.AckFloor.Stream, info.Delivered.Stream
	from := floor + 1
	if last > maxRecoverGap {
		from = max(from, last-maxRecoverGap)
	}
	filters := p.config.FilterSubjects
	if p.config.FilterSubject != "" {
		filters = []string{p.config.FilterSubject}
	}
	for _, filter := range filters {
		for seq := from; seq <= last && len(pending) < maxRecovered; seq++ {
			m, err := p.stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(filter))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				break
			}
			if err != nil {
				return pending, floor, err
			}
			if seq = m.Sequence; seq > last {
				break
			}
			pending = append(pending, &Delivery{Subject: m.Subject, Header: m.Header, Data: m.Data, Stream: p.c.cfg.Stream,
				Durable: p.durable, Seq: seq, NumDelivered: 1, Stored: m.Time, attempt: 1})
		}
	}
	return pending, floor, nil
}

// endRecovery lets all lanes go on once the server waits for no ack but ours. It reports whether lanes
// are still held.
//
// The count of the server and our own are not of the same moment. Only messages that we had before the
// question and still have unanswered after it were certainly among those that the server counted.
func (p *partition) endRecovery() bool {
	if p.blind() && p.holdInDoubt() != nil {
		return true // at the latest blindUntil ends it
	}
	ctx, cancel := context.WithTimeout(p.base, time.Second)
	defer cancel()
	before := p.unanswered()
	info, err := p.reader.Info(ctx)
	if err != nil {
		return true // at the latest the parked messages expire
	}
	ours := 0
	for seq := range p.unanswered() {
		if before[seq] {
			ours++
		}
	}
	done := info.NumAckPending <= ours
	p.mu.Lock()
	defer p.mu.Unlock()
	foreign := 0
	for _, l := range p.lanes {
		for seq, parked := range l.parked {
			switch {
			case parked.foreign && (done || seq <= info.AckFloor.Stream):
				delete(l.parked, seq)
			case parked.foreign:
				foreign++
			}
		}
		p.advance(l)
	}
	return foreign > 0 || !p.blindUntil.IsZero()
}

func (p *partition) blind() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.blindUntil.IsZero()
}

// passOn gives back what waits here after another reader got the partition, so that it does not wait for what this
// one has: only messages that are being handled stay. A reader that was cut off for a while does not hear that its
// pin is gone, so it asks when nothing came for some time.
func (p *partition) passOn(now time.Time) {
	p.mu.Lock()
	silent := p.pin != "" && now.Sub(p.pinned) > p.expiry && p.waiting() > 0
	p.mu.Unlock()
	if !silent {
		return
	}
	ctx, cancel := context.WithTimeout(p.base, time.Second)
	defer cancel()
	info, err := p.reader.Info(ctx)
	if err != nil {
		return // the next tick asks again
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range info.PriorityGroups {
		if g.Group == topology.PriorityGroup && g.PinnedClientID != "" && g.PinnedClientID != p.pin {
			p.giveWaitingBack()
		}
	}
}

// unanswered returns the sequences of the messages that we hold without having answered the server, and of
// those that we gave back for a later try.
func (p *partition) unanswered() map[uint64]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[uint64]bool, p.held)
	for _, l := range p.lanes {
		if l.running != nil && !l.running.answered.Load() {
			out[l.running.delivery.Seq] = true
		}
		for _, h := range l.waiting {
			out[h.delivery.Seq] = true
		}
		for seq, parked := range l.parked {
			if !parked.foreign {
				out[seq] = true
			}
		}
	}
	return out
}
