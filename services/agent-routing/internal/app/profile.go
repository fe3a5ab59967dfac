package app

import (
	"cmp"
	"context"
	"time"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

// profileAge is after how long WeChat is asked about a fan again.
const profileAge = 7 * 24 * time.Hour

// RefreshFan asks WeChat about a fan and keeps unionid and language.
func (d *Desk) RefreshFan(ctx context.Context, account, openID string) error {
	return d.profile(ctx, in{account: account, openID: openID, actor: actorWeChat, create: true})
}

// Profile is RefreshFan for a fan whom the desk knows and WeChat was not asked about for long. It does nothing for others, so that nobody
// comes back who was erased meanwhile.
func (d *Desk) Profile(ctx context.Context, account, openID string) error {
	q, err := d.o.Store.Query()
	if err != nil {
		return err
	}
	f, ok, err := q.Fan(ctx, account, openID)
	if err != nil || !ok || !d.stale(f) {
		return err
	}
	return d.profile(ctx, in{account: account, openID: openID, actor: actorWeChat})
}

func (d *Desk) stale(f domain.Fan) bool { return d.now().Sub(f.Profiled) >= profileAge }

func (d *Desk) profile(ctx context.Context, in in) error {
	p, err := d.o.Platform.Profile(ctx, in.account, in.openID)
	if err != nil {
		return err
	}
	return d.turn(ctx, in, func(ctx context.Context, t *turn) error {
		before := t.fan
		// WeChat tells nothing of somebody who does not follow: what was known stays.
		t.fan.UnionID, t.fan.Language = cmp.Or(p.UnionID, before.UnionID), cmp.Or(p.Language, before.Language)
		if before.Profiled.IsZero() { // later an agent may have taken the remark away
			t.fan.Remark = cmp.Or(before.Remark, p.Remark)
		}
		t.fan.Profiled = t.now
		if t.conv.State.Open() && t.conv.Language == "" && t.fan.Language != "" {
			t.conv.Language, t.dirty = t.fan.Language, true
		}
		if t.fan.UnionID == before.UnionID && t.fan.Language == before.Language && t.fan.Remark == before.Remark {
			return nil
		}
		return t.fanChanged(ctx, "profile")
	})
}
