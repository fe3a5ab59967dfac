package soak

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/topology"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/tests/readback"
)

// books are what wxbus itself says about each push, by event id.
type books struct {
	events map[numbered]string
	routes map[string]rulev1.Route
	sends  map[string]*senderv1.DeliverySettled
}

// numbered is one question of one fan.
type numbered struct {
	account, openid string
	number          int
}

// unansweredID is how the simulator names a push whose reply nobody saw.
var unansweredID = regexp.MustCompile(`^([^/]+)/(\S+) push \d+ text number (\d+)$`)

func (s *system) readBooks(ctx context.Context) (books, error) {
	b := books{events: map[numbered]string{}, routes: map[string]rulev1.Route{}, sends: map[string]*senderv1.DeliverySettled{}}
	for stream, take := range map[string]func(jetstream.Msg) error{
		topology.StreamInbound: b.event, topology.StreamDecisions: b.decision, topology.StreamDelivery: b.settled,
	} {
		if r := readback.Stream(ctx, s.js, stream, 1, take); !r.Complete() {
			return books{}, errors.New(r.String())
		}
	}
	return b, nil
}

func (b books) event(m jetstream.Msg) error {
	var e eventv1.InboundEvent
	if err := proto.Unmarshal(m.Data(), &e); err != nil {
		return err
	}
	n, err := strconv.Atoi(strings.TrimPrefix(e.GetText().GetContent(), "k"))
	if err != nil {
		return err
	}
	b.events[numbered{e.GetAccount(), e.GetOpenid(), n}] = e.GetId()
	return nil
}

func (b books) decision(m jetstream.Msg) error {
	var d rulev1.DecisionMade
	err := proto.Unmarshal(m.Data(), &d)
	b.routes[d.GetId()] = d.GetRoute()
	return err
}

func (b books) settled(m jetstream.Msg) error {
	var d senderv1.DeliverySettled
	if m.Headers().Get(bus.HeaderType) != string(d.ProtoReflect().Descriptor().FullName()) {
		return nil
	}
	err := proto.Unmarshal(m.Data(), &d)
	b.sends[d.GetCause()] = &d
	return err
}

// systemBusy is an errcode of the fault script.
const systemBusy = -1

// explain requires that wxbus knows of every reply that a fan waits for in vain: it calls it ambiguous, it
// gave up because WeChat was busy every time, or it refused it because the fan's window was used up by replies
// that came late. Nothing gets lost in silence.
func (s *system) explain(t *testing.T, unanswered []string, count int) {
	t.Helper()
	b, err := s.readBooks(t.Context())
	require.NoError(t, err)
	tally := map[string]int{}
	var silent []string
	for _, id := range unanswered {
		why, known := b.why(t, id)
		tally[why]++
		if !known {
			silent = append(silent, id+": "+why)
		}
	}
	var text strings.Builder
	for _, why := range slices.Sorted(maps.Keys(tally)) {
		line(&text, why, "%d", tally[why])
	}
	t.Logf("acknowledged without a reply: %d, in the books of wxbus\n%s", count, text.String())
	require.Empty(t, silent, "replies that got lost in silence")
}

// why tells what wxbus says about the reply to an unanswered push.
func (b books) why(t *testing.T, unanswered string) (text string, known bool) {
	t.Helper()
	m := unansweredID.FindStringSubmatch(unanswered)
	require.NotNil(t, m, unanswered)
	n, err := strconv.Atoi(m[3])
	require.NoError(t, err)
	id := b.events[numbered{m[1], m[2], n}]
	route := b.routes[id]
	if route == rulev1.Route_ROUTE_AMBIGUOUS {
		return "decision ambiguous", true
	}
	sent, ok := b.sends[id]
	switch {
	case !ok:
		return fmt.Sprintf("decision %s, nothing sent", decision.RouteName(route)), false
	case sent.GetState() == senderv1.SendState_SEND_STATE_AMBIGUOUS:
		return "send ambiguous", true
	case sent.GetState() == senderv1.SendState_SEND_STATE_FAILED && sent.GetErrcode() == systemBusy:
		return "send failed: WeChat said busy each time", true
	case sent.GetState() == senderv1.SendState_SEND_STATE_REFUSED && strings.HasPrefix(sent.GetReason(), "window"):
		return "send refused: " + sent.GetReason(), true
	default:
		return fmt.Sprintf("decision %s, send %s: %s", decision.RouteName(route), sent.GetState(), sent.GetReason()), false
	}
}
