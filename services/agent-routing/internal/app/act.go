package app

import (
	"context"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

var (
	errFaster     = fault.New(fault.Conflict, "another agent was faster")
	errAnother    = fault.New(fault.Refused, "another agent talks to the fan")
	errNative     = fault.New(fault.Refused, "the native desk talks to the fan")
	errNotWaiting = fault.New(fault.Refused, "the fan does not wait")
	errOver       = fault.New(fault.Refused, "the conversation is closed")
	errFull       = fault.New(fault.Refused, "the agent has no free place")
)

// Act names who does what to which conversation; an empty Conversation means the fan's open one.
type Act struct {
	Account, OpenID, Conversation string
	Agent                         string
	Reason                        string
}

// act runs fn on the conversation and returns it as it is afterwards.
func (d *Desk) act(ctx context.Context, a Act, fn func(ctx context.Context, t *turn) error) (*View, error) {
	if a.OpenID == "" {
		ref, err := d.find(ctx, a.Account, a.Conversation)
		if err != nil {
			return nil, err
		}
		a.OpenID = ref
	}
	var v *View
	err := d.turn(ctx, in{account: a.Account, openID: a.OpenID, conversation: a.Conversation, actor: a.Agent}, func(ctx context.Context, t *turn) error {
		if err := fn(ctx, t); err != nil {
			return err
		}
		v = &View{Conversation: t.conv, Fan: t.fan, Group: t.group}
		return nil
	})
	switch {
	case v == nil && err != nil:
		return nil, err
	case v == nil: // the fan is unknown
		if a.Conversation != "" {
			return nil, fault.New(fault.NotFound, "conversation: no such conversation")
		}
		return nil, d.absent(ctx, a)
	case err != nil:
		// The change is stored, so trouble with what follows is not theirs: the caretaker repeats it.
		d.warn(ctx, "change of a conversation is not told yet", a.Account, err)
	}
	return d.refresh(ctx, v)
}

// absent says why nobody can do anything for a fan who has no conversation.
func (d *Desk) absent(ctx context.Context, a Act) error {
	owner, _, err := d.o.Owners.Owner(ctx, a.Account, a.OpenID)
	switch {
	case err != nil:
		return err
	case owner.Kind == domain.Native:
		return errNative
	default:
		return errNotWaiting
	}
}

func (d *Desk) find(ctx context.Context, account, conversation string) (openID string, err error) {
	q, err := d.o.Store.Query()
	if err != nil {
		return "", err
	}
	c, ok, err := q.Conversation(ctx, account, conversation)
	if err == nil && !ok {
		err = fault.New(fault.NotFound, "conversation: no such conversation")
	}
	return c.OpenID, err
}

// agent locks an agent, enrolling one who is not known, and returns the name that fans see.
func (t *turn) agent(ctx context.Context, id string) (domain.Member, error) {
	if err := t.q.Enrol(ctx, id); err != nil {
		return domain.Member{}, err
	}
	members, err := t.q.LockAgents(ctx, id)
	if err != nil {
		return domain.Member{}, err
	}
	if len(members) == 0 {
		return domain.Member{}, fault.Errorf(fault.NotFound, "agent: no such agent: %s", id)
	}
	return members[0], nil
}

// place locks an agent who must have a free place.
func (t *turn) place(ctx context.Context, id string) (domain.Member, error) {
	m, err := t.agent(ctx, id)
	if err == nil && m.Load >= m.Places {
		err = errFull
	}
	return m, err
}

// mine fails unless the agent has the conversation.
func (t *turn) mine(agent string) error {
	switch {
	case t.fan.Owner.Kind == domain.Native:
		return errNative
	case !t.conv.State.Open():
		return errOver
	case t.conv.State != domain.Active && t.conv.State != domain.OnHold:
		return fault.New(fault.Refused, "nobody talks to the fan yet: accept first")
	case t.conv.Agent != agent:
		return errAnother
	default:
		return nil
	}
}
