package ledger

import (
	"maps"
	"slices"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/hist"
)

// Totals are the sums of a snapshot.
type Totals struct {
	Started        time.Time
	Now            time.Time
	Pushes         uint64
	Open           uint64
	Acked          uint64
	Passive        uint64
	Kf             uint64
	Prompts        uint64
	Native         uint64
	Folded         uint64 // finished pushes that are no longer kept
	FoldedAcked    uint64
	Numbered       uint64
	Answered       uint64 // numbered pushes whose reply was seen
	Outcomes       map[string]uint64
	Replicas       map[string]uint64
	Attempts       map[int]uint64 // finished pushes by number of attempts
	Calls          map[string]map[int]uint64
	Violations     map[string]Violation
	OrderUnclear   Violation
	Ambiguous      []Ambiguous
	AmbiguousCount uint64
	Ack, Reply     hist.Histogram
}

// Totals returns a copy of the sums.
func (l *Ledger) Totals() Totals {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &l.totals
	out := Totals{Started: t.started, Now: l.clock.Now(), Pushes: t.pushes, Open: t.pushes - t.finished, Acked: t.acked, Passive: t.passive, Kf: t.kf,
		Prompts: t.prompts, Native: t.native, Folded: t.folded, FoldedAcked: t.foldedAck, Numbered: t.numbered, Answered: t.answered,
		Outcomes: maps.Clone(t.outcomes), Replicas: maps.Clone(t.replicas), Attempts: maps.Clone(t.attempts), Calls: map[string]map[int]uint64{},
		Violations: map[string]Violation{}, OrderUnclear: t.unclear, Ambiguous: slices.Clone(t.ambiguous), AmbiguousCount: t.ambiguousCount,
		Ack: t.ack.Clone(), Reply: t.reply.Clone()}
	for path, byCode := range t.calls {
		out.Calls[path] = maps.Clone(byCode)
	}
	for class, v := range t.violations {
		out.Violations[class] = Violation{Count: v.Count, Incidents: slices.Clone(v.Incidents)}
	}
	out.OrderUnclear.Incidents = slices.Clone(t.unclear.Incidents)
	return out
}

// Pushes returns copies of the kept pushes, oldest first.
func (l *Ledger) Pushes() []Push {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Push, 0, len(l.pushes))
	for _, p := range l.pushes {
		out = append(out, p.copy())
	}
	return out
}

// Get returns a copy of one push.
func (l *Ledger) Get(p *Push) Push {
	l.mu.Lock()
	defer l.mu.Unlock()
	return p.copy()
}

func (p *Push) copy() Push {
	c := *p
	c.Attempts = slices.Clone(p.Attempts)
	if p.ask != nil {
		c.ReplyWay, c.ReplyAt, c.ReplySeen = p.ask.way, p.ask.seenAt, p.ask.seen
	}
	c.fan, c.ask, c.answer = nil, nil, nil
	return c
}

// Unanswered returns how many acknowledged numbered pushes have no reply on the fan's screen.
func (l *Ledger) Unanswered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.totals.unanswered
}

// UnansweredPushes names such pushes, at most limit of those that are kept.
func (l *Ledger) UnansweredPushes(limit int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, p := range l.pushes {
		if p.ask != nil && p.ask.seen == 0 && !p.Acked.IsZero() && len(out) < limit {
			out = append(out, p.label())
		}
	}
	return out
}

// Summary are the few sums that a page shows all the time.
type Summary struct {
	Pushes     uint64 `json:"pushes"`
	Retries    uint64 `json:"retries"`
	Acked      uint64 `json:"acked"`
	Seen       uint64 `json:"seen"`
	Violations uint64 `json:"violations"`
}

// Summary returns the sums.
func (l *Ledger) Summary() Summary {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &l.totals
	s := Summary{Pushes: t.pushes, Acked: t.acked, Seen: t.passive + t.kf}
	for n, count := range t.attempts {
		s.Retries += uint64(max(n-1, 0)) * count
	}
	for _, v := range t.violations {
		s.Violations += v.Count
	}
	return s
}
