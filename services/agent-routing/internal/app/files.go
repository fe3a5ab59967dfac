package app

import (
	"context"
	"time"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

// ClaimFile returns a file to fetch, which is this caller's until a moment.
func (d *Desk) ClaimFile(ctx context.Context, now, until time.Time) (f store.File, ok bool, err error) {
	err = d.o.Store.InTx(ctx, func(ctx context.Context, q store.Q) error {
		f, ok, err = q.ClaimFile(ctx, now, until)
		return err
	})
	return f, ok, err
}

// FileDone stores what became of a file and tells it when it is stored or lost. A file of a fan who was erased meanwhile is deleted.
func (d *Desk) FileDone(ctx context.Context, f store.File) error {
	there := false
	err := d.turn(ctx, in{account: f.Account, openID: f.OpenID, actor: actorWeChat}, func(ctx context.Context, t *turn) error {
		var err error
		if _, there, err = t.q.File(ctx, f.Account, f.ID); err != nil || !there {
			return err
		}
		if err := t.q.SaveFile(ctx, f); err != nil || f.State == agentroutingv1.MediaState_MEDIA_STATE_PENDING {
			return err
		}
		m, ok, err := t.q.Message(ctx, f.Account, f.OpenID, f.Seq)
		if err != nil || !ok {
			return err
		}
		if m.GetConversation() != t.conv.ID {
			if err := t.switchTo(ctx, m.GetConversation()); err != nil {
				return err
			}
		}
		ev := &agentroutingv1.ConversationEvent{Event: &agentroutingv1.ConversationEvent_MediaChanged{
			MediaChanged: &agentroutingv1.MediaChanged{Seq: f.Seq, Media: f.Media()},
		}}
		return t.tell(ctx, ev, domain.Entry{What: domain.FileKept})
	})
	if err != nil || there {
		return err
	}
	for _, id := range []string{f.ID, f.ID + PlayableSuffix} {
		if _, err := d.o.Files.Delete(ctx, id); err != nil {
			return err
		}
	}
	return nil
}
