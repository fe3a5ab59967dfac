// Package rest keeps long work from delaying short work beside it: the long work rests after each short stretch, and
// whoever waits for its processor goes on. See ADR 0046.
package rest

import "time"

const (
	// stretch is how long the work goes on at once: less than what anybody beside it notices.
	stretch = 200 * time.Microsecond
	// pause gives the processor away. It makes the work take about twice as long.
	pause = 200 * time.Microsecond
	// often is how many steps are made between two looks at the clock.
	often = 32
)

// Rest belongs to one goroutine. A nil Rest never rests.
type Rest struct {
	began time.Time
	steps uint
	timer *time.Timer
	rests int
}

// New returns a Rest for work that begins now.
func New() *Rest { return &Rest{began: time.Now()} }

// Step is called between steps of a few microseconds at most.
func (r *Rest) Step() {
	if r == nil {
		return
	}
	if r.steps++; r.steps%often == 0 {
		r.Long()
	}
}

// Long is called after a step that may have taken longer.
func (r *Rest) Long() {
	if r == nil || time.Since(r.began) < stretch {
		return
	}
	// Yielding would not do: the scheduler prefers what yielded to what the network has for it.
	if r.timer == nil {
		r.timer = time.NewTimer(pause)
	} else {
		r.timer.Reset(pause)
	}
	<-r.timer.C
	r.rests++
	r.began = time.Now()
}

// Count returns how often the work has rested.
func (r *Rest) Count() int {
	if r == nil {
		return 0
	}
	return r.rests
}
