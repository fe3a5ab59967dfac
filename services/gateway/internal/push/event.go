package push

import (
	"strconv"
	"time"

	"github.com/wxbus/wxbus/pkg/wechat"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
)

// Arrival is what the event says about the way that the push took.
type Arrival struct {
	// Received is when the request arrived.
	Received time.Time
	// Deadline is the last moment for an offer; zero when nobody waits for one.
	Deadline time.Time
	// Instance takes the offers; empty when nobody waits.
	Instance string
	// Partition of the fan.
	Partition uint32
}

// Event returns the push as it goes to the bus. It shares its texts with the push.
func (p *Push) Event(a Arrival) *eventv1.InboundEvent {
	e := &eventv1.InboundEvent{
		Id:             p.ID,
		Account:        p.Account.Name,
		Appid:          p.Account.AppID,
		ToUser:         p.ToUserName,
		Openid:         p.OpenID,
		Kind:           KindOf(p.Push),
		MsgType:        p.MsgType,
		Event:          p.Push.Event,
		EventKey:       p.EventKey,
		MsgId:          p.MsgID,
		CreateTime:     p.CreateTime,
		ReceivedUnixMs: a.Received.UnixMilli(),
		Partition:      a.Partition,
		AccountKind:    p.Account.ProtoKind(),
		ReplyMode:      p.Account.ProtoReply(),
		RawFormat:      eventv1.BodyFormat_BODY_FORMAT_XML,
		Raw:            p.opened.Plain,
		AcceptsPassive: p.AcceptsPassive,
	}
	if p.Format == wechat.JSON {
		e.RawFormat = eventv1.BodyFormat_BODY_FORMAT_JSON
	}
	if !a.Deadline.IsZero() {
		e.PassiveDeadlineUnixMs = a.Deadline.UnixMilli()
		e.GatewayInstance = a.Instance
	}
	if p.InfoType != "" {
		e.MsgType = p.InfoType
	}
	setPayload(e, p.Payload())
	return e
}

var kinds = map[wechat.Kind]eventv1.EventKind{
	wechat.KindMessage:     eventv1.EventKind_EVENT_KIND_MESSAGE,
	wechat.KindClick:       eventv1.EventKind_EVENT_KIND_CLICK,
	wechat.KindScan:        eventv1.EventKind_EVENT_KIND_SCAN,
	wechat.KindSubscribe:   eventv1.EventKind_EVENT_KIND_SUBSCRIBE,
	wechat.KindUnsubscribe: eventv1.EventKind_EVENT_KIND_UNSUBSCRIBE,
	wechat.KindLocation:    eventv1.EventKind_EVENT_KIND_LOCATION,
	wechat.KindJob:         eventv1.EventKind_EVENT_KIND_JOB,
	wechat.KindKf:          eventv1.EventKind_EVENT_KIND_KF,
	wechat.KindEvent:       eventv1.EventKind_EVENT_KIND_EVENT,
}

// KindOf returns the kind of a push.
func KindOf(p *wechat.Push) eventv1.EventKind {
	if k, ok := kinds[p.Kind()]; ok {
		return k
	}
	return eventv1.EventKind_EVENT_KIND_EVENT
}

// setPayload maps the typed content. Types that have no field stay in raw.
func setPayload(e *eventv1.InboundEvent, payload any) {
	switch v := payload.(type) {
	case wechat.Text:
		e.Payload = &eventv1.InboundEvent_Text{Text: &eventv1.TextMessage{Content: v.Content, BizMsgMenuId: v.MenuID}}
	case wechat.Media:
		e.Payload = &eventv1.InboundEvent_Media{Media: &eventv1.MediaMessage{
			MediaId: v.MediaID, PicUrl: v.PicURL, ThumbMediaId: v.ThumbMediaID, Format: v.Format, Recognition: v.Recognition,
		}}
	case wechat.File:
		e.Payload = &eventv1.InboundEvent_Media{Media: &eventv1.MediaMessage{MediaId: v.FileKey, Title: v.Title}}
	case wechat.Location:
		e.Payload = &eventv1.InboundEvent_Location{Location: &eventv1.Location{
			Latitude: v.Latitude, Longitude: v.Longitude, Scale: int32(v.Scale), Label: v.Label, PoiName: v.PoiName, Precision: v.Precision,
		}}
	case wechat.Link:
		e.Payload = &eventv1.InboundEvent_Link{Link: &eventv1.LinkMessage{Title: v.Title, Description: v.Description, Url: v.URL}}
	case wechat.MiniProgramPage:
		e.Payload = &eventv1.InboundEvent_MiniProgramPage{MiniProgramPage: &eventv1.MiniProgramPage{
			Title: v.Title, Appid: v.AppID, PagePath: v.PagePath, ThumbUrl: v.ThumbURL, ThumbMediaId: v.ThumbMediaID,
		}}
	case wechat.ScanCode:
		e.Payload = &eventv1.InboundEvent_ScanCode{ScanCode: &eventv1.ScanCode{ScanType: v.Type, ScanResult: v.Result}}
	case wechat.TemplateJob:
		setJob(e, &eventv1.JobResult{JobId: v.MsgID, Status: v.Status})
	case wechat.MassJob:
		setJob(e, &eventv1.JobResult{
			JobId: v.MsgID, Status: v.Status, TotalCount: v.TotalCount, FilterCount: v.FilterCount,
			SentCount: v.SentCount, ErrorCount: v.ErrorCount,
		})
	case wechat.PublishJob:
		setJob(e, &eventv1.JobResult{JobId: v.PublishID, Status: strconv.Itoa(v.Status)})
	case wechat.KfSession:
		e.Payload = &eventv1.InboundEvent_KfSession{KfSession: &eventv1.KfSession{
			KfAccount: v.KfAccount, FromKfAccount: v.FromKfAccount, CloseType: v.CloseType,
		}}
	case wechat.TempSession:
		e.Payload = &eventv1.InboundEvent_SessionFrom{SessionFrom: v.SessionFrom}
	}
}

func setJob(e *eventv1.InboundEvent, job *eventv1.JobResult) {
	e.Payload = &eventv1.InboundEvent_Job{Job: job}
}
