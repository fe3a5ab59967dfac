package reply

import (
	"context"
	"errors"
	"time"

	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

// claim asks for the right to write, writes, and settles the claim. It reports false when the record
// changed in a way that forbids the claim: the next version says what to do.
func (d *Desk) claim(ctx context.Context, a *Attempt, until time.Time) (Verdict, bool) {
	p, name := a.Push, d.newClaim()
	rec, _, err := d.Decisions.Change(ctx, p.Account.Name, p.OpenID, p.ID, decision.Claim{Server: name, Until: until})
	switch {
	case errors.Is(err, decision.ErrForbidden):
		return 0, false
	case err != nil:
		// The claim may be in the record. Nothing was written under it, and nothing will be.
		d.settle(ctx, a, decision.Release{Server: name})
		if ctx.Err() != nil {
			return Break, true
		}
		return Refuse, true
	}
	body, contentType, err := p.Reply(firstReply(rec), d.Now())
	switch {
	case err != nil:
		d.Log.WarnContext(ctx, "reply cannot go passively", logkey.EventID, p.ID, logkey.Error, err)
		d.settle(ctx, a, decision.Release{Server: name})
		return Success, true
	case ctx.Err() != nil:
		d.settle(ctx, a, decision.Release{Server: name})
		return Break, true
	case !d.Now().Before(until):
		d.settle(ctx, a, decision.Release{Server: name})
		return 0, false
	}
	switch a.Client.Write(body, contentType, until) {
	case WroteAll:
		d.settle(ctx, a, decision.Deliver{Server: name})
		return Replied, true
	case WroteNothing:
		d.settle(ctx, a, decision.Release{Server: name})
		return Break, true
	default:
		// Whether WeChat has it is not known: the claim stays, and a retry may serve it.
		return Break, true
	}
}

// settle changes an own claim also when the client is gone. A claim that stays pending blocks the
// reply until the retry span is over; then it is ambiguous.
func (d *Desk) settle(ctx context.Context, a *Attempt, c decision.Command) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	p := a.Push
	_, _, err := d.Decisions.Change(ctx, p.Account.Name, p.OpenID, p.ID, c)
	if err == nil || errors.Is(err, decision.ErrForbidden) || errors.Is(err, decision.ErrNotFound) {
		return // forbidden: the claim never came to be, or the record was closed without it
	}
	d.Observer.Unsettled(ctx)
	d.Log.WarnContext(ctx, "claim not settled", logkey.EventID, p.ID, logkey.Error, err)
}

// firstReply returns the reply that may go passively. A record with an open route has one; without it
// the content is empty and cannot be encoded.
func firstReply(rec *rulev1.DecisionMade) *eventv1.Content {
	if replies := rec.GetReplies(); len(replies) > 0 {
		return replies[0]
	}
	return &eventv1.Content{}
}
