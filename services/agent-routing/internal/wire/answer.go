package wire

import (
	"fmt"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/sendid"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

// TypeSettled is the header of DeliverySettled in its stream.
var TypeSettled = string(new(senderv1.DeliverySettled).ProtoReflect().Descriptor().FullName())

// Passive returns the timeline entry of the reply that a gateway wrote into the answer to WeChat; nil when none did. One that may have
// been written is ambiguous.
func Passive(d *rulev1.DecisionMade) *agentroutingv1.Message {
	if len(d.GetReplies()) == 0 {
		return nil
	}
	m := answer(d, 0)
	m.AtUnixMs = d.GetDecidedUnixMs()
	switch d.GetRoute() {
	case rulev1.Route_ROUTE_PASSIVE:
		for _, c := range d.GetClaims() {
			if c.GetState() == rulev1.ClaimState_CLAIM_STATE_DELIVERED {
				m.State = agentroutingv1.MessageState_MESSAGE_STATE_ACCEPTED
				return m
			}
		}
	case rulev1.Route_ROUTE_AMBIGUOUS:
		m.State, m.Reason = agentroutingv1.MessageState_MESSAGE_STATE_AMBIGUOUS, d.GetReason()
		return m
	default: // no gateway wrote it
	}
	return nil
}

// Delivered returns the timeline entry of the reply of a decision that the sender settled; nil when it is none of its replies, or when
// the fan certainly did not get it.
func Delivered(d *rulev1.DecisionMade, e *senderv1.DeliverySettled) *agentroutingv1.Message {
	state := agentroutingv1.MessageState_MESSAGE_STATE_ACCEPTED
	switch e.GetState() {
	case senderv1.SendState_SEND_STATE_SENT:
	case senderv1.SendState_SEND_STATE_AMBIGUOUS:
		state = agentroutingv1.MessageState_MESSAGE_STATE_AMBIGUOUS
	default:
		return nil
	}
	for n := range d.GetReplies() {
		if sendid.Of(e.GetAccount(), sendid.ReplyKey(d.GetId(), n)) != e.GetId() {
			continue
		}
		m := answer(d, n)
		m.State, m.Reason, m.Errcode, m.SendId, m.AtUnixMs = state, e.GetReason(), e.GetErrcode(), e.GetId(), e.GetAtUnixMs()
		return m
	}
	return nil
}

func answer(d *rulev1.DecisionMade, n int) *agentroutingv1.Message {
	m := &agentroutingv1.Message{
		Account: d.GetAccount(), Openid: d.GetOpenid(), AuthorKind: agentroutingv1.AuthorKind_AUTHOR_KIND_BOT, Author: d.GetRule(),
		Content: d.GetReplies()[n], ClientId: fmt.Sprintf("rule:%s:%d", d.GetId(), n),
	}
	m.MsgType, m.Text, _ = Sent(m.GetContent())
	m.Text = domain.Cut(m.GetText(), domain.MaxTextBytes)
	return m
}
