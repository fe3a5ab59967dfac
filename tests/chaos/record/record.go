// Package record keeps what a trial of the fault table found: result.json for machines, and a page with plots.
package record

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/wxbus/wxbus/tests/chaos/judge"
	"github.com/wxbus/wxbus/tests/readback"
)

// Record is one trial.
type Record struct {
	Row     int       `json:"row"`
	Name    string    `json:"name"`
	Trial   int       `json:"trial"`
	Seed    uint64    `json:"seed"` // of the run; the row and the trial follow from it
	Commit  string    `json:"commit"`
	Form    string    `json:"form"`
	Started time.Time `json:"started"`
	Rate    float64   `json:"rate"` // pushes per second, planned
	Span    Seconds   `json:"span_s"`
	// Rest is how long after the heal and the last push everything was at rest.
	Rest    Seconds            `json:"rest_s"`
	Marks   []Mark             `json:"marks"` // what was broken and healed, and when
	Load    judge.Load         `json:"load"`
	Verdict judge.Verdict      `json:"verdict"`
	Checks  []Check            `json:"checks"` // what the row expects besides
	Ack     Latency            `json:"ack"`
	Facts   judge.Report       `json:"report"`
	Read    []readback.Reading `json:"readings"`

	Pushes []judge.Push `json:"-"` // for the plots
}

// Seconds is a time that JSON writes as a number of seconds.
type Seconds time.Duration

// MarshalJSON writes seconds with three digits.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return json.Marshal(math.Round(time.Duration(s).Seconds()*1000) / 1000)
}

// Mark is a moment of the trial.
type Mark struct {
	At   Seconds `json:"at_s"` // since the first push was due
	Text string  `json:"text"`
	Heal bool    `json:"heal,omitempty"`
}

// Check is one expectation of the table. Times are measured and reported, and fail nothing; counts decide.
type Check struct {
	Name     string `json:"name"`
	Expected string `json:"expected"`
	Measured string `json:"measured"`
	Met      bool   `json:"met"`
	Decides  bool   `json:"decides"` // not met means that the trial failed
}

// Failed tells that the trial broke a promise or an expectation that decides, or could not be judged.
func (r Record) Failed() bool {
	return !r.Verdict.Kept() || slices.ContainsFunc(r.Checks, func(c Check) bool { return c.Decides && !c.Met })
}

// Outcome is failed, kept, or kept with a time that was not met.
func (r Record) Outcome() string {
	switch {
	case len(r.Verdict.Incomplete) > 0:
		return "INCOMPLETE"
	case r.Failed():
		return "FAILED"
	case slices.ContainsFunc(r.Checks, func(c Check) bool { return !c.Met }):
		return "kept, late"
	default:
		return "kept"
	}
}

// Latency is the time from when a push was due until WeChat had its answer.
type Latency struct {
	Count     int      `json:"count"`
	P50       Seconds  `json:"p50_s"`
	P99       Seconds  `json:"p99_s"`
	P999      Seconds  `json:"p999_s"`
	Max       Seconds  `json:"max_s"`
	Histogram []Bucket `json:"histogram"`
}

// Bucket counts the values up to a bound and above the bound before.
type Bucket struct {
	UpTo  Seconds `json:"up_to_s"`
	Count int     `json:"count"`
}

// AckLatency measures the pushes that were acknowledged.
func AckLatency(pushes []judge.Push) Latency {
	var all []time.Duration
	for _, p := range pushes {
		if !p.Acked.IsZero() {
			all = append(all, p.Acked.Sub(p.Scheduled))
		}
	}
	slices.Sort(all)
	l := Latency{Count: len(all)}
	if len(all) == 0 {
		return l
	}
	at := func(q float64) Seconds { return Seconds(all[min(int(q*float64(len(all))), len(all)-1)]) }
	l.P50, l.P99, l.P999, l.Max = at(0.5), at(0.99), at(0.999), Seconds(all[len(all)-1])
	bound := time.Millisecond
	for i := 0; i < len(all); bound *= 2 {
		n := 0
		for i < len(all) && all[i] <= bound {
			n, i = n+1, i+1
		}
		l.Histogram = append(l.Histogram, Bucket{Seconds(bound), n})
	}
	return l
}

// Attempts returns the longest attempt, and how many took longer than limit.
func Attempts(pushes []judge.Push, limit time.Duration) (longest time.Duration, over int) {
	for _, p := range pushes {
		for _, a := range p.Attempts {
			took := a.End.Sub(a.Start)
			longest = max(longest, took)
			if took > limit {
				over++
			}
		}
	}
	return longest, over
}

// Write stores result.json, page.html and ack.svg in a folder, which it makes.
func (r Record) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	page, err := r.page()
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "result.json"), append(text, '\n'), 0o644),
		os.WriteFile(filepath.Join(dir, "page.html"), page, 0o644),
		os.WriteFile(filepath.Join(dir, "ack.svg"), []byte(r.ackPlot()), 0o644),
	)
}
