package grpcapi

import (
	"context"
	"strconv"

	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// ListConversations returns a page of conversations.
func (s *Conversations) ListConversations(ctx context.Context, in *agentroutingv1.ListConversationsRequest) (*agentroutingv1.ListConversationsResponse, error) {
	limit, err := pageSize("page_size", in.GetPageSize(), 50, 200)
	if err != nil {
		return nil, err
	}
	offset, err := offsetOf(in.GetPageToken())
	if err != nil {
		return nil, err
	}
	f := store.Filter{Account: in.GetAccount(), Group: in.GetGroup(), Agent: in.GetAgent(), OpenID: in.GetOpenid(), States: states(in.GetStates())}
	if in.GetMine() {
		if f.Agent = actorOf(ctx, in.GetAgent()); f.Agent == "" {
			return nil, fault.New(fault.Invalid, "mine: nobody is logged in")
		}
	}
	if f.OpenID != "" && f.Account == "" {
		return nil, fault.New(fault.Invalid, "account: is required with openid")
	}
	// Before the page is read: what is published meanwhile is then seen twice rather than never.
	sequence, err := s.feed.LastSequence(ctx)
	if err != nil {
		return nil, err
	}
	views, total, err := s.views(ctx, f, orderOf(f.States), offset, limit)
	if err != nil {
		return nil, err
	}
	out := &agentroutingv1.ListConversationsResponse{Total: int32(total), StreamSequence: sequence}
	size := 0
	for _, v := range views {
		c := s.desk.Wire(v)
		if size += proto.Size(c); size > maxAnswer {
			break
		}
		out.Conversations = append(out.Conversations, c)
	}
	if next := offset + len(out.Conversations); next < total && len(out.Conversations) > 0 {
		out.NextPageToken = strconv.Itoa(next)
	}
	return out, s.positions(ctx, out.GetConversations())
}

// positions fills in the places in the queue.
func (s *Conversations) positions(ctx context.Context, list []*agentroutingv1.Conversation) error {
	q, err := s.desk.Store().Query()
	if err != nil {
		return err
	}
	for _, c := range list {
		if c.GetState() != agentroutingv1.ConversationState_CONVERSATION_STATE_WAITING && c.GetState() != agentroutingv1.ConversationState_CONVERSATION_STATE_OFFERED {
			continue
		}
		ahead, err := q.Ahead(ctx, domain.Conversation{ID: c.GetId(), Group: c.GetGroup(), WaitingSince: wire.Time(c.GetWaitingSinceUnixMs())})
		if err != nil {
			return err
		}
		c.Position = int32(ahead + 1)
	}
	return nil
}

func offsetOf(token string) (int, error) {
	if token == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(token)
	if err != nil || n < 0 {
		return 0, fault.New(fault.Invalid, "page_token: is not one of ours")
	}
	return n, nil
}

func states(in []agentroutingv1.ConversationState) []domain.State {
	var out []domain.State
	for _, st := range in {
		if st != agentroutingv1.ConversationState_CONVERSATION_STATE_UNSPECIFIED {
			out = append(out, domain.State(st))
		}
	}
	if len(out) == 0 {
		return []domain.State{domain.Waiting, domain.Offered, domain.Active, domain.OnHold, domain.LeftMessage}
	}
	return out
}

func orderOf(states []domain.State) store.Order {
	for _, st := range states {
		if st == domain.Closed {
			if len(states) == 1 {
				return store.NewestClosed
			}
			return store.NewestOpened
		}
	}
	return store.OpenOrder
}

// ListQueue returns who waits and who left a message.
func (s *Conversations) ListQueue(ctx context.Context, in *agentroutingv1.ListQueueRequest) (*agentroutingv1.ListQueueResponse, error) {
	limit, err := pageSize("limit", in.GetLimit(), 100, 500)
	if err != nil {
		return nil, err
	}
	out := &agentroutingv1.ListQueueResponse{}
	list := func(states ...domain.State) ([]*agentroutingv1.Conversation, int32, error) {
		views, total, err := s.views(ctx, store.Filter{Account: in.GetAccount(), Group: in.GetGroup(), States: states}, store.LongestWaiting, 0, limit)
		rows := make([]*agentroutingv1.Conversation, 0, len(views))
		for _, v := range views {
			rows = append(rows, s.desk.Wire(v))
		}
		return rows, int32(total), err
	}
	if out.Waiting, out.WaitingTotal, err = list(domain.Waiting, domain.Offered); err != nil {
		return nil, err
	}
	if out.LeftMessage, out.LeftMessageTotal, err = list(domain.LeftMessage); err != nil {
		return nil, err
	}
	return out, s.positions(ctx, out.GetWaiting())
}
