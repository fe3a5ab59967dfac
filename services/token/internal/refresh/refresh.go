// Package refresh keeps one current access token per account for the whole cluster.
//
// Callers of one process share one flight per account; flights of several processes share a lease in
// the token record. Whoever holds the lease asks WeChat, the others watch the record. A refused
// account, an API that does not answer and a used-up budget are remembered for a moment, so that
// thousands of callers with the same trouble make one call.
package refresh

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/token/internal/record"
	"github.com/wxbus/wxbus/services/token/internal/store"
)

// minLife is the shortest life of a token that is handed out without trying for a longer one.
const minLife = 10 * time.Second

// Answer is a token as WeChat gave it.
type Answer struct {
	Value   string
	Expires time.Time // by our clock
}

// Upstream asks WeChat for the token of an account. Errors have a fault kind; *DeniedError tells how long
// asking again is useless.
type Upstream interface {
	Fetch(ctx context.Context, a account.Account, force bool) (Answer, error)
}

// DeniedError is an answer of WeChat that will not change for a while.
type DeniedError struct {
	Err     error // with a fault kind and text for operators, without secrets
	Errcode int32
	Backoff time.Duration
}

// Error returns the text of Err.
func (d *DeniedError) Error() string { return d.Err.Error() }

// Unwrap returns Err.
func (d *DeniedError) Unwrap() error { return d.Err }

// Observer is told what happens, for metrics. It must not block.
type Observer interface {
	Refreshed(ctx context.Context, account, mode, result string)
	Outside(ctx context.Context, account string)
}

// Config of a Refresher; the service's Config documents and checks the values.
type Config struct {
	Instance        string
	Ahead           time.Duration
	Jitter          time.Duration
	Lease           time.Duration
	UpstreamTimeout time.Duration
	Fresh           time.Duration
	Budget          record.Budget
	RefusedBackoff  time.Duration
	FailedBackoff   time.Duration
	Parallel        int
}

// Deps of a Refresher.
type Deps struct {
	Accounts *account.Directory
	Store    *store.Store
	Upstream Upstream
	Observer Observer
	Log      *slog.Logger
	Now      func() time.Time
	Rand     *rand.Rand // used under a lock
}

// Refresher is safe for concurrent use.
type Refresher struct {
	cfg Config
	Deps

	mu      sync.Mutex // guards everything below and Rand
	flights map[string]*flight
	denials map[string]denial
	due     map[string]due
	ahead   int // flights of the background loop
	closed  bool
	life    context.Context
	end     context.CancelFunc
	wg      sync.WaitGroup
}

// job is what a flight is for. The zero job wants any token with some life left.
type job struct {
	bad     uint64 // generation that WeChat refused
	errcode int32
	ahead   bool // wants a longer life than the current token has
}

type flight struct {
	done chan struct{}
	rec  *tokenv1.TokenRecord
	err  error
}

// denial is why a refresh is useless until then.
type denial struct {
	err   error
	until time.Time
}

var (
	errStopped = fault.New(fault.Unavailable, "the token service is stopping")
	errShort   = fault.New(fault.Unavailable, "WeChat has no token with some life left")
)

// New returns a refresher that answers from Start on.
func New(cfg Config, d Deps) *Refresher {
	return &Refresher{
		cfg: cfg, Deps: d, closed: true,
		flights: map[string]*flight{}, denials: map[string]denial{}, due: map[string]due{},
	}
}

// Start begins to refresh ahead of expiry.
func (r *Refresher) Start(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.life, r.end = context.WithCancel(context.WithoutCancel(ctx))
	r.closed = false
	r.wg.Go(func() { r.loop(r.life) })
}

// Stop ends refreshes under way and waits for them.
func (r *Refresher) Stop() {
	r.mu.Lock()
	r.closed = true
	if r.end != nil {
		r.end()
	}
	r.mu.Unlock()
	r.wg.Wait()
}

// Get returns the current token and fetches one when there is none.
func (r *Refresher) Get(ctx context.Context, name string) (*tokenv1.AccessToken, error) {
	a, err := r.account(name)
	if err != nil {
		return nil, err
	}
	rec := r.Store.Seen(name).Rec
	if r.good(job{}, rec) {
		return rec.GetToken(), nil
	}
	fresh, err := r.run(ctx, a, job{})
	if err != nil && record.Usable(rec, r.Now()) {
		return rec.GetToken(), nil // its last seconds are better than nothing
	}
	return fresh.GetToken(), err
}

// Bad returns a token that is newer than the generation that WeChat refused.
func (r *Refresher) Bad(ctx context.Context, name string, generation uint64, errcode int32) (*tokenv1.AccessToken, error) {
	a, err := r.account(name)
	if err != nil {
		return nil, err
	}
	if generation == 0 {
		return nil, fault.New(fault.Invalid, "generation: must be the one that WeChat refused")
	}
	j := job{bad: generation, errcode: errcode}
	if rec := r.Store.Seen(name).Rec; r.good(j, rec) {
		return rec.GetToken(), nil
	}
	rec, err := r.run(ctx, a, j)
	return rec.GetToken(), err
}

func (r *Refresher) account(name string) (account.Account, error) {
	a, ok := r.Accounts.Get(name)
	if !ok {
		return account.Account{}, fault.Errorf(fault.NotFound, "account %q is not configured", name)
	}
	if a.AppSecret.IsZero() {
		return account.Account{}, fault.Errorf(fault.Refused, "account %s has no app_secret: set it to use WeChat's API", name)
	}
	return a, nil
}

// good tells whether the record does the job as it is.
func (r *Refresher) good(j job, rec *tokenv1.TokenRecord) bool {
	now := r.Now()
	if j.ahead {
		return record.Remaining(rec, now) > r.cfg.Ahead
	}
	return rec.GetToken().GetGeneration() > j.bad && record.Usable(rec, now.Add(minLife))
}

// run shares flights until one has done the job. A flight that somebody else began for another reason
// may not do it, so the last word is always a flight of our own.
func (r *Refresher) run(ctx context.Context, a account.Account, j job) (*tokenv1.TokenRecord, error) {
	for {
		f, mine, err := r.join(ctx, a, j)
		if err != nil {
			return nil, err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if f.err != nil {
			return nil, f.err
		}
		if r.good(j, f.rec) || mine && record.Usable(f.rec, r.Now()) {
			return f.rec, nil
		}
		if mine {
			return nil, errShort
		}
	}
}

// join returns the flight of the account, a new one when there is none.
func (r *Refresher) join(ctx context.Context, a account.Account, j job) (f *flight, mine bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, false, errStopped
	}
	if f, ok := r.flights[a.Name]; ok {
		return f, false, nil
	}
	if d, ok := r.denials[a.Name]; ok && r.Now().Before(d.until) {
		return nil, false, d.err
	}
	f = &flight{done: make(chan struct{})}
	r.flights[a.Name] = f
	// The refresh is for all callers: it outlives the one that came first, but not the service.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.limit())
	detach := context.AfterFunc(r.life, cancel) //nolint:contextcheck // life is the end of the service, not a parent
	r.wg.Go(func() {
		defer cancel()
		defer detach()
		f.rec, f.err = r.fly(ctx, a, j)
		r.land(a.Name, f)
	})
	return f, true, nil
}

// limit is the longest a flight may take: another replica's lease, two calls of our own, and the bus.
func (r *Refresher) limit() time.Duration {
	return 2*r.cfg.Lease + 2*r.cfg.UpstreamTimeout
}

// land ends a flight and remembers for a moment why it failed.
func (r *Refresher) land(name string, f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.flights, name)
	delete(r.denials, name)
	var denied *DeniedError
	switch {
	case errors.As(f.err, &denied):
		r.denials[name] = denial{f.err, r.Now().Add(denied.Backoff)}
	case f.err != nil:
		r.denials[name] = denial{f.err, r.Now().Add(r.cfg.FailedBackoff)}
	case !r.good(job{}, f.rec):
		r.denials[name] = denial{errShort, r.Now().Add(r.cfg.FailedBackoff)}
	}
	close(f.done)
}
