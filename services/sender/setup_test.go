package sender_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/telemetry"
	"github.com/wxbus/wxbus/pkg/telemetry/telemetrytest"
	"github.com/wxbus/wxbus/pkg/tokens"
	"github.com/wxbus/wxbus/pkg/topology"
	"github.com/wxbus/wxbus/services/sender"
)

// tokenService is the token service as clients see it.
type tokenService struct {
	mu         sync.Mutex // guards everything below
	generation uint64
	reports    int
	err        error
}

func (s *tokenService) GetToken(context.Context, *tokenv1.GetTokenRequest, ...grpc.CallOption) (*tokenv1.GetTokenResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &tokenv1.GetTokenResponse{Token: s.token(), ValidForMs: time.Hour.Milliseconds()}, s.err
}

func (s *tokenService) ReportBadToken(_ context.Context, req *tokenv1.ReportBadTokenRequest, _ ...grpc.CallOption) (*tokenv1.ReportBadTokenResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports++
	if s.err == nil && req.GetGeneration() == s.generation {
		s.generation++
	}
	return &tokenv1.ReportBadTokenResponse{Token: s.token(), ValidForMs: time.Hour.Milliseconds()}, s.err
}

func (s *tokenService) token() *tokenv1.AccessToken {
	return &tokenv1.AccessToken{Value: fmt.Sprintf("access-token-%d", s.generation), Generation: s.generation}
}

func (s *tokenService) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *tokenService) reported() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reports
}

// wall is the real time plus a shift that tests can move, or a time that stands still.
type wall struct {
	mu     sync.Mutex // guards everything below
	shift  time.Duration
	frozen time.Time
}

func (w *wall) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.frozen.IsZero() {
		return w.frozen
	}
	return time.Now().Add(w.shift)
}

func (w *wall) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shift += d
}

// freeze stops the clock at t; the zero time lets it run again.
func (w *wall) freeze(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frozen = t
}

// gauge counts the calls that are under way on our side.
type gauge struct {
	next http.RoundTripper

	mu        sync.Mutex // guards now and most
	now, most int
}

func (g *gauge) RoundTrip(r *http.Request) (*http.Response, error) {
	g.add(1)
	defer g.add(-1)
	return g.next.RoundTrip(r)
}

func (g *gauge) add(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now += n
	g.most = max(g.most, g.now)
}

func (g *gauge) read() (now, most int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now, g.most
}

type fixture struct {
	env    *bustest.Env
	wechat *fakeWeChat
	tokens *tokenService
	tel    *telemetrytest.Telemetry
	clock  *wall
	cfg    sender.Config
	calls  *gauge
	base   string             // api_base; the fake WeChat unless a test says otherwise
	dir    *account.Directory // of the newest replica
}

func setUp(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{
		wechat: newFakeWeChat(t), tokens: &tokenService{generation: 1}, tel: newTelemetry(t),
		clock: &wall{}, cfg: sender.DefaultConfig(),
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	f.calls = &gauge{next: transport}
	f.base = f.wechat.URL
	f.env = bustest.Start(t, bustest.WithTracer(f.tel.TracerProvider), bustest.WithLog(f.tel.Logger))
	f.cfg.CallTimeout = 20 * time.Second // a slow machine makes no call ambiguous; tests with answers that hang shorten it
	f.cfg.BusyPauses = []time.Duration{10 * time.Millisecond, 20 * time.Millisecond}
	f.cfg.RatePause = 300 * time.Millisecond
	return f
}

// newTelemetry records everything for tests and nothing for benchmarks.
func newTelemetry(t testing.TB) *telemetrytest.Telemetry {
	if _, bench := t.(*testing.B); !bench {
		return telemetrytest.New(t)
	}
	quiet, err := telemetry.Start(t.Context(), telemetry.Config{LogLevel: "error", LogOutput: io.Discard}, telemetry.Resource{Service: "bench"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, quiet.Shutdown(context.Background())) })
	return &telemetrytest.Telemetry{Telemetry: quiet}
}

func (f *fixture) accounts(t testing.TB) *account.Directory {
	t.Helper()
	one := func(n int, name string, change func(*account.Account)) account.Account {
		a := account.Account{
			Name: name, AppID: fmt.Sprintf("wx%016d", n), OriginalID: fmt.Sprintf("gh_%012d", n), Kind: account.KindService,
			Token: secret.New("PushToken"), EncodingAESKey: secret.New("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"),
			AppSecret: secret.New("the-app-secret"), APIBase: f.base,
		}
		if change != nil {
			change(&a)
		}
		return a
	}
	d, err := account.NewDirectory([]account.Account{
		one(1, "shop", nil),
		one(2, "mini", func(a *account.Account) { a.Kind = account.KindMiniProgram }),
		one(3, "mute", func(a *account.Account) { a.Reply = account.ReplyStretch }),
		one(4, "again", func(a *account.Account) { a.Ambiguous = account.AmbiguousResend }),
		one(5, "other", nil),
	})
	require.NoError(t, err)
	return d
}

// replica starts one more instance of the service, with a connection of its own.
func (f *fixture) replica(t testing.TB, instance string) *sender.Service {
	s, _ := f.replicaOn(t, instance)
	return s
}

func (f *fixture) replicaOn(t testing.TB, instance string) (*sender.Service, *bus.Conn) {
	t.Helper()
	conn := f.env.NewConn(t, "sender-"+instance)
	sealer, err := secret.NewSealer(bytes.Repeat([]byte{3}, secret.KeySize))
	require.NoError(t, err)
	kv, err := conn.JS().KeyValue(t.Context(), topology.BucketTokens)
	require.NoError(t, err)
	client := tokens.New(tokens.Options{KV: kv, Sealer: sealer, Token: f.tokens})
	bustest.Run(t, client)
	f.dir = f.accounts(t)
	s, err := sender.New(f.cfg, sender.Deps{
		Accounts: f.dir, Bus: conn, Topology: f.env.Topology, Tokens: client,
		HTTP: &http.Client{Transport: f.calls}, Tel: f.tel.Telemetry, Log: f.tel.Logger,
		Now: f.clock.Now, Rand: rand.New(rand.NewPCG(1, 2)), Instance: instance,
	})
	require.NoError(t, err)
	bustest.Run(t, s)
	return s, conn
}

func text(s string) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: s}}}
}

// said is the evidence that the fan has just sent a message.
func (f *fixture) said(id string) *senderv1.GrantEvidence {
	return &senderv1.GrantEvidence{EventId: id, Kind: eventv1.EventKind_EVENT_KIND_MESSAGE, CreateTime: f.clock.Now().Unix()}
}

// request is a message to a fan who has just written.
func (f *fixture) request(openid, key, message string) *senderv1.SendRequest {
	return &senderv1.SendRequest{
		Account: "shop", Openid: openid, IdempotencyKey: key, Lane: senderv1.Lane_LANE_RULE, Content: text(message),
		Cause: "e0000000000000000000000000000001", Evidence: f.said("said-" + openid),
	}
}

func send(t testing.TB, s *sender.Service, req *senderv1.SendRequest) *senderv1.SendResponse {
	t.Helper()
	resp, err := s.Send(t.Context(), req)
	require.NoError(t, err)
	return resp
}

func state(t testing.TB, s *sender.Service, account, id string) *senderv1.SendRecord {
	t.Helper()
	resp, err := s.GetSend(t.Context(), &senderv1.GetSendRequest{Account: account, Id: id})
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	require.NoError(t, err)
	return resp.GetRecord()
}

// ends waits until the message has come to that end.
func ends(t testing.TB, s *sender.Service, account, id string, want senderv1.SendState) *senderv1.SendRecord {
	t.Helper()
	var rec *senderv1.SendRecord
	require.Eventually(t, func() bool {
		rec = state(t, s, account, id)
		return rec.GetState() == want
	}, 30*time.Second, 5*time.Millisecond, "state %s wanted, is %s", want, rec)
	return rec
}

func quota(t testing.TB, s *sender.Service, account, openid string) *senderv1.GetQuotaResponse {
	t.Helper()
	resp, err := s.GetQuota(t.Context(), &senderv1.GetQuotaRequest{Account: account, Openid: openid})
	require.NoError(t, err)
	return resp
}

// fact is one message of the stream DELIVERY.
type fact struct {
	id        string
	attempted *senderv1.DeliveryAttempted
	settled   *senderv1.DeliverySettled
}

// facts reads the whole stream DELIVERY until it holds n settled messages.
func (f *fixture) facts(t testing.TB, n int) []fact {
	t.Helper()
	var out []fact
	require.Eventually(t, func() bool {
		out = f.readFacts(t)
		settled := 0
		for _, one := range out {
			if one.settled != nil {
				settled++
			}
		}
		return settled >= n
	}, 30*time.Second, 10*time.Millisecond)
	return out
}

func (f *fixture) readFacts(t testing.TB) []fact {
	t.Helper()
	stream, err := f.env.JS.Stream(t.Context(), topology.StreamDelivery)
	require.NoError(t, err)
	var out []fact
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		msg, err := stream.GetMsg(t.Context(), seq)
		require.NoError(t, err)
		one := fact{id: msg.Header.Get(nats.MsgIdHdr)}
		switch msg.Header.Get(bus.HeaderType) {
		case "wxbus.sender.v1.DeliveryAttempted":
			one.attempted = &senderv1.DeliveryAttempted{}
			require.NoError(t, proto.Unmarshal(msg.Data, one.attempted))
		case "wxbus.sender.v1.DeliverySettled":
			one.settled = &senderv1.DeliverySettled{}
			require.NoError(t, proto.Unmarshal(msg.Data, one.settled))
		default:
			t.Fatalf("fact of unknown type %q", msg.Header.Get(bus.HeaderType))
		}
		out = append(out, one)
	}
	return out
}

// settledOf returns the end of a message and how many calls there were, as told on DELIVERY.
func settledOf(facts []fact, id string) (settled *senderv1.DeliverySettled, attempts []*senderv1.DeliveryAttempted) {
	for _, one := range facts {
		if one.settled.GetId() == id {
			settled = one.settled
		}
		if one.attempted.GetId() == id {
			attempts = append(attempts, one.attempted)
		}
	}
	return settled, attempts
}

// idle waits until no message waits to be sent.
func (f *fixture) idle(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool { return f.queued(t) == 0 }, 30*time.Second, 10*time.Millisecond)
}

func (f *fixture) queued(t testing.TB) uint64 {
	t.Helper()
	stream, err := f.env.JS.Stream(t.Context(), topology.StreamOutbound)
	require.NoError(t, err)
	return stream.CachedInfo().State.Msgs
}

func (f *fixture) bucket(t testing.TB, name string) jetstream.KeyValue {
	t.Helper()
	kv, err := f.env.JS.KeyValue(t.Context(), name)
	require.NoError(t, err)
	return kv
}
