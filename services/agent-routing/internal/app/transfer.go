package app

import (
	"context"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

// Transfer gives a conversation to an agent or to a group.
func (d *Desk) Transfer(ctx context.Context, a Act, toAgent, toGroup, note string) (*View, error) {
	return d.act(ctx, a, func(ctx context.Context, t *turn) error {
		if t.conv.State != domain.Waiting {
			if err := t.mine(a.Agent); err != nil {
				return err
			}
		}
		if note != "" {
			if _, err := t.note(ctx, agentroutingv1.AuthorKind_AUTHOR_KIND_NOTE, a.Agent, note, ""); err != nil {
				return err
			}
		}
		if toGroup != "" {
			return t.toGroup(ctx, toGroup)
		}
		return t.toAgent(ctx, toAgent)
	})
}

func (t *turn) toGroup(ctx context.Context, id string) error {
	g, err := t.q.Group(ctx, id)
	if err != nil {
		return err
	}
	if g.Implicit {
		return fault.Errorf(fault.NotFound, "to_group: no such group: %s", id)
	}
	return t.step(ctx, domain.Step{Change: domain.GivenToGroup, Group: &g, Reason: "transferred to group " + id})
}

func (t *turn) toAgent(ctx context.Context, id string) error {
	if id == t.conv.Agent && t.conv.State.Open() {
		return fault.New(fault.Invalid, "to_agent: has the conversation already")
	}
	members, err := t.q.LockAgents(ctx, id)
	switch {
	case err != nil:
		return err
	case len(members) == 0:
		return fault.Errorf(fault.NotFound, "to_agent: no such agent: %s", id)
	}
	m := members[0]
	switch {
	case m.Presence != domain.Online || !m.Works(t.now):
		return fault.New(fault.Refused, "to_agent: is not online")
	case m.Load >= m.Places:
		return errFull
	}
	s := domain.Step{Reason: "transferred to " + id, Assignment: domain.ByHand(domain.GivenByAgent, "", m, t.now)}
	if m.AutoAccept {
		s.Change = domain.GivenToAgent
		return t.begin(ctx, m, s)
	}
	s.Change, s.Agent, s.AgentName, s.Until = domain.OfferedTo, m.ID, m.Name, t.now.Add(t.group.OfferTimeout())
	if err := t.step(ctx, s); err != nil {
		return err
	}
	return t.q.Assigned(ctx, m.ID, t.now)
}
