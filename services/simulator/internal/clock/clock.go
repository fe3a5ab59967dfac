// Package clock is the simulator's only source of time and chance, so that a run can be repeated.
package clock

import (
	"context"
	"sync"
	"time"
)

// Clock tells the time of the simulated WeChat. It is safe for concurrent use.
//
// A wall clock follows the machine and can be moved forward. A virtual clock stands still until Advance.
type Clock struct {
	mu      sync.Mutex
	virtual bool
	now     time.Time     // virtual clock only
	offset  time.Duration // wall clock only
	waiters map[*waiter]struct{}
}

type waiter struct {
	at   time.Time
	done chan struct{}
}

// Wall returns a clock that follows the machine's clock.
func Wall() *Clock {
	return &Clock{waiters: map[*waiter]struct{}{}}
}

// Virtual returns a clock that shows start until it is advanced.
func Virtual(start time.Time) *Clock {
	return &Clock{virtual: true, now: start, waiters: map[*waiter]struct{}{}}
}

// Now returns the current time. Differences between two calls on a wall clock are monotonic.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nowLocked()
}

func (c *Clock) nowLocked() time.Time {
	if c.virtual {
		return c.now
	}
	return time.Now().Add(c.offset)
}

// IsVirtual tells whether time moves by Advance only.
func (c *Clock) IsVirtual() bool { return c.virtual }

// Advance moves the clock forward and wakes every Sleep that is now over. Negative durations are ignored.
func (c *Clock) Advance(d time.Duration) {
	if d <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.virtual {
		c.now = c.now.Add(d)
	} else {
		c.offset += d
	}
	now := c.nowLocked()
	for w := range c.waiters {
		if !w.at.After(now) {
			close(w.done)
			delete(c.waiters, w)
		}
	}
}

// Sleep waits until d has passed on this clock, or returns the context's error.
func (c *Clock) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	w, drop := c.wait(d)
	defer drop()

	var wall <-chan time.Time
	if !c.virtual {
		t := time.NewTimer(d)
		defer t.Stop()
		wall = t.C
	}
	select {
	case <-w.done:
		return nil
	case <-wall:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Waiters returns how many Sleep and WithTimeout calls wait for this clock; tests use it to advance at the right moment.
func (c *Clock) Waiters() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiters)
}

// WithTimeout is context.WithTimeout on this clock. On a wall clock Advance does not shorten it,
// because it bounds a real network call.
func (c *Clock) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if !c.virtual {
		return context.WithTimeout(ctx, d)
	}
	w, drop := c.wait(d)
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-w.done:
			cancel(context.DeadlineExceeded)
		case <-ctx.Done():
		}
		drop()
	}()
	return ctx, func() { cancel(context.Canceled) }
}

func (c *Clock) wait(d time.Duration) (*waiter, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &waiter{at: c.nowLocked().Add(d), done: make(chan struct{})}
	c.waiters[w] = struct{}{}
	return w, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiters, w)
	}
}
