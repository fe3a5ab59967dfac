package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// mediaLife is how long WeChat keeps what a fan sends.
const mediaLife = 3 * 24 * time.Hour

// add adds a message to the timeline and notes its files. It tells whether the message is new.
func (t *turn) add(ctx context.Context, m *agentroutingv1.Message, files []wire.File) (bool, error) {
	m.Account, m.Openid = t.fan.Account, t.fan.OpenID
	if m.TraceId == "" {
		m.TraceId = t.trace
	}
	if m.AtUnixMs == 0 {
		m.AtUnixMs = wire.Millis(t.now)
	}
	added, err := t.q.AddMessage(ctx, &t.fan, m)
	if err != nil || !added {
		return false, err
	}
	for i, f := range files {
		row := store.File{
			ID: fileID(m, i), Account: m.GetAccount(), OpenID: m.GetOpenid(), Seq: m.GetSeq(), Role: f.Role, MediaID: f.MediaID,
			State: agentroutingv1.MediaState_MEDIA_STATE_PENDING, Due: t.now, Until: wire.Time(m.GetAtUnixMs()).Add(mediaLife),
		}
		if err := t.q.AddFile(ctx, row); err != nil {
			return false, err
		}
		m.Media = append(m.Media, row.Media())
		t.after.files = true
	}
	return true, nil
}

// fileID names a file; it cannot be guessed from outside.
func fileID(m *agentroutingv1.Message, i int) string {
	h := domain.FanHash(m.GetAccount(), m.GetOpenid())
	return fmt.Sprintf("%x-%d-%d-%s", h[:12], m.GetSeq(), i, rand.Text()[:10])
}

// send adds a message to the fan and puts it into the outbox under the owner's epoch. kf shows the fan the name of a native agent.
func (t *turn) send(ctx context.Context, m *agentroutingv1.Message, key, kf string) (bool, error) {
	var files []wire.File
	m.MsgType, m.Text, files = wire.Sent(m.GetContent())
	m.Text = domain.Cut(m.GetText(), domain.MaxTextBytes)
	m.Conversation, m.State = t.conv.ID, agentroutingv1.MessageState_MESSAGE_STATE_QUEUED
	added, err := t.add(ctx, m, files)
	if err != nil || !added {
		return false, err
	}
	t.sends++
	it := t.item(store.ItemSend, key)
	it.Seq = m.GetSeq()
	return true, t.q.AddItem(ctx, it, &senderv1.SendRequest{
		Account: t.fan.Account, Openid: t.fan.OpenID, Lane: senderv1.Lane_LANE_AGENT, Content: m.GetContent(), KfAccount: kf,
		OwnerEpoch: t.fan.Owner.Epoch, IdempotencyKey: key,
	})
}

// say sends an automatic text of the group, if it has one for the occasion.
func (t *turn) say(ctx context.Context, kind domain.TextKind, values map[string]string) error {
	text := t.group.Say(kind, t.conv.Language, values)
	if text == "" {
		return nil
	}
	return t.sayContent(ctx, kind, wire.Text(text))
}

func (t *turn) sayContent(ctx context.Context, kind domain.TextKind, content *eventv1.Content) error {
	key := sendKey(t.fan.OpenID, "system", fmt.Sprintf("%s:%d:%s", t.conv.ID, t.conv.Number, kind))
	m := &agentroutingv1.Message{AuthorKind: agentroutingv1.AuthorKind_AUTHOR_KIND_SYSTEM, Author: kind.String(), Content: content, ClientId: key}
	added, err := t.send(ctx, m, key, "")
	if err != nil || !added {
		return err
	}
	return t.tell(ctx, messageAdded(m, t.conv), domain.Entry{What: domain.SystemMessage})
}
