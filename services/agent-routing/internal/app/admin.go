package app

import (
	"context"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

// PutGroup stores a group; its queue is looked at again, because the new settings may let somebody be served.
func (d *Desk) PutGroup(ctx context.Context, g domain.Group) (domain.Group, error) {
	err := d.o.Store.InTx(ctx, func(ctx context.Context, q store.Q) error {
		var err error
		g, err = q.SaveGroup(ctx, g)
		return err
	})
	if err != nil {
		return g, err
	}
	d.o.Promising(ctx, g)
	if err := d.Dispatch(ctx, g.ID); err != nil {
		d.warn(ctx, "queue is not looked at yet", "", err)
	}
	return g, nil
}

// CountPromises begins the counters of the groups that promise something.
func (d *Desk) CountPromises(ctx context.Context) error {
	q, err := d.o.Store.Query()
	if err != nil {
		return err
	}
	groups, err := q.Groups(ctx)
	for _, g := range groups {
		d.o.Promising(ctx, g)
	}
	return err
}

// DeleteGroup removes a group without open conversations.
func (d *Desk) DeleteGroup(ctx context.Context, id string) error {
	return d.o.Store.InTx(ctx, func(ctx context.Context, q store.Q) error {
		if _, err := q.LockGroup(ctx, id); err != nil {
			return err
		}
		n, err := q.CountOpen(ctx, id)
		if err != nil {
			return err
		}
		if n > 0 {
			return fault.Errorf(fault.Refused, "the group has %d open conversations", n)
		}
		return q.DeleteGroup(ctx, id)
	})
}

// PutAgent stores the settings of an agent.
func (d *Desk) PutAgent(ctx context.Context, m domain.Member) (domain.Member, error) {
	err := d.o.Store.InTx(ctx, func(ctx context.Context, q store.Q) error {
		if _, err := q.LockAgents(ctx, m.ID); err != nil {
			return err
		}
		return q.SaveMember(ctx, m)
	})
	if err != nil {
		return m, err
	}
	if err := d.presenceChanged(ctx, m.ID, domain.Online); err != nil {
		d.warn(ctx, "queues are not looked at yet", "", err)
	}
	return d.Member(ctx, m.ID)
}

// DeleteAgent removes an agent who has no open conversation.
func (d *Desk) DeleteAgent(ctx context.Context, id string) error {
	return d.o.Store.InTx(ctx, func(ctx context.Context, q store.Q) error {
		members, err := q.LockAgents(ctx, id)
		if err != nil {
			return err
		}
		if len(members) == 0 {
			return fault.New(fault.NotFound, "agent: no such agent")
		}
		if n := members[0].Load + members[0].Held; n > 0 {
			return fault.Errorf(fault.Refused, "the agent has %d open conversations", n)
		}
		return q.DeleteMember(ctx, id)
	})
}

// Store returns the database for what only reads.
func (d *Desk) Store() *store.Store { return d.o.Store }

// Limits returns what holds for every group.
func (d *Desk) Limits() domain.Limits { return d.o.Limits }

// Now returns the time of the desk's clock.
func (d *Desk) Now() time.Time { return d.now() }
