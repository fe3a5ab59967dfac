package app

import (
	"context"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// Watch records that a supervisor looks at a conversation.
func (d *Desk) Watch(ctx context.Context, a Act) (*View, error) {
	return d.act(ctx, a, func(ctx context.Context, t *turn) error {
		ev := &agentroutingv1.ConversationEvent{Event: &agentroutingv1.ConversationEvent_ConversationChanged{ConversationChanged: &agentroutingv1.ConversationChanged{
			From: agentroutingv1.ConversationState(t.conv.State), To: agentroutingv1.ConversationState(t.conv.State), Change: domain.Watched,
			Conversation: wire.Conversation(t.conv, t.fan, t.group, t.d.o.Limits),
		}}}
		return t.tell(ctx, ev, domain.Entry{What: domain.Watched})
	})
}
