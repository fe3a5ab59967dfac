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
	"github.com/wxbus/wxbus/tests/readback"
	"github.com/wxbus/wxbus/tests/stack"
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
	}, patience, 100*time.Millisecond, "no state of %s", stream)
	return state
}

// deadLetter is one of the trial.
type deadLetter struct {
	service, reason, deliveries string
	data                        []byte
}

// books collects what the streams have.
type books struct {
	judge.Books
	stored []readback.Stored
	steps  []step
	odd    int // messages on INBOUND that are no events
	dead   []deadLetter
	tried  map[string]tries // by id of the send
	first  uint64           // sequence on INBOUND from which on pushes belong to the trial
}

// tries are the attempts of a send that brought no answer of WeChat.
type tries struct{ unknown, notSent int }

// read fills in the facts: the streams to their ends, then the simulator's report and its pushes.
func (x *trial) read() {
	x.t.Helper()
	b := &books{Books: judge.Books{Events: map[judge.Key][]string{}, Decisions: map[string]judge.Decision{}, Sends: map[string]judge.Send{}, Dead: map[string]string{}, Spilled: map[judge.Key]bool{}},
		first: x.from[topology.StreamInbound], tried: map[string]tries{}}
	for name, take := range map[string]func(jetstream.Msg){
		topology.StreamInbound: b.event, topology.StreamDecisions: b.decision, topology.StreamDelivery: b.delivery, topology.StreamDeadLetters: b.deadLetter,
		topology.StreamSpill: b.spilled,
	} {
		x.facts.Readings = append(x.facts.Readings, x.readStream(name, take))
	}
	b.count()
	readback.Tell(x.t, stack.Control(x.Simulator), b.stored)
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

// clock is how moments of a trial are written.
const clock = "15:04:05.000"

const noteBooks = "books"

// books are what read found.
func (x *trial) books() *books { return x.notes[noteBooks].(*books) }

// readStream gives every message of the trial to take, up to the last one that is there now.
func (x *trial) readStream(name string, take func(jetstream.Msg)) readback.Reading {
	x.t.Helper()
	r := readback.Stream(x.t.Context(), x.js, name, x.from[name], func(m jetstream.Msg) error {
		take(m)
		return nil
	})
	r.Gapless = readStreams()[name]
	return r
}

func (b *books) event(m jetstream.Msg) {
	var e eventv1.InboundEvent
	if err := proto.Unmarshal(m.Data(), &e); err != nil || e.GetId() == "" {
		b.odd++ // put there by a row
		return
	}
	b.stored = append(b.stored, readback.StoredOf(&e))
	key := judge.Key{Account: e.GetAccount(), OpenID: e.GetOpenid(), MsgID: e.GetMsgId()}
	b.Events[key] = append(b.Events[key], e.GetId())
	b.trail(m, e.GetAccount(), e.GetOpenid(), e.GetMsgId(), "received %s at %s", time.UnixMilli(e.GetReceivedUnixMs()).UTC().Format(clock), e.GetGatewayInstance())
}

func (b *books) spilled(m jetstream.Msg) {
	var e eventv1.InboundEvent
	if proto.Unmarshal(m.Data(), &e) == nil {
		b.Spilled[judge.Key{Account: e.GetAccount(), OpenID: e.GetOpenid(), MsgID: e.GetMsgId()}] = true
		b.trail(m, e.GetAccount(), e.GetOpenid(), e.GetMsgId(), "received %s at %s", time.UnixMilli(e.GetReceivedUnixMs()).UTC().Format(clock), e.GetGatewayInstance())
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
	b.trail(m, d.GetAccount(), d.GetOpenid(), "", "decision %s of %d: %s %s", d.GetId(), d.GetInboundSequence(), out.Route, d.GetReason())
}

// delivery notes what the sender says about a send: an attempt, or its end.
func (b *books) delivery(m jetstream.Msg) {
	var a senderv1.DeliveryAttempted
	var d senderv1.DeliverySettled
	switch m.Headers().Get(bus.HeaderType) {
	case string(a.ProtoReflect().Descriptor().FullName()):
		if proto.Unmarshal(m.Data(), &a) == nil {
			b.attempted(&a)
		}
	case string(d.ProtoReflect().Descriptor().FullName()):
		if proto.Unmarshal(m.Data(), &d) == nil && d.GetCause() != "" {
			b.settled(&d)
			b.trail(m, d.GetAccount(), d.GetOpenid(), "", "%s %s after %d calls", d.GetCause(), d.GetState(), d.GetAttempts())
		}
	}
}

func (b *books) attempted(a *senderv1.DeliveryAttempted) {
	t := b.tried[a.GetId()]
	switch {
	case a.GetOutcome() == "unknown":
		t.unknown++
	case a.GetOutcome() == "transient" && a.GetErrcode() == 0:
		t.notSent++
	}
	b.tried[a.GetId()] = t
}

// count enters the attempts into the sends, once everything is read.
func (b *books) count() {
	for cause, s := range b.Sends {
		t := b.tried[s.ID]
		s.Unknown, s.NotSent = t.unknown, t.notSent
		b.Sends[cause] = s
	}
}

func (b *books) settled(d *senderv1.DeliverySettled) {
	b.Sends[d.GetCause()] = judge.Send{ID: d.GetId(), State: strings.ToLower(strings.TrimPrefix(d.GetState().String(), "SEND_STATE_")), ErrCode: int(d.GetErrcode()),
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
