package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// checkTimeout bounds one round of readiness checks; probes give up after a second or two.
const checkTimeout = 2 * time.Second

// Readiness answers "may traffic be sent here?". Without a Group the answer is that of the checks;
// a Group also makes it no while it starts and from the moment it stops. The zero value is usable,
// and all methods are safe for concurrent use.
type Readiness struct {
	mu     sync.Mutex // guards the fields below
	phase  phase
	checks []namedCheck
}

type phase uint8

const (
	phaseRunning phase = iota
	phaseStarting
	phaseStopping
)

type namedCheck struct {
	name  string
	check func(context.Context) error
}

// NewReadiness returns an empty Readiness.
func NewReadiness() *Readiness { return &Readiness{} }

// Add adds a check. It must be cheap, honour its context and be safe for concurrent use. A check
// that is added again under the same name replaces the first.
func (r *Readiness) Add(name string, check func(ctx context.Context) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.checks {
		if r.checks[i].name == name {
			r.checks[i].check = check
			return
		}
	}
	r.checks = append(r.checks, namedCheck{name, check})
}

// SetStopping makes the answer no, for good.
func (r *Readiness) SetStopping() { r.setPhase(phaseStopping) }

func (r *Readiness) setStarting() { r.setPhase(phaseStarting) }
func (r *Readiness) setRunning()  { r.setPhase(phaseRunning) }

func (r *Readiness) setPhase(p phase) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.phase != phaseStopping {
		r.phase = p
	}
}

// CheckResult is the outcome of one check; Err is nil when it passed.
type CheckResult struct {
	Name string
	Err  error
}

// Errors that Ready returns beside those of the checks.
var (
	ErrStarting = errors.New("starting")
	ErrStopping = errors.New("stopping")
)

// Ready returns nil when traffic may be sent, otherwise every reason, joined, with the check's name.
func (r *Readiness) Ready(ctx context.Context) error {
	var errs []error
	for _, res := range r.Report(ctx) {
		if res.Err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", res.Name, res.Err))
		}
	}
	return errors.Join(errs...)
}

// Report runs all checks at the same time and returns their results in the order of Add. The first
// one, "lifecycle", tells the phase; while starting or stopping it is the only one.
func (r *Readiness) Report(ctx context.Context) []CheckResult {
	r.mu.Lock()
	phase, checks := r.phase, append([]namedCheck(nil), r.checks...)
	r.mu.Unlock()
	switch phase {
	case phaseStarting:
		return []CheckResult{{"lifecycle", ErrStarting}}
	case phaseStopping:
		return []CheckResult{{"lifecycle", ErrStopping}}
	case phaseRunning:
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	results := make([]CheckResult, len(checks)+1)
	results[0] = CheckResult{Name: "lifecycle"}
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { results[i+1] = CheckResult{c.name, c.check(ctx)} })
	}
	wg.Wait()
	return results
}
