package app

import (
	"context"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// Knows tells whether the desk keeps what is said to a fan: they have or had a conversation.
func (d *Desk) Knows(ctx context.Context, account, openID string) (bool, error) {
	return d.known(ctx, account, openID)
}

// Answered keeps what the rules said to a fan whom the desk knows, once: the next conversation begins with it.
func (d *Desk) Answered(ctx context.Context, m *agentroutingv1.Message) error {
	if known, err := d.known(ctx, m.GetAccount(), m.GetOpenid()); err != nil || !known {
		return err
	}
	at := in{account: m.GetAccount(), openID: m.GetOpenid(), actor: actorRule}
	fill := false
	err := d.turn(ctx, at, func(ctx context.Context, t *turn) error {
		fill = t.conv.State.Open() && !t.conv.Filled
		if fill {
			return nil // it is in the streams, so filling adds it in its place
		}
		return t.answered(ctx, m)
	})
	if err != nil || !fill {
		return err
	}
	if err := d.fill(ctx, m.GetAccount(), m.GetOpenid(), wire.Time(m.GetAtUnixMs())); err != nil {
		return err
	}
	return d.turn(ctx, at, func(ctx context.Context, t *turn) error { return t.answered(ctx, m) })
}

// answered adds an automatic reply, to the open conversation if there is one.
func (t *turn) answered(ctx context.Context, m *agentroutingv1.Message) error {
	_, _, files := wire.Sent(m.GetContent())
	if t.conv.State.Open() {
		m.Conversation = t.conv.ID
	}
	added, err := t.add(ctx, m, files)
	if err != nil || !added || m.GetConversation() == "" {
		return err
	}
	return t.tell(ctx, messageAdded(m, t.conv), domain.Entry{What: domain.RuleMessage})
}
