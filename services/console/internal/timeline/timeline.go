// Package timeline tells what happened to one message, from the facts that services have stored: the push on
// INBOUND, the decision on DECISIONS, the attempts and the end on DELIVERY, and the sender's record.
package timeline

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

const (
	// maxScan bounds the facts of one fan that are looked through.
	maxScan = 5000
	// maxSends bounds the sends that answer one push.
	maxSends = 20
	maxID    = 128
)

// The parts that may be missing: values of GetTimelineResponse.partial.
const (
	partInbound  = "inbound"
	partDecision = "decision"
	partDelivery = "delivery"
	partSend     = "send"
)

// Reader reads timelines. It is safe for concurrent use.
type Reader struct {
	JetStream jetstream.JetStream
	Topology  *topology.Topology
	Sender    senderv1.SenderServiceClient
}

// story is one timeline under way.
type story struct {
	r       *Reader
	account string
	openid  string
	event   string
	sends   []string
	out     *consolev1.GetTimelineResponse
}

// Get returns the steps of a push with everything that answered it, or of a send with the push that it answered.
func (r *Reader) Get(ctx context.Context, req *consolev1.GetTimelineRequest) (*consolev1.GetTimelineResponse, error) {
	if err := check(req); err != nil {
		return nil, err
	}
	s := &story{r: r, account: req.GetAccount(), openid: req.GetOpenid(), event: req.GetEventId(), out: &consolev1.GetTimelineResponse{}}
	if id := req.GetSendId(); id != "" {
		got, err := r.Sender.GetSend(ctx, &senderv1.GetSendRequest{Account: s.account, Id: id})
		if err != nil {
			return nil, err
		}
		s.openid, s.sends = got.GetRecord().GetOpenid(), []string{id}
	}
	s.part(partDelivery, s.deliveries(ctx))
	if s.event != "" {
		s.part(partInbound, s.inbound(ctx))
		s.part(partDecision, s.decision(ctx))
	}
	s.part(partSend, s.records(ctx))
	if len(s.out.GetSteps()) == 0 && len(s.out.GetPartial()) == 0 {
		return nil, fault.New(fault.NotFound, "event_id: nothing about it is kept")
	}
	s.endAfterAttempts()
	slices.SortStableFunc(s.out.Steps, func(a, b *consolev1.TimelineStep) int {
		return cmp.Or(cmp.Compare(a.GetAtUnixMs(), b.GetAtUnixMs()), cmp.Compare(a.GetKind(), b.GetKind()))
	})
	return s.out, nil
}

// Newest returns the id of the last push of a fan that is kept. It fails with NotFound when there is none.
func (r *Reader) Newest(ctx context.Context, account, openid string) (string, error) {
	filter, err := topology.FilterFan(account, r.Topology.Partition(account, openid), openid)
	if err != nil {
		return "", err
	}
	stream, err := r.JetStream.Stream(ctx, topology.StreamInbound)
	if err != nil {
		return "", fault.Errorf(fault.Unavailable, "read %s: %w", topology.StreamInbound, err)
	}
	m, err := stream.GetLastMsgForSubject(ctx, filter)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return "", fault.Errorf(fault.NotFound, "openid: no push of %s to %s is kept", openid, account)
	}
	if err != nil {
		return "", fault.Errorf(fault.Unavailable, "read %s: %w", topology.StreamInbound, err)
	}
	return m.Header.Get(jetstream.MsgIDHeader), nil
}

// endAfterAttempts moves the end of a send behind its last attempt: both are stamped by the sender within a
// millisecond, and not always in this order.
func (s *story) endAfterAttempts() {
	last := map[string]int64{}
	for _, step := range s.out.GetSteps() {
		if step.GetKind() == consolev1.TimelineKind_TIMELINE_KIND_ATTEMPTED {
			last[step.GetId()] = max(last[step.GetId()], step.GetAtUnixMs())
		}
	}
	for _, step := range s.out.GetSteps() {
		if step.GetKind() == consolev1.TimelineKind_TIMELINE_KIND_SETTLED {
			step.AtUnixMs = max(step.GetAtUnixMs(), last[step.GetId()])
		}
	}
}

func check(req *consolev1.GetTimelineRequest) error {
	switch {
	case topology.CheckToken("account", req.GetAccount()) != nil:
		return fault.New(fault.Invalid, "account: must be the name of an account")
	case (req.GetEventId() == "") == (req.GetSendId() == ""):
		return fault.New(fault.Invalid, "event_id: set exactly one of event_id and send_id")
	case req.GetEventId() != "" && req.GetOpenid() == "":
		return fault.New(fault.Invalid, "openid: is needed with event_id")
	case len(req.GetEventId()) > maxID, len(req.GetSendId()) > maxID, len(req.GetOpenid()) > maxID:
		return fault.Errorf(fault.Invalid, "event_id: ids have at most %d bytes", maxID)
	}
	return nil
}

// part notes a part that could not be read; the others are worth showing.
func (s *story) part(name string, err error) {
	if err != nil {
		s.out.Partial = append(s.out.Partial, name)
	}
}

func (s *story) add(step *consolev1.TimelineStep, h nats.Header, stream string, seq uint64) {
	if parts := strings.Split(h.Get("traceparent"), "-"); len(parts) == 4 {
		step.TraceId = parts[1]
	}
	step.Stream, step.StreamSeq = stream, seq
	s.out.Steps = append(s.out.Steps, step)
}

func (s *story) partition() uint32 { return s.r.Topology.Partition(s.account, s.openid) }

// inbound finds the push among what the fan did: its id is the message id.
func (s *story) inbound(ctx context.Context) error {
	filter, err := topology.FilterFan(s.account, s.partition(), s.openid)
	if err != nil {
		return err
	}
	return s.scan(ctx, topology.StreamInbound, filter, func(m jetstream.Msg, seq uint64, atMS int64) (bool, error) {
		if m.Headers().Get(jetstream.MsgIDHeader) != s.event {
			return true, nil
		}
		ev := &eventv1.InboundEvent{}
		if err := proto.Unmarshal(m.Data(), ev); err != nil {
			return false, err
		}
		facts := map[string]string{"msg_type": ev.GetMsgType(), "gateway": ev.GetGatewayInstance(), "reply_mode": word(ev.GetReplyMode().String(), "REPLY_MODE_")}
		if ev.GetEvent() != "" {
			facts["event"] = ev.GetEvent()
		}
		s.add(&consolev1.TimelineStep{AtUnixMs: ev.GetReceivedUnixMs(), Kind: consolev1.TimelineKind_TIMELINE_KIND_RECEIVED, Service: topology.ServiceGateway,
			Outcome: "received", Detail: "pushed by WeChat", Facts: facts, Id: ev.GetId()}, m.Headers(), topology.StreamInbound, seq)
		s.add(&consolev1.TimelineStep{AtUnixMs: atMS, TookUs: max(0, atMS-ev.GetReceivedUnixMs()) * 1000, Kind: consolev1.TimelineKind_TIMELINE_KIND_STORED,
			Service: topology.ServiceGateway, Outcome: "stored", Detail: "stored on the bus", Id: ev.GetId()}, m.Headers(), topology.StreamInbound, seq)
		return false, nil
	})
}

// decision reads the record of the push as it is now.
func (s *story) decision(ctx context.Context) error {
	subject, err := topology.SubjectDecision(s.account, s.partition(), s.event)
	if err != nil {
		return err
	}
	stream, err := s.r.JetStream.Stream(ctx, topology.StreamDecisions)
	if err != nil {
		return err
	}
	m, err := stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	d := &rulev1.DecisionMade{}
	if err := proto.Unmarshal(m.Data, d); err != nil {
		return err
	}
	facts := map[string]string{"rule": d.GetRule(), "rule_set_version": d.GetRuleSetVersion(), "queue": d.GetQueue()}
	for name, value := range facts {
		if value == "" {
			delete(facts, name)
		}
	}
	detail := "no rule matched"
	if d.GetRule() != "" {
		detail = "rule " + d.GetRule()
	}
	s.add(&consolev1.TimelineStep{AtUnixMs: d.GetDecidedUnixMs(), Kind: consolev1.TimelineKind_TIMELINE_KIND_DECIDED, Service: topology.ServiceRule,
		Outcome: word(d.GetRoute().String(), "ROUTE_"), Detail: detail, Facts: facts, Id: s.event}, m.Header, topology.StreamDecisions, m.Sequence)
	for _, c := range d.GetClaims() {
		s.add(&consolev1.TimelineStep{AtUnixMs: d.GetDecidedUnixMs(), Kind: consolev1.TimelineKind_TIMELINE_KIND_CLAIMED, Service: topology.ServiceGateway,
			Outcome: word(c.GetState().String(), "CLAIM_STATE_"), Detail: "passive reply", Facts: map[string]string{"server": c.GetServer()}, Id: s.event},
			m.Header, topology.StreamDecisions, m.Sequence)
	}
	return nil
}

// deliveries reads what became of sends to the fan: of the one that was asked for, or of all that answer the push.
func (s *story) deliveries(ctx context.Context) error {
	filter, err := topology.SubjectDelivery(s.account, s.partition(), s.openid)
	if err != nil {
		return err
	}
	attempts := map[string][]func(){}
	err = s.scan(ctx, topology.StreamDelivery, filter, func(m jetstream.Msg, seq uint64, _ int64) (bool, error) {
		h := m.Headers()
		if h.Get(bus.HeaderType) == "wxbus.sender.v1.DeliveryAttempted" {
			d := &senderv1.DeliveryAttempted{}
			if err := proto.Unmarshal(m.Data(), d); err != nil {
				return false, err
			}
			attempts[d.GetId()] = append(attempts[d.GetId()], func() { s.attempt(d, h, seq) })
			return true, nil
		}
		d := &senderv1.DeliverySettled{}
		if err := proto.Unmarshal(m.Data(), d); err != nil {
			return false, err
		}
		s.settled(d, h, seq)
		return true, nil
	})
	for _, id := range s.sends {
		for _, add := range attempts[id] {
			add()
		}
	}
	return err
}

func (s *story) attempt(d *senderv1.DeliveryAttempted, h nats.Header, seq uint64) {
	s.add(&consolev1.TimelineStep{AtUnixMs: d.GetAtUnixMs(), TookUs: d.GetTookUs(), Kind: consolev1.TimelineKind_TIMELINE_KIND_ATTEMPTED,
		Service: topology.ServiceSender, Outcome: d.GetOutcome(), Detail: "call to WeChat", Errcode: d.GetErrcode(), Id: d.GetId()}, h, topology.StreamDelivery, seq)
}

func (s *story) settled(d *senderv1.DeliverySettled, h nats.Header, seq uint64) {
	known := slices.Contains(s.sends, d.GetId())
	if !known && (s.event == "" || d.GetCause() != s.event || len(s.sends) >= maxSends) {
		return
	}
	if !known {
		s.sends = append(s.sends, d.GetId())
	} else if s.event == "" {
		s.event = d.GetCause() // the push that the send answered
	}
	s.add(&consolev1.TimelineStep{AtUnixMs: d.GetAtUnixMs(), Kind: consolev1.TimelineKind_TIMELINE_KIND_SETTLED, Service: topology.ServiceSender,
		Outcome: word(d.GetState().String(), "SEND_STATE_"), Detail: d.GetReason(), Errcode: d.GetErrcode(),
		Facts: map[string]string{"lane": word(d.GetLane().String(), "LANE_")}, Id: d.GetId()}, h, topology.StreamDelivery, seq)
}

// records says when each send was accepted, and how it stands.
func (s *story) records(ctx context.Context) error {
	var errs []error
	for _, id := range s.sends {
		got, err := s.r.Sender.GetSend(ctx, &senderv1.GetSendRequest{Account: s.account, Id: id})
		if fault.KindOf(err) == fault.NotFound && err != nil {
			continue // older than the records
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		r := got.GetRecord()
		s.out.Steps = append(s.out.Steps, &consolev1.TimelineStep{AtUnixMs: r.GetAcceptedUnixMs(), Kind: consolev1.TimelineKind_TIMELINE_KIND_ACCEPTED,
			Service: topology.ServiceSender, Outcome: word(r.GetState().String(), "SEND_STATE_"), Detail: "accepted for sending", Id: id})
	}
	return errors.Join(errs...)
}

// scan reads the stored messages of a subject until visit says false, at most maxScan.
func (s *story) scan(ctx context.Context, stream, filter string, visit func(m jetstream.Msg, seq uint64, atMS int64) (bool, error)) error {
	consumer, err := s.r.JetStream.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{filter}, DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return err
	}
	info, err := consumer.Info(ctx)
	if err != nil || info.NumPending == 0 {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, messages.Stop)()
	defer messages.Stop()
	for range maxScan {
		m, err := messages.Next()
		if err != nil {
			return errors.Join(err, ctx.Err())
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		more, err := visit(m, meta.Sequence.Stream, meta.Timestamp.UnixMilli())
		if err != nil || !more || meta.NumPending == 0 {
			return err
		}
	}
	return fault.New(fault.Exhausted, "too many facts")
}

// word writes ROUTE_PASSIVE as "passive".
func word(enum, prefix string) string { return strings.ToLower(strings.TrimPrefix(enum, prefix)) }
