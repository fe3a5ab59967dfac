// Package refresh keeps one current access token per account for the whole cluster, and its tickets of
// the JS-SDK in the same way.
//
// Callers of one process share one flight per token or ticket; flights of several processes share a lease in
// the token record. Whoever holds the lease asks WeChat, the others watch the record. A refused
// account, an API that does not answer and a used-up budget are remembered for a moment, so that
// thousands of callers with the same trouble make one call.
package refresh

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/wechat"

	"github.com/wxbus/wxbus/services/token/internal/record"
	"github.com/wxbus/wxbus/services/token/internal/store"
)

// minLife is the shortest life of a token that is handed out without trying for a longer one.
const minLife = 10 * time.Second

// Kind is what is kept for an account.
type Kind string

// The kinds. Each has a record of its own: the key is the account, or <account>.<kind>.
const (
	Token  Kind = ""
	JSAPI  Kind = "jsapi"
	WXCard Kind = "wx_card"
)

// KeysOf returns the keys of all records of an account.
func KeysOf(account string) []string {
	return []string{Key(account, Token), Key(account, JSAPI), Key(account, WXCard)}
}

// Key returns the key of the record of an account's token or ticket.
func Key(account string, k Kind) string {
	if k == Token {
		return account
	}
	return account + "." + string(k)
}

// item is what one flight is about.
type item struct {
	account.Account
	kind Kind
}

func (i item) key() string { return Key(i.Name, i.kind) }

// what names the item in errors and spans.
func (i item) what() string {
	if i.kind == Token {
		return "token"
	}
	return string(i.kind) + " ticket"
}

// Answer is a token or a ticket as WeChat gave it.
type Answer struct {
	Value   string
	Expires time.Time // by our clock
}

// Upstream asks WeChat for the token of an account, or for a ticket with that token. Errors have a fault
// kind; *DeniedError tells how long asking again is useless.
type Upstream interface {
	Fetch(ctx context.Context, a account.Account, force bool) (Answer, error)
	FetchTicket(ctx context.Context, a account.Account, kind Kind, token string) (Answer, error)
}

// DeniedError is an answer of WeChat that will not change for a while.
type DeniedError struct {
	Err     error // with a fault kind and text for operators, without secrets
	Errcode int32
	Backoff time.Duration
	// Seen is the address of ours that WeChat refused (40164); invalid when it named none.
	Seen netip.Addr
	// Alarm is the kind of trouble when a person has to put it right; unspecified otherwise.
	Alarm tokenv1.AccountAlarmKind
	// Token tells that WeChat refused the access token that a ticket was asked with.
	Token bool
}

// Error returns the text of Err.
func (d *DeniedError) Error() string { return d.Err.Error() }

// Unwrap returns Err.
func (d *DeniedError) Unwrap() error { return d.Err }

// Observer is told what happens, for metrics. It must not block.
type Observer interface {
	Refreshed(ctx context.Context, account string, kind Kind, mode, result string)
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

// denial is why a refresh is useless until then, or until the account changes.
type denial struct {
	err      error
	until    time.Time
	revision uint64
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

// Get returns the current token or ticket and fetches one when there is none.
func (r *Refresher) Get(ctx context.Context, name string, kind Kind) (*tokenv1.AccessToken, error) {
	it, err := r.item(name, kind)
	if err != nil {
		return nil, err
	}
	rec := r.Store.Seen(it.key()).Rec
	if r.good(job{}, rec) {
		return rec.GetToken(), nil
	}
	fresh, err := r.run(ctx, it, job{})
	if err != nil && record.Usable(rec, r.Now()) {
		return rec.GetToken(), nil // its last seconds are better than nothing
	}
	return fresh.GetToken(), err
}

// Bad returns a token or ticket that is newer than the generation that WeChat refused.
func (r *Refresher) Bad(ctx context.Context, name string, kind Kind, generation uint64, errcode int32) (*tokenv1.AccessToken, error) {
	it, err := r.item(name, kind)
	if err != nil {
		return nil, err
	}
	if generation == 0 {
		return nil, fault.New(fault.Invalid, "generation: must be the one that WeChat refused")
	}
	j := job{bad: generation, errcode: errcode}
	if rec := r.Store.Seen(it.key()).Rec; r.good(j, rec) {
		return rec.GetToken(), nil
	}
	rec, err := r.run(ctx, it, j)
	return rec.GetToken(), err
}

// Call runs fn with the current token. When WeChat refuses that token, it is reported and fn runs once
// more, with a newer one.
func (r *Refresher) Call(ctx context.Context, name string, fn func(ctx context.Context, token string) error) error {
	token, err := r.Get(ctx, name, Token)
	if err != nil {
		return err
	}
	err = fn(ctx, token.GetValue())
	code, refused := tokenRefused(err)
	if !refused {
		return err
	}
	if token, err = r.Bad(ctx, name, Token, token.GetGeneration(), code); err != nil {
		return err
	}
	return fn(ctx, token.GetValue())
}

// tokenRefused returns the errcode with which WeChat refused the access token of a call.
func tokenRefused(err error) (int32, bool) {
	if denied, ok := errors.AsType[*DeniedError](err); ok {
		return denied.Errcode, denied.Token
	}
	api, ok := errors.AsType[*wechat.APIError](err)
	if !ok {
		return 0, false
	}
	return int32(api.Code), api.Class == wechat.ClassToken
}

func (r *Refresher) item(name string, kind Kind) (item, error) {
	a, ok := r.Accounts.Get(name)
	switch {
	case !ok:
		return item{}, fault.Errorf(fault.NotFound, "account %q is not configured", name)
	case a.Disabled:
		return item{}, fault.Errorf(fault.Refused, "account %s: %s", name, a.WhyDisabled())
	case a.AppSecret.IsZero():
		return item{}, fault.Errorf(fault.Refused, "account %s has no app_secret: set it to use WeChat's API", name)
	}
	return item{a, kind}, nil
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
func (r *Refresher) run(ctx context.Context, it item, j job) (*tokenv1.TokenRecord, error) {
	for {
		f, mine, err := r.join(ctx, it, j)
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

// join returns the flight of the item, a new one when there is none.
func (r *Refresher) join(ctx context.Context, it item, j job) (f *flight, mine bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, false, errStopped
	}
	if f, ok := r.flights[it.key()]; ok {
		return f, false, nil
	}
	if d, ok := r.denials[it.key()]; ok && r.Now().Before(d.until) && d.revision == it.Revision {
		return nil, false, d.err
	}
	f = &flight{done: make(chan struct{})}
	r.flights[it.key()] = f
	// The refresh is for all callers: it outlives the one that came first, but not the service.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.limit(it.kind))
	detach := context.AfterFunc(r.life, cancel) //nolint:contextcheck // life is the end of the service, not a parent
	r.wg.Go(func() {
		defer cancel()
		defer detach()
		f.rec, f.err = r.fly(ctx, it, j)
		r.land(it, f)
	})
	return f, true, nil
}

// limit is the longest a flight may take: another replica's lease, two calls of our own, and the bus.
// A ticket may need a token first.
func (r *Refresher) limit(kind Kind) time.Duration {
	limit := 2*r.cfg.Lease + 2*r.cfg.UpstreamTimeout
	if kind != Token {
		limit *= 2
	}
	return limit
}

// land ends a flight and remembers for a moment why it failed.
func (r *Refresher) land(it item, f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := it.key()
	delete(r.flights, key)
	delete(r.denials, key)
	var denied *DeniedError
	switch {
	case errors.As(f.err, &denied):
		r.denials[key] = denial{f.err, r.Now().Add(denied.Backoff), it.Revision}
	case f.err != nil:
		r.denials[key] = denial{f.err, r.Now().Add(r.cfg.FailedBackoff), it.Revision}
	case !r.good(job{}, f.rec):
		r.denials[key] = denial{errShort, r.Now().Add(r.cfg.FailedBackoff), it.Revision}
	}
	close(f.done)
}
