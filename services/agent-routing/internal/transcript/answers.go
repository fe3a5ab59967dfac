package transcript

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// clocks is how far the clocks of a gateway and of NATS may be apart.
const clocks = time.Minute

// answers returns what the rules answered to events, by the id of the event: what was really said, in order.
func (r *Reader) answers(ctx context.Context, account, openID string, events []*eventv1.InboundEvent) (map[string][]*agentroutingv1.Message, error) {
	decided, err := r.decisions(ctx, account, openID, events)
	if err != nil || len(decided) == 0 {
		return nil, err
	}
	out := map[string][]*agentroutingv1.Message{}
	for id, d := range decided {
		if m := wire.Passive(d); m != nil {
			out[id] = append(out[id], m)
		}
	}
	subject, err := topology.SubjectDelivery(account, r.topology.Partition(account, openID), openID)
	if err != nil {
		return nil, fmt.Errorf("name what became of answers: %w", err)
	}
	since := time.UnixMilli(events[0].GetReceivedUnixMs()).Add(-clocks)
	told := map[string]bool{} // what was published again long after the first time is stored twice
	_, err = r.read(ctx, topology.StreamDelivery, []string{subject}, &since, func(msg jetstream.Msg) error {
		fact := msg.Headers().Get(jetstream.MsgIDHeader)
		if msg.Headers().Get(bus.HeaderType) != wire.TypeSettled || told[fact] {
			return nil
		}
		told[fact] = fact != ""
		e := new(senderv1.DeliverySettled)
		if err := proto.Unmarshal(msg.Data(), e); err != nil {
			return fault.Errorf(fault.Permanent, "decode delivery: %w", err)
		}
		if m := wire.Delivered(decided[e.GetCause()], e); m != nil {
			out[e.GetCause()] = append(out[e.GetCause()], m)
		}
		return nil
	})
	return out, err
}

// decisions returns the decisions about events that say something.
func (r *Reader) decisions(ctx context.Context, account, openID string, events []*eventv1.InboundEvent) (map[string]*rulev1.DecisionMade, error) {
	partition := r.topology.Partition(account, openID)
	var filters []string
	for _, ev := range events {
		subject, err := topology.SubjectDecision(account, partition, ev.GetId())
		if err != nil {
			return nil, fmt.Errorf("name a decision: %w", err)
		}
		filters = append(filters, subject)
	}
	if len(filters) == 0 {
		return nil, nil
	}
	out := map[string]*rulev1.DecisionMade{}
	_, err := r.read(ctx, topology.StreamDecisions, filters, nil, func(msg jetstream.Msg) error {
		d := new(rulev1.DecisionMade)
		if err := proto.Unmarshal(msg.Data(), d); err != nil {
			return fault.Errorf(fault.Permanent, "decode decision: %w", err)
		}
		if len(d.GetReplies()) > 0 {
			out[d.GetId()] = d
		}
		return nil
	})
	return out, err
}

// Decision returns the decision about one event; nil when there is none any more.
func (r *Reader) Decision(ctx context.Context, account, openID, event string) (*rulev1.DecisionMade, error) {
	subject, err := topology.SubjectDecision(account, r.topology.Partition(account, openID), event)
	if err != nil {
		return nil, nil //nolint:nilerr // no event has such an id
	}
	stream, err := r.js.Stream(ctx, topology.StreamDecisions)
	if err != nil {
		return nil, fault.Errorf(fault.Unavailable, "read a decision: %w", err)
	}
	msg, err := stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Errorf(fault.Unavailable, "read a decision: %w", err)
	}
	d := new(rulev1.DecisionMade)
	if err := proto.Unmarshal(msg.Data, d); err != nil {
		return nil, fault.Errorf(fault.Permanent, "decode decision: %w", err)
	}
	return d, nil
}
