package app

import (
	"context"
	"errors"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

// Close ends a conversation. Anybody may close one that nobody has.
func (d *Desk) Close(ctx context.Context, a Act, noSurvey bool) (*View, error) {
	v, err := d.act(ctx, a, func(ctx context.Context, t *turn) error {
		switch c := t.conv; {
		case t.fan.Owner.Kind == domain.Native:
			return errNative
		case !c.State.Open():
			return nil
		case (c.State == domain.Active || c.State == domain.OnHold) && c.Agent != a.Agent:
			return errAnother
		}
		if noSurvey {
			t.conv.Surveyed = true
		}
		reason := a.Reason
		if reason == "" {
			reason = "closed"
		}
		return t.step(ctx, domain.Step{Change: domain.ClosedNow, Reason: reason})
	})
	if errors.Is(err, errNotWaiting) {
		return d.viewOf(ctx, a.Account, a.OpenID) // closing what is closed is fine
	}
	return v, err
}

// Reopen undoes a close.
func (d *Desk) Reopen(ctx context.Context, a Act) (*View, error) {
	return d.act(ctx, a, func(ctx context.Context, t *turn) error {
		switch {
		case t.fan.Owner.Kind == domain.Native:
			return errNative
		case t.conv.State.Open():
			return nil
		case t.fan.Conversation != "":
			return fault.New(fault.Refused, "the fan has a new conversation")
		case t.conv.ClosingSaid:
			return fault.New(fault.Refused, "the fan was told that the conversation has ended")
		}
		m, err := t.place(ctx, a.Agent)
		if err != nil {
			return err
		}
		return t.begin(ctx, m, domain.Step{Change: domain.Reopened, Reason: "reopened", Assignment: domain.ByHand(domain.CloseUndone, "", m, t.now)})
	})
}
