package wechat

// Kind classifies pushes; its text is a token of the bus subject.
type Kind string

// The kinds.
const (
	// KindMessage is any message of a fan.
	KindMessage Kind = "message"
	// KindClick is a menu action that expects an answer: CLICK, scancode_*, pic_*, location_select.
	KindClick Kind = "click"
	// KindScan is SCAN of a follower.
	KindScan Kind = "scan"
	// KindSubscribe is a follow.
	KindSubscribe Kind = "subscribe"
	// KindUnsubscribe is an unfollow.
	KindUnsubscribe Kind = "unsubscribe"
	// KindLocation is a reported position.
	KindLocation Kind = "location"
	// KindJob is the result of a template, mass or publish job.
	KindJob Kind = "job"
	// KindKf is a change of a session of WeChat's own customer-service desk.
	KindKf Kind = "kf"
	// KindEvent is everything else.
	KindEvent Kind = "event"
)

// Message types and events with a meaning in this package.
const (
	typeEvent       = "event"
	typeText        = "text"
	typeDeviceText  = "device_text"
	typeDeviceEvent = "device_event"
	typeHardware    = "hardware"

	eventSubscribe   = "subscribe"
	eventUnsubscribe = "unsubscribe"
	eventScan        = "scan"
	eventLocation    = "location"
	eventTempSession = "user_enter_tempsession"
)

// Kind returns the class of the push.
func (p *Push) Kind() Kind {
	switch p.MsgType {
	case typeEvent:
		if kind, ok := kindOfEvent[p.Event]; ok {
			return kind
		}
		return KindEvent
	case typeDeviceText, typeDeviceEvent, typeHardware, "":
		// Devices and WeChat itself are no fans: their pushes open no window.
		return KindEvent
	default:
		return KindMessage
	}
}

// AcceptsPassive reports whether WeChat shows a passive reply to this push at all. Official Accounts
// show one for messages and for events of kind click, scan and subscribe. Mini Programs show no
// content: there only transfer_customer_service is meant, and only for messages.
func (p *Push) AcceptsPassive(miniProgram bool) bool {
	switch p.Kind() {
	case KindMessage:
		return p.Known
	case KindClick, KindScan, KindSubscribe:
		return !miniProgram
	default:
		return false
	}
}

// kindOfEvent lists the events that are not of KindEvent.
var kindOfEvent = map[string]Kind{
	eventSubscribe:          KindSubscribe,
	eventUnsubscribe:        KindUnsubscribe,
	eventScan:               KindScan,
	eventLocation:           KindLocation,
	"click":                 KindClick,
	"scancode_push":         KindClick,
	"scancode_waitmsg":      KindClick,
	"pic_sysphoto":          KindClick,
	"pic_photo_or_album":    KindClick,
	"pic_weixin":            KindClick,
	"location_select":       KindClick,
	"templatesendjobfinish": KindJob,
	"masssendjobfinish":     KindJob,
	"publishjobfinish":      KindJob,
	"freepublishjobfinish":  KindJob,
	"kf_create_session":     KindKf,
	"kf_close_session":      KindKf,
	"kf_switch_session":     KindKf,
}
