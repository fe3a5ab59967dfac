package console

import (
	"context"

	"google.golang.org/grpc"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/console/internal/timeline"
)

// ReadTimeline does what TraceService.GetTimeline does, for the command line: it needs no running console. A request
// with an openid and no id means the newest push of that fan.
func ReadTimeline(ctx context.Context, conn *bus.Conn, topo *topology.Topology, sender grpc.ClientConnInterface, req *consolev1.GetTimelineRequest) (*consolev1.GetTimelineResponse, error) {
	r := &timeline.Reader{JetStream: conn.JS(), Topology: topo, Sender: senderv1.NewSenderServiceClient(sender)}
	if req.GetEventId() == "" && req.GetSendId() == "" {
		id, err := r.Newest(ctx, req.GetAccount(), req.GetOpenid())
		if err != nil {
			return nil, err
		}
		req.EventId = id
	}
	return r.Get(ctx, req)
}
