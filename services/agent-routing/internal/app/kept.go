package app

import (
	"context"

	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

// KeptError is the error of a reply that would take what is kept for the end of the conversation.
type KeptError struct {
	err    error
	detail *agentroutingv1.ReplyWouldUseKept
}

func (k *KeptError) Error() string { return k.err.Error() }

// Unwrap returns the Refused.
func (k *KeptError) Unwrap() error { return k.err }

// StatusDetails is what the edge puts into the details of the status.
func (k *KeptError) StatusDetails() []proto.Message { return []proto.Message{k.detail} }

// windowFor asks how much of the fan's window is left; a closed window when that does not matter. It finds the fan of a reply that names
// the conversation only. A sender that does not answer holds nobody up: it judges the message itself when it is back.
func (d *Desk) windowFor(ctx context.Context, r *Reply) (Window, error) {
	if d.o.Limits.KeptForEnd == 0 || r.UseKept {
		return Window{}, nil
	}
	if r.OpenID == "" {
		var err error
		if r.OpenID, err = d.find(ctx, r.Account, r.Conversation); err != nil {
			return Window{}, err
		}
	}
	w, err := d.o.Sender.Window(ctx, r.Account, r.OpenID, false)
	if err == nil && w.Open && w.Remaining-messagesOf(r.Content) < d.o.Limits.KeptForEnd {
		// Perhaps the fan has just written, and everything is allowed again.
		w, err = d.o.Sender.Window(ctx, r.Account, r.OpenID, true)
	}
	if err != nil {
		d.warn(ctx, "a reply is not held against what is kept for the end", r.Account, err)
		return Window{}, nil
	}
	return w, nil
}

// keep refuses messages that leave less of an open window than is kept for the end; what the turn itself says counts.
func (t *turn) keep(w Window, messages int) error {
	kept := t.group.KeptForEnd(t.d.o.Limits.KeptForEnd)
	if !w.Open || kept == 0 || w.Remaining-t.sends-messages >= kept {
		return nil
	}
	detail := &agentroutingv1.ReplyWouldUseKept{Remaining: int32(w.Remaining), Kept: int32(kept)}
	return &KeptError{err: fault.Errorf(fault.Refused, "use_kept: %d messages are left until the fan writes again, %d of them for the end of the conversation", w.Remaining, kept), detail: detail}
}

// maxMessageBytes is what WeChat takes in one text.
const maxMessageBytes = 2048

// messagesOf is how many messages a content takes at least: the sender splits a long text between sentences.
func messagesOf(c *eventv1.Content) int {
	return max(1, (len(c.GetText().GetContent())+maxMessageBytes-1)/maxMessageBytes)
}

// leftOut tells why a message of the outbox is not to be sent: the warning of an idle conversation leaves one message for the end.
func (r *relay) leftOut(ctx context.Context, it store.Item) (string, error) {
	if r.d.o.Limits.KeptForEnd == 0 {
		return "", nil
	}
	q, err := r.d.o.Store.Query()
	if err != nil {
		return "", err
	}
	m, ok, err := q.Message(ctx, it.Account, it.OpenID, it.Seq)
	if err != nil || !ok || m.GetAuthorKind() != agentroutingv1.AuthorKind_AUTHOR_KIND_SYSTEM || m.GetAuthor() != domain.TextIdleWarning.String() {
		return "", err
	}
	c, ok, err := q.Conversation(ctx, it.Account, m.GetConversation())
	if err != nil || !ok {
		return "", err
	}
	g, err := q.Group(ctx, c.Group)
	if err != nil || !g.SaysEnd() {
		return "", err
	}
	w, err := r.d.o.Sender.Window(ctx, it.Account, it.OpenID, true)
	if err != nil || !w.Open || w.Remaining > 1 {
		return "", err
	}
	return "window: the last message is kept for the end of the conversation", nil
}
