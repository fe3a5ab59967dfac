// Package pace decides when a call to WeChat may be made. Each account and endpoint has a gate with
//
//   - a pause, set by WeChat's quota answers: callers wait it out when it is short and are told when
//     to come back when it is long;
//   - a bulkhead: a bounded number of calls at once, so that an API that hangs holds few goroutines;
//   - a token bucket: calls a second;
//   - shares: a lane that has used its part of the day's calls is told to come back when the day is over;
//   - a circuit breaker: a sick API is asked once in a while instead of by everybody;
//   - a waiting line by lane: among those who wait, the most urgent lane goes first, and within a
//     lane who came first.
//
// Pauses are reckoned by the injected clock, because they come from WeChat's calendar and are shared
// between replicas; the bucket and the breaker use the monotonic clock.
package pace

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"
)

// Config is the pace of one account at one endpoint.
type Config struct {
	Rate            float64       `yaml:"rate" desc:"calls per second for each account and endpoint, of all replicas together"`
	Burst           int           `yaml:"burst" desc:"calls that may be made at once after a quiet time"`
	InFlight        int           `yaml:"in_flight" desc:"calls that may be under way at the same time"`
	Waiting         int           `yaml:"waiting" desc:"messages of a lane of an account that a process lets wait for their turn; more are parked until it is theirs"`
	Hold            time.Duration `yaml:"hold" desc:"longest wait of a message in memory; a longer pause delivers it again later"`
	BreakerFailures uint32        `yaml:"breaker_failures" desc:"calls without a useful answer in a row that open the circuit breaker"`
	BreakerOpen     time.Duration `yaml:"breaker_open" desc:"how long an open circuit breaker waits before it tries one call"`
}

// DefaultConfig returns a pace that a verified account stands.
func DefaultConfig() Config {
	return Config{
		Rate: 100, Burst: 100, InFlight: 16, Waiting: 128, Hold: 90 * time.Second,
		BreakerFailures: 5, BreakerOpen: 10 * time.Second,
	}
}

// Validate reports every value that is out of range with its name.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, text string) {
		if !ok {
			errs = append(errs, errors.New(text))
		}
	}
	check(c.Rate > 0 && c.Rate <= 100_000, "rate: must be more than 0 and at most 100000")
	check(c.Burst >= 1, "burst: must be >= 1")
	check(c.InFlight >= 1 && c.InFlight <= 10_000, "in_flight: must be 1 to 10000")
	check(c.Waiting >= 1 && c.Waiting <= 100_000, "waiting: must be 1 to 100000")
	check(c.Hold > 0 && c.Hold <= 10*time.Minute, "hold: must be more than 0 and at most 10m")
	check(c.BreakerFailures >= 1, "breaker_failures: must be >= 1")
	check(c.BreakerOpen > 0, "breaker_open: must be more than 0")
	return errors.Join(errs...)
}

// ErrBusy is returned when the waiting line is full or the wait was too long: come back later.
var ErrBusy = fault.New(fault.Exhausted, "too many messages of the account wait for WeChat")

// ErrClosed is returned after Close.
var ErrClosed = fault.New(fault.Unavailable, "the sender is stopping")

// Pause holds back the calls of an account to an endpoint.
type Pause struct {
	Until   time.Time
	Errcode int32
	Reason  string
	Refuse  bool // messages are refused until then instead of waiting
}

// PausedError tells that the pause is longer than a message may wait in memory.
type PausedError struct{ Pause Pause }

// Error gives the reason and the end of the pause.
func (e *PausedError) Error() string {
	return fmt.Sprintf("paused until %s: %s", e.Pause.Until.UTC().Format(time.RFC3339), e.Pause.Reason)
}

// Health is what a call says about the API, not about the message.
type Health uint8

// Healths.
const (
	Unknown Health = iota // says nothing: no call was made
	Well                  // WeChat gave an answer that it meant
	Sick                  // no connection, no answer, or "system busy"
)

// Key names a gate. Both parts come from configuration, so the number of gates is bounded.
type Key struct{ Account, Endpoint string }

// Lender shares the pace between replicas.
type Lender interface {
	// Lease asks for want calls; lane is the most urgent one that waits.
	Lease(ctx context.Context, key Key, want int, lane senderv1.Lane) (Grant, error)
}

// Grant is what a Lender answers.
type Grant struct {
	Calls int           // that may be made now
	Wait  time.Duration // with none: when to ask again
	// Spent are the lanes whose share of the day's calls is used up, and until when.
	Spent map[senderv1.Lane]Pause
}

// Alone is the Lender of a single process: a token bucket for each key.
type Alone struct {
	rate  rate.Limit
	burst int

	mu      sync.Mutex // guards buckets
	buckets map[Key]*rate.Limiter
}

// NewAlone returns buckets with the rate and burst of c.
func NewAlone(c Config) *Alone {
	return &Alone{rate: rate.Limit(c.Rate), burst: c.Burst, buckets: map[Key]*rate.Limiter{}}
}

// Lease implements Lender.
func (a *Alone) Lease(_ context.Context, key Key, want int, _ senderv1.Lane) (Grant, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	bucket := a.buckets[key]
	if bucket == nil {
		bucket = rate.NewLimiter(a.rate, a.burst)
		a.buckets[key] = bucket
	}
	now := time.Now()
	if granted := min(want, int(bucket.TokensAt(now))); granted > 0 {
		bucket.AllowN(now, granted)
		return Grant{Calls: granted}, nil
	}
	turn := bucket.ReserveN(now, 1)
	defer turn.CancelAt(now)
	return Grant{Wait: turn.DelayFrom(now)}, nil
}

// State is how a gate stands.
type State struct {
	Pause    Pause
	Breaker  string
	InFlight int
}

// State returns how the gate of the key stands in this process.
func (g *Gates) State(key Key) State {
	gate, err := g.gate(key)
	if err != nil {
		return State{}
	}
	gate.mu.Lock()
	defer gate.mu.Unlock()
	return State{Pause: gate.pause, Breaker: gate.breaker.State().String(), InFlight: gate.inFlight}
}

// Gates holds one gate for each account and endpoint. It is safe for concurrent use.
type Gates struct {
	cfg     Config
	now     func() time.Time
	breaker func(Key, string)
	lender  Lender
	leases  sync.WaitGroup
	life    context.Context // of leases under way; it ends with Close
	end     context.CancelFunc

	mu     sync.Mutex // guards gates and closed
	gates  map[Key]*gate
	closed bool
}

// New returns gates without any pause, which share their pace through lender. breaker, when not nil, is told about every change of a
// circuit breaker ("open", "half-open", "closed"); it must not call back.
func New(cfg Config, lender Lender, now func() time.Time, breaker func(Key, string)) *Gates {
	if breaker == nil {
		breaker = func(Key, string) {}
	}
	life, end := context.WithCancel(context.Background()) // gates live as long as they are not closed
	return &Gates{cfg: cfg, lender: lender, life: life, end: end, now: now, breaker: breaker, gates: map[Key]*gate{}}
}

// Enter waits for the turn of one call. It fails with a *PausedError, ErrBusy, ErrClosed or the
// error of the context. The Pass must be given back with Leave.
func (g *Gates) Enter(ctx context.Context, key Key, lane senderv1.Lane) (*Pass, error) {
	gate, err := g.gate(key)
	if err != nil {
		return nil, err
	}
	return gate.enter(ctx, lane)
}

// Pause holds back calls. Of two pauses the one that ends later wins. Those who wait already are told.
func (g *Gates) Pause(key Key, p Pause) {
	if gate, err := g.gate(key); err == nil {
		gate.setPause(p)
	}
}

// Paused returns the pause that holds now.
func (g *Gates) Paused(key Key) (Pause, bool) {
	gate, err := g.gate(key)
	if err != nil {
		return Pause{}, false
	}
	gate.mu.Lock()
	defer gate.mu.Unlock()
	return gate.pause, gate.pause.Until.After(g.now())
}

// Spent tells whether the share that a lane has of the day's calls is used up, and until when.
func (g *Gates) Spent(key Key, lane senderv1.Lane) (Pause, bool) {
	gate, err := g.gate(key)
	if err != nil {
		return Pause{}, false
	}
	gate.mu.Lock()
	defer gate.mu.Unlock()
	return gate.share(lane, g.now())
}

// Close sends everybody who waits away with ErrClosed and waits for leases under way. Calls under way may still Leave.
func (g *Gates) Close() {
	g.mu.Lock()
	g.closed = true
	gates := make([]*gate, 0, len(g.gates))
	for _, gate := range g.gates {
		gates = append(gates, gate)
	}
	g.mu.Unlock()
	for _, gate := range gates {
		gate.close()
	}
	g.end()
	g.leases.Wait()
}

func (g *Gates) gate(key Key) (*gate, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, ErrClosed
	}
	if gate, ok := g.gates[key]; ok {
		return gate, nil
	}
	gate := newGate(g, key)
	g.gates[key] = gate
	return gate, nil
}
