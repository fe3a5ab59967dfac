package grpcapi

import (
	"context"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

// ListMessages returns a page of the timeline.
func (s *Conversations) ListMessages(ctx context.Context, in *agentroutingv1.ListMessagesRequest) (*agentroutingv1.ListMessagesResponse, error) {
	limit, err := pageSize("limit", in.GetLimit(), 50, 200)
	if err != nil {
		return nil, err
	}
	if in.GetBeforeSeq() != 0 && in.GetAfterSeq() != 0 {
		return nil, fault.New(fault.Invalid, "after_seq: cannot be set with before_seq")
	}
	p := store.Page{Account: in.GetAccount(), OpenID: in.GetOpenid(), Before: in.GetBeforeSeq(), After: in.GetAfterSeq(), Limit: limit}
	if in.GetConversation() != "" {
		v, err := s.view(ctx, in.GetAccount(), in.GetConversation())
		if err != nil {
			return nil, err
		}
		p.OpenID = v.Conversation.OpenID
		if !in.GetWholeTimeline() {
			p.Conversation = in.GetConversation()
		}
	}
	if err := s.check.fan(p.Account, p.OpenID); err != nil {
		return nil, err
	}
	q, err := s.desk.Store().Query()
	if err != nil {
		return nil, err
	}
	messages, more, err := q.Messages(ctx, p)
	return &agentroutingv1.ListMessagesResponse{Messages: messages, More: more}, err
}
