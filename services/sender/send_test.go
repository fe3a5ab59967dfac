package sender_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
	"github.com/wxbus/wxbus/services/sender"
)

func TestAMessageReachesTheFanAndItsFactsAreTold(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	resp := send(t, s, f.request("fan-1", "k1", "hello"))
	require.False(t, resp.GetReplayed())
	require.Len(t, resp.GetId(), 32)
	rec := ends(t, s, "shop", resp.GetId(), senderv1.SendState_SEND_STATE_SENT)
	require.EqualValues(t, 1, rec.GetAttempts())
	require.Equal(t, "a", rec.GetWorker())
	f.idle(t)
	require.Equal(t, []string{"hello"}, f.wechat.texts("fan-1"))
	require.Equal(t, "access-token-1", f.wechat.seen()[0].Token)

	facts := f.facts(t, 1)
	require.Len(t, facts, 2)
	require.Equal(t, resp.GetId()+":1:attempted", facts[0].id)
	require.Equal(t, "ok", facts[0].attempted.GetOutcome())
	require.Positive(t, facts[0].attempted.GetTookUs())
	require.Equal(t, resp.GetId()+":settled", facts[1].id)
	require.Equal(t, senderv1.SendState_SEND_STATE_SENT, facts[1].settled.GetState())
	require.Equal(t, "e0000000000000000000000000000001", facts[1].settled.GetCause())
	require.Equal(t, senderv1.Lane_LANE_RULE, facts[1].settled.GetLane())
	require.EqualValues(t, 4, quota(t, s, "shop", "fan-1").GetRemaining())
}

func TestTheSameKeyIsTheSameMessage(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	first := send(t, s, f.request("fan-1", "k1", "hello"))
	ends(t, s, "shop", first.GetId(), senderv1.SendState_SEND_STATE_SENT)
	again := send(t, s, f.request("fan-1", "k1", "hello"))
	require.True(t, again.GetReplayed())
	require.Equal(t, first.GetId(), again.GetId())
	require.Equal(t, senderv1.SendState_SEND_STATE_SENT, again.GetRecord().GetState())

	_, err := s.Send(t.Context(), f.request("fan-1", "k1", "something else"))
	require.Equal(t, codes.AlreadyExists, status.Code(fault.Status(err)))
	require.Equal(t, fault.Conflict, fault.KindOf(err))
	other := f.request("fan-1", "k1", "hello")
	other.Account = "other"
	require.NotEqual(t, first.GetId(), send(t, s, other).GetId(), "keys belong to an account")
	f.idle(t)
	require.Len(t, f.wechat.seen(), 2)
}

func TestTheSameKeyAtTheSameTimeIsOneMessage(t *testing.T) {
	f := setUp(t)
	replicas := []*sender.Service{f.replica(t, "a"), f.replica(t, "b")}
	var done sync.WaitGroup
	for i := range 20 {
		done.Go(func() { send(t, replicas[i%2], f.request("fan-1", "k1", "hello")) })
	}
	done.Wait()
	f.idle(t)
	require.Len(t, f.wechat.seen(), 1)
	require.EqualValues(t, 4, quota(t, replicas[0], "shop", "fan-1").GetRemaining())
}

func TestAClosedWindowIsRefusedWithoutACall(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	req := f.request("fan-1", "k1", "hello")
	req.Evidence = nil
	for range 2 {
		_, err := s.Send(t.Context(), req)
		require.Equal(t, codes.FailedPrecondition, status.Code(fault.Status(err)))
		require.ErrorContains(t, err, "window closed")
	}
	req = f.request("fan-2", "k2", "hello")
	req.Evidence.CreateTime -= int64((49 * time.Hour).Seconds())
	_, err := s.Send(t.Context(), req)
	require.ErrorContains(t, err, "too old")

	facts := f.facts(t, 2)
	require.Len(t, facts, 2, "a refusal is told once")
	require.Equal(t, senderv1.SendState_SEND_STATE_REFUSED, facts[0].settled.GetState())
	require.Contains(t, facts[0].settled.GetReason(), "window closed")
	require.Equal(t, senderv1.SendState_SEND_STATE_REFUSED, state(t, s, "shop", facts[0].settled.GetId()).GetState())
	require.Empty(t, f.wechat.seen())
	require.Zero(t, f.queued(t))
}

func TestTheFifthMessageIsTheLast(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	for i := range 5 {
		send(t, s, f.request("fan-1", fmt.Sprint("k", i), "hello"))
	}
	_, err := s.Send(t.Context(), f.request("fan-1", "k5", "hello"))
	require.ErrorContains(t, err, "exhausted")
	f.idle(t)
	require.Len(t, f.wechat.seen(), 5)
	require.Equal(t, "window exhausted: no message left until the fan's next action", quota(t, s, "shop", "fan-1").GetReason())

	req := f.request("fan-1", "k6", "hello")
	req.Evidence = f.said("a newer message")
	send(t, s, req)
	f.idle(t)
	require.EqualValues(t, 4, quota(t, s, "shop", "fan-1").GetRemaining())
}

func TestWhoMayNotSendIsRefused(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	req := f.request("fan-1", "k1", "hello")
	req.Account = "mute"
	_, err := s.Send(t.Context(), req)
	require.Equal(t, fault.Refused, fault.KindOf(err))
	require.ErrorContains(t, err, "no customer-service API")
	require.Contains(t, quota(t, s, "mute", "fan-1").GetReason(), "no customer-service API")

	send(t, s, f.request("fan-2", "k1", "hello"))
	f.idle(t)
	f.push(t, "fan-2", "leave", eventv1.EventKind_EVENT_KIND_UNSUBSCRIBE, "unsubscribe")
	require.Eventually(t, func() bool {
		return strings.Contains(quota(t, s, "shop", "fan-2").GetReason(), "unsubscribed")
	}, 30*time.Second, 5*time.Millisecond)
	req = f.request("fan-2", "k2", "hello")
	req.Evidence = nil
	_, err = s.Send(t.Context(), req)
	require.ErrorContains(t, err, "unsubscribed")
	require.Len(t, f.wechat.seen(), 1)
}

func TestANewerOwnerIsNotTalkedOver(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	value, err := proto.Marshal(&agentroutingv1.OwnerRecord{Owner: &agentroutingv1.Owner{Epoch: 7}})
	require.NoError(t, err)
	_, err = f.bucket(t, topology.BucketOwners).Put(t.Context(), "shop.fan-1", value)
	require.NoError(t, err)
	req := f.request("fan-1", "k1", "hello")
	req.OwnerEpoch = 6
	_, err = s.Send(t.Context(), req)
	require.ErrorContains(t, err, "somebody else talks to the fan")
	req = f.request("fan-1", "k2", "hello")
	req.OwnerEpoch = 7
	send(t, s, req)
	f.idle(t)
	require.Len(t, f.wechat.seen(), 1)
}

func TestABadRequestNamesTheField(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	for want, change := range map[string]func(*senderv1.SendRequest){
		"account":               func(r *senderv1.SendRequest) { r.Account = "nobody" },
		"openid":                func(r *senderv1.SendRequest) { r.Openid = "" },
		"idempotency_key":       func(r *senderv1.SendRequest) { r.IdempotencyKey = "" },
		"idempotency_key:":      func(r *senderv1.SendRequest) { r.IdempotencyKey = strings.Repeat("x", 129) },
		"idempotency_key: must": func(r *senderv1.SendRequest) { r.IdempotencyKey = "a\nb" },
		"kf_account":            func(r *senderv1.SendRequest) { r.KfAccount = strings.Repeat("x", 200) },
		"lane":                  func(r *senderv1.SendRequest) { r.Lane = 99 },
		"content":               func(r *senderv1.SendRequest) { r.Content = nil },
		"content:":              func(r *senderv1.SendRequest) { r.Content = text("") },
		"native_transfer": func(r *senderv1.SendRequest) {
			r.Content = &eventv1.Content{Body: &eventv1.Content_NativeTransfer{NativeTransfer: &eventv1.NativeTransfer{}}}
		},
		"evidence": func(r *senderv1.SendRequest) { r.Evidence = &senderv1.GrantEvidence{} },
	} {
		req := f.request("fan-1", "k1", "hello")
		change(req)
		_, err := s.Send(t.Context(), req)
		require.ErrorContains(t, err, want)
		require.Contains(t, []fault.Kind{fault.Invalid, fault.NotFound}, fault.KindOf(err), want)
	}
	_, err := s.GetSend(t.Context(), &senderv1.GetSendRequest{Account: "shop", Id: "0123456789abcdef0123456789abcdef"})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.Empty(t, f.wechat.seen())
}

// TestTheCallerRepairsWhatACrashLeft: after a crash at any step of Send the caller, who got no answer,
// calls again with the same key.
func TestTheCallerRepairsWhatACrashLeft(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	probe := send(t, s, f.request("fan-0", "probe", "hello"))
	ends(t, s, "shop", probe.GetId(), senderv1.SendState_SEND_STATE_SENT)
	grants := f.bucket(t, topology.BucketGrants)

	t.Run("after the record", func(t *testing.T) {
		req := f.request("fan-1", "k1", "hello")
		f.forge(t, s, req)
		resp := send(t, s, req)
		require.True(t, resp.GetReplayed())
		ends(t, s, "shop", resp.GetId(), senderv1.SendState_SEND_STATE_SENT)
		require.Len(t, f.wechat.texts("fan-1"), 1)
		require.EqualValues(t, 4, quota(t, s, "shop", "fan-1").GetRemaining())
	})
	t.Run("after the reservation", func(t *testing.T) {
		req := f.request("fan-2", "k-2", "hello")
		id := f.forge(t, s, req)
		value, err := proto.Marshal(&senderv1.GrantRecord{
			Remaining: 1, DeadlineUnixMs: f.clock.Now().Add(time.Hour).UnixMilli(), Folded: []string{"said-fan-2"}, Reserved: []string{id},
		})
		require.NoError(t, err)
		_, err = grants.Put(t.Context(), "shop.fan-2", value)
		require.NoError(t, err)
		send(t, s, req)
		ends(t, s, "shop", id, senderv1.SendState_SEND_STATE_SENT)
		f.idle(t)
		require.Zero(t, quota(t, s, "shop", "fan-2").GetRemaining())
	})
	t.Run("after the queueing", func(t *testing.T) {
		req := f.request("fan-3", "k-3", "hello")
		first := send(t, s, req)
		send(t, s, req)
		ends(t, s, "shop", first.GetId(), senderv1.SendState_SEND_STATE_SENT)
		f.idle(t)
		require.Len(t, f.wechat.texts("fan-3"), 1)
	})
	t.Run("a reservation that nobody came back for", func(t *testing.T) {
		value, err := proto.Marshal(&senderv1.GrantRecord{
			Remaining: 1, DeadlineUnixMs: f.clock.Now().Add(time.Hour).UnixMilli(), Reserved: []string{"00000000000000000000000000000000"},
		})
		require.NoError(t, err)
		_, err = grants.Put(t.Context(), "shop.fan-4", value)
		require.NoError(t, err)
		req := f.request("fan-4", "k-4", "hello")
		req.Evidence = nil
		send(t, s, req)
	})
}

// forge writes the record that Send writes first, as if it had crashed right after.
func (f *fixture) forge(t *testing.T, s *sender.Service, req *senderv1.SendRequest) string {
	t.Helper()
	// The twin in an account that may not send is refused, but its record has the same hash.
	twin := proto.CloneOf(req)
	twin.Account = "mute"
	_, err := s.Send(t.Context(), twin)
	require.Equal(t, fault.Refused, fault.KindOf(err))
	hash := state(t, s, "mute", sendID("mute", req.GetIdempotencyKey())).GetRequestHash()
	require.NotEmpty(t, hash)
	id := sendID(req.GetAccount(), req.GetIdempotencyKey())
	value, err := proto.Marshal(&senderv1.SendRecord{
		Id: id, State: senderv1.SendState_SEND_STATE_QUEUED, RequestHash: hash, Openid: req.GetOpenid(),
		AcceptedUnixMs: f.clock.Now().UnixMilli(), UpdatedUnixMs: f.clock.Now().UnixMilli(),
	})
	require.NoError(t, err)
	_, err = f.bucket(t, topology.BucketSends).Create(t.Context(), "shop."+id, value)
	require.NoError(t, err)
	return id
}

func TestTheLedgerFollowsThePushes(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	f.push(t, "fan-1", "p1", eventv1.EventKind_EVENT_KIND_SUBSCRIBE, "subscribe")
	remaining := func(want int32) {
		t.Helper()
		require.Eventually(t, func() bool { return quota(t, s, "shop", "fan-1").GetRemaining() == want }, 30*time.Second, 5*time.Millisecond)
	}
	remaining(3)
	f.push(t, "fan-1", "p2", eventv1.EventKind_EVENT_KIND_MESSAGE, "")
	remaining(5)
	q := quota(t, s, "shop", "fan-1")
	require.InDelta(t, f.clock.Now().Add(48*time.Hour).Unix(), time.UnixMilli(q.GetDeadlineUnixMs()).Unix(), 2)
	require.Empty(t, q.GetReason())
	req := f.request("fan-1", "k1", "hello")
	req.Evidence = nil
	send(t, s, req)
	remaining(4)
	require.Equal(t, "window closed: no action of the fan is known", quota(t, s, "shop", "stranger").GetReason())
}

func TestWhoAnswersFasterThanTheWindowsAreReadIsNotRefused(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	for p := range f.env.Topology.Partitions() { // the reader of the pushes stands still
		durable := topology.Durable(topology.ServiceSender, topology.StreamInbound, uint32(p))
		_, err := f.env.JS.PauseConsumer(t.Context(), topology.StreamInbound, durable, time.Now().Add(time.Hour))
		require.NoError(t, err)
	}
	answer := func(openid, key string, c *eventv1.Content) *senderv1.SendRequest {
		return &senderv1.SendRequest{Account: "shop", Openid: openid, IdempotencyKey: key, Content: c}
	}
	template := &eventv1.Content{Body: &eventv1.Content_Template{Template: &eventv1.TemplateContent{
		TemplateId: "T", Data: map[string]*eventv1.TemplateValue{"thing1": {Value: "x"}},
	}}}

	f.push(t, "writer", "said-1", eventv1.EventKind_EVENT_KIND_MESSAGE, "")
	f.push(t, "writer", "where-1", eventv1.EventKind_EVENT_KIND_LOCATION, "location")
	for n := range 5 {
		send(t, s, answer("writer", fmt.Sprint("k", n), text("hello")))
	}
	_, err := s.Send(t.Context(), answer("writer", "k5", text("hello")))
	require.Equal(t, fault.Refused, fault.KindOf(err), "a push is worth five messages, however often it is read")
	require.Eventually(t, func() bool { return quota(t, s, "shop", "writer").GetReserved() == 0 }, time.Minute, 10*time.Millisecond, "all five are sent")
	f.push(t, "writer", "said-2", eventv1.EventKind_EVENT_KIND_MESSAGE, "")
	send(t, s, answer("writer", "k6", text("hello")))

	f.push(t, "back", "left-1", eventv1.EventKind_EVENT_KIND_UNSUBSCRIBE, "unsubscribe")
	_, err = s.Send(t.Context(), answer("back", "b1", text("hello")))
	require.ErrorContains(t, err, "unsubscribed")
	_, err = s.Send(t.Context(), answer("back", "b2", template))
	require.ErrorContains(t, err, "unsubscribed")
	f.clock.advance(2 * time.Second)
	f.push(t, "back", "back-1", eventv1.EventKind_EVENT_KIND_SUBSCRIBE, "subscribe")
	send(t, s, answer("back", "b3", template))

	_, err = s.Send(t.Context(), answer("stranger", "s1", text("hello")))
	require.ErrorContains(t, err, "no action of the fan is known")

	f.push(t, "asker", "asked-1", eventv1.EventKind_EVENT_KIND_MESSAGE, "")
	require.Equal(t, senderv1.QuotaClass_QUOTA_CLASS_NEVER_OPENED, quota(t, s, "shop", "asker").GetClass())
	now, err := s.GetQuota(t.Context(), &senderv1.GetQuotaRequest{Account: "shop", Openid: "asker", CatchUp: true})
	require.NoError(t, err)
	require.EqualValues(t, 5, now.GetRemaining(), "who wants to know exactly is told what the fan did a moment ago")
}

// push stores a push as the gateway does.
func (f *fixture) push(t testing.TB, openid, id string, kind eventv1.EventKind, event string) {
	t.Helper()
	partition := f.env.Topology.Partition("shop", openid)
	subject, err := topology.SubjectInbound("shop", partition, kind, openid)
	require.NoError(t, err)
	data, err := proto.Marshal(&eventv1.InboundEvent{
		Id: id, Account: "shop", Openid: openid, Kind: kind, Event: event, Partition: partition,
		AccountKind: eventv1.AccountKind_ACCOUNT_KIND_SERVICE, CreateTime: f.clock.Now().Unix(),
	})
	require.NoError(t, err)
	_, err = f.env.Conn.Publish(t.Context(), bus.Msg{Subject: subject, ID: id, Data: data})
	require.NoError(t, err)
}

// sendID is the id as the proto promises it, computed independently.
func sendID(account, key string) string {
	var b []byte
	for _, part := range []string{account, key} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(part)))
		b = append(b, part...)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

func TestNobodyPretendsToBeACampaign(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	req := f.request("fan", "k", "hello")
	req.Campaign = &senderv1.CampaignRef{Id: "spring"}
	_, err := s.Send(t.Context(), req)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}
