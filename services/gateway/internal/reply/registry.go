// Package reply answers the attempts of WeChat that wait for a passive reply: the first one by an offer
// of the rule service, retries by the decision record. It writes a reply only when it holds a claim, or
// when the record says that the reply was delivered before; pkg/decision holds the protocol and its model.
package reply

import (
	"context"
	"slices"
	"sync"
	"time"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	gatewayv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/gateway/v1"
)

// The outcomes of an offer.
const (
	delivered     = gatewayv1.OfferOutcome_OFFER_OUTCOME_DELIVERED
	undeliverable = gatewayv1.OfferOutcome_OFFER_OUTCOME_UNDELIVERABLE
	unknown       = gatewayv1.OfferOutcome_OFFER_OUTCOME_UNKNOWN
)

// memoryTime is how long an outcome is remembered. It is several retry spans, since an offer may be
// repeated by a handler that took over.
const memoryTime = time.Minute

// Offer is a reply to write, or a dismissal when Content is nil.
type Offer struct {
	Content *eventv1.Content
	// Deadline of the claim; nothing is written after it.
	Deadline time.Time
}

// Registry holds the attempts that wait for an offer, and the outcomes of offers. What it told about an
// event it tells for ever after: an event that was called undeliverable gets nothing, even when a
// retry of WeChat reaches this process. It is safe for concurrent use.
type Registry struct {
	maxWaits, maxOutcomes int
	now                   func() time.Time

	mu         sync.Mutex // guards the fields below and all entries
	entries    map[string]*entry
	waiting    int
	outcomes   []remembered // oldest first
	blindUntil time.Time    // before it, an outcome may have been forgotten for lack of room
}

// entry is what is known about one event. It is in the map while somebody waits or its outcome is
// remembered.
type entry struct {
	waits   []*Wait       // oldest first
	taker   *Wait         // has taken the one offer of the event; nil before
	changed chan struct{} // closed, and replaced, when a wait was confirmed or has left
	settled chan struct{}
	outcome gatewayv1.OfferOutcome // set when settled is closed
	reason  string
}

func newEntry() *entry {
	return &entry{changed: make(chan struct{}), settled: make(chan struct{})}
}

func (e *entry) change() {
	close(e.changed)
	e.changed = make(chan struct{})
}

type remembered struct {
	id    string
	until time.Time
}

// NewRegistry returns a registry for at most maxWaits waits and maxOutcomes outcomes.
func NewRegistry(maxWaits, maxOutcomes int, now func() time.Time) *Registry {
	return &Registry{maxWaits: maxWaits, maxOutcomes: maxOutcomes, now: now, entries: make(map[string]*entry)}
}

// Wait is one attempt that can take an offer. Its owner ends it with Close, and settles the offer that
// it received.
type Wait struct {
	registry *Registry
	id       string
	entry    *entry
	offers   chan Offer // capacity 1: an entry takes one offer in its life
	open     bool
	ready    bool // may take an offer
}

// Open registers an attempt at an event before the event is stored, because an offer can be faster than
// the acknowledgement: offers wait until Confirm or Close. It reports false when too many wait already.
func (r *Registry) Open(id string) (*Wait, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting >= r.maxWaits {
		return nil, false
	}
	r.waiting++
	e := r.entries[id]
	if e == nil {
		e = newEntry()
		r.entries[id] = e
	}
	w := &Wait{registry: r, id: id, entry: e, offers: make(chan Offer, 1), open: true}
	e.waits = append(e.waits, w)
	return w, true
}

// Confirm lets the wait take an offer: the event was stored, and not before. first tells that no earlier
// attempt can have been stored anywhere. Without that certainty the wait takes nothing while an outcome
// may have been forgotten: it could be that of this event.
func (w *Wait) Confirm(first bool) {
	r := w.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	if !w.open {
		return
	}
	if !first && r.now().Before(r.blindUntil) {
		r.leave(w)
		return
	}
	w.ready = true
	w.entry.change()
}

// Offers yields at most one offer.
func (w *Wait) Offers() <-chan Offer { return w.offers }

// Close ends the wait: no offer comes after it. It returns an offer that came and was not received yet,
// which the caller must settle. A second Close does nothing.
func (w *Wait) Close() (Offer, bool) {
	w.registry.mu.Lock()
	defer w.registry.mu.Unlock()
	w.registry.leave(w)
	select {
	case o := <-w.offers:
		return o, true
	default:
		return Offer{}, false
	}
}

// End closes the wait for good. An offer that was taken and never settled becomes unknown: its owner
// is gone, and nobody may wait for it for ever.
func (w *Wait) End() {
	w.registry.mu.Lock()
	defer w.registry.mu.Unlock()
	w.registry.leave(w)
	if w.entry.taker == w {
		w.registry.settle(w.id, w.entry, unknown, "the attempt ended unexpectedly")
	}
}

// leave takes a wait out of its entry, and the entry out of the map when nothing is left to know.
func (r *Registry) leave(w *Wait) {
	if !w.open {
		return
	}
	w.open = false
	r.waiting--
	e := w.entry
	e.waits = slices.DeleteFunc(e.waits, func(o *Wait) bool { return o == w })
	e.change()
	if len(e.waits) == 0 && e.taker == nil && !e.isSettled() && r.entries[w.id] == e {
		delete(r.entries, w.id)
	}
}

// Settle records what became of the offer that the wait received, and answers everybody who offers.
func (w *Wait) Settle(outcome gatewayv1.OfferOutcome, reason string) {
	w.registry.mu.Lock()
	defer w.registry.mu.Unlock()
	w.registry.settle(w.id, w.entry, outcome, reason)
}

func (r *Registry) settle(id string, e *entry, outcome gatewayv1.OfferOutcome, reason string) {
	if e.isSettled() {
		return
	}
	e.outcome, e.reason = outcome, reason
	close(e.settled)
	now := r.now()
	for len(r.outcomes) > 0 && (len(r.outcomes) >= r.maxOutcomes || !now.Before(r.outcomes[0].until)) {
		oldest := r.outcomes[0]
		r.outcomes = r.outcomes[1:]
		delete(r.entries, oldest.id)
		if now.Before(oldest.until) {
			r.blindUntil = oldest.until
		}
	}
	r.entries[id] = e
	r.outcomes = append(r.outcomes, remembered{id: id, until: now.Add(memoryTime)})
}

func (e *entry) isSettled() bool {
	select {
	case <-e.settled:
		return true
	default:
		return false
	}
}

// Offer gives a reply to the newest attempt at the event, and returns when its outcome is known: the
// newest is the one that WeChat still listens to. Every later offer of the event gets the same answer.
func (r *Registry) Offer(ctx context.Context, id string, o Offer) (gatewayv1.OfferOutcome, string) {
	for {
		e, settled, changed := r.take(id, o)
		if e == nil {
			return unknown, "the outcome may be forgotten"
		}
		select {
		case <-settled:
			return e.outcome, e.reason
		case <-changed:
		case <-ctx.Done():
			return unknown, "stopping while the reply is written"
		}
	}
}

// take hands the offer over, or settles that nobody can have it. It returns what to wait for: the
// outcome, or, while the event is being stored, a change. It returns no entry when the outcome may have
// been forgotten.
func (r *Registry) take(id string, o Offer) (e *entry, settled, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e = r.entries[id]
	if e != nil && (e.taker != nil || e.isSettled()) {
		return e, e.settled, nil
	}
	now := r.now()
	if now.After(o.Deadline.Add(memoryTime/2)) || e == nil && now.Before(r.blindUntil) {
		return nil, nil, nil
	}
	if e == nil {
		e = newEntry()
	}
	switch {
	case len(e.waits) == 0:
		r.settle(id, e, undeliverable, "nobody waits here")
	case !now.Before(o.Deadline):
		r.settle(id, e, undeliverable, "the deadline is past")
	default:
		for _, w := range slices.Backward(e.waits) {
			if w.ready {
				e.taker = w
				w.offers <- o
				return e, e.settled, nil
			}
		}
		return e, e.settled, e.changed
	}
	return e, e.settled, nil
}

// Dismiss tells every attempt at the event that no passive reply will come. It reports whether there
// was one.
func (r *Registry) Dismiss(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[id]
	if e == nil || e.taker != nil || len(e.waits) == 0 {
		return false
	}
	for _, w := range slices.Clone(e.waits) {
		r.leave(w)
		w.offers <- Offer{}
	}
	return true
}

// Waiting returns how many attempts wait.
func (r *Registry) Waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting
}
