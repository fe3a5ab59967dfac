package intake

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

const (
	// DefaultMaxAway bounds the pushes that are known to be away, about 10 MB.
	DefaultMaxAway = 50_000
	// orderPatience is how long the order of a fan is worth a refusal of the attempts before the last one. It covers
	// the time in which a message that got lost on its way to the mover comes again.
	orderPatience = time.Minute
	// blindPatience is how long a gateway that nobody answers takes every fan for away.
	blindPatience = 10 * time.Second
	// settleTime is how long after it was sent a message may still be stored, and how long what came home is
	// remembered against what arrives late.
	settleTime = 5 * time.Second
)

// Why a push goes to the spill stream though nothing is known against the home stream.
var (
	// ErrAway tells that earlier pushes of the fan are not home yet.
	ErrAway = fault.New(fault.Unavailable, "earlier pushes of the fan are on the spill stream")
	// ErrBlind tells that nobody here knows whether there are such.
	ErrBlind = fault.New(fault.Unavailable, "it is not known whose pushes are on the spill stream")
)

// Away knows the pushes on the spill stream that are not home yet, so that a fan's next push does not overtake them.
// While it cannot know them it is blind, and every push is treated as if earlier ones of its fan were away. It is safe
// for concurrent use and has no goroutine: a Lookout tells it what happens.
type Away struct {
	max int
	// busy is false while nothing is away and everything is known: the ordinary push looks at nothing else.
	busy atomic.Bool

	mu     sync.Mutex // guards the fields below
	pushes map[string]*absent
	fans   map[string][]*absent // by account and fan, in the order in which they left
	home   map[string]time.Time // ids that came home lately, and when
	blind  blindness
	mark   mark
	dark   time.Duration // how long it was blind before
}

// absent is a push that is on the spill stream, or on the way there.
type absent struct {
	id, fan string
	since   time.Time
	heard   time.Time // when it was sent to the spill stream last
	seq     uint64    // on the spill stream; 0 when it is not known
}

// blindness is why not everything is known; the zero value is sight.
type blindness struct {
	since  time.Time
	missed time.Time // the last moment in which something may have been missed
	// pending tells that pushes are on the spill stream for sure; else nobody could say so far.
	pending bool
}

// mark is a moment and the last message that the spill stream had then.
type mark struct {
	at   time.Time
	last uint64
}

// NewAway returns an Away that knows at most limit pushes, and nobody to be away.
func NewAway(limit int) *Away {
	return &Away{max: limit, pushes: make(map[string]*absent), fans: make(map[string][]*absent), home: make(map[string]time.Time)}
}

// hold is what is to be done about one push for the order of its fan.
type hold uint8

const (
	// free: home, as ever.
	free hold = iota
	// spillFirst: to the spill stream, and home when that does not take it.
	spillFirst
	// spillOnly: to the spill stream and nowhere else, but for WeChat's last attempt.
	spillOnly
)

// hold looks at a push, by its subject on the home stream. The error says why it is not free.
func (a *Away) hold(subject, id string) (hold, error) {
	if !a.busy.Load() {
		return free, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if before := a.before(topology.LaneKey(subject), id); before != nil {
		return strict(now.Sub(before.since)), ErrAway
	}
	if a.pushes[id] != nil {
		return spillFirst, ErrAway // an earlier attempt of this push went there
	}
	if a.blind.since.IsZero() {
		return free, nil
	}
	age := now.Sub(a.blind.since)
	switch {
	case a.blind.pending:
		return strict(age), ErrBlind
	case age < blindPatience:
		return spillFirst, ErrBlind
	default:
		return free, nil // whom nobody answers for so long must not cost every push its time
	}
}

func strict(age time.Duration) hold {
	if age < orderPatience {
		return spillOnly
	}
	return spillFirst
}

// before returns the first push of a fan that is away and left before the one with an id. a.mu is held.
func (a *Away) before(fan, id string) *absent {
	if of := a.fans[fan]; len(of) > 0 && of[0].id != id {
		return of[0]
	}
	return nil
}

// Leave notes that a push is sent to the spill stream; subject is that on either stream. It reports whether that is new.
func (a *Away) Leave(subject, id string) bool {
	fan := topology.LaneKey(subject)
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if p := a.pushes[id]; p != nil {
		p.heard = now
		return false
	}
	if _, home := a.home[id]; home || id == "" {
		return false
	}
	if len(a.pushes) >= a.max {
		a.miss(true, now)
		return false
	}
	p := &absent{id: id, fan: fan, since: now, heard: now}
	a.pushes[id] = p
	a.fans[fan] = append(a.fans[fan], p)
	a.busy.Store(true)
	return true
}

// Stored notes where on the spill stream a push is.
func (a *Away) Stored(id string, seq uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p := a.pushes[id]; p != nil {
		p.seq = seq
	}
}

// Home notes that a push is on the home stream.
func (a *Away) Home(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.home) < a.max {
		a.home[id] = time.Now()
	}
	a.remove(id)
	a.rest()
}

// Forget notes that a push did not get to the spill stream after all.
func (a *Away) Forget(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.remove(id)
	a.rest()
}

// remove takes a push out. a.mu is held.
func (a *Away) remove(id string) {
	p := a.pushes[id]
	if p == nil {
		return
	}
	delete(a.pushes, id)
	of := a.fans[p.fan]
	of = slices.Delete(of, slices.Index(of, p), slices.Index(of, p)+1)
	if len(of) == 0 {
		delete(a.fans, p.fan)
		return
	}
	a.fans[p.fan] = of
}

// rest sets busy. a.mu is held.
func (a *Away) rest() { a.busy.Store(len(a.pushes) > 0 || !a.blind.since.IsZero()) }

// Blind notes that something may have been missed.
func (a *Away) Blind() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.miss(false, time.Now())
}

// miss makes it blind to what happened until a moment. a.mu is held.
func (a *Away) miss(pending bool, now time.Time) {
	if a.blind.since.IsZero() {
		a.blind.since = now
	}
	a.blind.missed = now
	a.blind.pending = a.blind.pending || pending
	a.busy.Store(true)
}

// spillState is what the server says about the spill stream.
type spillState struct {
	asked   time.Time // the moment before it was asked
	last    uint64    // last message of the stream
	floor   uint64    // up to which every message is home
	waiting uint64    // messages that are not
	missed  bool      // until then something may have been missed
}

// learn takes over what the server said. Messages up to its floor are home for certain; what was sent so long before
// a mark that it was stored by then, or never, is home when the floor has passed the mark. A notice may be lost.
func (a *Away) learn(s spillState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.missed {
		a.miss(false, s.asked)
	}
	if a.mark.at.IsZero() || a.blind.missed.After(a.mark.at) {
		a.mark = mark{at: s.asked, last: s.last}
	}
	passed := s.floor >= a.mark.last || s.waiting == 0 && s.asked.Sub(a.mark.at) >= settleTime
	a.sweep(s, passed)
	if !a.blind.since.IsZero() && !a.blind.missed.After(a.mark.at) {
		a.blind.pending = true
		if passed {
			a.dark += time.Since(a.blind.since)
			a.blind = blindness{}
		}
	}
	if passed {
		a.mark = mark{}
	}
	a.rest()
}

// sweep takes out what is home though nobody said so. a.mu is held.
func (a *Away) sweep(s spillState, passed bool) {
	old := a.mark.at.Add(-settleTime)
	for id, p := range a.pushes {
		if p.seq != 0 && p.seq <= s.floor || passed && p.heard.Before(old) {
			a.remove(id)
		}
	}
	for id, at := range a.home {
		if s.asked.Sub(at) > settleTime {
			delete(a.home, id)
		}
	}
}

// Holds tells whether a push is known to be on the spill stream, or on the way there, and not home.
func (a *Away) Holds(id string) bool {
	if !a.busy.Load() {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pushes[id] != nil
}

// Busy tells whether there is anything to learn.
func (a *Away) Busy() bool { return a.busy.Load() }

// Fans returns how many fans have pushes that are known to be away.
func (a *Away) Fans() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.fans)
}

// Dark returns how long it was blind in all.
func (a *Away) Dark() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.blind.since.IsZero() {
		return a.dark
	}
	return a.dark + time.Since(a.blind.since)
}
