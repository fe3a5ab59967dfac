package app

import (
	"context"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

// Hold puts a conversation aside until a time; zero for the fan's next message.
func (d *Desk) Hold(ctx context.Context, a Act, until time.Time) (*View, error) {
	return d.act(ctx, a, func(ctx context.Context, t *turn) error {
		if err := t.mine(a.Agent); err != nil {
			return err
		}
		if !until.IsZero() && (until.Before(t.now) || until.Sub(t.now) > 30*24*time.Hour) {
			return fault.New(fault.Invalid, "until_unix_ms: must be within the next 30 days")
		}
		return t.step(ctx, domain.Step{Change: domain.Held, Until: until, Reason: a.Reason})
	})
}

// Unhold brings a conversation back.
func (d *Desk) Unhold(ctx context.Context, a Act) (*View, error) {
	return d.act(ctx, a, func(ctx context.Context, t *turn) error {
		if err := t.mine(a.Agent); err != nil || t.conv.State == domain.Active {
			return err
		}
		return t.resume(ctx, "resumed")
	})
}

// resume gives a conversation on hold back to its agent, or to the queue when they are not there or have no free place.
func (t *turn) resume(ctx context.Context, reason string) error {
	m, err := t.agent(ctx, t.conv.Agent)
	if err != nil {
		return err
	}
	there := m.Presence == 0 || m.Works(t.now) // somebody who never logged in picks by hand
	switch {
	case !there:
		return t.step(ctx, domain.Step{Change: domain.Requeued, Reason: reason + ", the agent is offline"})
	case m.Load >= m.Places:
		return t.step(ctx, domain.Step{Change: domain.Requeued, Reason: reason + ", the agent is full"})
	default:
		return t.step(ctx, domain.Step{Change: domain.Resumed, Reason: reason})
	}
}

// Renew starts the idle time again.
func (d *Desk) Renew(ctx context.Context, a Act) (*View, error) {
	return d.act(ctx, a, func(ctx context.Context, t *turn) error {
		if err := t.mine(a.Agent); err != nil {
			return err
		}
		return t.step(ctx, domain.Step{Change: domain.Renewed})
	})
}
