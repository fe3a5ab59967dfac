package chaos

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/topology"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/tests/chaos/judge"
)

// readStreams are the streams that are read back, and whether nothing is ever deleted in them.
func readStreams() map[string]bool {
	return map[string]bool{topology.StreamInbound: true, topology.StreamDecisions: false, topology.StreamDelivery: true, topology.StreamDeadLetters: true,
		topology.StreamSpill: true}
}

// positions are the first sequences after what the streams have now.
func (x *trial) positions() map[string]uint64 {
	x.t.Helper()
	out := map[string]uint64{}
	for name := range readStreams() {
		out[name] = x.state(name).LastSeq + 1
	}
	return out
}

func (x *trial) state(stream string) (state jetstream.StreamState) {
	x.t.Helper()
	require.Eventually(x.t, func() bool {
		ctx, cancel := context.WithTimeout(x.t.Context(), 5*time.Second)
		defer cancel()
		s, err := x.js.Stream(ctx, stream)
		if err != nil {
			return false
		}
		state = s.CachedInfo().State
		return true
	}, time.Minute, 100*time.Millisecond, "no state of %s", stream)
	return state
}

// stored names a push for the simulator.
type stored struct {
	Account    string `json:"account"`
	OpenID     string `json:"openid"`
	MsgID      string `json:"msg_id,omitempty"`
	Event      string `json:"event,omitempty"`
	CreateTime int64  `json:"create_time,omitempty"`
}

// deadLetter is one of the trial.
type deadLetter struct {
	service, reason, deliveries string
	data                        []byte
}

// books collects what the streams have.
type books struct {
	judge.Books
	stored []stored
	odd    int // messages on INBOUND that are no events
	dead   []deadLetter
	first  uint64 // sequence on INBOUND from which on pushes belong to the trial
}

// read fills in the facts: the streams to their ends, then the simulator's report and its pushes.
func (x *trial) read() {
	x.t.Helper()
	b := &books{Books: judge.Books{Events: map[judge.Key][]string{}, Decisions: map[string]judge.Decision{}, Sends: map[string]judge.Send{}, Dead: map[string]string{}, Spilled: map[judge.Key]bool{}},
		first: x.from[topology.StreamInbound]}
	for name, take := range map[string]func(jetstream.Msg){
		topology.StreamInbound: b.event, topology.StreamDecisions: b.decision, topology.StreamDelivery: b.settled, topology.StreamDeadLetters: b.deadLetter,
		topology.StreamSpill: b.spilled,
	} {
		x.facts.Readings = append(x.facts.Readings, x.readStream(name, take))
	}
	x.post(b.stored)
	x.notes[noteBooks] = b
	x.facts.Books = b.Books
	x.Sim(x.t, http.MethodGet, "/sim/v1/report", nil, &x.facts.Report)
	for after := uint64(0); ; {
		var page []judge.Push
		x.Sim(x.t, http.MethodGet, fmt.Sprintf("/sim/v1/pushes?after=%d", after), nil, &page)
		if len(page) == 0 {
			return
		}
		x.facts.Pushes = append(x.facts.Pushes, page...)
		after = page[len(page)-1].ID
	}
}

const noteBooks = "books"

// books are what read found.
func (x *trial) books() *books { return x.notes[noteBooks].(*books) }

// storedPart is how many pushes go into one request.
const storedPart = 5000

// post tells the simulator what is stored.
func (x *trial) post(list []stored) {
	x.t.Helper()
	for {
		n := min(storedPart, len(list))
		x.Sim(x.t, http.MethodPost, "/sim/v1/stored", map[string]any{"pushes": list[:n], "complete": n == len(list)}, nil)
		list = list[n:]
		if len(list) == 0 {
			return
		}
	}
}

// readStream gives every message of the trial to take, up to the last one that is there now. It tells how far
// it came, and never that it is done when it is not.
func (x *trial) readStream(name string, take func(jetstream.Msg)) judge.Reading {
	x.t.Helper()
	r := judge.Reading{Stream: name, From: x.from[name], Last: x.state(name).LastSeq, Gapless: readStreams()[name]}
	if r.Last < r.From {
		return r
	}
	reader, err := x.js.OrderedConsumer(x.t.Context(), name, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.From})
	if err != nil {
		r.Error = err.Error()
		return r
	}
	messages, err := reader.Messages()
	if err != nil {
		r.Error = err.Error()
		return r
	}
	defer messages.Stop()
	for r.Read < r.Last {
		m, err := messages.Next(jetstream.NextMaxWait(30 * time.Second))
		if err != nil {
			r.Error = err.Error()
			return r
		}
		meta, err := m.Metadata()
		if err != nil {
			r.Error = err.Error()
			return r
		}
		r.Read = meta.Sequence.Stream
		r.Count++
		take(m)
	}
	return r
}

func (b *books) event(m jetstream.Msg) {
	var e eventv1.InboundEvent
	if err := proto.Unmarshal(m.Data(), &e); err != nil || e.GetId() == "" {
		b.odd++ // put there by a row
		return
	}
	b.stored = append(b.stored, stored{Account: e.GetAccount(), OpenID: e.GetOpenid(), MsgID: e.GetMsgId(), Event: e.GetEvent(), CreateTime: e.GetCreateTime()})
	key := judge.Key{Account: e.GetAccount(), OpenID: e.GetOpenid(), MsgID: e.GetMsgId()}
	b.Events[key] = append(b.Events[key], e.GetId())
}

func (b *books) spilled(m jetstream.Msg) {
	var e eventv1.InboundEvent
	if proto.Unmarshal(m.Data(), &e) == nil {
		b.Spilled[judge.Key{Account: e.GetAccount(), OpenID: e.GetOpenid(), MsgID: e.GetMsgId()}] = true
	}
}

func (b *books) decision(m jetstream.Msg) {
	var d rulev1.DecisionMade
	if err := proto.Unmarshal(m.Data(), &d); err != nil || d.GetInboundSequence() < b.first {
		return // about a push before the trial
	}
	out := judge.Decision{Route: decision.RouteName(d.GetRoute()), Reason: d.GetReason()}
	for _, c := range d.GetClaims() {
		out.Delivered = out.Delivered || c.GetState() == rulev1.ClaimState_CLAIM_STATE_DELIVERED
	}
	b.Decisions[d.GetId()] = out
}

func (b *books) settled(m jetstream.Msg) {
	var d senderv1.DeliverySettled
	if m.Headers().Get(bus.HeaderType) != string(d.ProtoReflect().Descriptor().FullName()) || proto.Unmarshal(m.Data(), &d) != nil || d.GetCause() == "" {
		return
	}
	b.Sends[d.GetCause()] = judge.Send{State: strings.ToLower(strings.TrimPrefix(d.GetState().String(), "SEND_STATE_")), ErrCode: int(d.GetErrcode()),
		Reason: d.GetReason(), Attempts: int(d.GetAttempts())}
}

// deadLetter notes a dead letter. That of the rule service is the end of a push: the others still have it.
func (b *books) deadLetter(m jetstream.Msg) {
	h := m.Headers()
	d := deadLetter{service: h.Get("Wxbus-Dlq-Service"), reason: h.Get("Wxbus-Dlq-Reason"), deliveries: h.Get("Wxbus-Dlq-Deliveries"), data: m.Data()}
	b.dead = append(b.dead, d)
	var e eventv1.InboundEvent
	if d.service == topology.ServiceRule && proto.Unmarshal(m.Data(), &e) == nil && e.GetId() != "" {
		b.Dead[e.GetId()] = d.reason
	}
}
