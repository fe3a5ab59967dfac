// Package ledger is what the simulated WeChat knows: fans and their windows, every push with its attempts,
// and what each fan really saw. It records facts and judges each of them when it happens; it never asks the gateway.
package ledger

import (
	"fmt"
	"sync"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/clock"
	"github.com/wxbus/wxbus/services/simulator/internal/codec"
	"github.com/wxbus/wxbus/services/simulator/internal/hist"
)

// Config bounds and tunes a Ledger.
type Config struct {
	KeepPushes int           // finished pushes kept in full; older ones stay in the counters only
	KeepPerFan int           // entries and replies kept per fan
	MaxFans    int           // per account
	OrderSlack time.Duration // two passive replies closer than this have no certain order
	Windows    Windows
	Ask        Pattern // text of a numbered push
	Reply      Pattern // text of the reply to it
}

// Ledger is safe for concurrent use.
type Ledger struct {
	cfg   Config
	clock *clock.Clock

	mu       sync.Mutex
	seq      uint64
	run      uint64 // counts the resets: what belongs to an earlier run is recorded nowhere
	firstID  uint64 // base of message ids
	books    map[string]*book
	names    []string
	pushes   []*Push // open and recent finished ones, oldest first
	nextPush uint64
	totals   totals
	lines    []Line
	changed  chan struct{}
}

type book struct {
	ledger  *Ledger
	account codec.Account
	fans    map[string]*fan
	order   []string
}

// totals are the running sums of a report.
type totals struct {
	started           time.Time
	pushes, finished  uint64
	acked             uint64
	passive, kf       uint64
	prompts, native   uint64
	folded, foldedAck uint64
	outcomes          map[string]uint64
	replicas          map[string]uint64
	attempts          map[int]uint64
	calls             map[string]map[int]uint64
	ack, reply        hist.Histogram
	violations        map[string]*Violation
	unclear           Violation
	ambiguous         []Ambiguous
	ambiguousCount    uint64
	numbered          uint64
	answered          uint64
	unanswered        int // numbered pushes that are acknowledged and wait for their reply
}

// New returns an empty ledger of the accounts.
func New(cfg Config, c *clock.Clock, accounts []codec.Account) *Ledger {
	l := &Ledger{cfg: cfg, clock: c}
	for _, a := range accounts {
		l.names = append(l.names, a.Name)
	}
	l.clear(accounts)
	return l
}

func (l *Ledger) clear(accounts []codec.Account) {
	// Message ids go on from the clock, so that a restarted simulator does not repeat the ids of the last run.
	l.firstID = uint64(l.clock.Now().UnixMilli()) * 10_000
	l.run++
	l.books = map[string]*book{}
	for _, a := range accounts {
		l.books[a.Name] = &book{ledger: l, account: a, fans: map[string]*fan{}}
	}
	l.pushes, l.lines = nil, nil
	l.totals = totals{started: l.clock.Now(), outcomes: map[string]uint64{}, replicas: map[string]uint64{}, attempts: map[int]uint64{},
		calls: map[string]map[int]uint64{}, violations: map[string]*Violation{}}
}

// Reset forgets every fan, push and violation. Pushes that are still open are recorded nowhere.
func (l *Ledger) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	accounts := make([]codec.Account, 0, len(l.names))
	for _, n := range l.names {
		accounts = append(accounts, l.books[n].account)
	}
	l.clear(accounts)
	l.touch()
}

// Accounts returns the names of the accounts in the order of the configuration.
func (l *Ledger) Accounts() []string { return l.names }

// Account returns an account by name.
func (l *Ledger) Account(name string) (codec.Account, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.books[name]
	if b == nil {
		return codec.Account{}, false
	}
	return b.account, true
}

func (l *Ledger) book(account string) (*book, error) {
	b := l.books[account]
	if b == nil {
		return nil, fmt.Errorf("no account %q", account)
	}
	return b, nil
}

// Changed returns a channel that is closed at the next change of any timeline or of the log.
func (l *Ledger) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.changed
}

func (l *Ledger) touch() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}
