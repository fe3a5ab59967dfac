package wechat

import (
	"strconv"
	"strings"

	"github.com/wxbus/wxbus/pkg/fault"
)

// Errors of Parse for bodies that are well formed but are no push. They are fault.Invalid.
var (
	// ErrNotPush is returned for a body without MsgType, InfoType or the action of a probe.
	ErrNotPush = fault.New(fault.Invalid, "parse push: no MsgType")
	// ErrNoSender is returned for a push without FromUserName (and OpenID): nobody to route it for.
	ErrNoSender = fault.New(fault.Invalid, "parse push: no FromUserName")
)

// probeAction is the action of the test push of WeChat's cloud hosting.
const probeAction = "CheckContainerPath"

// Push is one parsed push (protocol c). Values of protocol fields are trimmed; texts of fans are not.
// Every string is a part of one copy of the body. A Push is immutable, so it may be shared.
type Push struct {
	// Format is the format of the body; the passive reply must have the same.
	Format Format
	// ToUserName is the original id of the account (gh_…), or its appid in cloud pushes.
	ToUserName string
	// FromUserName is who sent the push; of some events a system id of WeChat.
	FromUserName string
	// OpenID is the fan: FromUserName, or the OpenID field of platform events.
	OpenID string
	// CreateTime is WeChat's time in Unix seconds; zero when missing or no number.
	CreateTime int64
	// MsgType and Event are in lower case. Event is empty unless the push is an event
	// (MsgType event or device_event), even when a message has an element of that name.
	MsgType, Event string
	// EventKey, Ticket and MsgID are empty where the push has none. MsgID may be spelled MsgId,
	// MsgID or msgid, and need not be a number.
	EventKey, Ticket, MsgID string
	// InfoType is set instead of MsgType, in lower case, for the authorization pushes of an Open
	// Platform component; AppID is the appid in them.
	InfoType, AppID string
	// Probe marks the test push of cloud hosting: answer success and route nothing.
	Probe bool
	// Known reports whether the type of this push is in the protocol sheet. Unknown pushes are
	// acknowledged, kept and counted.
	Known bool

	doc document
}

// Parse reads a plain push: the body in plaintext mode, else the decrypted text. Its errors are
// fault.Invalid and name the place, never the content.
func Parse(body []byte, limits Limits) (*Push, error) {
	p := new(Push)
	format, err := p.doc.parse(body, limits)
	if err != nil {
		return nil, err
	}
	p.Format = format
	p.readFields()
	switch {
	case p.Probe:
		p.Known = true
		return p, nil
	case p.MsgType == "" && p.InfoType != "":
		p.Known = isKnownInfoType(p.InfoType)
		return p, nil
	case p.MsgType == "":
		return nil, ErrNotPush
	case p.OpenID == "":
		return nil, ErrNoSender
	}
	p.Known = isKnownType(p.MsgType, p.Event)
	return p, nil
}

// Tree returns the root element of the body.
func (p *Push) Tree() Tree { return Tree{doc: &p.doc} }

// readFields takes the common fields from the children of the root in one pass. The first of
// duplicated fields counts.
func (p *Push) readFields() {
	var openID, action string
	var seen uint16
	take := func(bit uint, to *string, value string) {
		if seen&(1<<bit) == 0 {
			seen |= 1 << bit
			*to = strings.TrimSpace(value)
		}
	}
	var createTime string
	for i, end := 1, int(p.doc.nodes[0].next); i < end; i = int(p.doc.nodes[i].next) {
		value := p.doc.str(p.doc.nodes[i].value)
		switch fieldOf(p.doc.str(p.doc.nodes[i].name)) {
		case fieldToUserName:
			take(0, &p.ToUserName, value)
		case fieldFromUserName:
			take(1, &p.FromUserName, value)
		case fieldCreateTime:
			take(2, &createTime, value)
		case fieldMsgType:
			take(3, &p.MsgType, value)
		case fieldEvent:
			take(4, &p.Event, value)
		case fieldEventKey:
			take(5, &p.EventKey, value)
		case fieldTicket:
			take(6, &p.Ticket, value)
		case fieldMsgID:
			take(7, &p.MsgID, value)
		case fieldInfoType:
			take(8, &p.InfoType, value)
		case fieldOpenID:
			take(9, &openID, value)
		case fieldAction:
			take(10, &action, value)
		case fieldAppID:
			take(11, &p.AppID, value)
		case fieldOther:
		}
	}
	p.CreateTime = parseInt(createTime)
	p.normalize(openID, action)
}

// normalize applies the rules between fields: MsgType decides what the others mean.
func (p *Push) normalize(openID, action string) {
	p.MsgType = lower(p.MsgType)
	p.InfoType = lower(p.InfoType)
	p.OpenID = p.FromUserName
	p.Probe = p.MsgType == "" && p.InfoType == "" && action == probeAction
	switch p.MsgType {
	case typeEvent:
		p.Event = lower(p.Event)
		if openID != "" {
			p.OpenID = openID
		}
	case typeDeviceEvent:
		p.Event = lower(p.Event)
	default:
		p.Event, p.EventKey, p.Ticket = "", "", ""
	}
	if p.InfoType == "" {
		p.AppID = ""
	}
}

// field is a field of the root element that every push may have.
type field uint8

const (
	fieldOther field = iota
	fieldToUserName
	fieldFromUserName
	fieldCreateTime
	fieldMsgType
	fieldEvent
	fieldEventKey
	fieldTicket
	fieldMsgID
	fieldInfoType
	fieldOpenID
	fieldAction
	fieldAppID
)

func fieldOf(name string) field {
	switch name {
	case "ToUserName":
		return fieldToUserName
	case "FromUserName":
		return fieldFromUserName
	case "CreateTime":
		return fieldCreateTime
	case "MsgType":
		return fieldMsgType
	case "Event":
		return fieldEvent
	case "EventKey":
		return fieldEventKey
	case "Ticket":
		return fieldTicket
	case "InfoType":
		return fieldInfoType
	case "action":
		return fieldAction
	case "AppId":
		return fieldAppID
	}
	switch {
	case strings.EqualFold(name, "MsgId"):
		return fieldMsgID
	case strings.EqualFold(name, "OpenID"):
		return fieldOpenID
	default:
		return fieldOther
	}
}

// lower is strings.ToLower without an allocation for the spelling that WeChat documents.
func lower(s string) string {
	if known, ok := documentedSpelling[s]; ok {
		return known
	}
	return strings.ToLower(s)
}

// parseInt reads a decimal number; anything else is zero.
func parseInt(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// parseFloat reads a finite decimal number; anything else is zero.
func parseFloat(s string) float64 {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || f-f != 0 {
		return 0
	}
	return f
}
