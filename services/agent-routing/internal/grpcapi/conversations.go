package grpcapi

import (
	"context"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/media"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

// maxAnswer bounds a list in bytes; gRPC refuses messages of more than 4 MiB.
const maxAnswer = 2 << 20

// Feed is the stream of conversations.
type Feed interface {
	LastSequence(ctx context.Context) (uint64, error)
	Follow(ctx context.Context, account, conversation string, ready func() error, each func([]byte) error) error
	Signal(ctx context.Context, s *agentroutingv1.DeskSignal) error
}

// Conversations implements ConversationService.
type Conversations struct {
	agentroutingv1.UnimplementedConversationServiceServer

	desk     *app.Desk
	feed     Feed
	files    media.Store
	platform app.Platform
	check    checker
}

// NewConversations returns a server.
func NewConversations(desk *app.Desk, feed Feed, files media.Store, platform app.Platform, accounts *account.Directory) *Conversations {
	return &Conversations{desk: desk, feed: feed, files: files, platform: platform, check: checker{accounts}}
}

// views returns conversations with their fans and groups.
func (s *Conversations) views(ctx context.Context, f store.Filter, order store.Order, offset, limit int) ([]*app.View, int, error) {
	if err := s.check.anyAccount(f.Account); err != nil {
		return nil, 0, err
	}
	q, err := s.desk.Store().Query()
	if err != nil {
		return nil, 0, err
	}
	found, total, err := q.Conversations(ctx, f, order, offset, limit)
	if err != nil {
		return nil, 0, err
	}
	groups, err := q.GroupsByID(ctx)
	if err != nil {
		return nil, 0, err
	}
	fans, err := q.FansOf(ctx, found)
	if err != nil {
		return nil, 0, err
	}
	out := make([]*app.View, 0, len(found))
	for _, c := range found {
		g, ok := groups[c.Group]
		if !ok {
			g = domain.ImplicitGroup(c.Group)
		}
		fan, ok := fans[[2]string{c.Account, c.OpenID}]
		if !ok {
			fan = domain.Fan{Account: c.Account, OpenID: c.OpenID} // erased
		}
		out = append(out, &app.View{Conversation: c, Fan: fan, Group: g})
	}
	return out, total, nil
}

// view returns one conversation with its fan and group.
func (s *Conversations) view(ctx context.Context, account, id string) (*app.View, error) {
	if id == "" {
		return nil, fault.New(fault.Invalid, "conversation: must not be empty")
	}
	if err := s.check.target(account, "", id); err != nil {
		return nil, err
	}
	return s.desk.View(ctx, account, id)
}

// GetConversation returns a conversation with its fan and changes.
func (s *Conversations) GetConversation(ctx context.Context, in *agentroutingv1.GetConversationRequest) (*agentroutingv1.GetConversationResponse, error) {
	v, err := s.view(ctx, in.GetAccount(), in.GetConversation())
	if err != nil {
		return nil, err
	}
	q, err := s.desk.Store().Query()
	if err != nil {
		return nil, err
	}
	c := s.desk.Wire(v)
	if err := s.positions(ctx, []*agentroutingv1.Conversation{c}); err != nil {
		return nil, err
	}
	changes, err := q.Changes(ctx, in.GetAccount(), in.GetConversation(), 0, maxChanges)
	if err != nil {
		return nil, err
	}
	fan, err := s.card(ctx, v.Fan)
	return &agentroutingv1.GetConversationResponse{Conversation: c, Fan: fan, Changes: changes}, err
}
