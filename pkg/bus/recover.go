package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// The recovery looks at no more than this many messages, the newest before its own first one.
	// Older ones can only be parked, not in work, and hold no lane then.
	maxRecovered  = 4096
	maxRecoverGap = 100_000
	recoverBudget = 10 * time.Second
)

// recovery is the state after a takeover. The former reader may have died with messages in work; the
// server delivers those again only after AckWait, and meanwhile delivers newer ones. Without care a
// fan's second message would be handled before the first.
//
// The server does not tell which messages those are, only that they lie between the consumer's ack floor
// and our first new one. So the lanes of all messages in that range are held until they came again,
// or until the server counts none that we do not have.
type recovery struct {
	due    bool // look at the range when the first new message comes
	active bool // some lanes are held
}

// beginRecovery forgets what an earlier turn with this partition left: others have handled it since.
// p.mu is held.
func (p *partition) beginRecovery() {
	p.recovery = recovery{due: true}
	for _, l := range p.lanes {
		clear(l.parked)
		p.advance(l)
	}
}

// recoverLanes holds the lanes of messages that a former reader may have in work; first is the sequence
// of our first new message.
func (p *partition) recoverLanes(first uint64) {
	ctx, cancel := context.WithTimeout(p.base, recoverBudget)
	defer cancel()
	pending, err := p.inDoubt(ctx, first)
	if err != nil {
		p.c.conn.log.Warn("takeover without knowing what the former reader had",
			"service", p.c.cfg.Service, "durable", p.durable, "error", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recovery = recovery{active: len(pending) > 0}
	for _, d := range pending {
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
}

// inDoubt lists the messages between the ack floor and first that this durable reads.
func (p *partition) inDoubt(ctx context.Context, first uint64) ([]*Delivery, error) {
	info, err := p.reader.Info(ctx)
	if err != nil {
		return nil, err
	}
	from := info.AckFloor.Stream + 1
	if first > maxRecoverGap {
		from = max(from, first-maxRecoverGap)
	}
	filters := p.config.FilterSubjects
	if p.config.FilterSubject != "" {
		filters = []string{p.config.FilterSubject}
	}
	var out []*Delivery
	for _, filter := range filters {
		for seq := from; seq < first && len(out) < maxRecovered; seq++ {
			m, err := p.stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(filter))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				break
			}
			if err != nil {
				return out, err
			}
			if m.Sequence >= first {
				break
			}
			seq = m.Sequence
			out = append(out, &Delivery{Subject: m.Subject, Header: m.Header, Data: m.Data, Stream: p.c.cfg.Stream,
				Durable: p.durable, Seq: m.Sequence, NumDelivered: 1, Stored: m.Time, attempt: 1})
		}
	}
	return out, nil
}

// endRecovery lets all lanes go on once the server waits for no ack but ours.
func (p *partition) endRecovery() {
	p.mu.Lock()
	active := p.recovery.active
	p.mu.Unlock()
	if !active {
		return
	}
	ctx, cancel := context.WithTimeout(p.base, time.Second)
	defer cancel()
	info, err := p.reader.Info(ctx)
	if err != nil {
		return // the parked messages expire
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	ours := p.held
	for _, l := range p.lanes {
		for _, parked := range l.parked {
			if !parked.foreign {
				ours++
			}
		}
	}
	done := info.NumAckPending <= ours
	p.recovery.active = !done
	for _, l := range p.lanes {
		for seq, parked := range l.parked {
			if parked.foreign && (done || seq <= info.AckFloor.Stream) {
				delete(l.parked, seq)
			}
		}
		p.advance(l)
	}
}
