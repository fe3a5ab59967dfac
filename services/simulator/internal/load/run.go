package load

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/clock"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
	"github.com/wxbus/wxbus/services/simulator/internal/pusher"
)

// Deps are what a run works with.
type Deps struct {
	Clock  *clock.Clock
	Dice   clock.Dice
	Ledger *ledger.Ledger
	Pusher *pusher.Pusher
	Ask    ledger.Pattern
	Keep   int // pushes that the ledger keeps
}

// Progress is how far a run is.
type Progress struct {
	Elapsed  time.Duration `json:"elapsed_ns"`
	Due      int           `json:"due"`      // pushes whose time has come
	Expected int           `json:"expected"` // in all
	InFlight int           `json:"in_flight"`
	Shed     int           `json:"shed"`   // not pushed, too many under way
	Failed   int           `json:"failed"` // could not begin
	Error    string        `json:"error,omitempty"`
	Settling bool          `json:"settling"` // every push is over, waiting for late replies
	Done     bool          `json:"done"`
}

const (
	progressEvery = 250 * time.Millisecond
	settleEvery   = 50 * time.Millisecond
)

// Run makes the pushes of a plan and returns when they are over and their replies have come or are given up.
// Cancelling schedule ends the plan early but lets pushes under way finish; cancelling ctx ends them too.
// progress may be nil; it is called from one goroutine and not after Run has returned.
func Run(ctx, schedule context.Context, d Deps, plan Plan, progress func(Progress)) (Progress, error) {
	accounts := d.Ledger.Accounts()
	plan = plan.withDefaults(accounts)
	if err := plan.validate(accounts, d.Keep); err != nil {
		return Progress{}, fmt.Errorf("load plan: %w", err)
	}
	r := &runner{Deps: d, plan: plan, start: d.Clock.Now(), numbers: map[string]int{}}
	for _, kind := range slices.Sorted(maps.Keys(plan.Mix)) {
		r.kinds = append(r.kinds, kind)
		r.total += plan.Mix[kind]
	}
	watch, stopWatch := context.WithCancel(ctx)
	var watching sync.WaitGroup
	if progress != nil {
		watching.Go(func() { r.watch(watch, progress) })
	}
	r.arrivals(ctx, schedule)
	r.pushes.Wait()
	r.settling.Store(true)
	r.settle(ctx)
	stopWatch()
	watching.Wait()
	last := r.progress()
	last.Done = true
	if progress != nil {
		progress(last)
	}
	return last, ctx.Err()
}

type runner struct {
	Deps
	plan    Plan
	start   time.Time
	kinds   []string
	total   float64        // of the shares of the mix
	numbers map[string]int // last number of each fan; only the arrivals use it
	pushes  sync.WaitGroup

	due, inFlight, shed, failed atomic.Int64
	settling                    atomic.Bool
	firstError                  atomic.Pointer[string]
}

// arrivals starts each push at its time. A push that starts late still counts from its time.
func (r *runner) arrivals(ctx, schedule context.Context) {
	var at time.Duration
	for i := 0; r.plan.Count == 0 || i < r.plan.Count; i++ {
		if r.plan.Duration > 0 && at >= time.Duration(r.plan.Duration) {
			return
		}
		due := r.start.Add(at)
		if wait := due.Sub(r.Clock.Now()); wait > 0 && r.Clock.Sleep(schedule, wait) != nil {
			return
		}
		if schedule.Err() != nil || ctx.Err() != nil {
			return
		}
		r.due.Add(1)
		r.begin(ctx, i, due)
		at += time.Duration(float64(time.Second) / r.plan.rateAt(at))
	}
}

func (r *runner) begin(ctx context.Context, i int, due time.Time) {
	push := r.push(i)
	push.Scheduled = due
	if r.inFlight.Load() >= int64(r.plan.MaxInFlight) {
		r.shed.Add(1)
		return
	}
	r.inFlight.Add(1)
	r.pushes.Go(func() {
		defer r.inFlight.Add(-1)
		if _, err := r.Pusher.Push(ctx, push); err != nil {
			r.failed.Add(1)
			text := err.Error()
			r.firstError.CompareAndSwap(nil, &text)
		}
	})
}

// push chooses account, fan and type of the i-th push: fans in turn, types by their share.
func (r *runner) push(i int) pusher.Push {
	account := r.plan.Accounts[i%len(r.plan.Accounts)]
	fan := fmt.Sprintf("%s%06d", r.plan.FanPrefix, i/len(r.plan.Accounts)%r.plan.Fans)
	p := pusher.Push{Account: account, OpenID: fan, Type: r.kind(i)}
	if p.Type == "text" {
		key := account + " " + fan
		if r.numbers[key] == 0 {
			r.numbers[key] = r.Ledger.LastNumber(account, fan)
		}
		r.numbers[key]++
		p.Fields = map[string]any{"Content": r.Ask.Text(r.numbers[key])}
	}
	return p
}

func (r *runner) kind(i int) string {
	at := r.Dice.Float("mix", uint64(i)) * r.total
	for _, k := range r.kinds {
		if at -= r.plan.Mix[k]; at < 0 {
			return k
		}
	}
	return r.kinds[len(r.kinds)-1]
}

// settle waits for the replies of acknowledged pushes, at most plan.Settle.
func (r *runner) settle(ctx context.Context) {
	end := r.Clock.Now().Add(time.Duration(r.plan.Settle))
	for r.Ledger.Unanswered() > 0 {
		left := end.Sub(r.Clock.Now())
		if left <= 0 || r.Clock.Sleep(ctx, min(left, settleEvery)) != nil {
			return
		}
	}
}

func (r *runner) watch(ctx context.Context, progress func(Progress)) {
	for r.Clock.Sleep(ctx, progressEvery) == nil {
		progress(r.progress())
	}
}

func (r *runner) progress() Progress {
	p := Progress{Elapsed: r.Clock.Now().Sub(r.start), Due: int(r.due.Load()), Expected: r.plan.expected(), InFlight: int(r.inFlight.Load()),
		Shed: int(r.shed.Load()), Failed: int(r.failed.Load()), Settling: r.settling.Load()}
	if text := r.firstError.Load(); text != nil {
		p.Error = *text
	}
	return p
}
