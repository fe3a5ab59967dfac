package topology

import (
	"strconv"
	"strings"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"
)

// InboundSubject is the parts of a subject on INBOUND or INBOUND_SPILL.
type InboundSubject struct {
	Account   string
	Partition uint32
	Kind      eventv1.EventKind
	Fan       string // OpenIDToken of the fan, not always the openid
	Spilled   bool   // true on INBOUND_SPILL
}

// ParseInbound takes a subject of INBOUND or INBOUND_SPILL apart; anything else is an Invalid fault.
// The strings share memory with subject.
func ParseInbound(subject string) (InboundSubject, error) {
	rest, home := strings.CutPrefix(subject, prefixInbound)
	if !home {
		var spilled bool
		if rest, spilled = strings.CutPrefix(subject, prefixSpill); !spilled {
			return InboundSubject{}, badSubject(subject)
		}
	}
	var tokens [4]string
	if !split(rest, tokens[:]) {
		return InboundSubject{}, badSubject(subject)
	}
	partition, ok := parsePartition(tokens[1])
	kind := ParseKindToken(tokens[2])
	if !ok || kind == eventv1.EventKind_EVENT_KIND_UNSPECIFIED {
		return InboundSubject{}, badSubject(subject)
	}
	return InboundSubject{Account: tokens[0], Partition: partition, Kind: kind, Fan: tokens[3], Spilled: !home}, nil
}

// HomeOfSpill returns the subject on INBOUND of a push that was stored on INBOUND_SPILL.
func HomeOfSpill(subject string) (string, error) {
	if _, err := ParseInbound(subject); err != nil {
		return "", err
	}
	rest, ok := strings.CutPrefix(subject, prefixSpill)
	if !ok {
		return "", badSubject(subject)
	}
	return prefixInbound + rest, nil
}

// DecisionSubject is the parts of a subject on DECISIONS.
type DecisionSubject struct {
	Account   string
	Partition uint32
	ID        string
}

// ParseDecision takes a subject of DECISIONS apart; anything else is an Invalid fault.
func ParseDecision(subject string) (DecisionSubject, error) {
	rest, ok := strings.CutPrefix(subject, prefixDecision)
	var tokens [3]string
	if !ok || !split(rest, tokens[:]) {
		return DecisionSubject{}, badSubject(subject)
	}
	partition, ok := parsePartition(tokens[1])
	if !ok {
		return DecisionSubject{}, badSubject(subject)
	}
	return DecisionSubject{Account: tokens[0], Partition: partition, ID: tokens[2]}, nil
}

// OutboundSubject is the parts of a subject on OUTBOUND.
type OutboundSubject struct {
	Lane      senderv1.Lane
	Account   string
	Partition uint32
	Fan       string // OpenIDToken of the fan
}

// ParseOutbound takes a subject of OUTBOUND apart; anything else is an Invalid fault.
func ParseOutbound(subject string) (OutboundSubject, error) {
	rest, ok := strings.CutPrefix(subject, prefixOutbound)
	var tokens [4]string
	if !ok || !split(rest, tokens[:]) {
		return OutboundSubject{}, badSubject(subject)
	}
	lane := ParseLaneToken(tokens[0])
	partition, ok := parsePartition(tokens[2])
	if !ok || lane == senderv1.Lane_LANE_UNSPECIFIED {
		return OutboundSubject{}, badSubject(subject)
	}
	return OutboundSubject{Lane: lane, Account: tokens[1], Partition: partition, Fan: tokens[3]}, nil
}

// LaneKey returns the key within which messages must be handled one after the other: the account and
// the fan on INBOUND, INBOUND_SPILL, OUTBOUND and DELIVERY; the account and the id on DECISIONS; the
// account and the conversation on CONVERSATIONS; the whole subject anywhere else.
func LaneKey(subject string) string {
	route := routeOf(subject)
	if route == nil || route.keyTokens == 0 {
		return subject
	}
	rest := subject[len(route.prefix):]
	for range route.skip {
		_, rest, _ = strings.Cut(rest, ".")
	}
	account, _, _ := strings.Cut(rest, ".")
	last := rest[strings.LastIndexByte(rest, '.')+1:]
	return account + "." + last
}

// Template returns the name of a class of subjects, for span names and metric labels. It holds no
// account and no fan: "wx.in.{account}.{partition}.{kind}.{openid}". Unknown subjects give "other".
func Template(subject string) string {
	if r := routeOf(subject); r != nil {
		return r.template
	}
	return "other"
}

// StreamOf returns the stream that stores a subject, or "" when none does.
func StreamOf(subject string) string {
	if r := routeOf(subject); r != nil {
		return r.stream
	}
	return ""
}

// route is what a prefix says about the subjects below it.
type route struct {
	prefix, stream, template string
	skip                     int // tokens between the prefix and the account
	keyTokens                int // 0: the whole subject is the key
}

var routes = [...]route{
	{prefix: prefixInbound, stream: StreamInbound, template: "wx.in.{account}.{partition}.{kind}.{openid}", keyTokens: 2},
	{prefix: prefixSpill, stream: StreamSpill, template: "wx.spill.{account}.{partition}.{kind}.{openid}", keyTokens: 2},
	{prefix: prefixDecision, stream: StreamDecisions, template: "wx.decision.{account}.{partition}.{id}", keyTokens: 2},
	{prefix: prefixOutbound, stream: StreamOutbound, template: "wx.out.{lane}.{account}.{partition}.{openid}", skip: 1, keyTokens: 2},
	{prefix: prefixLater, stream: StreamLater, template: "wx.later.at.{account}.{id}, wx.later.due.{account}.{openid}", skip: 1, keyTokens: 2},
	{prefix: prefixDelivery, stream: StreamDelivery, template: "wx.delivery.{account}.{partition}.{openid}", keyTokens: 2},
	{prefix: prefixAudience, stream: StreamAudience, template: "wx.audience.{account}.{campaign}.{revision}.{chunk}"},
	{prefix: prefixCampaign, stream: StreamCampaignLedger, template: "wx.campaign.{account}.{campaign}.{chunk}"},
	{prefix: prefixConversation, stream: StreamConversations, template: "wx.conv.{account}.{conversation}", keyTokens: 2},
	{prefix: prefixAlarm, stream: StreamAlarms, template: "wx.alarm.{account}.{kind}", keyTokens: 2},
	{prefix: prefixDeadLetter, stream: StreamDeadLetters, template: "wx.dlq.{service}.{stream}"},
	{prefix: prefixOffer, template: "wxgw.offer.{instance}"},
	{prefix: subjectEvidence, template: subjectEvidence},
	{prefix: subjectHome, template: subjectHome},
	{prefix: prefixDeskSignal, template: "wxdesk.signal.{account}.{conversation}"},
	{prefix: prefixAdvisory, stream: StreamAdvisories, template: "$JS.EVENT.ADVISORY"},
}

func routeOf(subject string) *route {
	for i := range routes {
		if strings.HasPrefix(subject, routes[i].prefix) {
			return &routes[i]
		}
	}
	return nil
}

// split fills tokens with exactly len(tokens) non-empty tokens of s.
func split(s string, tokens []string) bool {
	for i := range tokens[:len(tokens)-1] {
		token, rest, ok := strings.Cut(s, ".")
		if !ok || token == "" {
			return false
		}
		tokens[i], s = token, rest
	}
	tokens[len(tokens)-1] = s
	return s != "" && !strings.Contains(s, ".")
}

func parsePartition(token string) (uint32, bool) {
	n, err := strconv.ParseUint(token, 10, 32)
	return uint32(n), err == nil && n < MaxPartitions
}

func badSubject(subject string) error {
	return fault.Errorf(fault.Invalid, "subject %q: not one of ours", Template(subject))
}
