package pace

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

var (
	errSick = errors.New("sick")
	errNone = errors.New("no call")
)

type gate struct {
	cfg     Config
	now     func() time.Time
	key     Key
	gates   *Gates
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]

	mu       sync.Mutex // guards everything below
	pause    Pause
	lanes    [senderv1.Lane_LANE_CAMPAIGN + 1][]*waiter
	waiting  int
	inFlight int
	timer    *time.Timer
	leased   int  // calls that may be made by the pace of all replicas
	asking   bool // a lease is being asked for
	closed   bool
	spent    map[senderv1.Lane]Pause // shares that were used up at spentAt
	spentAt  time.Time
}

// waiter is one caller of enter. Exactly one of pass and err is set when done is closed.
type waiter struct {
	done chan struct{}
	pass *Pass
	err  error
}

func newGate(g *Gates, key Key) *gate {
	cfg, changed := g.cfg, g.breaker
	return &gate{
		cfg:   cfg,
		now:   g.now,
		key:   key,
		gates: g,
		breaker: gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
			Name:        key.Account,
			MaxRequests: 1,
			Timeout:     cfg.BreakerOpen,
			ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= cfg.BreakerFailures },
			IsExcluded:  func(err error) bool { return errors.Is(err, errNone) },
			OnStateChange: func(_ string, _, to gobreaker.State) {
				changed(key, to.String())
			},
		}),
	}
}

func (g *gate) enter(ctx context.Context, lane senderv1.Lane) (*Pass, error) {
	if lane < senderv1.Lane_LANE_AGENT || int(lane) >= len(g.lanes) {
		lane = senderv1.Lane_LANE_NOTIFY
	}
	w, err := g.line(lane)
	if err != nil {
		return nil, err
	}
	hold := time.NewTimer(g.cfg.Hold)
	defer hold.Stop()
	select {
	case <-w.done:
		return w.pass, w.err
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-hold.C:
		err = ErrBusy
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-w.done: // the turn came at the same moment
		return w.pass, w.err
	default:
	}
	g.lanes[lane] = slices.DeleteFunc(g.lanes[lane], func(other *waiter) bool { return other == w })
	g.waiting--
	return nil, err
}

// line puts a new waiter at the end of its lane, unless it is clear that it would wait too long.
func (g *gate) line(lane senderv1.Lane) (*waiter, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, ErrClosed
	}
	if g.tooLong(g.now()) {
		return nil, &PausedError{g.pause}
	}
	if p, spent := g.share(lane, g.now()); spent {
		return nil, &PausedError{p}
	}
	if len(g.lanes[lane]) >= g.cfg.Waiting {
		return nil, ErrBusy // of this lane: a flood in one never keeps another out
	}
	w := &waiter{done: make(chan struct{})}
	g.lanes[lane] = append(g.lanes[lane], w)
	g.waiting++
	g.dispatch()
	return w, nil
}

// tooLong tells whether the pause outlasts what a message may wait in memory.
func (g *gate) tooLong(now time.Time) bool {
	left := g.pause.Until.Sub(now)
	return left > 0 && (g.pause.Refuse || left > g.cfg.Hold)
}

// dispatch gives passes to as many waiters as may call now and arranges to be called again when the
// next one may. The caller holds mu.
func (g *gate) dispatch() {
	for g.waiting > 0 && !g.closed {
		if now := g.now(); g.tooLong(now) {
			g.dismiss(&PausedError{g.pause})
			return
		} else if left := g.pause.Until.Sub(now); left > 0 {
			g.again(left)
			return
		}
		if g.inFlight >= g.cfg.InFlight {
			return
		}
		if g.leased == 0 {
			g.lease()
			return
		}
		report, err := g.breaker.Allow()
		if err != nil {
			if errors.Is(err, gobreaker.ErrOpenState) {
				g.again(max(g.cfg.BreakerOpen/20, time.Millisecond))
			}
			return // half open: the one call under way calls again when it leaves
		}
		g.leased--
		w := g.next()
		w.pass = &Pass{gate: g, report: report}
		g.waiting--
		g.inFlight++
		close(w.done)
	}
}

const (
	// leaseTime bounds the question for a lease, leasePause is the pause after one that nobody answered.
	leaseTime  = 5 * time.Second
	leasePause = 200 * time.Millisecond
	// spentFor is how long a used-up share is believed without asking again: WeChat may tell a higher limit.
	spentFor = 10 * time.Minute
)

// share tells whether the share of a lane is used up. The caller holds mu.
func (g *gate) share(lane senderv1.Lane, now time.Time) (Pause, bool) {
	p, spent := g.spent[lane]
	return p, spent && now.Before(p.Until) && now.Sub(g.spentAt) < spentFor
}

// spend sends those away whose share is used up. The caller holds mu.
func (g *gate) spend(spent map[senderv1.Lane]Pause) {
	g.spent, g.spentAt = spent, g.now()
	for lane, p := range spent {
		for _, w := range g.lanes[lane] {
			w.err = &PausedError{p}
			g.waiting--
			close(w.done)
		}
		g.lanes[lane] = nil
	}
}

// urgent is the most urgent lane in which somebody waits. The caller holds mu.
func (g *gate) urgent() senderv1.Lane {
	return senderv1.Lane(slices.IndexFunc(g.lanes[:], func(line []*waiter) bool { return len(line) > 0 }))
}

// lease asks for as many calls as are wanted now, at most those of a fifth of a second: what one replica has leased and
// does not use is lost to the others. The caller holds mu.
func (g *gate) lease() {
	if g.asking {
		return
	}
	g.asking = true
	want, lane := max(1, min(g.waiting, g.cfg.InFlight, int(g.cfg.Rate/5))), g.urgent()
	g.gates.leases.Go(func() {
		ctx, cancel := context.WithTimeout(g.gates.life, leaseTime)
		defer cancel()
		grant, err := g.gates.lender.Lease(ctx, g.key, want, lane)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.asking = false
		g.leased += grant.Calls
		if err == nil && !g.closed {
			g.spend(grant.Spent)
		}
		switch {
		case g.closed:
		case err != nil:
			g.again(leasePause)
		case grant.Wait > 0:
			g.again(grant.Wait)
		default:
			g.dispatch()
		}
	})
}

// next takes the first waiter of the most urgent lane. The caller knows that there is one.
func (g *gate) next() *waiter {
	for lane, line := range g.lanes {
		if len(line) > 0 {
			w := line[0]
			line[0] = nil // the array behind the slice lives on
			g.lanes[lane] = line[1:]
			return w
		}
	}
	panic("pace: waiting count without a waiter")
}

func (g *gate) dismiss(err error) {
	for g.waiting > 0 {
		w := g.next()
		w.err = err
		g.waiting--
		close(w.done)
	}
}

func (g *gate) again(after time.Duration) {
	if g.timer != nil {
		g.timer.Stop()
	}
	g.timer = time.AfterFunc(max(after, time.Millisecond), func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.dispatch()
	})
}

func (g *gate) setPause(p Pause) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !p.Until.After(g.pause.Until) {
		return
	}
	g.pause = p
	g.dispatch()
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if g.timer != nil {
		g.timer.Stop()
	}
	g.dismiss(ErrClosed)
}

// Pass is the right to make one call now.
type Pass struct {
	gate   *gate
	report func(error)
	left   bool // guarded by gate.mu
}

// Leave gives the pass back with what the call says about the API. The second time does nothing.
func (p *Pass) Leave(h Health) {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	if p.left {
		return
	}
	p.left = true
	switch h {
	case Well:
		p.report(nil)
	case Sick:
		p.report(errSick)
	default:
		p.report(errNone)
	}
	p.gate.inFlight--
	p.gate.dispatch()
}
