package app

import (
	"context"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

// Note adds a note or a whisper.
func (d *Desk) Note(ctx context.Context, a Act, kind agentroutingv1.AuthorKind, text, key string) (*agentroutingv1.Message, error) {
	var m *agentroutingv1.Message
	_, err := d.act(ctx, a, func(ctx context.Context, t *turn) error {
		var err error
		m, err = t.note(ctx, kind, a.Agent, text, key)
		return err
	})
	return m, err
}

func (t *turn) note(ctx context.Context, kind agentroutingv1.AuthorKind, author, text, key string) (*agentroutingv1.Message, error) {
	m := &agentroutingv1.Message{Conversation: t.conv.ID, AuthorKind: kind, Author: author, MsgType: "text", Text: domain.Cut(text, 4*domain.MaxTextBytes)}
	if key != "" {
		m.ClientId = sendKey(t.fan.OpenID, author, key)
	}
	added, err := t.add(ctx, m, nil)
	if err != nil {
		return nil, err
	}
	if !added {
		known, _, err := t.q.MessageByClient(ctx, t.fan.Account, t.fan.OpenID, m.GetClientId())
		return known, err
	}
	ev := &agentroutingv1.ConversationEvent{Event: &agentroutingv1.ConversationEvent_NoteAdded{NoteAdded: &agentroutingv1.NoteAdded{Message: m}}}
	return m, t.tell(ctx, ev, domain.Entry{What: domain.Noted})
}
