// Package clock is the wall clock of a process. It is the machine's own as long as that is right; when most servers of
// NATS say that it is wrong, it is theirs (ADR 0082).
//
// Processes compare moments that others wrote down: the deadline of an attempt, the end of a window, the pace of an
// account, the time at which a message is due. One clock that is an hour off would make a sender send an hour early
// what was meant for later, and hold the calls of its right neighbour for an hour.
package clock

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// tolerance is how far the own clock may be off without being corrected: machines that synchronise their clocks stay
	// well below, and what is measured is not exact.
	tolerance = 2 * time.Second
	// lookEvery is how often the clock is compared, and lookAgain how soon after nobody answered.
	lookEvery = 30 * time.Second
	lookAgain = time.Second
)

// Source measures how far the own clock is ahead of each server that answers, by the name of the server.
type Source func(ctx context.Context) map[string]time.Duration

// Clock is safe for concurrent use.
type Clock struct {
	own func() time.Time
	ask Source
	log *slog.Logger

	ahead   atomic.Int64 // nanoseconds that the own clock is ahead of what most say
	correct atomic.Int64 // nanoseconds that Now adds
	stop    context.CancelFunc
	running sync.WaitGroup
}

// New returns a clock that is own until Look finds that it is wrong.
func New(own func() time.Time, log *slog.Logger) *Clock {
	return &Clock{own: own, log: log, stop: func() {}}
}

// Now returns the time. Two of them measure what passed in between as those of time.Now do, unless the clock was
// corrected meanwhile.
func (c *Clock) Now() time.Time { return c.own().Add(time.Duration(c.correct.Load())) }

// Ahead returns how far the own clock is ahead of what most say, corrected or not. It is negative when it is behind.
func (c *Clock) Ahead() time.Duration { return time.Duration(c.ahead.Load()) }

// Follow compares the own clock with what ask finds, at once and then again and again until Close.
func (c *Clock) Follow(ctx context.Context, ask Source) {
	c.ask = ask
	known := c.look(ctx)
	ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	c.running.Go(func() {
		for {
			pause := lookEvery
			if !known {
				pause = lookAgain
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			known = c.look(ctx)
		}
	})
}

// Close ends Follow and waits. The clock stays as it is.
func (c *Clock) Close() {
	c.stop()
	c.running.Wait()
}

// look tells whether anybody answered.
func (c *Clock) look(ctx context.Context) bool {
	found := c.ask(ctx)
	if len(found) == 0 {
		return false
	}
	ahead := agreed(found)
	c.ahead.Store(int64(ahead))
	correct := -ahead
	if ahead.Abs() <= tolerance {
		correct = 0
	}
	before := time.Duration(c.correct.Swap(int64(correct)))
	switch {
	case correct == 0 && before != 0:
		c.log.InfoContext(ctx, "our clock is right again")
	case (correct - before).Abs() > tolerance:
		c.log.WarnContext(ctx, "our clock is wrong: going by that of NATS", "ahead", ahead.Round(time.Millisecond).String(), "servers", len(found))
	}
	return true
}

// agreed returns how far ahead the own clock is by the word of the majority, where it has a vote of its own: the middle
// of all that is said. Between two middles the one that is nearer to the own clock counts, so that one server alone
// never outvotes it.
func agreed(found map[string]time.Duration) time.Duration {
	said := []time.Duration{0}
	for _, ahead := range found {
		said = append(said, ahead)
	}
	slices.Sort(said)
	upper, lower := said[len(said)/2], said[(len(said)-1)/2]
	return slices.MinFunc([]time.Duration{lower, upper}, func(a, b time.Duration) int { return cmp.Compare(a.Abs(), b.Abs()) })
}
