package agentrouting_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/grpcx"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/sqldb/sqldbtest"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/topology"

	agentrouting "github.com/wxbus/wxbus/services/agent-routing"
)

func TestMain(m *testing.M) { sqldbtest.Main(m) }

const (
	shop    = "shop"
	club    = "club" // another account
	patient = 60 * time.Second
	soon    = 20 * time.Millisecond
)

// world is a bus, a sender that records, and any number of replicas.
type world struct {
	*bustest.Env
	t      *testing.T
	clock  *testkit.Clock
	sender *fakeSender
	rules  *fakeRules
	dial   grpc.ClientConnInterface
	sql    sqldb.Options
	files  string
	api    string // of WeChat
	tokens agentrouting.Tokens
	next   int
}

func newWorld(t *testing.T) *world {
	w := &world{Env: bustest.Start(t), t: t, clock: testkit.NewClock(time.Now()), sender: &fakeSender{}, rules: &fakeRules{known: map[string]bool{}}}
	server, conn, err := grpcx.InProcess(t.Context(), grpcx.Options{}, grpcx.DialOptions{}, func(r grpc.ServiceRegistrar) {
		senderv1.RegisterSenderServiceServer(r, w.sender)
		rulev1.RegisterRuleServiceServer(r, w.rules)
	})
	require.NoError(t, err)
	t.Cleanup(func() { stop(t, server.Stop); _ = conn.Close() })
	w.dial = conn
	w.sql = sqldb.Options{Service: "agent-routing", Dir: t.TempDir()}
	w.files = t.TempDir()
	return w
}

// fakeRules are rules that know something about some fans.
type fakeRules struct {
	rulev1.UnimplementedRuleServiceServer

	mu    sync.Mutex // guards known
	known map[string]bool
}

func (f *fakeRules) learn(openid string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known[openid] = true
}

func (f *fakeRules) knows(openid string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known[openid]
}

func (f *fakeRules) GetFanMemory(_ context.Context, in *rulev1.GetFanMemoryRequest) (*rulev1.GetFanMemoryResponse, error) {
	if !f.knows(in.GetOpenid()) {
		return &rulev1.GetFanMemoryResponse{}, nil
	}
	return &rulev1.GetFanMemoryResponse{Record: &rulev1.FanRecord{Tags: []string{"vip"}}}, nil
}

func (f *fakeRules) EraseFanMemory(_ context.Context, in *rulev1.EraseFanMemoryRequest) (*rulev1.EraseFanMemoryResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	item := &rulev1.ErasedMemory{Place: "bucket fans"}
	if f.known[in.GetOpenid()] {
		item.Erased = 1
	}
	delete(f.known, in.GetOpenid())
	return &rulev1.EraseFanMemoryResponse{Items: []*rulev1.ErasedMemory{item}}, nil
}

// desk is one replica with a client for each of its services.
type desk struct {
	agentroutingv1.ConversationServiceClient
	agents  agentroutingv1.AgentServiceClient
	reports agentroutingv1.ReportServiceClient
	privacy agentroutingv1.PrivacyServiceClient
	kf      agentroutingv1.KfServiceClient
}

func stop(t *testing.T, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	require.NoError(t, f(ctx))
}

// replica starts one and returns a client of its real gRPC edge.
func (w *world) replica() desk {
	client, _ := w.startReplica(agentrouting.DefaultConfig())
	return client
}

func (w *world) startReplica(cfg agentrouting.Config) (desk, *agentrouting.Service) {
	w.t.Helper()
	w.next++
	first := account.Account{
		Name: shop, AppID: "wx0000000000000001", OriginalID: "gh_1", Kind: "service", Format: "xml", Mode: "secure", Reply: "passive", APIBase: w.api,
		Token: secret.New("token"), EncodingAESKey: secret.New("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"), AppSecret: secret.New("app-secret"),
	}
	second := first
	second.Name, second.AppID, second.OriginalID = club, "wx0000000000000002", "gh_2"
	accounts, err := account.NewDirectory([]account.Account{first, second})
	require.NoError(w.t, err)
	service, err := agentrouting.New(cfg, agentrouting.Deps{
		Accounts: accounts, Bus: w.NewConn(w.t, fmt.Sprintf("agent-routing-%d", w.next)), Topology: w.Topology,
		Sender: senderv1.NewSenderServiceClient(w.dial), Rules: rulev1.NewRuleServiceClient(w.dial), SQL: w.sql, Files: w.files, Tokens: w.tokens, Now: w.clock.Now, Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(w.t, err)
	require.NoError(w.t, service.Start(w.t.Context()))
	w.t.Cleanup(func() { stop(w.t, service.Stop) })
	server, conn, err := grpcx.InProcess(w.t.Context(), grpcx.Options{}, grpcx.DialOptions{}, service.RegisterGRPC)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { stop(w.t, server.Stop); _ = conn.Close() })
	return desk{
		agentroutingv1.NewConversationServiceClient(conn), agentroutingv1.NewAgentServiceClient(conn),
		agentroutingv1.NewReportServiceClient(conn), agentroutingv1.NewPrivacyServiceClient(conn), agentroutingv1.NewKfServiceClient(conn),
	}, service
}

// event stores a push of a fan.
func (w *world) event(openid string, kind eventv1.EventKind, fill func(*eventv1.InboundEvent)) *eventv1.InboundEvent {
	w.t.Helper()
	w.next++
	now := w.clock.Now()
	ev := &eventv1.InboundEvent{
		Id: fmt.Sprintf("%032x", w.next), Account: shop, Openid: openid, Kind: kind, MsgType: "event",
		CreateTime: now.Unix(), ReceivedUnixMs: now.UnixMilli() + int64(w.next), Partition: w.Topology.Partition(shop, openid),
	}
	fill(ev)
	subject, err := topology.SubjectInbound(shop, ev.GetPartition(), kind, openid)
	require.NoError(w.t, err)
	w.publish(subject, ev.GetId(), ev)
	return ev
}

func (w *world) says(openid, text string) *eventv1.InboundEvent {
	return w.event(openid, eventv1.EventKind_EVENT_KIND_MESSAGE, func(ev *eventv1.InboundEvent) {
		ev.MsgType = "text"
		ev.Payload = &eventv1.InboundEvent_Text{Text: &eventv1.TextMessage{Content: text}}
	})
}

func (w *world) native(openid, event, kf string) {
	w.event(openid, eventv1.EventKind_EVENT_KIND_KF, func(ev *eventv1.InboundEvent) {
		ev.Event = event
		ev.Payload = &eventv1.InboundEvent_KfSession{KfSession: &eventv1.KfSession{KfAccount: kf}}
	})
}

// decides stores the decision of the rules to put the fan into a queue because of ev.
func (w *world) decides(ev *eventv1.InboundEvent, queue string) {
	w.t.Helper()
	w.decidesBy(ev, queue, rulev1.Route_ROUTE_QUEUE)
}

func (w *world) decidesBy(ev *eventv1.InboundEvent, queue string, route rulev1.Route) {
	w.t.Helper()
	subject, err := topology.SubjectDecision(shop, ev.GetPartition(), ev.GetId())
	require.NoError(w.t, err)
	w.publish(subject, "", &rulev1.DecisionMade{
		Id: ev.GetId(), Account: shop, Openid: ev.GetOpenid(), Route: route, Rule: "human", Queue: queue,
		DecidedUnixMs: ev.GetReceivedUnixMs() + 1, CreateTime: ev.GetCreateTime(),
	})
}

func (w *world) publish(subject, id string, m proto.Message) {
	w.t.Helper()
	data, err := proto.Marshal(m)
	require.NoError(w.t, err)
	_, err = w.Conn.Publish(w.t.Context(), bus.Msg{Subject: subject, ID: id, Data: data})
	require.NoError(w.t, err)
}

// quiet waits until this service has handled everything on both streams.
func (w *world) quiet() {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		for _, stream := range []string{topology.StreamInbound, topology.StreamDecisions, topology.StreamDelivery} {
			for p := range w.Topology.Partitions() {
				c, err := w.JS.Consumer(w.t.Context(), stream, topology.Durable(topology.ServiceAgentRouting, stream, uint32(p)))
				if err != nil {
					return false
				}
				info, err := c.Info(w.t.Context())
				if err != nil || info.NumPending != 0 || info.NumAckPending != 0 {
					return false
				}
			}
		}
		return true
	}, patient, soon, "messages are not handled")
}

func (w *world) owner(c agentroutingv1.ConversationServiceClient, openid string) *agentroutingv1.OwnerRecord {
	w.t.Helper()
	got, err := c.GetOwner(w.t.Context(), &agentroutingv1.GetOwnerRequest{Account: shop, Openid: openid})
	require.NoError(w.t, err)
	return got.GetRecord()
}

func (w *world) eventually(c agentroutingv1.ConversationServiceClient, openid string, kind agentroutingv1.OwnerKind) *agentroutingv1.OwnerRecord {
	w.t.Helper()
	var rec *agentroutingv1.OwnerRecord
	require.Eventually(w.t, func() bool {
		rec = w.owner(c, openid)
		return rec.GetOwner().GetKind() == kind
	}, patient, soon, "fan never became %s", kind)
	return rec
}

// waiting returns the openids of the waiting list once it has n rows.
func (w *world) waiting(c agentroutingv1.ConversationServiceClient, n int) []*agentroutingv1.OwnerRecord {
	w.t.Helper()
	var rows []*agentroutingv1.OwnerRecord
	require.Eventually(w.t, func() bool {
		got, err := c.ListWaiting(w.t.Context(), &agentroutingv1.ListWaitingRequest{})
		require.NoError(w.t, err)
		rows = got.GetWaiting()
		return len(rows) == n && int(got.GetTotal()) == n
	}, patient, soon, "the waiting list never had %d rows", n)
	return rows
}

// facts returns every OwnerChanged of a fan in the order of the stream.
func (w *world) facts(openid string) []*agentroutingv1.OwnerChanged {
	w.t.Helper()
	stream, err := w.JS.Stream(w.t.Context(), topology.StreamConversations)
	require.NoError(w.t, err)
	var out []*agentroutingv1.OwnerChanged
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		msg, err := stream.GetMsg(w.t.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue // erased
		}
		require.NoError(w.t, err)
		if msg.Header.Get(bus.HeaderType) != "wxbus.agentrouting.v1.OwnerChanged" {
			continue
		}
		var f agentroutingv1.OwnerChanged
		require.NoError(w.t, proto.Unmarshal(msg.Data, &f))
		if f.GetOpenid() == openid {
			out = append(out, &f)
		}
	}
	return out
}

func (w *world) bucket() jetstream.KeyValue {
	kv, err := w.JS.KeyValue(w.t.Context(), topology.BucketOwners)
	require.NoError(w.t, err)
	return kv
}

func texts(r *agentroutingv1.OwnerRecord) []string {
	var out []string
	for _, m := range r.GetMessages() {
		out = append(out, m.GetText())
	}
	return out
}

// fakeSender stores what it is asked to send, once for each key.
type fakeSender struct {
	senderv1.UnimplementedSenderServiceServer

	mu     sync.Mutex // guards the fields below
	sent   []*senderv1.SendRequest
	refuse error
	scarce bool // one message of the window is left
}

func (f *fakeSender) Send(_ context.Context, in *senderv1.SendRequest) (*senderv1.SendResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return nil, f.refuse
	}
	for i, known := range f.sent {
		if known.GetIdempotencyKey() == in.GetIdempotencyKey() {
			return &senderv1.SendResponse{Id: fmt.Sprint(i), Replayed: true}, nil
		}
	}
	f.sent = append(f.sent, in)
	return &senderv1.SendResponse{Id: fmt.Sprint(len(f.sent) - 1)}, nil
}

// GetQuota says that the window is open.
func (f *fakeSender) GetQuota(context.Context, *senderv1.GetQuotaRequest) (*senderv1.GetQuotaResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := int32(5)
	if f.scarce {
		left = 1
	}
	return &senderv1.GetQuotaResponse{Class: senderv1.QuotaClass_QUOTA_CLASS_OPEN, Remaining: left}, nil
}

func (f *fakeSender) leaveOne() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.scarce = true
}

func (f *fakeSender) all() []*senderv1.SendRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent
}

func (f *fakeSender) refuseWith(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = fault.New(fault.Refused, text)
}
