package wire

import (
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

// Message returns what the desk shows of an event of the fan.
func Message(ev *eventv1.InboundEvent) domain.Message {
	return domain.Message{EventID: ev.GetId(), MsgType: ev.GetMsgType(), Text: text(ev), At: at(ev.GetReceivedUnixMs())}
}

func text(ev *eventv1.InboundEvent) string {
	switch p := ev.GetPayload().(type) {
	case *eventv1.InboundEvent_Text:
		return p.Text.GetContent()
	case *eventv1.InboundEvent_Media:
		return p.Media.GetRecognition()
	case *eventv1.InboundEvent_Location:
		return p.Location.GetLabel()
	case *eventv1.InboundEvent_Link:
		return p.Link.GetUrl()
	default:
		return ev.GetEventKey()
	}
}
