package topology

import (
	"strconv"
	"strings"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/fault"
)

// The first tokens of every subject. Only this package spells them.
const (
	prefixInbound      = "wx.in."
	prefixSpill        = "wx.spill."
	prefixDecision     = "wx.decision."
	prefixOutbound     = "wx.out."
	prefixLater        = "wx.later."
	prefixDelivery     = "wx.delivery."
	prefixAudience     = "wx.audience."
	prefixCampaign     = "wx.campaign."
	prefixConversation = "wx.conv."
	prefixAlarm        = "wx.alarm."
	prefixDeadLetter   = "wx.dlq."
	prefixOffer        = "wxgw.offer."
	subjectEvidence    = "wxgw.evidence"
	subjectHome        = "wxgw.home"
	prefixDeskSignal   = "wxdesk.signal."
	prefixAdvisory     = "$JS.EVENT.ADVISORY."
)

var kindTokens = [...]string{
	eventv1.EventKind_EVENT_KIND_MESSAGE:     "message",
	eventv1.EventKind_EVENT_KIND_CLICK:       "click",
	eventv1.EventKind_EVENT_KIND_SCAN:        "scan",
	eventv1.EventKind_EVENT_KIND_SUBSCRIBE:   "subscribe",
	eventv1.EventKind_EVENT_KIND_UNSUBSCRIBE: "unsubscribe",
	eventv1.EventKind_EVENT_KIND_LOCATION:    "location",
	eventv1.EventKind_EVENT_KIND_JOB:         "job",
	eventv1.EventKind_EVENT_KIND_KF:          "kf",
	eventv1.EventKind_EVENT_KIND_EVENT:       "event",
}

var laneTokens = [...]string{
	senderv1.Lane_LANE_AGENT:    "agent",
	senderv1.Lane_LANE_RULE:     "rule",
	senderv1.Lane_LANE_NOTIFY:   "notify",
	senderv1.Lane_LANE_CAMPAIGN: "campaign",
}

var alarmTokens = [...]string{
	tokenv1.AccountAlarmKind_ACCOUNT_ALARM_KIND_OUTSIDE_REFRESH: "outside_refresh",
	tokenv1.AccountAlarmKind_ACCOUNT_ALARM_KIND_FORCED_BUDGET:   "forced_budget",
	tokenv1.AccountAlarmKind_ACCOUNT_ALARM_KIND_CREDENTIALS:     "credentials",
	tokenv1.AccountAlarmKind_ACCOUNT_ALARM_KIND_ADDRESS:         "address",
}

// KindToken returns the token of an event kind, or "" for EVENT_KIND_UNSPECIFIED and unknown kinds.
func KindToken(kind eventv1.EventKind) string { return tokenOf(kindTokens[:], int(kind)) }

// ParseKindToken is the inverse of KindToken; unknown tokens give EVENT_KIND_UNSPECIFIED.
func ParseKindToken(token string) eventv1.EventKind {
	return eventv1.EventKind(indexOf(kindTokens[:], token))
}

// LaneToken returns the token of a lane, or "" for LANE_UNSPECIFIED and unknown lanes.
func LaneToken(lane senderv1.Lane) string { return tokenOf(laneTokens[:], int(lane)) }

// AlarmToken returns the token of a kind of alarm, or "" for ACCOUNT_ALARM_KIND_UNSPECIFIED and unknown kinds.
func AlarmToken(kind tokenv1.AccountAlarmKind) string { return tokenOf(alarmTokens[:], int(kind)) }

// ParseLaneToken is the inverse of LaneToken; unknown tokens give LANE_UNSPECIFIED.
func ParseLaneToken(token string) senderv1.Lane {
	return senderv1.Lane(indexOf(laneTokens[:], token))
}

func tokenOf(tokens []string, i int) string {
	if i < 0 || i >= len(tokens) {
		return ""
	}
	return tokens[i]
}

func indexOf(tokens []string, token string) int {
	for i, t := range tokens {
		if t == token && t != "" {
			return i
		}
	}
	return 0
}

// SubjectInbound returns wx.in.<account>.<partition>.<kind>.<openid>, the subject of a push.
// The openid goes through OpenIDToken. It fails with Invalid for a bad account or kind.
func SubjectInbound(account string, partition uint32, kind eventv1.EventKind, openid string) (string, error) {
	return subjectOfPush(prefixInbound, account, partition, kind, openid)
}

// SubjectSpill returns wx.spill.<account>.<partition>.<kind>.<openid>, where the gateway stores a push
// while INBOUND has no leader.
func SubjectSpill(account string, partition uint32, kind eventv1.EventKind, openid string) (string, error) {
	return subjectOfPush(prefixSpill, account, partition, kind, openid)
}

func subjectOfPush(prefix, account string, partition uint32, kind eventv1.EventKind, openid string) (string, error) {
	token := KindToken(kind)
	if token == "" {
		return "", fault.Errorf(fault.Invalid, "kind: %s has no subject", kind)
	}
	return fanSubject(prefix, "", account, partition, token, openid)
}

// SubjectDecision returns wx.decision.<account>.<partition>.<id>; id is InboundEvent.id.
func SubjectDecision(account string, partition uint32, id string) (string, error) {
	if err := CheckToken("account", account); err != nil {
		return "", err
	}
	if err := CheckToken("id", id); err != nil {
		return "", err
	}
	return prefixDecision + account + "." + strconv.FormatUint(uint64(partition), 10) + "." + id, nil
}

// SubjectOutbound returns wx.out.<lane>.<account>.<partition>.<openid>, the sender's work.
func SubjectOutbound(lane senderv1.Lane, account string, partition uint32, openid string) (string, error) {
	token := LaneToken(lane)
	if token == "" {
		return "", fault.Errorf(fault.Invalid, "lane: %s has no subject", lane)
	}
	return fanSubject(prefixOutbound, token, account, partition, "", openid)
}

// The two halves of LATER: schedules, and what is due.
const (
	laterAt  = "at."
	laterDue = "due."
)

// SubjectLater returns wx.later.at.<account>.<name>, the schedule of a message for a fan, and wx.later.due.<account>.<openid>,
// where the server puts it when its time has come.
func SubjectLater(account, name, openid string) (at, due string, err error) {
	if err := CheckToken("account", account); err != nil {
		return "", "", err
	}
	if err := CheckToken("name", name); err != nil {
		return "", "", err
	}
	return prefixLater + laterAt + account + "." + name, prefixLater + laterDue + account + "." + OpenIDToken(openid), nil
}

// FilterLater returns the filter of what waits for its own time of one account.
func FilterLater(account string) (string, error) {
	return prefixLater + laterAt + account + ".*", CheckToken("account", account)
}

// FilterOutbound returns the filter of what one account has on OUTBOUND in one lane.
func FilterOutbound(lane senderv1.Lane, account string) (string, error) {
	token := LaneToken(lane)
	if token == "" {
		return "", fault.Errorf(fault.Invalid, "lane: %s has no subject", lane)
	}
	return prefixOutbound + token + "." + account + ".>", CheckToken("account", account)
}

// SubjectDelivery returns wx.delivery.<account>.<partition>.<openid>, what became of sends to a fan.
func SubjectDelivery(account string, partition uint32, openid string) (string, error) {
	return fanSubject(prefixDelivery, "", account, partition, "", openid)
}

// SubjectAudience returns wx.audience.<account>.<campaign>.<revision>.<chunk>, a part of a frozen audience.
func SubjectAudience(account, campaign, revision string, chunk uint32) (string, error) {
	prefix, err := campaignSubject(prefixAudience, account, campaign)
	if err != nil {
		return "", err
	}
	if err := CheckToken("revision", revision); err != nil {
		return "", err
	}
	return prefix + revision + "." + strconv.FormatUint(uint64(chunk), 10), nil
}

// FilterAudience returns the filter of all parts of one frozen audience.
func FilterAudience(account, campaign, revision string) (string, error) {
	prefix, err := campaignSubject(prefixAudience, account, campaign)
	if err != nil {
		return "", err
	}
	return prefix + revision + ".*", CheckToken("revision", revision)
}

// SubjectLedger returns wx.campaign.<account>.<campaign>.<chunk>, what became of a part of an audience.
func SubjectLedger(account, campaign string, chunk uint32) (string, error) {
	prefix, err := campaignSubject(prefixCampaign, account, campaign)
	return prefix + strconv.FormatUint(uint64(chunk), 10), err
}

// SubjectReplay returns wx.campaign.<account>.<campaign>.replay-<selection>, who is replayed.
func SubjectReplay(account, campaign, selection string) (string, error) {
	prefix, err := campaignSubject(prefixCampaign, account, campaign)
	if err != nil {
		return "", err
	}
	return prefix + "replay-" + selection, CheckToken("selection", selection)
}

func campaignSubject(prefix, account, campaign string) (string, error) {
	if err := CheckToken("account", account); err != nil {
		return "", err
	}
	if err := CheckToken("campaign", campaign); err != nil {
		return "", err
	}
	return prefix + account + "." + campaign + ".", nil
}

// FilterInbound returns the filter of all pushes of one account.
func FilterInbound(account string) (string, error) {
	return prefixInbound + account + ".>", CheckToken("account", account)
}

// FilterDeliveries returns the filter of everything that became of sends of one account.
func FilterDeliveries(account string) (string, error) {
	return prefixDelivery + account + ".>", CheckToken("account", account)
}

// SubjectConversation returns wx.conv.<account>.<conversation>, the facts of one conversation.
func SubjectConversation(account, conversation string) (string, error) {
	if err := CheckToken("account", account); err != nil {
		return "", err
	}
	if err := CheckToken("conversation", conversation); err != nil {
		return "", err
	}
	return prefixConversation + account + "." + conversation, nil
}

// SubjectAlarm returns wx.alarm.<account>.<kind>, what is wrong with the tokens of an account.
func SubjectAlarm(account string, kind tokenv1.AccountAlarmKind) (string, error) {
	token := AlarmToken(kind)
	if token == "" {
		return "", fault.Errorf(fault.Invalid, "kind: %s has no subject", kind)
	}
	return prefixAlarm + account + "." + token, CheckToken("account", account)
}

// SubjectDeadLetter returns wx.dlq.<service>.<stream>: the dead letters of one service from one stream.
func SubjectDeadLetter(service, stream string) (string, error) {
	if err := CheckToken("service", service); err != nil {
		return "", err
	}
	if err := CheckToken("stream", stream); err != nil {
		return "", err
	}
	return prefixDeadLetter + service + "." + stream, nil
}

// SubjectOffer returns wxgw.offer.<instance>, the core NATS subject on which one gateway instance
// takes offers of passive replies. It is in no stream.
func SubjectOffer(instance string) (string, error) {
	if err := CheckToken("instance", instance); err != nil {
		return "", err
	}
	return prefixOffer + instance, nil
}

// SubjectEvidence returns wxgw.evidence, on which every gateway instance tells what it saw of an account.
func SubjectEvidence() string { return subjectEvidence }

// SubjectHome returns wxgw.home, on which gateways tell each other that a push which was sent to the spill stream is on
// INBOUND: its id, as text. It is in no stream.
func SubjectHome() string { return subjectHome }

// FilterSpill returns the filter of all spilled pushes.
func FilterSpill() string { return prefixSpill + ">" }

// SubjectDeskSignal returns wxdesk.signal.<account>.<conversation>, the core NATS subject of what users of the console do at the
// moment; "*" stands for every account or conversation. It is in no stream.
func SubjectDeskSignal(account, conversation string) (string, error) {
	for _, t := range []struct{ name, token string }{{"account", account}, {"conversation", conversation}} {
		if err := CheckToken(t.name, t.token); err != nil && t.token != "*" {
			return "", err
		}
	}
	return prefixDeskSignal + account + "." + conversation, nil
}

// fanSubject joins prefix [first.] account.partition. [last.] openid in one allocation.
func fanSubject(prefix, first, account string, partition uint32, last, openid string) (string, error) {
	if err := CheckToken("account", account); err != nil {
		return "", err
	}
	fan := OpenIDToken(openid)
	var digits [10]byte
	number := strconv.AppendUint(digits[:0], uint64(partition), 10)
	var b strings.Builder
	b.Grow(len(prefix) + len(first) + len(account) + len(number) + len(last) + len(fan) + 4)
	b.WriteString(prefix)
	if first != "" {
		b.WriteString(first)
		b.WriteByte('.')
	}
	b.WriteString(account)
	b.WriteByte('.')
	b.Write(number)
	b.WriteByte('.')
	if last != "" {
		b.WriteString(last)
		b.WriteByte('.')
	}
	b.WriteString(fan)
	return b.String(), nil
}

// FilterDeadLetters returns the filter for dead letters; "*" stands for every service or stream.
func FilterDeadLetters(service, stream string) string {
	return prefixDeadLetter + service + "." + stream
}

// ParseDeadLetter takes a subject of DLQ apart.
func ParseDeadLetter(subject string) (service, stream string, ok bool) {
	rest, ok := strings.CutPrefix(subject, prefixDeadLetter)
	var tokens [2]string
	if !ok || !split(rest, tokens[:]) {
		return "", "", false
	}
	return tokens[0], tokens[1], true
}
