package ledger

import (
	"fmt"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/codec"
)

// ask is a numbered push of the correlation pattern: its reply can be recognised by fan and number alone.
type ask struct {
	push                      uint64
	scheduled, started, acked time.Time
	seen                      int
	seenAt                    time.Time
	way                       string
}

const orderMemory = 64 // replies of a fan that a new one is compared with

func (f *fan) asked(p *Push) {
	l := f.book.ledger
	if f.asks[p.Number] != nil {
		return // the number was used before: the first push keeps it
	}
	p.ask = &ask{push: p.ID, scheduled: p.Scheduled}
	f.asks[p.Number] = p.ask
	l.totals.numbered++
}

// saw judges a text that the fan sees by the correlation pattern.
func (f *fan) saw(c codec.Content, way string, now time.Time) {
	l := f.book.ledger
	n := l.cfg.Reply.Number(c.Text)
	if c.Type != codec.TypeText || n == 0 {
		return
	}
	label := fmt.Sprintf("%s/%s number %d", f.book.account.Name, f.openID, n)
	a := f.asks[n]
	if a == nil {
		l.violate(codec.ClassWrongRecipient, label, "the fan never sent this number, the reply came by "+way, now)
		return
	}
	a.seen++
	if a.seen > 1 {
		l.violate(ClassDuplicate, label, fmt.Sprintf("seen %d times, first by %s, now by %s", a.seen, a.way, way), now)
		return
	}
	a.seenAt, a.way = now, way
	l.totals.answered++
	if !a.acked.IsZero() {
		l.totals.unanswered--
	}
	l.totals.reply.Record(now.Sub(a.scheduled))
	f.checkOrder(n, a, label, now)
	if len(f.replies) >= l.cfg.KeepPerFan {
		f.replies = f.replies[1:]
	}
	f.replies = append(f.replies, Reply{Number: n, Way: way, At: now})
}

// checkOrder looks for a later number that the fan saw before this one. It is a violation when the earlier push had been
// acknowledged before the later one began; pushes that were open together have no order that an observer could know.
func (f *fan) checkOrder(n int, a *ask, label string, now time.Time) {
	l := f.book.ledger
	unclear := false
	for i := len(f.replies) - 1; i >= max(0, len(f.replies)-orderMemory); i-- {
		r := f.replies[i]
		if r.Number <= n {
			continue
		}
		later := f.asks[r.Number]
		apart := now.Sub(r.At) > l.cfg.OrderSlack || (a.way == WayKf && r.Way == WayKf)
		if apart && !a.acked.IsZero() && later.started.After(a.acked) {
			l.violate(ClassOrder, label, fmt.Sprintf("seen by %s, %s after the reply to number %d by %s, whose push began %s after this one was acknowledged",
				a.way, now.Sub(r.At).Round(time.Millisecond), r.Number, r.Way, later.started.Sub(a.acked).Round(time.Millisecond)), now)
			return
		}
		unclear = true
	}
	if unclear {
		l.totals.unclear.add(Incident{ID: label, Detail: "the pushes were open at the same time", At: now})
	}
}

// LastNumber returns the highest number of the correlation pattern that a fan has sent, or 0.
func (l *Ledger) LastNumber(account, openID string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.find(account, openID)
	if f == nil {
		return 0
	}
	last := 0
	for n := range f.asks {
		last = max(last, n)
	}
	return last
}
