package rpc

import (
	"context"

	"connectrpc.com/connect"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	"github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1/consolev1connect"

	"github.com/wxbus/wxbus/services/console/internal/timeline"
)

// Trace is the TraceService.
type Trace struct{ Reader *timeline.Reader }

var _ consolev1connect.TraceServiceHandler = (*Trace)(nil)

// GetTimeline tells what happened to one message.
func (s *Trace) GetTimeline(ctx context.Context, req *connect.Request[consolev1.GetTimelineRequest]) (*connect.Response[consolev1.GetTimelineResponse], error) {
	out, err := s.Reader.Get(ctx, req.Msg)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(out), nil
}
