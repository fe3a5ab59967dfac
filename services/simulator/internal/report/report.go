// Package report turns the ledger's facts into one verdict: what WeChat saw, what the fans saw, and what should not have been.
package report

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/hist"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
)

// Classes of violations that need the list of what the bus stored.
const (
	ClassNotStored   = "acked_not_stored"
	ClassStoredTwice = "stored_twice"
)

// Stored identifies a push on the bus. Messages have a MsgID; events are known by fan, event and time.
type Stored struct {
	Account    string `json:"account"`
	OpenID     string `json:"openid"`
	MsgID      string `json:"msg_id,omitempty"`
	Event      string `json:"event,omitempty"`
	CreateTime int64  `json:"create_time,omitempty"`
}

// StoredSet is what a reader of the bus found. Complete tells that it read to the end.
type StoredSet struct {
	Pushes   []Stored  `json:"pushes"`
	Complete bool      `json:"complete"`
	Reason   string    `json:"reason,omitempty"` // why it is not complete
	At       time.Time `json:"at,omitzero"`      // when it was read, on the simulator's clock; zero: for this report
}

// Reader reads what the bus stored.
type Reader func(ctx context.Context) (StoredSet, error)

// States of the check of stored pushes.
const (
	CheckerComplete   = "complete"
	CheckerIncomplete = "incomplete"
)

// Checker tells whether "acked but not stored" could be decided.
type Checker struct {
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	Stored int    `json:"stored"`
}

// Latency is a distribution of times, measured from when a push was due and not from when it was sent.
type Latency struct {
	Count  uint64        `json:"count"`
	Min    time.Duration `json:"min_ns"`
	Mean   time.Duration `json:"mean_ns"`
	P50    time.Duration `json:"p50_ns"`
	P90    time.Duration `json:"p90_ns"`
	P99    time.Duration `json:"p99_ns"`
	P999   time.Duration `json:"p999_ns"`
	Max    time.Duration `json:"max_ns"`
	Points []Point       `json:"points,omitempty"`
}

// Point is one step of the percentile curve.
type Point struct {
	Quantile float64       `json:"quantile"`
	Value    time.Duration `json:"value_ns"`
}

// Report is the verdict. Violations has every class that occurred; the counts are exact, the incidents the first ones.
type Report struct {
	From           time.Time                   `json:"from"`
	To             time.Time                   `json:"to"`
	Pushes         uint64                      `json:"pushes"`
	Open           uint64                      `json:"open"` // not over yet
	Acked          uint64                      `json:"acked"`
	NotAcked       uint64                      `json:"not_acked"`
	Native         uint64                      `json:"native"`
	Passive        uint64                      `json:"replies_passive"`
	Kf             uint64                      `json:"replies_kf"`
	Prompts        uint64                      `json:"fault_prompts"`
	Numbered       uint64                      `json:"numbered"` // pushes with an expected reply
	Answered       uint64                      `json:"answered"` // of those, with the reply seen
	UnansweredIDs  []string                    `json:"unanswered_ids,omitempty"`
	Unanswered     int                         `json:"unanswered"` // acknowledged, but no reply seen (yet)
	Attempts       map[int]uint64              `json:"attempts"`
	Outcomes       map[string]uint64           `json:"outcomes"`
	Replicas       map[string]uint64           `json:"replicas"`
	Calls          map[string]map[int]uint64   `json:"calls"`
	Ack            Latency                     `json:"ack"`
	Reply          Latency                     `json:"reply"`
	Violations     map[string]ledger.Violation `json:"violations"`
	OrderUnclear   ledger.Violation            `json:"order_unclear"`
	Ambiguous      []ledger.Ambiguous          `json:"ambiguous,omitempty"`
	AmbiguousCount uint64                      `json:"ambiguous_count"`
	Checker        Checker                     `json:"checker"`
}

// Clean tells that nothing was wrong and that everything could be checked.
func (r Report) Clean() bool { return len(r.Violations) == 0 && r.Checker.State == CheckerComplete }

// Count returns how often a class of violations occurred.
func (r Report) Count(class string) uint64 { return r.Violations[class].Count }

const keepUnanswered = 1000

// Build makes the report of a ledger. Without a reader the check of stored pushes is incomplete, not zero.
// The reader is called after the ledger was copied: whatever was acknowledged by then must be on the bus.
func Build(ctx context.Context, l *ledger.Ledger, read Reader) Report {
	t := l.Totals()
	pushes := l.Pushes()
	unanswered, ids := l.Unanswered(), l.UnansweredPushes(keepUnanswered)
	set, reason := readStored(ctx, read)
	r := Report{From: t.Started, To: t.Now, Pushes: t.Pushes, Open: t.Open, Acked: t.Acked, NotAcked: t.Pushes - t.Acked, Native: t.Native,
		Passive: t.Passive, Kf: t.Kf, Prompts: t.Prompts, Numbered: t.Numbered, Answered: t.Answered, Attempts: t.Attempts, Outcomes: t.Outcomes,
		Replicas: t.Replicas, Calls: t.Calls, Ack: latency(&t.Ack), Reply: latency(&t.Reply), Violations: t.Violations, OrderUnclear: t.OrderUnclear,
		Ambiguous: t.Ambiguous, AmbiguousCount: t.AmbiguousCount, Checker: Checker{State: CheckerComplete, Stored: len(set.Pushes)}}
	r.UnansweredIDs, r.Unanswered = ids, unanswered
	later := 0
	for _, p := range pushes {
		if !set.At.IsZero() && p.Acked.After(set.At) {
			later++
		}
	}
	switch {
	case !set.Complete:
		r.incomplete(reason)
	case t.FoldedAcked > 0:
		r.incomplete(fmt.Sprintf("%d acknowledged pushes are no longer kept (simulator.keep_pushes)", t.FoldedAcked))
	case later > 0:
		r.incomplete(fmt.Sprintf("%d pushes were acknowledged after the list was read", later))
	}
	r.check(pushes, set)
	return r
}

func (r *Report) incomplete(reason string) {
	r.Checker.State, r.Checker.Reason = CheckerIncomplete, reason
}

// readStored returns what the reader found, and why it is not complete.
func readStored(ctx context.Context, read Reader) (StoredSet, string) {
	if read == nil {
		return StoredSet{}, "nobody gave the list of stored pushes"
	}
	set, err := read(ctx)
	if err != nil {
		set.Complete = false
		return set, "the reader failed: " + err.Error()
	}
	if set.Reason != "" {
		return set, "the reader did not read to the end: " + set.Reason
	}
	return set, "the reader did not read to the end"
}

// check compares what was acknowledged with what was stored.
func (r *Report) check(pushes []ledger.Push, set StoredSet) {
	index := newIndex(set.Pushes)
	var lost, twice ledger.Violation
	for _, p := range pushes {
		n := index.count(p)
		id := fmt.Sprintf("%s/%s push %d %s", p.Account, p.OpenID, p.ID, p.Kind.Name())
		switch {
		case n == 0 && !p.Acked.IsZero():
			lost.Count++
			lost.Incidents = append(lost.Incidents, ledger.Incident{ID: id, Detail: "acknowledged, but the bus does not have it", At: p.Acked})
		case n > 1:
			twice.Count++
			twice.Incidents = append(twice.Incidents, ledger.Incident{ID: id, Detail: fmt.Sprintf("the bus has it %d times", n), At: p.Scheduled})
		}
	}
	if lost.Count > 0 && r.Checker.State == CheckerComplete {
		r.Violations[ClassNotStored] = lost
	}
	if twice.Count > 0 {
		r.Violations[ClassStoredTwice] = twice
	}
}

// index counts stored pushes by both of their identities.
type index struct{ byID, byTime map[string]int }

func newIndex(stored []Stored) index {
	x := index{byID: map[string]int{}, byTime: map[string]int{}}
	for _, s := range stored {
		if s.MsgID != "" {
			x.byID[s.Account+" "+s.OpenID+" "+s.MsgID]++
		} else {
			x.byTime[timeKey(s.Account, s.OpenID, s.Event, s.CreateTime)]++
		}
	}
	return x
}

func timeKey(account, openID, event string, t int64) string {
	return fmt.Sprintf("%s %s %s %d", account, openID, strings.ToLower(event), t)
}

func (x index) count(p ledger.Push) int {
	if p.MsgID != "" {
		if n := x.byID[p.Account+" "+p.OpenID+" "+p.MsgID]; n > 0 || !p.Kind.IsEvent() {
			return n
		}
	}
	n := x.byTime[timeKey(p.Account, p.OpenID, p.Kind.Event, p.CreateTime)]
	if p.MsgID != "" {
		n = min(n, 1) // two job results of one second look the same without their ids
	}
	return n
}

func latency(h *hist.Histogram) Latency {
	l := Latency{Count: h.Count(), Min: h.Min(), Mean: h.Mean(), P50: h.Quantile(0.5), P90: h.Quantile(0.9), P99: h.Quantile(0.99),
		P999: h.Quantile(0.999), Max: h.Max()}
	if l.Count == 0 {
		return l
	}
	// The curve ends at the percentile that the number of values still supports.
	for _, nines := range curve {
		q := 1 - 1/nines
		if nines > float64(l.Count) && q > 0 {
			break
		}
		l.Points = append(l.Points, Point{Quantile: q, Value: h.Quantile(q)})
	}
	l.Points = append(l.Points, Point{Quantile: 1, Value: h.Max()})
	return l
}

// curve are the steps of the percentile axis, as 1/(1-quantile).
var curve = slices.Clip([]float64{1, 1.1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000,
	1500, 2000, 3000, 5000, 7000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000})
