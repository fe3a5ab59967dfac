package rpc

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	"github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1/consolev1connect"

	"github.com/wxbus/wxbus/services/console/internal/access"
	"github.com/wxbus/wxbus/services/console/internal/status"
)

// Status is the StatusService. The door leaves out the accounts that a caller may not see.
type Status struct {
	Collector     *status.Collector
	Conversations agentroutingv1.ConversationServiceClient
}

var _ consolev1connect.StatusServiceHandler = (*Status)(nil)

// GetStatus tells how the system is doing. The waiting fans of accounts that the caller may not see do not count.
func (s *Status) GetStatus(ctx context.Context, _ *connect.Request[consolev1.GetStatusRequest]) (*connect.Response[consolev1.GetStatusResponse], error) {
	shared := s.Collector.Get(ctx)
	own := proto.CloneOf(shared)
	c := access.From(ctx)
	if c.All() {
		return connect.NewResponse(own), nil
	}
	own.Waiting = 0
	for _, name := range c.Accounts() {
		n, err := s.Conversations.ListWaiting(ctx, &agentroutingv1.ListWaitingRequest{Account: name, Limit: 1})
		if err != nil {
			return nil, err
		}
		own.Waiting += n.GetTotal()
	}
	return connect.NewResponse(own), nil
}
