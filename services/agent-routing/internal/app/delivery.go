package app

import (
	"context"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// states says what a state of the sender means to people. A state that is not final is queued.
var states = map[senderv1.SendState]agentroutingv1.MessageState{
	senderv1.SendState_SEND_STATE_SENT:      agentroutingv1.MessageState_MESSAGE_STATE_ACCEPTED,
	senderv1.SendState_SEND_STATE_FAILED:    agentroutingv1.MessageState_MESSAGE_STATE_FAILED,
	senderv1.SendState_SEND_STATE_REFUSED:   agentroutingv1.MessageState_MESSAGE_STATE_FAILED,
	senderv1.SendState_SEND_STATE_AMBIGUOUS: agentroutingv1.MessageState_MESSAGE_STATE_AMBIGUOUS,
}

// outcome is what became of a message.
type outcome struct {
	sendID  string
	state   agentroutingv1.MessageState
	reason  string
	errcode int32
	// refused is true when WeChat was never asked.
	refused bool
}

// handedOver keeps what the sender answered when a message was handed over.
func (d *Desk) handedOver(ctx context.Context, q store.Q, it store.Item, done *senderv1.SendResponse, refused string) error {
	o := outcome{sendID: done.GetId(), state: states[done.GetRecord().GetState()], reason: done.GetRecord().GetReason(), errcode: done.GetRecord().GetErrcode()}
	if refused != "" {
		o = outcome{state: agentroutingv1.MessageState_MESSAGE_STATE_FAILED, reason: refused, refused: true}
	}
	t := &turn{d: d, q: q, now: d.now(), actor: actorSender, trace: traceOf(ctx), after: newAfter(in{})}
	known, err := t.lock(ctx, in{account: it.Account, openID: it.OpenID}, domain.Owner{})
	if err != nil || !known {
		return err
	}
	m, ok, err := q.Message(ctx, it.Account, it.OpenID, it.Seq)
	if err != nil || !ok {
		return err
	}
	if err := t.settle(ctx, m, o); err != nil {
		return err
	}
	return t.finish(ctx)
}

// settle stores what became of a message and tells it. A final state never changes.
func (t *turn) settle(ctx context.Context, m *agentroutingv1.Message, o outcome) error {
	if o.sendID != "" {
		m.SendId = o.sendID
	}
	news := m.GetState() == agentroutingv1.MessageState_MESSAGE_STATE_QUEUED && o.state != 0
	if news {
		m.State, m.Reason, m.Errcode = o.state, o.reason, o.errcode
		if o.refused && m.GetAuthorKind() == agentroutingv1.AuthorKind_AUTHOR_KIND_SYSTEM {
			m.State = agentroutingv1.MessageState_MESSAGE_STATE_SKIPPED // nobody is to do anything about it
		}
	}
	if err := t.q.SaveMessage(ctx, m); err != nil || !news {
		return err
	}
	if m.GetConversation() != t.conv.ID {
		if err := t.switchTo(ctx, m.GetConversation()); err != nil {
			return err
		}
	}
	changed := &agentroutingv1.MessageStateChanged{Seq: m.GetSeq(), State: m.GetState(), Reason: m.GetReason(), Errcode: m.GetErrcode(), SendId: m.GetSendId()}
	var again domain.Targets
	if m.GetState() == agentroutingv1.MessageState_MESSAGE_STATE_FAILED {
		t.conv, again = t.conv.Fails(m.GetSeq())
		changed.Promises = wire.Promises(t.conv.Promises)
	} else {
		t.conv = t.conv.Stands(m.GetSeq())
	}
	ev := &agentroutingv1.ConversationEvent{Event: &agentroutingv1.ConversationEvent_MessageStateChanged{MessageStateChanged: changed}}
	return t.tell(ctx, ev, domain.Entry{What: domain.MessageState, Promises: again})
}

// switchTo makes another conversation of the fan that of the turn; the one before must not have been changed.
func (t *turn) switchTo(ctx context.Context, id string) error {
	t.conv, t.dirty = domain.Conversation{}, false
	if id == "" {
		return nil
	}
	return t.load(ctx, id)
}

// Settled keeps the end of a message. One whose hand-over is not stored yet comes again.
func (d *Desk) Settled(ctx context.Context, e *senderv1.DeliverySettled) error {
	state, final := states[e.GetState()]
	if !final {
		return nil
	}
	q, err := d.o.Store.Query()
	if err != nil {
		return err
	}
	m, ok, err := q.MessageBySend(ctx, e.GetAccount(), e.GetId())
	if err != nil {
		return err
	}
	if !ok {
		return d.unknownSend(ctx, q, e)
	}
	return d.turn(ctx, in{account: m.GetAccount(), openID: m.GetOpenid(), actor: actorSender}, func(ctx context.Context, t *turn) error {
		now, ok, err := t.q.Message(ctx, m.GetAccount(), m.GetOpenid(), m.GetSeq())
		if err != nil || !ok {
			return err
		}
		return t.settle(ctx, now, outcome{
			sendID: e.GetId(), state: state, reason: e.GetReason(), errcode: e.GetErrcode(), refused: e.GetState() == senderv1.SendState_SEND_STATE_REFUSED,
		})
	})
}

// unknownSend tells a message of somebody else from one of ours that is just being handed over.
func (d *Desk) unknownSend(ctx context.Context, q store.Q, e *senderv1.DeliverySettled) error {
	items, err := q.Items(ctx, e.GetAccount(), e.GetOpenid(), relayBatch)
	if err != nil {
		return err
	}
	for _, it := range items {
		if it.Kind == store.ItemSend {
			return fault.New(fault.Retryable, "a message of the fan is being handed over")
		}
	}
	return nil
}
