package app

import (
	"context"
	"slices"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// EditFan changes the remark or the tags of a fan.
func (d *Desk) EditFan(ctx context.Context, account, openID, actor, change string, edit func(*domain.Fan) error) (domain.Fan, error) {
	var f domain.Fan
	err := d.turn(ctx, in{account: account, openID: openID, actor: actor, create: true}, func(ctx context.Context, t *turn) error {
		if err := edit(&t.fan); err != nil {
			return err
		}
		f = t.fan
		return t.fanChanged(ctx, change)
	})
	return f, err
}

// fanChanged tells it under the open conversation, or the last one.
func (t *turn) fanChanged(ctx context.Context, change string) error {
	if t.conv.ID == "" && t.fan.LastConversation != "" {
		if err := t.load(ctx, t.fan.LastConversation); err != nil {
			return err
		}
	}
	ev := &agentroutingv1.ConversationEvent{Event: &agentroutingv1.ConversationEvent_FanChanged{FanChanged: &agentroutingv1.FanChanged{
		Fan: wire.Fan(t.fan), Change: change,
	}}}
	return t.tell(ctx, ev, domain.Entry{What: domain.FanEdited})
}

// Tag adds and removes tags, each once, in order.
func Tag(f *domain.Fan, add, remove []string) {
	f.Tags = slices.DeleteFunc(f.Tags, func(t string) bool { return slices.Contains(remove, t) })
	for _, t := range add {
		if !slices.Contains(f.Tags, t) {
			f.Tags = append(f.Tags, t)
		}
	}
}
