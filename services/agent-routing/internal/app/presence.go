package app

import (
	"context"
	"errors"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

// SetPresence says whether an agent works. Who comes online gets waiting fans at once; what somebody had who goes offline goes
// back as their groups say.
func (d *Desk) SetPresence(ctx context.Context, agent string, p domain.Presence) (domain.Member, error) {
	err := d.o.Store.InTx(ctx, func(ctx context.Context, q store.Q) error {
		if err := q.Enrol(ctx, agent); err != nil {
			return err
		}
		if _, err := q.LockAgents(ctx, agent); err != nil {
			return err
		}
		now := d.now()
		lease := now.Add(d.o.Lease)
		if p == domain.Offline {
			lease = time.Time{}
		}
		return q.SetPresence(ctx, agent, p, now, lease)
	})
	if err != nil {
		return domain.Member{}, err
	}
	if err := d.presenceChanged(ctx, agent, p); err != nil {
		d.warn(ctx, "queues are not looked at yet", "", err)
	}
	return d.Member(ctx, agent)
}

func (d *Desk) presenceChanged(ctx context.Context, agent string, p domain.Presence) error {
	if p == domain.Offline {
		return d.Absent(ctx)
	}
	groups, err := d.groupsOf(ctx, agent)
	if err != nil || p != domain.Online {
		return err
	}
	var errs []error
	for _, g := range groups {
		errs = append(errs, d.Dispatch(ctx, g))
	}
	return errors.Join(errs...)
}

// Heartbeat renews the lease of an agent who works.
func (d *Desk) Heartbeat(ctx context.Context, agent string) (domain.Member, error) {
	q, err := d.o.Store.Query()
	if err != nil {
		return domain.Member{}, err
	}
	now := d.now()
	if err := q.Renew(ctx, agent, now, now.Add(d.o.Lease)); err != nil {
		return domain.Member{}, err
	}
	return d.Member(ctx, agent)
}

// Member returns an agent with presence and load.
func (d *Desk) Member(ctx context.Context, id string) (domain.Member, error) {
	q, err := d.o.Store.Query()
	if err != nil {
		return domain.Member{}, err
	}
	m, ok, err := q.Member(ctx, id)
	if err == nil && !ok {
		err = fault.New(fault.NotFound, "agent: no such agent")
	}
	return m, err
}
