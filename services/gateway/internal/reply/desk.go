package reply

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	gatewayv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/gateway/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/gateway/internal/push"
)

// Decisions reads and changes decision records; *decision.Store is one.
type Decisions interface {
	Get(ctx context.Context, account, openid, id string) (*rulev1.DecisionMade, uint64, error)
	AwaitAfter(ctx context.Context, account, openid, id string, after uint64) (*rulev1.DecisionMade, uint64, error)
	Change(ctx context.Context, account, openid, id string, c decision.Command) (*rulev1.DecisionMade, uint64, error)
}

// Client is the connection of one attempt.
type Client interface {
	// Write answers the attempt. Nothing is written after the deadline.
	Write(body []byte, contentType string, deadline time.Time) Written
}

// Written is what Write did.
type Written uint8

const (
	// WroteNothing means that the client was gone or the deadline past before the first byte.
	WroteNothing Written = iota
	// WroteAll means that the bytes left this process in time.
	WroteAll
	// WroteUnknown means that the write failed halfway; WeChat may have the answer.
	WroteUnknown
)

// Verdict is how an attempt ends.
type Verdict uint8

const (
	// Success is to answer success: no gateway will ever write a reply to this push, or there is none yet.
	Success Verdict = iota
	// Replied means that the reply was written.
	Replied
	// Refuse is to answer that it did not work, so that WeChat tries again.
	Refuse
	// Break is to close the connection without an answer.
	Break
)

// Times of the attempts. They are the same for every attempt at every gateway: when a later attempt is
// past its deadline, so is an earlier one. The protocol needs that.
type Times struct {
	// Deadline is how long an attempt takes offers and claims, from its arrival.
	Deadline time.Duration
	// End is how long an attempt may be answered at all, from its arrival.
	End time.Duration
	// Hold is how long an attempt that is never answered is held, from its arrival.
	Hold time.Duration
}

const (
	// grace is the pause between the deadline and the last look at the record. It covers copies of one
	// push that arrive at several gateways almost together.
	grace = 50 * time.Millisecond
	// settleTimeout bounds the change of a claim after the answer was written.
	settleTimeout = 3 * time.Second
	// lastDecision is how long before the deadline a push must be where it is decided about. The rule service needs
	// that long and does not choose a passive reply with less. It is short because a later attempt that ends this much
	// earlier must still end after the deadline of the one before it.
	lastDecision = 150 * time.Millisecond
)

// Observer hears what the metrics count. It must not block.
type Observer interface {
	// Offered hears of each offer that is answered.
	Offered(ctx context.Context, outcome gatewayv1.OfferOutcome)
	// Unsettled hears of each own claim that could not be settled: it ends as ambiguous.
	Unsettled(ctx context.Context)
}

// Deps are what a Desk needs.
type Deps struct {
	Registry  *Registry
	Decisions Decisions
	Observer  Observer
	Log       *slog.Logger
	Now       func() time.Time
	// Instance is the name of this process, used by no other process, not even by the one that
	// replaces it.
	Instance string
}

// Desk answers waiting attempts. It is safe for concurrent use.
type Desk struct {
	Deps
	claims atomic.Uint64
}

// NewDesk returns a desk.
func NewDesk(d Deps) *Desk { return &Desk{Deps: d} }

// Attempt is one attempt of WeChat at a push that waits for a reply.
type Attempt struct {
	Push *push.Push
	// Arrived is when the attempt reached this process.
	Arrived time.Time
	Times   Times
	Client  Client
	// Undecided tells whether nobody can decide about the push yet, because it is not where that is done; nil when
	// it is.
	Undecided func() bool
}

// doomed is when an attempt gets no passive reply any more unless somebody can decide about its push by then.
func (a *Attempt) doomed() time.Time   { return a.deadline().Add(-lastDecision) }
func (a *Attempt) deadline() time.Time { return a.Arrived.Add(a.Times.Deadline) }
func (a *Attempt) end() time.Time      { return a.Arrived.Add(a.Times.End) }

// Offered serves an attempt whose event names this process: it waits for an offer until the deadline, or until none
// can come in time. ctx ends when the client is gone.
func (d *Desk) Offered(ctx context.Context, a *Attempt, w *Wait) Verdict {
	until := a.deadline()
	if a.Undecided != nil {
		until = a.doomed()
	}
	timer := time.NewTimer(until.Sub(d.Now()))
	defer timer.Stop()
	select {
	case o := <-w.Offers():
		return d.serveOffer(ctx, a, w, o)
	case <-timer.C:
	case <-ctx.Done():
	}
	if a.Undecided != nil && ctx.Err() == nil && !a.Undecided() {
		a.Undecided = nil
		return d.Offered(ctx, a, w)
	}
	if o, ok := w.Close(); ok { // it came in the last moment
		return d.serveOffer(ctx, a, w, o)
	}
	if ctx.Err() != nil {
		return Break
	}
	return d.lastLook(ctx, a, until)
}

// serveOffer writes the offered reply and settles the offer.
func (d *Desk) serveOffer(ctx context.Context, a *Attempt, w *Wait, o Offer) Verdict {
	if o.Content == nil {
		return Success
	}
	outcome, reason, verdict := d.writeOffer(ctx, a, o)
	d.Observer.Offered(ctx, outcome) // before anybody hears of it
	w.Settle(outcome, reason)
	if outcome == undeliverable && verdict == Refuse {
		// Past the deadline: whoever hears of it moves the reply on, and the record will say where to.
		return d.lastLook(ctx, a, a.deadline())
	}
	return verdict
}

func (d *Desk) writeOffer(ctx context.Context, a *Attempt, o Offer) (gatewayv1.OfferOutcome, string, Verdict) {
	deadline := a.deadline()
	if o.Deadline.Before(deadline) {
		deadline = o.Deadline
	}
	body, contentType, err := a.Push.Reply(o.Content, d.Now())
	switch {
	case err != nil:
		return undeliverable, err.Error(), Success
	case ctx.Err() != nil:
		return undeliverable, "the client is gone", Break
	case !d.Now().Before(deadline):
		return undeliverable, "the deadline is past", Refuse
	}
	switch a.Client.Write(body, contentType, deadline) {
	case WroteAll:
		return delivered, "", Replied
	case WroteNothing:
		return undeliverable, "the client is gone", Break
	default:
		return unknown, "the write failed halfway", Break
	}
}

// ByRecord serves a repeated attempt: it waits for the decision record and goes by it until the deadline.
func (d *Desk) ByRecord(ctx context.Context, a *Attempt) Verdict {
	if verdict, done := d.follow(ctx, a, a.deadline(), true); done {
		return verdict
	}
	return d.lastLook(ctx, a, a.deadline())
}

// Hold serves an attempt that must not be answered with a reply: it is held until WeChat has given it
// up, unless the record says that no reply will come passively, or early allows to answer.
func (d *Desk) Hold(ctx context.Context, a *Attempt, early bool) Verdict {
	if early {
		if verdict, done := d.follow(ctx, a, a.deadline(), true); done {
			return verdict
		}
	}
	if verdict, done := d.follow(ctx, a, a.Arrived.Add(a.Times.Hold), false); done {
		return verdict
	}
	return Break
}

// follow goes by each version of the record until a moment. It reports false when the moment came, or
// the record could not be followed. Without claims it waits for what needs none.
func (d *Desk) follow(ctx context.Context, a *Attempt, until time.Time, claims bool) (Verdict, bool) {
	wait, cancel := context.WithDeadline(ctx, d.real(until))
	defer cancel()
	p := a.Push
	for after := uint64(0); ; {
		rec, seq, err := d.Decisions.AwaitAfter(wait, p.Account.Name, p.OpenID, p.ID, after)
		if err != nil {
			if ctx.Err() != nil {
				return Break, true
			}
			if fault.KindOf(err) == fault.Exhausted {
				return Refuse, true
			}
			return 0, false
		}
		after = seq
		switch decision.AnswerFor(rec, d.Now()) {
		case decision.Success:
			return Success, true
		case decision.Serve:
			return d.serveAgain(a, rec), true
		case decision.ClaimFirst:
			if !claims {
				continue
			}
			if verdict, done := d.claim(ctx, a, until); done {
				return verdict, true
			}
		default: // not for us, or not yet: the next version may say more
		}
	}
}

// real turns a moment of our clock into one of the clock of contexts; they differ when that of the machine is wrong.
func (d *Desk) real(t time.Time) time.Time { return time.Now().Add(t.Sub(d.Now())) }

// serveAgain writes a reply that was delivered once: WeChat asks again because it did not get it.
func (d *Desk) serveAgain(a *Attempt, rec *rulev1.DecisionMade) Verdict {
	body, contentType, err := a.Push.Reply(firstReply(rec), d.Now())
	if err != nil {
		return Success
	}
	if a.Client.Write(body, contentType, a.end()) == WroteAll {
		return Replied
	}
	return Break
}

// lastLook ends an attempt that waited until a moment: the deadline, or when it was doomed. It claims nothing any
// more. Success needs that there is no record, so that nobody can have written, or a record with a route that gives
// no passive reply.
func (d *Desk) lastLook(ctx context.Context, a *Attempt, waited time.Time) Verdict {
	look, cancel := context.WithDeadline(ctx, d.real(a.end()))
	defer cancel()
	select {
	case <-time.After(waited.Add(grace).Sub(d.Now())):
	case <-ctx.Done():
		return Break
	}
	p := a.Push
	_, _, err := d.Decisions.Get(look, p.Account.Name, p.OpenID, p.ID)
	switch {
	case errors.Is(err, decision.ErrNotFound):
		return Success
	case ctx.Err() != nil:
		return Break
	case err != nil:
		d.Log.WarnContext(ctx, "decision not readable at the deadline", logkey.EventID, p.ID, logkey.Error, err)
		return Refuse
	}
	// The record is open, or about to be closed: give it the rest of the attempt.
	if verdict, done := d.follow(ctx, a, a.end(), false); done {
		return verdict
	}
	return Refuse
}

// newClaim returns a name that no other connection uses, in this process or any other.
func (d *Desk) newClaim() string {
	return d.Instance + "#" + strconv.FormatUint(d.claims.Add(1), 10)
}
