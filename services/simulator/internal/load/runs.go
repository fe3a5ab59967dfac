package load

import (
	"context"
	"errors"
	"sync"
)

// Runs holds at most one run at a time, for control from outside. It is safe for concurrent use.
type Runs struct {
	deps Deps

	mu      sync.Mutex
	life    context.Context // of all runs; nil before Open and after Close
	end     context.CancelFunc
	stop    context.CancelFunc // of the schedule of the current run
	last    Progress
	running bool
	wg      sync.WaitGroup
}

// ErrRunning says that a run is under way.
var ErrRunning = errors.New("a load run is under way")

// ErrClosed says that the simulator is not running.
var ErrClosed = errors.New("the simulator is not running")

// NewRuns returns Runs that accept none until Open.
func NewRuns(d Deps) *Runs { return &Runs{deps: d} }

// Open allows runs until Close.
func (r *Runs) Open(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.life, r.end = context.WithCancel(context.WithoutCancel(ctx))
}

// Close ends the current run with its pushes and waits for it. It may be called twice.
func (r *Runs) Close() {
	r.mu.Lock()
	if r.life != nil {
		r.end()
		r.life = nil
	}
	r.mu.Unlock()
	r.wg.Wait()
}

// Start begins a run, or fails with ErrRunning, ErrClosed or the problems of the plan.
func (r *Runs) Start(plan Plan) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.life == nil:
		return ErrClosed
	case r.running:
		return ErrRunning
	}
	accounts := r.deps.Ledger.Accounts()
	if err := plan.withDefaults(accounts).validate(accounts, r.deps.Keep); err != nil {
		return err
	}
	ctx := r.life
	schedule, stop := context.WithCancel(ctx)
	r.stop, r.running, r.last = stop, true, Progress{}
	r.wg.Go(func() {
		defer stop()
		last, err := Run(ctx, schedule, r.deps, plan, r.note)
		r.mu.Lock()
		defer r.mu.Unlock()
		if err != nil && last.Error == "" {
			last.Error = err.Error()
		}
		r.running, r.last = false, last
	})
	return nil
}

func (r *Runs) note(p Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = p
}

// Stop ends the schedule of the current run; pushes under way finish. It reports whether there was a run.
func (r *Runs) Stop() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running {
		r.stop()
	}
	return r.running
}

// Status returns the progress of the current or last run, and whether one is under way.
func (r *Runs) Status() (Progress, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last, r.running
}
