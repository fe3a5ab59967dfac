package console_test

import (
	"testing"

	"connectrpc.com/connect"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/topology"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func (s *site) store(subject, id, kind string, m proto.Message) {
	s.t.Helper()
	data, err := proto.Marshal(m)
	require.NoError(s.t, err)
	h := nats.Header{"traceparent": {parent}}
	if kind != "" {
		h.Set(bus.HeaderType, kind)
	}
	_, err = s.Conn.Publish(s.t.Context(), bus.Msg{Subject: subject, ID: id, Data: data, Header: h})
	require.NoError(s.t, err)
}

// One message is followed from the push to WeChat's answer, by whatever id somebody has.
func TestATimelineTellsWhatHappenedToAMessage(t *testing.T) {
	s := demoSite(t)
	li := s.as("li")
	partition := s.Topology.Partition("shop", "fan")
	s.says("shop", "fan", "e0", "another message of the fan")
	s.says("shop", "fan", "e1", "hello")
	decision, err := topology.SubjectDecision("shop", partition, "e1")
	require.NoError(t, err)
	s.store(decision, "d1", "", &rulev1.DecisionMade{Id: "e1", Account: "shop", Openid: "fan", Rule: "greeting", Route: rulev1.Route_ROUTE_ASYNC, DecidedUnixMs: 1_800_000_000_100,
		Claims: []*rulev1.Claim{{Server: "gateway-1", State: rulev1.ClaimState_CLAIM_STATE_RELEASED}}})
	delivery, err := topology.SubjectDelivery("shop", partition, "fan")
	require.NoError(t, err)
	s.store(delivery, "a1", "wxbus.sender.v1.DeliveryAttempted", &senderv1.DeliveryAttempted{Id: "0", Account: "shop", Openid: "fan", Attempt: 1, Outcome: "refused", Errcode: 43004, TookUs: 7, AtUnixMs: 1_800_000_000_200})
	s.store(delivery, "x1", "wxbus.sender.v1.DeliveryAttempted", &senderv1.DeliveryAttempted{Id: "other", Account: "shop", Openid: "fan", Attempt: 1, AtUnixMs: 1_800_000_000_200})
	s.store(delivery, "s1", "wxbus.sender.v1.DeliverySettled", &senderv1.DeliverySettled{Id: "0", Account: "shop", Openid: "fan", Cause: "e1", State: senderv1.SendState_SEND_STATE_FAILED, Reason: "the fan unfollowed", Errcode: 43004, AtUnixMs: 1_800_000_000_300})

	get := func(in *consolev1.GetTimelineRequest) (*consolev1.GetTimelineResponse, error) {
		got, err := li.trace.GetTimeline(t.Context(), connect.NewRequest(in))
		if err != nil {
			return nil, err
		}
		return got.Msg, nil
	}
	for _, in := range []*consolev1.GetTimelineRequest{{Account: "shop", Openid: "fan", EventId: "e1"}, {Account: "shop", SendId: "0"}} {
		got, err := get(in)
		require.NoError(t, err)
		require.Empty(t, got.GetPartial())
		byKind := map[consolev1.TimelineKind]*consolev1.TimelineStep{}
		for _, step := range got.GetSteps() {
			byKind[step.GetKind()] = step
		}
		require.Len(t, byKind, 7, "every kind of step, each once")
		require.Len(t, got.GetSteps(), 7)
		decided, attempted, settled := byKind[consolev1.TimelineKind_TIMELINE_KIND_DECIDED], byKind[consolev1.TimelineKind_TIMELINE_KIND_ATTEMPTED], byKind[consolev1.TimelineKind_TIMELINE_KIND_SETTLED]
		require.Equal(t, []string{"async", "greeting"}, []string{decided.GetOutcome(), decided.GetFacts()["rule"]})
		require.Equal(t, "0af7651916cd43dd8448eb211c80319c", decided.GetTraceId())
		require.Equal(t, []any{"refused", int32(43004), int64(7)}, []any{attempted.GetOutcome(), attempted.GetErrcode(), attempted.GetTookUs()})
		require.Equal(t, []string{"failed", "the fan unfollowed"}, []string{settled.GetOutcome(), settled.GetDetail()})
		require.NotContains(t, got.String(), "hello", "texts stay where they are")
	}
	for field, bad := range map[string]*consolev1.GetTimelineRequest{
		"account": {}, "event_id": {Account: "shop"}, "openid": {Account: "shop", EventId: "e1"},
	} {
		_, err := get(bad)
		require.Equal(t, field, detail(t, err).GetField())
	}
	_, err = get(&consolev1.GetTimelineRequest{Account: "shop", Openid: "fan", EventId: "none"})
	require.Equal(t, connect.CodeNotFound, connect.CodeOf(err))
}

func TestDeadLettersAreShownRequeuedAndDiscarded(t *testing.T) {
	s := demoSite(t)
	admin := s.as("admin")
	one := s.person(admin, "one", []string{"shop"}, consolev1.Role_ROLE_OPERATOR)
	bury := func(account string, n string) {
		subject, err := topology.SubjectDeadLetter("rule", topology.StreamInbound)
		require.NoError(t, err)
		original, err := topology.SubjectDelivery(account, 0, "fan")
		require.NoError(t, err)
		_, err = s.Conn.Publish(t.Context(), bus.Msg{Subject: subject, ID: "dlq" + account + n, Data: []byte{10, 1, 'a'}, Header: nats.Header{
			"Wxbus-Dlq-Reason": {"no such template"}, "Wxbus-Dlq-Service": {"rule"}, "Wxbus-Dlq-Stream": {topology.StreamDelivery}, "Wxbus-Dlq-Subject": {original},
			"Wxbus-Original-Wxbus-Type": {"wxbus.sender.v1.DeliverySettled"}, "Wxbus-Original-Traceparent": {parent},
		}})
		require.NoError(t, err)
	}
	bury("shop", "1")
	bury("club", "1")
	bury("shop", "2")
	list := func(v *visitor, in *consolev1.ListDeadLettersRequest) *consolev1.ListDeadLettersResponse {
		got, err := v.letters.ListDeadLetters(t.Context(), connect.NewRequest(in))
		require.NoError(t, err)
		return got.Msg
	}
	require.Len(t, list(admin, &consolev1.ListDeadLettersRequest{}).GetDeadLetters(), 3)
	own := list(one, &consolev1.ListDeadLettersRequest{}).GetDeadLetters()
	require.Len(t, own, 2, "of one's own accounts")
	page := list(one, &consolev1.ListDeadLettersRequest{Limit: 1})
	require.Len(t, page.GetDeadLetters(), 1)
	require.Len(t, list(one, &consolev1.ListDeadLettersRequest{Limit: 1, AfterSeq: page.GetNextAfterSeq()}).GetDeadLetters(), 1)

	shown, err := one.letters.GetDeadLetter(t.Context(), connect.NewRequest(&consolev1.GetDeadLetterRequest{Seq: own[0].GetSeq()}))
	require.NoError(t, err)
	require.Equal(t, "wxbus.sender.v1.DeliverySettled", shown.Msg.GetMessageType())
	require.Contains(t, shown.Msg.GetMessageJson(), `"a"`)
	require.Equal(t, "no such template", shown.Msg.GetDeadLetter().GetReason())
	club := list(admin, &consolev1.ListDeadLettersRequest{Account: "club"}).GetDeadLetters()[0].GetSeq()
	_, err = one.letters.GetDeadLetter(t.Context(), connect.NewRequest(&consolev1.GetDeadLetterRequest{Seq: club}))
	require.Equal(t, connect.CodeNotFound, connect.CodeOf(err), "as if it were not there")

	requeued, err := one.letters.RequeueDeadLetters(t.Context(), connect.NewRequest(&consolev1.RequeueDeadLettersRequest{Seqs: []uint64{own[0].GetSeq(), club}}))
	require.NoError(t, err)
	require.Equal(t, []bool{true, false}, []bool{requeued.Msg.GetResults()[0].GetDone(), requeued.Msg.GetResults()[1].GetDone()})
	discarded, err := one.letters.DiscardDeadLetters(t.Context(), connect.NewRequest(&consolev1.DiscardDeadLettersRequest{Seqs: []uint64{own[1].GetSeq()}}))
	require.NoError(t, err)
	require.True(t, discarded.Msg.GetResults()[0].GetDone())
	require.Len(t, list(admin, &consolev1.ListDeadLettersRequest{}).GetDeadLetters(), 1)
	_, err = admin.letters.DiscardDeadLetters(t.Context(), connect.NewRequest(&consolev1.DiscardDeadLettersRequest{}))
	require.Equal(t, "seqs", detail(t, err).GetField())
}
