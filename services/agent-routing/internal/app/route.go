package app

import (
	"context"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

const (
	// maxAssign bounds the decisions of one call; the caretaker goes on.
	maxAssign = 500
	// lookFirst and lookAll bound how far down the queue a decision looks: the first fan whom somebody can serve is nearly
	// always among the first ones, unless languages differ.
	lookFirst = 10
	lookAll   = 500
)

// Dispatch gives waiting fans of a group to agents until nobody waits or nobody is free.
func (d *Desk) Dispatch(ctx context.Context, group string) error {
	for range maxAssign {
		more, err := d.assignOne(ctx, group)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// assignOne makes one decision: the longest waiting fan whom a free agent can serve. It tells whether there may be more. The group is locked, so decisions about one
// queue come one after the other; the fan and the agents are locked, so nobody has two owners and no agent too many fans.
func (d *Desk) assignOne(ctx context.Context, group string) (more bool, err error) {
	var ref store.Ref
	found := false
	err = d.o.Store.InTx(ctx, func(ctx context.Context, q store.Q) error {
		found, more = false, false
		g, err := q.LockGroup(ctx, group)
		if err != nil || g.Implicit || g.Method == domain.Manual {
			return err
		}
		members, err := q.Members(ctx, group)
		if err != nil {
			return err
		}
		c, others, err := d.serveable(ctx, q, g, members)
		if err != nil || c.ID == "" {
			return err
		}
		ref = store.Ref{Account: c.Account, ID: c.ID, OpenID: c.OpenID}
		found, err = d.assign(ctx, q, g, ref)
		more = found && others
		return err
	})
	if err != nil || !found {
		return false, err
	}
	return more, d.relay.flush(ctx, ref.Account, ref.OpenID)
}

// serveable returns the longest waiting fan for whom there is an agent, a zero one when there is none, and whether others wait.
func (d *Desk) serveable(ctx context.Context, q store.Q, g domain.Group, members []domain.Member) (c domain.Conversation, others bool, err error) {
	now := d.now()
	if !anyFree(members, now) {
		return domain.Conversation{}, false, nil
	}
	for _, limit := range []int{lookFirst, lookAll} {
		waiting, err := q.WaitingConversations(ctx, g.ID, limit)
		if err != nil {
			return domain.Conversation{}, false, err
		}
		for _, c := range waiting {
			if m, _ := domain.Choose(c, g, members, "", now); m.ID != "" {
				return c, len(waiting) > 1, nil
			}
		}
		if len(waiting) < limit {
			break
		}
	}
	return domain.Conversation{}, false, nil
}

func anyFree(members []domain.Member, now time.Time) bool {
	for _, m := range members {
		if m.Presence == domain.Online && m.Works(now) && m.Load < m.Places {
			return true
		}
	}
	return false
}

// assign decides again with everything locked: fan first, then the agents.
func (d *Desk) assign(ctx context.Context, q store.Q, g domain.Group, ref store.Ref) (bool, error) {
	t := &turn{d: d, q: q, now: d.now(), actor: actorRouter, trace: traceOf(ctx), after: newAfter(in{})}
	known, err := t.lock(ctx, in{account: ref.Account, openID: ref.OpenID, conversation: ref.ID}, domain.Owner{})
	if err != nil || !known || t.conv.State != domain.Waiting || t.conv.Group != g.ID {
		return false, err // somebody was faster; the caretaker looks again
	}
	members, err := q.LockMembers(ctx, g.ID)
	if err != nil {
		return false, err
	}
	m, why := domain.Choose(t.conv, g, members, t.fan.LastAgent, t.now)
	if m.ID == "" {
		return false, nil
	}
	s := domain.Step{Agent: m.ID, AgentName: m.Name, Reason: why.Why, Assignment: &why}
	if m.AutoAccept {
		s.Change = domain.Assigned
		err = t.begin(ctx, m, s)
	} else {
		s.Change, s.Until = domain.OfferMade, t.now.Add(g.OfferTimeout())
		if err = t.step(ctx, s); err == nil {
			err = q.Assigned(ctx, m.ID, t.now)
		}
	}
	if err != nil {
		return false, err
	}
	for _, kind := range t.after.owner {
		d.o.Changed(ctx, kind)
	}
	return true, t.finish(ctx)
}

func (d *Desk) groupsOf(ctx context.Context, agent string) ([]string, error) {
	q, err := d.o.Store.Query()
	if err != nil {
		return nil, err
	}
	m, ok, err := q.Member(ctx, agent)
	if err != nil || !ok {
		return nil, err
	}
	return m.Groups, nil
}

func (d *Desk) warn(ctx context.Context, what, account string, err error) {
	d.o.Log.WarnContext(ctx, what, logkey.Account, account, logkey.ErrorKind, fault.KindOf(err).String(), logkey.Error, err)
}
