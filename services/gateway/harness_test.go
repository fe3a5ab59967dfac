package gateway_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/httpx"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/telemetry/telemetrytest"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/topology"
	"github.com/wxbus/wxbus/pkg/wechat"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	"github.com/wxbus/wxbus/services/gateway"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const (
	token       = "PushToken"
	key         = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	previousKey = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefg"
	retiredKey  = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg"
	appID       = "wx0000000000000001"
	originalID  = "gh_000000000001"
	openID      = "o_fan-1"
)

// quick is the gateway with WeChat's times divided by about five.
func quick() gateway.Config {
	cfg := gateway.DefaultConfig()
	cfg.AttemptTimeout, cfg.PassiveDeadline = 3*time.Second, 1600*time.Millisecond
	cfg.Publish.PrimaryTimeout, cfg.Publish.Total = 400*time.Millisecond, 1200*time.Millisecond
	return cfg
}

// patient is the gateway with times that no test waits for: in it something else ends every wait.
func patient() gateway.Config {
	cfg := gateway.DefaultConfig()
	cfg.AttemptTimeout, cfg.PassiveDeadline = 20*time.Second, 15*time.Second
	return cfg
}

// shop is an account in secure mode.
func shop(change func(*account.Account)) account.Account {
	a := account.Account{
		Name: "shop", AppID: appID, OriginalID: originalID, Kind: account.KindService, Format: account.FormatXML,
		Mode: account.ModeSecure, Token: secret.New(token), EncodingAESKey: secret.New(key), Reply: account.ReplyAck,
	}
	if change != nil {
		change(&a)
	}
	return a
}

func passiveShop(a *account.Account) { a.Reply = account.ReplyPassive }

// rig is a bus and what the tests need around the gateways.
type rig struct {
	env   *bustest.Env
	tel   *telemetrytest.Telemetry
	store *decision.Store

	readTimeout time.Duration // of the gateways that start after it is set
}

// shortRead is shorter than every wait, as in production. Tests with large bodies use a longer time.
const shortRead = 800 * time.Millisecond

func newRig(t testing.TB, opts ...bustest.Option) *rig {
	t.Helper()
	tel := telemetrytest.New(t)
	env := bustest.Start(t, append([]bustest.Option{bustest.WithTracer(tel.TracerProvider)}, opts...)...)
	return &rig{env: env, tel: tel, store: decision.NewStore(env.Conn, env.Topology), readTimeout: shortRead}
}

// newRigOn is newRig on a bus that runs already.
func newRigOn(t testing.TB, env *bustest.Env) *rig {
	return &rig{env: env, tel: telemetrytest.New(t), store: decision.NewStore(env.Conn, env.Topology), readTimeout: shortRead}
}

// replica is one gateway behind the HTTP server of production.
type replica struct {
	*gateway.Service
	url    string
	server *httpx.Server
	// accounts is the directory of the replica.
	accounts *account.Directory
}

var replicas atomic.Int32

// gateway starts a replica; it is stopped in the order of production when the test ends.
func (r *rig) gateway(t testing.TB, cfg gateway.Config, accounts ...account.Account) *replica {
	t.Helper()
	g := r.newReplica(t, cfg, accounts)
	bustest.Run(t, g.Service)
	g.listen(t, r.readTimeout)
	return g
}

// unstarted returns a replica that takes pushes, but no offers.
func (r *rig) unstarted(t testing.TB, cfg gateway.Config, accounts ...account.Account) *replica {
	t.Helper()
	g := r.newReplica(t, cfg, accounts)
	t.Cleanup(func() { require.NoError(t, g.Stop(context.Background())) })
	g.listen(t, r.readTimeout)
	return g
}

func (r *rig) newReplica(t testing.TB, cfg gateway.Config, accounts []account.Account) *replica {
	t.Helper()
	name := fmt.Sprintf("gw%d", replicas.Add(1))
	directory, err := account.NewDirectory(accounts)
	require.NoError(t, err)
	s, err := gateway.New(cfg, gateway.Deps{
		Accounts: directory, Bus: r.env.NewConn(t, name), Topology: r.env.Topology,
		Tel: r.tel.Telemetry, Log: r.tel.Logger, Instance: name,
	})
	require.NoError(t, err)
	return &replica{Service: s, accounts: directory}
}

func (g *replica) listen(t testing.TB, readTimeout time.Duration) {
	t.Helper()
	g.server = httpx.NewServer(httpx.Options{Addr: "127.0.0.1:0", Handler: g.Handler(), ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, Direct: true})
	require.NoError(t, g.server.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, g.server.Stop(context.Background())) })
	g.url = "http://" + g.server.Addr()
}

// message is a push of a fan before it is sealed.
type message struct {
	format  wechat.Format
	id      string
	content string
	raw     string // replaces the whole body
}

func (m message) body() string {
	if m.raw != "" {
		return m.raw
	}
	if m.format == wechat.JSON {
		return fmt.Sprintf(`{"ToUserName":%q,"FromUserName":%q,"CreateTime":1700000000,"MsgType":"text","Content":%q,"MsgId":%s}`, originalID, openID, m.content, m.id)
	}
	return "<xml><ToUserName><![CDATA[" + originalID + "]]></ToUserName><FromUserName><![CDATA[" + openID + "]]></FromUserName>" +
		"<CreateTime>1700000000</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[" + m.content + "]]></Content><MsgId>" + m.id + "</MsgId></xml>"
}

// dedupeKey is the id that the event of the message will have.
func (m message) dedupeKey(t testing.TB) string {
	p, err := wechat.Parse([]byte(m.body()), wechat.Limits{})
	require.NoError(t, err)
	return p.DedupeKey("shop")
}

// credentials are what a push is sealed with.
type credentials struct{ token, key, appID string }

var valid = credentials{token: token, key: key, appID: appID}

// seal returns the query and the body of a push in a mode.
func (c credentials) seal(t testing.TB, mode account.Mode, format wechat.Format, body string) (string, []byte) {
	t.Helper()
	now := time.Now().Unix()
	if mode == account.ModePlaintext {
		stamp := fmt.Sprint(now)
		q := wechat.Query{Timestamp: stamp, Nonce: "nonce", Signature: wechat.Sign(c.token, stamp, "nonce"), OpenID: openID}
		return q.Encode(), []byte(body)
	}
	cipher, err := wechat.NewCipher(c.key, c.appID, nil)
	require.NoError(t, err)
	seal := wechat.Seal{Format: format, Token: c.token, Timestamp: now, Nonce: "nonce"}
	if mode == account.ModeCompatible {
		q, sealed, err := cipher.SealCompatiblePush(seal, []byte(body))
		require.NoError(t, err)
		return q.Encode(), sealed
	}
	q, sealed, err := cipher.SealPush(seal, originalID, []byte(body))
	require.NoError(t, err)
	return q.Encode(), sealed
}

// response is an answer as WeChat sees it.
type response struct {
	status      int
	body        string
	contentType string
	took        time.Duration
	err         error // the connection was broken, or the attempt timed out
}

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// post sends a push and returns the answer. It may be called on any goroutine.
func (g *replica) post(ctx context.Context, query string, body []byte) response {
	start := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+"/wx/shop?"+query, bytes.NewReader(body))
	if err != nil {
		return response{err: err}
	}
	res, err := client.Do(req)
	if err != nil {
		return response{err: err, took: time.Since(start)}
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return response{status: res.StatusCode, body: string(text), contentType: res.Header.Get("Content-Type"), took: time.Since(start), err: err}
}

// push sends a message in secure mode.
func (g *replica) push(t testing.TB, m message) response {
	query, body := valid.seal(t, account.ModeSecure, wechat.XML, m.body())
	return g.post(t.Context(), query, body)
}

// begin sends a message in secure mode and returns at once.
func (g *replica) begin(ctx context.Context, t testing.TB, m message) <-chan response {
	query, body := valid.seal(t, account.ModeSecure, wechat.XML, m.body())
	done := make(chan response, 1)
	go func() { done <- g.post(ctx, query, body) }()
	return done
}

// requireText opens a sealed passive reply and returns its text.
func requireText(t testing.TB, r response, keyText string) string {
	t.Helper()
	require.NoError(t, r.err)
	require.Equal(t, http.StatusOK, r.status)
	cipher, err := wechat.NewCipher(keyText, appID, nil)
	require.NoError(t, err)
	plain, err := cipher.OpenReply(token, []byte(r.body), wechat.Limits{})
	require.NoError(t, err, "body %s", r.body)
	return textOf(t, plain)
}

func textOf(t testing.TB, plain []byte) string {
	t.Helper()
	reply, _, err := wechat.DecodeReply(plain, wechat.Limits{})
	require.NoError(t, err)
	require.Equal(t, openID, reply.ToUserName)
	require.Equal(t, originalID, reply.FromUserName)
	text, ok := reply.Body.(wechat.TextReply)
	require.True(t, ok, "%T", reply.Body)
	return text.Content
}

func requireSuccess(t testing.TB, r response) {
	t.Helper()
	require.NoError(t, r.err)
	require.Equal(t, http.StatusOK, r.status)
	require.Equal(t, "success", r.body)
}

// events returns everything in a stream, in order.
func (r *rig) events(t testing.TB, stream string) []*eventv1.InboundEvent {
	t.Helper()
	var events []*eventv1.InboundEvent
	for _, m := range r.messages(t, stream) {
		e := new(eventv1.InboundEvent)
		require.NoError(t, proto.Unmarshal(m.Data, e))
		events = append(events, e)
	}
	return events
}

func (r *rig) messages(t testing.TB, stream string) []*jetstream.RawStreamMsg {
	t.Helper()
	s, err := r.env.JS.Stream(t.Context(), stream)
	require.NoError(t, err)
	info, err := s.Info(t.Context())
	require.NoError(t, err)
	if info.State.Msgs == 0 {
		return nil
	}
	var messages []*jetstream.RawStreamMsg
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		m, err := s.GetMsg(t.Context(), seq)
		require.NoError(t, err)
		messages = append(messages, m)
	}
	return messages
}

// requireNothingStored checks that no stream has anything.
func (r *rig) requireNothingStored(t testing.TB) {
	t.Helper()
	for _, stream := range []string{topology.StreamInbound, topology.StreamSpill, topology.StreamDeadLetters} {
		require.Empty(t, r.messages(t, stream), stream)
	}
}

// metric returns the sum of a counter over the series whose labels contain all the words.
func (r *rig) metric(t testing.TB, name string, words ...string) float64 {
	t.Helper()
	families, err := r.tel.Registry.Gather()
	require.NoError(t, err)
	var sum float64
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := ""
			for _, l := range m.GetLabel() {
				labels += l.GetName() + "=" + l.GetValue() + " "
			}
			if containsAll(labels, words) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

func containsAll(text string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

func read(t testing.TB, res *http.Response) response {
	t.Helper()
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return response{status: res.StatusCode, body: string(text), contentType: res.Header.Get("Content-Type")}
}

// slowBody is a body whose end does not come until it is released.
type slowBody struct {
	began   chan struct{}
	release chan struct{}
	sent    bool
}

func newSlowBody() (*slowBody, func()) {
	b := &slowBody{began: make(chan struct{}), release: make(chan struct{})}
	return b, func() { close(b.release) }
}

func (b *slowBody) Read(p []byte) (int, error) {
	if !b.sent {
		b.sent = true
		close(b.began)
		return copy(p, "<xml>"), nil
	}
	<-b.release
	return 0, io.EOF
}

func (b *slowBody) waitRead(t testing.TB) {
	select {
	case <-b.began:
	case <-t.Context().Done():
		t.Fatal("the body was never read")
	}
}

func (g *replica) postReader(t testing.TB, query string, body io.Reader) response {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+"/wx/shop?"+query, body)
	if err != nil {
		return response{err: err}
	}
	res, err := client.Do(req)
	if err != nil {
		return response{err: err}
	}
	return read(t, res)
}

// serviceNamed returns a service that is not started.
func (r *rig) serviceNamed(t testing.TB, instance string, accounts *account.Directory) *gateway.Service {
	t.Helper()
	s, err := gateway.New(quick(), gateway.Deps{
		Accounts: accounts, Bus: r.env.Conn, Topology: r.env.Topology, Tel: r.tel.Telemetry, Instance: instance,
	})
	require.NoError(t, err)
	return s
}

// A span ends after its request was answered.
const (
	telemetryPatience = 30 * time.Second
	telemetryPace     = 2 * time.Millisecond
)
