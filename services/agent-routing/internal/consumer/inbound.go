package consumer

import (
	"context"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
)

// The events that change who talks to a fan, or tell the agent something.
const (
	kfCreate     = "kf_create_session"
	kfSwitch     = "kf_switch_session"
	kfClose      = "kf_close_session"
	enterSession = "user_enter_tempsession"
)

// Inbound returns the handler of the stream INBOUND.
func Inbound(desk *app.Desk) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		var ev eventv1.InboundEvent
		if err := proto.Unmarshal(d.Data, &ev); err != nil {
			return fault.Errorf(fault.Invalid, "decode event: %w", err)
		}
		if ev.GetReceivedUnixMs() == 0 {
			ev.ReceivedUnixMs = d.Stored.UnixMilli()
		}
		account, fan := ev.GetAccount(), ev.GetOpenid()
		if account == "" || fan == "" {
			return nil // an event about no fan, such as the result of a job
		}
		switch ev.GetKind() {
		case eventv1.EventKind_EVENT_KIND_MESSAGE:
			return desk.Said(ctx, &ev)
		case eventv1.EventKind_EVENT_KIND_SUBSCRIBE:
			return desk.Followed(ctx, account, fan)
		case eventv1.EventKind_EVENT_KIND_UNSUBSCRIBE:
			return desk.Unfollowed(ctx, account, fan)
		case eventv1.EventKind_EVENT_KIND_KF:
			return native(ctx, desk, &ev)
		case eventv1.EventKind_EVENT_KIND_EVENT:
			if ev.GetEvent() == enterSession { // a Mini Program: the fan opened the customer-service page
				return desk.Said(ctx, &ev)
			}
			return nil
		default:
			return nil
		}
	}
}

func native(ctx context.Context, desk *app.Desk, ev *eventv1.InboundEvent) error {
	switch ev.GetEvent() {
	case kfCreate, kfSwitch:
		return desk.NativeTook(ctx, ev.GetAccount(), ev.GetOpenid(), ev.GetId(), ev.GetKfSession().GetKfAccount(), ev.GetEvent())
	case kfClose:
		return desk.NativeLeft(ctx, ev.GetAccount(), ev.GetOpenid(), ev.GetId(), ev.GetEvent())
	default:
		return nil
	}
}
