package consumer

import (
	"context"

	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
)

var settled = string(new(senderv1.DeliverySettled).ProtoReflect().Descriptor().FullName())

// Delivery returns the handler of the stream DELIVERY. Only the end of what the desk sent matters; campaigns never reach the
// database.
func Delivery(desk *app.Desk) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		if d.Header.Get(bus.HeaderType) != settled {
			return nil
		}
		var e senderv1.DeliverySettled
		if err := proto.Unmarshal(d.Data, &e); err != nil {
			return fault.Errorf(fault.Invalid, "decode delivery: %w", err)
		}
		if e.GetLane() != senderv1.Lane_LANE_AGENT {
			return nil
		}
		return desk.Settled(ctx, &e)
	}
}
