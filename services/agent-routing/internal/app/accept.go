package app

import (
	"context"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

// begin makes a locked agent the one who talks to the fan.
func (t *turn) begin(ctx context.Context, m domain.Member, s domain.Step) error {
	s.Agent, s.AgentName = m.ID, m.Name
	if err := t.step(ctx, s); err != nil {
		return err
	}
	if err := t.q.Assigned(ctx, m.ID, t.now); err != nil {
		return err
	}
	if t.conv.ToldAgent == m.ID {
		return nil
	}
	t.conv.ToldAgent = m.ID
	return t.say(ctx, domain.TextAssigned, map[string]string{"agent": domain.AgentFor(m, t.conv.Language)})
}

// Accept makes an agent the one who talks to a fan who waits or was offered to them. It fails with Conflict when another agent was
// faster and with Refused when the fan does not wait or the agent is full.
func (d *Desk) Accept(ctx context.Context, a Act) (*View, error) {
	return d.act(ctx, a, func(ctx context.Context, t *turn) error { return t.accept(ctx, a.Agent) })
}

func (t *turn) accept(ctx context.Context, agent string) error {
	switch c := t.conv; {
	case t.fan.Owner.Kind == domain.Native:
		return errNative
	case !c.State.Open():
		return errNotWaiting
	case c.State == domain.Active && c.Agent == agent:
		return nil
	case c.State == domain.Offered && c.Agent == agent:
		m, err := t.agent(ctx, agent)
		if err != nil {
			return err
		}
		return t.begin(ctx, m, domain.Step{Change: domain.Accepted, Reason: "accepted"})
	case c.State == domain.OnHold && c.Agent == agent:
		return t.resume(ctx, "accepted")
	case c.State == domain.Waiting, c.State == domain.LeftMessage:
		return t.take(ctx, agent)
	default:
		return errFaster
	}
}

func (t *turn) take(ctx context.Context, agent string) error {
	m, err := t.place(ctx, agent)
	if err != nil {
		return err
	}
	return t.begin(ctx, m, domain.Step{Change: domain.Taken, Reason: "accepted", Assignment: domain.ByHand(domain.Picked, "", m, t.now)})
}

// Take picks a conversation that waits or left a message by hand.
func (d *Desk) Take(ctx context.Context, a Act) (*View, error) {
	return d.act(ctx, a, func(ctx context.Context, t *turn) error {
		switch {
		case t.conv.State == domain.Active && t.conv.Agent == a.Agent:
			return nil
		case t.conv.State == domain.Closed:
			return errOver
		default:
			return t.accept(ctx, a.Agent)
		}
	})
}

// TakeOver makes a supervisor the one who talks to the fan, whoever did before. Capacity does not count.
func (d *Desk) TakeOver(ctx context.Context, a Act) (*View, error) {
	return d.act(ctx, a, func(ctx context.Context, t *turn) error {
		if t.fan.Owner.Kind == domain.Native {
			return errNative
		}
		if t.conv.State == domain.Active && t.conv.Agent == a.Agent {
			return nil
		}
		m, err := t.agent(ctx, a.Agent)
		if err != nil {
			return err
		}
		reason := a.Reason
		if reason == "" {
			reason = "taken over"
		}
		return t.begin(ctx, m, domain.Step{Change: domain.TakenOver, Reason: reason, Assignment: domain.ByHand(domain.TookOver, a.Reason, m, t.now)})
	})
}

// Decline gives an offer back.
func (d *Desk) Decline(ctx context.Context, a Act) (*View, error) {
	return d.act(ctx, a, func(ctx context.Context, t *turn) error {
		if t.conv.State == domain.Offered && t.conv.Agent != a.Agent {
			return errFaster
		}
		reason := a.Reason
		if reason == "" {
			reason = "declined"
		}
		return t.step(ctx, domain.Step{Change: domain.Declined, Reason: reason})
	})
}
