// Package webhooks delivers events to business systems: signed HTTP requests, at least once, from the streams.
//
// Each subscription has a position in each stream, so nothing is lost while its endpoint, this service or the
// database is away, as long as the streams keep it. Events of one fan, or of one conversation, are sent one after the
// other; those of others at the same time. An event that fails is tried again later while newer ones go on, so a
// receiver that cares about order compares "sequence".
package webhooks

import (
	"encoding/json"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/topology"
)

// Kinds of events. A receiver must ignore kinds that it does not know.
const (
	KindMessage      = "message.received"
	KindEvent        = "event.received"
	KindDecision     = "decision.changed"
	KindDelivery     = "delivery.settled"
	KindOwner        = "conversation.owner_changed"
	KindConversation = "conversation.changed"
	KindAlarm        = "account.alarm"
	KindAlarmOver    = "account.alarm_over"
	KindTest         = "webhook.test"
)

// KindInfo is a kind that can be subscribed to.
type KindInfo struct{ Name, Description string }

// Kinds returns the kinds that can be subscribed to.
func Kinds() []KindInfo {
	return []KindInfo{
		{KindMessage, "a fan sent a message; data is wxbus.event.v1.InboundEvent without raw"},
		{KindEvent, "a fan or WeChat did something else: follow, scan, menu, job result; data is wxbus.event.v1.InboundEvent without raw"},
		{KindDecision, "a rule decided about a push, or the reply took another way; data is wxbus.rule.v1.DecisionMade without claims"},
		{KindDelivery, "a message to a fan was sent, failed, or ended unknown; data is wxbus.sender.v1.DeliverySettled"},
		{KindOwner, "somebody else may talk to a fan; data is wxbus.agentrouting.v1.OwnerChanged"},
		{KindConversation, "a conversation changed; data is wxbus.agentrouting.v1.ConversationEvent"},
		{KindAlarm, "something is wrong with the tokens of an account that a person has to put right; data is wxbus.token.v1.AccountAlarmRaised"},
		{KindAlarmOver, "what account.alarm told of is put right, or was not seen for a day; data is wxbus.token.v1.AccountAlarmEnded"},
	}
}

// IsKind tells whether a kind can be subscribed to.
func IsKind(name string) bool {
	for _, k := range Kinds() {
		if k.Name == name {
			return true
		}
	}
	return false
}

// streams that events come from.
var streams = []string{topology.StreamInbound, topology.StreamDecisions, topology.StreamDelivery, topology.StreamConversations, topology.StreamAlarms}

// event is one event as it is sent.
type event struct {
	ID       string          `json:"id"`
	Kind     string          `json:"kind"`
	Account  string          `json:"account"`
	AtMS     int64           `json:"at_unix_ms"`
	Sequence sequence        `json:"sequence"`
	Data     json.RawMessage `json:"data"`

	lane string // events of the same lane are sent one after the other
}

// sequence is the place of an event: it grows within a stream.
type sequence struct {
	Stream string `json:"stream"`
	Seq    uint64 `json:"seq"`
}

// message is a stored message of any stream.
type message struct {
	stream  string
	seq     uint64
	atMS    int64
	subject string
	kind    string // header Wxbus-Type
	data    []byte
}

// read turns a stored message into an event; false for what nobody can subscribe to.
func read(m message) (*event, bool) {
	kind, body := decode(m)
	if body == nil {
		return nil, false
	}
	data, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(body)
	if err != nil {
		return nil, false
	}
	return &event{
		ID: fmt.Sprintf("%s-%d", strings.ToLower(m.stream), m.seq), Kind: kind, Account: topology.AccountOf(m.subject), AtMS: m.atMS,
		Sequence: sequence{Stream: m.stream, Seq: m.seq}, Data: data, lane: topology.LaneKey(m.subject),
	}, true
}

// decode returns the kind and the body without what business systems have no use for; a nil body for what is not sent.
func decode(m message) (string, proto.Message) {
	switch m.stream {
	case topology.StreamInbound:
		ev := &eventv1.InboundEvent{}
		if proto.Unmarshal(m.data, ev) != nil {
			return "", nil
		}
		ev.Raw, ev.GatewayInstance = nil, ""
		if ev.GetKind() == eventv1.EventKind_EVENT_KIND_MESSAGE {
			return KindMessage, ev
		}
		return KindEvent, ev
	case topology.StreamDecisions:
		d := &rulev1.DecisionMade{}
		if proto.Unmarshal(m.data, d) != nil {
			return "", nil
		}
		d.Claims = nil
		return KindDecision, d
	case topology.StreamDelivery:
		return typed(m, KindDelivery, &senderv1.DeliverySettled{})
	case topology.StreamConversations:
		if kind, body := typed(m, KindOwner, &agentroutingv1.OwnerChanged{}); body != nil {
			return kind, body
		}
		return typed(m, KindConversation, &agentroutingv1.ConversationEvent{})
	case topology.StreamAlarms:
		if kind, body := typed(m, KindAlarmOver, &tokenv1.AccountAlarmEnded{}); body != nil {
			return kind, body
		}
		return typed(m, KindAlarm, &tokenv1.AccountAlarmRaised{})
	default:
		return "", nil
	}
}

// typed decodes a message of a stream that carries several types, when it is of this one.
func typed(m message, kind string, into proto.Message) (string, proto.Message) {
	if m.kind != string(into.ProtoReflect().Descriptor().FullName()) || proto.Unmarshal(m.data, into) != nil {
		return "", nil
	}
	return kind, into
}
