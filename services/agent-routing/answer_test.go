package agentrouting_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/sendid"
	"github.com/wxbus/wxbus/pkg/topology"
)

// answers stores a decision with replies; written tells that a gateway wrote the first one.
func (w *world) answers(ev *eventv1.InboundEvent, route rulev1.Route, written bool, replies ...string) {
	w.t.Helper()
	d := &rulev1.DecisionMade{
		Id: ev.GetId(), Account: shop, Openid: ev.GetOpenid(), Route: route, Rule: "hours", DecidedUnixMs: ev.GetReceivedUnixMs() + 1, CreateTime: ev.GetCreateTime(),
	}
	for _, r := range replies {
		d.Replies = append(d.Replies, words(r))
	}
	if written {
		d.Claims = []*rulev1.Claim{{Server: "gw", State: rulev1.ClaimState_CLAIM_STATE_DELIVERED}}
	}
	subject, err := topology.SubjectDecision(shop, ev.GetPartition(), ev.GetId())
	require.NoError(w.t, err)
	w.publish(subject, "", d)
}

// leaves stores the end of the n-th reply to an event.
func (w *world) leaves(ev *eventv1.InboundEvent, n int, state senderv1.SendState) {
	w.t.Helper()
	id := sendid.Of(shop, sendid.ReplyKey(ev.GetId(), n))
	data, err := proto.Marshal(&senderv1.DeliverySettled{
		Id: id, Account: shop, Openid: ev.GetOpenid(), State: state, Cause: ev.GetId(), Lane: senderv1.Lane_LANE_RULE, AtUnixMs: ev.GetReceivedUnixMs() + int64(n) + 2,
	})
	require.NoError(w.t, err)
	subject, err := topology.SubjectDelivery(shop, ev.GetPartition(), ev.GetOpenid())
	require.NoError(w.t, err)
	_, err = w.Conn.Publish(w.t.Context(), bus.Msg{Subject: subject, ID: id + ":settled", Data: data, Header: nats.Header{bus.HeaderType: {"wxbus.sender.v1.DeliverySettled"}}})
	require.NoError(w.t, err)
}

func (w *world) timeline(d desk, openid string) (out []string) {
	w.t.Helper()
	got, err := d.ListMessages(w.t.Context(), &agentroutingv1.ListMessagesRequest{Account: shop, Openid: openid})
	require.NoError(w.t, err)
	for _, m := range got.GetMessages() {
		out = append(out, fmt.Sprintf("%s %s %s", m.GetAuthorKind().String()[len("AUTHOR_KIND_"):], m.GetText(), m.GetState().String()[len("MESSAGE_STATE_"):]))
	}
	return out
}

func TestTheAgentSeesWhatTheRulesAnsweredBefore(t *testing.T) {
	w := newWorld(t)
	hours := w.says("fan", "几点开门")
	w.answers(hours, rulev1.Route_ROUTE_PASSIVE, true, "九点", "周末休息", "从未发出")
	w.leaves(hours, 1, senderv1.SendState_SEND_STATE_SENT)
	w.leaves(hours, 2, senderv1.SendState_SEND_STATE_REFUSED)
	w.clock.Advance(time.Second)
	slow := w.says("fan", "发货了吗")
	w.answers(slow, rulev1.Route_ROUTE_ASYNC, false, "查询中")
	w.leaves(slow, 0, senderv1.SendState_SEND_STATE_AMBIGUOUS)
	w.clock.Advance(time.Second)
	stuck := w.says("fan", "在吗")
	w.answers(stuck, rulev1.Route_ROUTE_PASSIVE, false, "没有写出")
	d := w.replica()
	w.quiet()
	w.clock.Advance(time.Second)
	asked := w.says("fan", "转人工")
	w.decides(asked, "sales")
	w.waiting(d, 1)
	w.quiet()
	want := []string{
		"FAN 几点开门 UNSPECIFIED", "BOT 九点 ACCEPTED", "BOT 周末休息 ACCEPTED", "FAN 发货了吗 UNSPECIFIED", "BOT 查询中 AMBIGUOUS", "FAN 在吗 UNSPECIFIED", "FAN 转人工 UNSPECIFIED",
	}
	require.Equal(t, want, w.timeline(d, "fan"))

	// The welcome that goes with the queue is written after the fan was put into it.
	w.leaves(slow, 0, senderv1.SendState_SEND_STATE_SENT) // the same fact again
	again := w.says("fan", "还有一句")
	w.quiet()
	w.answers(again, rulev1.Route_ROUTE_ASYNC, false, "稍等")
	w.leaves(again, 0, senderv1.SendState_SEND_STATE_SENT)
	w.quiet()
	require.Equal(t, append(want, "FAN 还有一句 UNSPECIFIED", "BOT 稍等 ACCEPTED"), w.timeline(d, "fan"))
}
