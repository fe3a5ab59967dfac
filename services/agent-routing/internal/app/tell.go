package app

import (
	"context"
	"strconv"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// changed tells a change of the conversation, whose number it takes.
func (t *turn) changed(ctx context.Context, change domain.Change, before domain.Conversation, a *domain.Assignment, note string) error {
	ev := &agentroutingv1.ConversationEvent{Event: &agentroutingv1.ConversationEvent_ConversationChanged{ConversationChanged: &agentroutingv1.ConversationChanged{
		From: agentroutingv1.ConversationState(before.State), To: agentroutingv1.ConversationState(t.conv.State), Change: string(change),
		Reason: t.conv.Reason, FromAgent: before.Agent, FromGroup: before.Group, Assignment: wire.Assignment(a), Note: note,
		Conversation: wire.Conversation(t.conv, t.fan, t.group, t.d.o.Limits),
	}}}
	e := domain.Entry{What: string(change), FromAgent: before.Agent}
	switch change {
	case domain.ClosedNow:
		e.Promises = t.conv.KeptByEnd(t.conv.Ended)
		t.became(e.Promises, false)
	case domain.Reopened:
		e.Promises = before.KeptByEnd(before.Ended)
	default: // keeps no promise, and takes none back
	}
	return t.publish(ctx, ev, e)
}

// tell numbers an event of the conversation that is no change of its state.
func (t *turn) tell(ctx context.Context, ev *agentroutingv1.ConversationEvent, e domain.Entry) error {
	if t.conv.ID == "" {
		return nil // nobody looks at a fan who never had a conversation
	}
	t.conv.Number++
	t.dirty = true
	return t.publish(ctx, ev, e)
}

func (t *turn) publish(ctx context.Context, ev *agentroutingv1.ConversationEvent, e domain.Entry) error {
	c := t.conv
	ev.Account, ev.Conversation, ev.Openid, ev.Number = c.Account, c.ID, c.OpenID, c.Number
	ev.AtUnixMs, ev.Actor, ev.TraceId, ev.Group, ev.Agent = wire.Millis(t.now), t.actor, t.trace, c.Group, c.Agent
	e.Account, e.Conversation, e.Number, e.At, e.Group, e.Agent, e.Asked = c.Account, c.ID, c.Number, t.now, c.Group, c.Agent, c.Opened
	body, err := marshal(ev)
	if err != nil {
		return err
	}
	if err := t.q.AddChange(ctx, e, body); err != nil {
		return err
	}
	it := t.item(store.ItemEvent, c.ID+":"+strconv.FormatUint(c.Number, 10))
	return t.q.AddItem(ctx, it, ev)
}

func messageAdded(m *agentroutingv1.Message, c domain.Conversation) *agentroutingv1.ConversationEvent {
	return &agentroutingv1.ConversationEvent{Event: &agentroutingv1.ConversationEvent_MessageAdded{
		MessageAdded: &agentroutingv1.MessageAdded{Message: m, Unanswered: int32(c.Unanswered), Promises: wire.Promises(c.Promises)},
	}}
}
