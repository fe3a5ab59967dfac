package gateway_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/topology"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	gatewayv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/gateway/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

// The rule service of these tests: it reads events in the real way, and the test says what it decides.

func say(text string) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: text}}}
}

// decide returns a record for an event, with a claim for the gateway that waits.
func decide(e *eventv1.InboundEvent, route rulev1.Route, reply *eventv1.Content) *rulev1.DecisionMade {
	rec := &rulev1.DecisionMade{
		Id: e.GetId(), Account: e.GetAccount(), Openid: e.GetOpenid(), Route: route, KfAllowed: true,
		PassiveUntilUnixMs: time.Now().Add(10 * time.Second).UnixMilli(), Replies: []*eventv1.Content{reply},
	}
	if e.GetGatewayInstance() != "" && route == rulev1.Route_ROUTE_PASSIVE {
		rec.Claims = []*rulev1.Claim{{
			Server: e.GetGatewayInstance(), State: rulev1.ClaimState_CLAIM_STATE_PENDING, UntilUnixMs: e.GetPassiveDeadlineUnixMs(),
		}}
	}
	return rec
}

// onEvent runs a handler for every event of the stream INBOUND until the test ends.
func (r *rig) onEvent(t testing.TB, handle func(ctx context.Context, e *eventv1.InboundEvent) error) {
	t.Helper()
	bustest.Run(t, r.env.NewConn(t, "rule").NewConsumer(bus.ConsumerConfig{
		Service: topology.ServiceRule, Stream: topology.StreamInbound,
		Durables: r.env.Topology.Durables(topology.ServiceRule, topology.StreamInbound),
	}, func(ctx context.Context, d *bus.Delivery) error {
		e := new(eventv1.InboundEvent)
		if err := proto.Unmarshal(d.Data, e); err != nil {
			return err
		}
		return handle(ctx, e)
	}))
}

// nextEvent returns the first event of the stream.
func (r *rig) nextEvent(t testing.TB) *eventv1.InboundEvent {
	t.Helper()
	var events []*eventv1.InboundEvent
	require.Eventually(t, func() bool {
		events = r.events(t, topology.StreamInbound)
		return len(events) > 0
	}, 30*time.Second, 2*time.Millisecond)
	return events[0]
}

// offer hands a reply to the gateway of an event.
func (r *rig) offer(ctx context.Context, e *eventv1.InboundEvent, c *eventv1.Content) (*gatewayv1.OfferReplyResponse, error) {
	return r.offerUntil(ctx, e, c, time.UnixMilli(e.GetPassiveDeadlineUnixMs()))
}

func (r *rig) offerUntil(ctx context.Context, e *eventv1.InboundEvent, c *eventv1.Content, deadline time.Time) (*gatewayv1.OfferReplyResponse, error) {
	subject, err := topology.SubjectOffer(e.GetGatewayInstance())
	if err != nil {
		return nil, err
	}
	data, err := proto.Marshal(&gatewayv1.OfferReplyRequest{
		EventId: e.GetId(), Account: e.GetAccount(), Content: c, DeadlineUnixMs: deadline.UnixMilli(),
	})
	if err != nil {
		return nil, err
	}
	msg, err := r.env.Conn.Request(ctx, subject, data)
	if err != nil {
		return nil, err
	}
	res := new(gatewayv1.OfferReplyResponse)
	return res, proto.Unmarshal(msg.Data, res)
}
