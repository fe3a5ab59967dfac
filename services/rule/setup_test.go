package rule_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/grpcx"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/telemetry/telemetrytest"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/topology"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	gatewayv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/gateway/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
	"github.com/wxbus/wxbus/services/rule"
)

func TestMain(m *testing.M) {
	testkit.Main(m)
}

const (
	patience = 30 * time.Second
	// attempt is WeChat's time limit in these tests; the retry span is 3.2 of them. The passive deadline
	// is most of the span, so that a slow machine is in time all the same.
	attempt  = 500 * time.Millisecond
	deadline = 1400 * time.Millisecond
	gateway  = "gw-1"
)

// rig is a rule service between a real bus, a gateway that is played, and a sender that is played.
type rig struct {
	t      testing.TB
	env    *bustest.Env
	tel    *telemetrytest.Telemetry
	accts  *account.Directory
	store  *decision.Store
	sender *playedSender
	conn   *grpc.ClientConn // of the sender
	sql    sqldb.Options
	next   int
	// config changes the configuration of replicas; nil leaves it.
	config func(*rule.Config)
}

func newRig(t testing.TB) *rig {
	t.Helper()
	tel := telemetrytest.New(t)
	r := &rig{t: t, tel: tel, env: bustest.Start(t, bustest.WithTracer(tel.TracerProvider)), sender: &playedSender{}}
	r.sql = sqldb.Options{Service: "rule", Dir: filepath.Join(t.TempDir(), "sql")}
	no := false
	var list []account.Account
	for i, a := range []account.Account{
		{Name: "shop", Reply: account.ReplyPassive},
		{Name: "ackonly", Reply: account.ReplyAck},
		{Name: "nokf", Reply: account.ReplyPassive, KfAPI: &no},
		{Name: "stretch", Reply: account.ReplyStretch},
		{Name: "early", Reply: account.ReplyStretch, StretchAnswerEarly: true},
		{Name: "mini", Reply: account.ReplyPassive, Kind: account.KindMiniProgram},
		{Name: "again", Reply: account.ReplyPassive, Ambiguous: account.AmbiguousResend},
	} {
		a.AppID = fmt.Sprintf("wx%016d", i)
		a.Mode, a.AllowInsecure = account.ModePlaintext, true
		a.Token = secret.New("token123")
		list = append(list, a)
	}
	var err error
	r.accts, err = account.NewDirectory(list)
	require.NoError(t, err)
	r.store = decision.NewStore(r.env.Conn, r.env.Topology)
	server, conn, err := grpcx.InProcess(t.Context(), grpcx.Options{Name: "sender"}, grpcx.DialOptions{Tracer: tel.TracerProvider},
		func(s grpc.ServiceRegistrar) { senderv1.RegisterSenderServiceServer(s, r.sender) })
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		require.NoError(t, server.Stop(context.Background()))
	})
	r.conn = conn
	return r
}

// config of the tests: short attempts, webhooks on loopback.
func testConfig() rule.Config {
	cfg := rule.DefaultConfig()
	cfg.AttemptTimeout, cfg.MinTimeLeft, cfg.SendPatience = attempt, 20*time.Millisecond, 300*time.Millisecond
	cfg.Webhook.AllowHTTP, cfg.Webhook.AllowPrivate = true, true
	return cfg
}

// replica starts a rule service; file is its rules file or "".
func (r *rig) replica(name, file string) *rule.Service {
	r.t.Helper()
	conn := r.env.NewConn(r.t, name)
	cfg := testConfig()
	if r.config != nil {
		r.config(&cfg)
	}
	service, err := rule.New(cfg, rule.Deps{
		Accounts: r.accts, Bus: conn, Topology: r.env.Topology, Decisions: decision.NewStore(conn, r.env.Topology),
		Sender: senderv1.NewSenderServiceClient(r.conn), SQL: r.sql, RulesFile: file, Tel: r.tel.Telemetry, Log: r.tel.Logger,
	})
	require.NoError(r.t, err)
	bustest.Run(r.t, service)
	return service
}

// rules writes a rule file and returns its name.
func (r *rig) rules(text string) string {
	r.t.Helper()
	name := filepath.Join(r.t.TempDir(), "rules.yaml")
	require.NoError(r.t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

// api returns a client of a replica's RuleService.
func (r *rig) api(s *rule.Service) rulev1.RuleServiceClient {
	r.t.Helper()
	server, conn, err := grpcx.InProcess(r.t.Context(), grpcx.Options{Name: "rule"}, grpcx.DialOptions{}, s.RegisterGRPC)
	require.NoError(r.t, err)
	r.t.Cleanup(func() {
		require.NoError(r.t, conn.Close())
		require.NoError(r.t, server.Stop(context.Background()))
	})
	return rulev1.NewRuleServiceClient(conn)
}

// text returns the event of a text of a fan that has just arrived at the gateway.
func (r *rig) text(acct, openid, content string) *eventv1.InboundEvent {
	r.next++
	a, ok := r.accts.Get(acct)
	require.True(r.t, ok)
	now := time.Now()
	ev := &eventv1.InboundEvent{
		Id: fmt.Sprintf("%032x", r.next), Account: acct, Openid: openid, Kind: eventv1.EventKind_EVENT_KIND_MESSAGE, MsgType: "text",
		CreateTime: now.Unix(), ReceivedUnixMs: now.UnixMilli(), AccountKind: a.ProtoKind(), ReplyMode: a.ProtoReply(), AcceptsPassive: true,
		Payload: &eventv1.InboundEvent_Text{Text: &eventv1.TextMessage{Content: content}},
	}
	if a.Reply != account.ReplyAck {
		ev.GatewayInstance, ev.PassiveDeadlineUnixMs = gateway, now.Add(deadline).UnixMilli()
	}
	return ev
}

// event returns an event that WeChat shows a reply to.
func (r *rig) event(acct, openid string, kind eventv1.EventKind, name, key string) *eventv1.InboundEvent {
	ev := r.text(acct, openid, "")
	ev.Payload, ev.Kind, ev.MsgType, ev.Event, ev.EventKey = nil, kind, "event", name, key
	return ev
}

// push stores an event on INBOUND.
func (r *rig) push(ev *eventv1.InboundEvent) *eventv1.InboundEvent {
	r.t.Helper()
	partition := r.env.Topology.Partition(ev.GetAccount(), ev.GetOpenid())
	subject, err := topology.SubjectInbound(ev.GetAccount(), partition, ev.GetKind(), ev.GetOpenid())
	require.NoError(r.t, err)
	data, err := proto.Marshal(ev)
	require.NoError(r.t, err)
	_, err = r.env.Conn.Publish(r.t.Context(), bus.Msg{Subject: subject, ID: ev.GetId(), Data: data})
	require.NoError(r.t, err)
	return ev
}

// record waits until the record of an event satisfies a condition.
func (r *rig) record(ev *eventv1.InboundEvent, ok func(*rulev1.DecisionMade) bool) *rulev1.DecisionMade {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	var rec *rulev1.DecisionMade
	var seq uint64
	for {
		next, at, err := r.store.AwaitAfter(ctx, ev.GetAccount(), ev.GetOpenid(), ev.GetId(), seq)
		require.NoError(r.t, err, "last record: %v", rec)
		rec, seq = next, at
		if ok(rec) {
			return rec
		}
	}
}

func hasRoute(route rulev1.Route) func(*rulev1.DecisionMade) bool {
	return func(rec *rulev1.DecisionMade) bool { return rec.GetRoute() == route }
}

func claimIs(state rulev1.ClaimState) func(*rulev1.DecisionMade) bool {
	return func(rec *rulev1.DecisionMade) bool {
		return len(rec.GetClaims()) > 0 && rec.GetClaims()[0].GetState() == state
	}
}

// settled waits until INBOUND has nothing that is not acknowledged.
func (r *rig) settled() {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		for p := range r.env.Topology.Partitions() {
			c, err := r.env.JS.Consumer(r.t.Context(), topology.StreamInbound, topology.Durable("rule", topology.StreamInbound, uint32(p)))
			if err != nil || c.CachedInfo().NumPending+uint64(c.CachedInfo().NumAckPending) > 0 {
				return false
			}
		}
		return true
	}, patience, 10*time.Millisecond)
}

type (
	offer   = gatewayv1.OfferReplyRequest
	outcome = gatewayv1.OfferOutcome
)

// playedGateway answers offers as told.
type playedGateway struct {
	mu     sync.Mutex // guards the fields below
	offers []*offer
	closer *bus.Responder
}

// gateway plays the instance gw-1 until the test ends or gone is called.
func (r *rig) gateway(answer func(*offer) (outcome, error)) *playedGateway {
	r.t.Helper()
	g := &playedGateway{}
	subject, err := topology.SubjectOffer(gateway)
	require.NoError(r.t, err)
	g.closer, err = r.env.Conn.Respond(subject, "", func(_ context.Context, m *nats.Msg) ([]byte, error) {
		got := &offer{}
		if err := proto.Unmarshal(m.Data, got); err != nil {
			return nil, err
		}
		g.mu.Lock()
		g.offers = append(g.offers, got)
		g.mu.Unlock()
		o, err := answer(got)
		if err != nil {
			return nil, err
		}
		return proto.Marshal(&gatewayv1.OfferReplyResponse{Outcome: o})
	})
	require.NoError(r.t, err)
	r.t.Cleanup(func() { g.gone(r.t) })
	return g
}

func (g *playedGateway) gone(t testing.TB) {
	require.NoError(t, g.closer.Close(context.Background()))
}

func (g *playedGateway) got() []*offer {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]*offer(nil), g.offers...)
}

func always(o outcome) func(*offer) (outcome, error) {
	return func(*offer) (outcome, error) { return o, nil }
}

// playedSender keeps what it is asked to send, once per key.
type playedSender struct {
	senderv1.UnimplementedSenderServiceServer

	mu    sync.Mutex // guards the fields below
	sends []*senderv1.SendRequest
	calls int
	// fail returns the error of a call, or nil.
	fail func(call int, req *senderv1.SendRequest) error
	// state returns the state of a message; nil: every message is sent at once.
	state func(id string) senderv1.SendState
}

func (s *playedSender) GetSend(_ context.Context, req *senderv1.GetSendRequest) (*senderv1.GetSendResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec := &senderv1.SendRecord{Id: req.GetId(), State: senderv1.SendState_SEND_STATE_SENT}
	if s.state != nil {
		rec.State = s.state(req.GetId())
	}
	return &senderv1.GetSendResponse{Record: rec}, nil
}

func (s *playedSender) Send(_ context.Context, req *senderv1.SendRequest) (*senderv1.SendResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.fail != nil {
		if err := s.fail(s.calls, req); err != nil {
			return nil, err
		}
	}
	for _, known := range s.sends {
		if known.GetIdempotencyKey() == req.GetIdempotencyKey() {
			if !proto.Equal(known.GetContent(), req.GetContent()) {
				return nil, fault.New(fault.Conflict, "key reused")
			}
			return &senderv1.SendResponse{Replayed: true}, nil
		}
	}
	s.sends = append(s.sends, req)
	return &senderv1.SendResponse{Id: req.GetIdempotencyKey()}, nil
}

func (s *playedSender) got() []*senderv1.SendRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*senderv1.SendRequest(nil), s.sends...)
}

// texts returns the texts of what was sent, in order.
func (s *playedSender) texts() []string {
	var out []string
	for _, req := range s.got() {
		out = append(out, req.GetContent().GetText().GetContent())
	}
	return out
}

// noSender is for services that never send.
type noSender struct{ senderv1.SenderServiceClient }
