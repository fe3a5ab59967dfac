package app

import (
	"context"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

// Reply is a message of an agent to a fan.
type Reply struct {
	Act
	Key     string
	Content *eventv1.Content
	// Expected is the newest entry that the agent has seen; zero for any.
	Expected  uint64
	KfAccount string
	// UseKept takes what is kept for the end of the conversation too.
	UseKept bool
}

// Replied is what became of a reply.
type Replied struct {
	View     *View
	Message  *agentroutingv1.Message
	Replayed bool
}

// maxCollision bounds what came in between.
const maxCollision = 20

// Reply sends a message as the one who talks to the fan; it accepts a waiting fan first. The fan stays with the agent when the message
// is refused. A repetition with the same key sends nothing. It fails with a *CollisionError when others wrote meanwhile, and with a
// *KeptError when it would take what is kept for the end.
func (d *Desk) Reply(ctx context.Context, r Reply) (Replied, error) {
	var out Replied
	w, err := d.windowFor(ctx, &r)
	if err != nil {
		return Replied{}, err
	}
	v, err := d.act(ctx, r.Act, func(ctx context.Context, t *turn) error {
		out = Replied{}
		key := sendKey(t.fan.OpenID, r.Agent, r.Key)
		known, ok, err := t.q.MessageByClient(ctx, t.fan.Account, t.fan.OpenID, key)
		if err != nil {
			return err
		}
		if ok {
			out.Message, out.Replayed = known, true
			return nil
		}
		return t.reply(ctx, r, w, key, &out)
	})
	if err != nil {
		return Replied{}, err
	}
	out.View = v
	return out, d.refusal(ctx, &out)
}

func (t *turn) reply(ctx context.Context, r Reply, w Window, key string, out *Replied) error {
	if t.conv.State == domain.Closed {
		return errOver
	}
	if t.conv.State == domain.Active && t.conv.Agent != r.Agent {
		return errAnother
	}
	if err := t.accept(ctx, r.Agent); err != nil {
		return err
	}
	if t.conv.State != domain.Active { // it came back from hold to the queue: the agent is full
		return errFull
	}
	if r.Expected != 0 {
		between, err := t.q.Between(ctx, t.fan.Account, t.fan.OpenID, r.Agent, r.Expected, maxCollision)
		if err != nil {
			return err
		}
		if len(between) > 0 {
			return collision(between, t.fan.Seq)
		}
	}
	if err := t.keep(w, messagesOf(r.Content)); err != nil {
		return err
	}
	m := &agentroutingv1.Message{AuthorKind: agentroutingv1.AuthorKind_AUTHOR_KIND_AGENT, Author: r.Agent, Content: r.Content, ClientId: key}
	if _, err := t.send(ctx, m, key, r.KfAccount); err != nil {
		return err
	}
	if err := t.judge(ctx); err != nil {
		return err
	}
	var kept domain.Targets
	t.conv, kept = t.conv.AgentWrote(t.now, previewOf(m)).Answers(m.GetSeq())
	t.became(kept, false)
	t.dirty = true
	out.Message = m
	return t.tell(ctx, messageAdded(m, t.conv), domain.Entry{What: domain.AgentMessage, Promises: kept})
}

// refusal reads the message again: the sender may have refused it when it was handed over.
func (d *Desk) refusal(ctx context.Context, out *Replied) error {
	q, err := d.o.Store.Query()
	if err != nil {
		return err
	}
	m, ok, err := q.Message(ctx, out.Message.GetAccount(), out.Message.GetOpenid(), out.Message.GetSeq())
	if err != nil || !ok {
		return err
	}
	out.Message = m
	if m.GetState() == agentroutingv1.MessageState_MESSAGE_STATE_FAILED && m.GetSendId() == "" {
		return fault.New(fault.Refused, m.GetReason())
	}
	return nil
}
