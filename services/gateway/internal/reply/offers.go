package reply

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/fault"
	gatewayv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/gateway/v1"
)

// Respond answers one request of the rule service on the offer subject of this instance. A request
// without content dismisses the attempts at the event.
func (r *Registry) Respond(ctx context.Context, m *nats.Msg) ([]byte, error) {
	var req gatewayv1.OfferReplyRequest
	if err := proto.Unmarshal(m.Data, &req); err != nil {
		return nil, fault.Errorf(fault.Invalid, "decode offer: %w", err)
	}
	if req.GetEventId() == "" {
		return nil, fault.New(fault.Invalid, "event_id: required")
	}
	if req.GetContent() == nil {
		reason := "nobody waits here"
		if r.Dismiss(req.GetEventId()) {
			reason = "answered success"
		}
		return proto.Marshal(&gatewayv1.OfferReplyResponse{Outcome: undeliverable, Reason: reason})
	}
	if req.GetDeadlineUnixMs() <= 0 {
		return nil, fault.New(fault.Invalid, "deadline_unix_ms: required")
	}
	offer := Offer{Content: req.GetContent(), Deadline: time.UnixMilli(req.GetDeadlineUnixMs())}
	outcome, reason := r.Offer(ctx, req.GetEventId(), offer)
	return proto.Marshal(&gatewayv1.OfferReplyResponse{Outcome: outcome, Reason: reason})
}
