package consumer

import (
	"context"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// The events of WeChat's own desk.
const (
	kfCreate = "kf_create_session"
	kfSwitch = "kf_switch_session"
	kfClose  = "kf_close_session"
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
			return desk.Say(ctx, account, fan, wire.Message(&ev))
		case eventv1.EventKind_EVENT_KIND_UNSUBSCRIBE:
			return desk.Happened(ctx, account, fan, domain.Left{Event: ev.GetId()})
		case eventv1.EventKind_EVENT_KIND_KF:
			if c := nativeChange(&ev); c != nil {
				return desk.Happened(ctx, account, fan, c)
			}
			return nil
		default:
			return nil
		}
	}
}

func nativeChange(ev *eventv1.InboundEvent) domain.Command {
	switch ev.GetEvent() {
	case kfCreate, kfSwitch:
		return domain.Opened{Event: ev.GetId(), KfAccount: ev.GetKfSession().GetKfAccount(), Reason: ev.GetEvent()}
	case kfClose:
		return domain.Closed{Event: ev.GetId(), Reason: ev.GetEvent()}
	default:
		return nil
	}
}
