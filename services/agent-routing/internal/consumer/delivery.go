package consumer

import (
	"context"

	"google.golang.org/protobuf/proto"

	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// Decider finds the decision about an event; nil when there is none.
type Decider interface {
	Decision(ctx context.Context, account, openID, event string) (*rulev1.DecisionMade, error)
}

// Delivery returns the handler of the stream DELIVERY. The end of what the desk sent matters, and of what rules answered to a fan whom
// the desk knows; campaigns never reach the database.
func Delivery(desk *app.Desk, decisions Decider) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		if d.Header.Get(bus.HeaderType) != wire.TypeSettled {
			return nil
		}
		var e senderv1.DeliverySettled
		if err := proto.Unmarshal(d.Data, &e); err != nil {
			return fault.Errorf(fault.Invalid, "decode delivery: %w", err)
		}
		switch e.GetLane() {
		case senderv1.Lane_LANE_AGENT:
			return desk.Settled(ctx, &e)
		case senderv1.Lane_LANE_RULE:
			return answered(ctx, desk, decisions, &e)
		default:
			return nil
		}
	}
}

// answered keeps a reply of the rules that left by the sender, whose facts do not hold the words.
func answered(ctx context.Context, desk *app.Desk, decisions Decider, e *senderv1.DeliverySettled) error {
	if e.GetCause() == "" {
		return nil
	}
	if known, err := desk.Knows(ctx, e.GetAccount(), e.GetOpenid()); err != nil || !known {
		return err
	}
	made, err := decisions.Decision(ctx, e.GetAccount(), e.GetOpenid(), e.GetCause())
	if err != nil {
		return err
	}
	if m := wire.Delivered(made, e); m != nil {
		return desk.Answered(ctx, m)
	}
	return nil
}
