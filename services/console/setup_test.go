package console_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/grpcx"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/testkit"

	"github.com/wxbus/wxbus/services/console"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const (
	shopKey = "shop-key-0123456789"
	opsKey  = "ops-key-0123456789"
)

// backend is the three services that the console asks, behind a real gRPC edge.
type backend struct {
	senderv1.UnimplementedSenderServiceServer
	senderv1.UnimplementedCampaignServiceServer
	agentroutingv1.UnimplementedConversationServiceServer
	rulev1.UnimplementedRuleServiceServer

	mu      sync.Mutex // guards the fields below
	sent    []*senderv1.SendRequest
	mass    []*senderv1.SendMassRequest
	replies []*agentroutingv1.ReplyRequest
	acted   []string // who replied, by metadata
	within  []string // which accounts who asked for a person may see, by metadata
	waiting []*agentroutingv1.OwnerRecord
	serving []*agentroutingv1.OwnerRecord
	fail    error  // what every call answers when set
	asked   int    // calls of ListRuleSets
	during  func() // what happens while somebody replies
}

// before lets something happen when a reply arrives, before it is taken.
func (b *backend) before(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.during = f
}

func (b *backend) hook() {
	b.mu.Lock()
	f := b.during
	b.mu.Unlock()
	if f != nil {
		f()
	}
}

// GetFan knows every fan.
func (b *backend) GetFan(_ context.Context, in *agentroutingv1.GetFanRequest) (*agentroutingv1.GetFanResponse, error) {
	return &agentroutingv1.GetFanResponse{Fan: &agentroutingv1.Fan{Account: in.GetAccount(), Openid: in.GetOpenid()}}, nil
}

// ListPersonEntries knows every fan in two accounts, and tells of those that the caller may see.
func (b *backend) ListPersonEntries(ctx context.Context, in *agentroutingv1.ListPersonEntriesRequest) (*agentroutingv1.ListPersonEntriesResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	md, _ := metadata.FromIncomingContext(ctx)
	b.within = md.Get("wxbus-accounts")
	return &agentroutingv1.ListPersonEntriesResponse{Fans: []*agentroutingv1.LinkedFan{
		{Account: in.GetAccount(), Openid: in.GetOpenid()}, {Account: "club", Openid: in.GetOpenid() + "-too"},
	}}, nil
}

// accountsTold returns which accounts the last caller may see, as the services were told.
func (b *backend) accountsTold() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.within
}

func (b *backend) failWith(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = err
}

func (b *backend) sends() []*senderv1.SendRequest {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sent
}

func (b *backend) masses() []*senderv1.SendMassRequest {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mass
}

func (b *backend) answers() []*agentroutingv1.ReplyRequest {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.replies
}

func (b *backend) rounds() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked
}

func (b *backend) hold(waiting ...*agentroutingv1.OwnerRecord) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = waiting
}

func (b *backend) Send(_ context.Context, in *senderv1.SendRequest) (*senderv1.SendResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return nil, b.fail
	}
	for i, known := range b.sent {
		if known.GetIdempotencyKey() != in.GetIdempotencyKey() {
			continue
		}
		if known.GetContent().String() != in.GetContent().String() {
			return nil, status.Error(codes.AlreadyExists, "idempotency_key: was used for another message")
		}
		return &senderv1.SendResponse{Id: fmt.Sprint(i), Record: &senderv1.SendRecord{State: senderv1.SendState_SEND_STATE_SENT}, Replayed: true}, nil
	}
	b.sent = append(b.sent, in)
	return &senderv1.SendResponse{Id: fmt.Sprint(len(b.sent) - 1), Record: &senderv1.SendRecord{State: senderv1.SendState_SEND_STATE_QUEUED}}, nil
}

func (b *backend) GetSend(_ context.Context, in *senderv1.GetSendRequest) (*senderv1.GetSendResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return nil, b.fail
	}
	if in.GetId() != "0" {
		return nil, fault.New(fault.NotFound, "no such message")
	}
	return &senderv1.GetSendResponse{Record: &senderv1.SendRecord{
		Id: "0", State: senderv1.SendState_SEND_STATE_FAILED, Errcode: 43004, Reason: "the fan unfollowed", Attempts: 1, Openid: "fan",
		Endpoint: senderv1.SendEndpoint_SEND_ENDPOINT_TEMPLATE, Step: 1, Steps: []*senderv1.StepEnd{{
			Endpoint: senderv1.SendEndpoint_SEND_ENDPOINT_CUSTOM_SEND, State: senderv1.SendState_SEND_STATE_REFUSED, Reason: "window closed", AtUnixMs: 1,
		}},
		Result: &senderv1.SendResult{Status: "failed:user block", AtUnixMs: 2},
	}}, nil
}

func (b *backend) GetQuota(_ context.Context, in *senderv1.GetQuotaRequest) (*senderv1.GetQuotaResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &senderv1.GetQuotaResponse{Remaining: 3, DeadlineUnixMs: 1_800_000_000_000, Reason: in.GetOpenid(), Class: senderv1.QuotaClass_QUOTA_CLASS_OPEN, Reserved: 1}, b.fail
}

func (b *backend) ListWaiting(_ context.Context, in *agentroutingv1.ListWaitingRequest) (*agentroutingv1.ListWaitingResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return nil, b.fail
	}
	out := &agentroutingv1.ListWaitingResponse{}
	for _, r := range b.waiting {
		if in.GetAccount() == "" || r.GetAccount() == in.GetAccount() {
			out.Waiting = append(out.Waiting, r)
		}
	}
	out.Total = int32(len(out.Waiting))
	return out, nil
}

func (b *backend) ListServing(_ context.Context, in *agentroutingv1.ListServingRequest) (*agentroutingv1.ListServingResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return nil, b.fail
	}
	out := &agentroutingv1.ListServingResponse{}
	for _, r := range b.serving {
		if (in.GetAccount() == "" || r.GetAccount() == in.GetAccount()) && r.GetOwner().GetName() == in.GetAgent() {
			out.Serving = append(out.Serving, r)
		}
	}
	out.Total = int32(len(out.Serving))
	return out, nil
}

func (b *backend) Reply(ctx context.Context, in *agentroutingv1.ReplyRequest) (*agentroutingv1.ReplyResponse, error) {
	b.hook()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return nil, b.fail
	}
	b.replies = append(b.replies, in)
	md, _ := metadata.FromIncomingContext(ctx)
	b.acted = append(b.acted, md.Get("wxbus-actor")...)
	return &agentroutingv1.ReplyResponse{SendId: "send-1", Record: waitingFan(in.GetAccount(), in.GetOpenid(), 1, "hi")}, nil
}

func (b *backend) Close(_ context.Context, in *agentroutingv1.CloseRequest) (*agentroutingv1.CloseResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &agentroutingv1.CloseResponse{Record: &agentroutingv1.OwnerRecord{Account: in.GetAccount(), Openid: in.GetOpenid(),
		Owner: &agentroutingv1.Owner{Kind: agentroutingv1.OwnerKind_OWNER_KIND_BOT}}}, b.fail
}

func (b *backend) ListRuleSets(context.Context, *rulev1.ListRuleSetsRequest) (*rulev1.ListRuleSetsResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	if b.fail != nil {
		return nil, b.fail
	}
	return &rulev1.ListRuleSetsResponse{RuleSets: []*rulev1.RuleSetInfo{{Version: "v2"}, {Version: "v1", Live: true}}}, nil
}

func (b *backend) SendBatch(ctx context.Context, in *senderv1.SendBatchRequest) (*senderv1.SendBatchResponse, error) {
	out := &senderv1.SendBatchResponse{}
	for i, one := range in.GetRequests() {
		if i == 1 {
			out.Results = append(out.Results, &senderv1.SendBatchResult{Outcome: &senderv1.SendBatchResult_Problem{Problem: &senderv1.SendProblem{
				Code: int32(codes.FailedPrecondition), Message: "the window is closed"}}})
			continue
		}
		done, err := b.Send(ctx, one)
		if err != nil {
			return nil, err
		}
		out.Results = append(out.Results, &senderv1.SendBatchResult{Outcome: &senderv1.SendBatchResult_Response{Response: done}})
	}
	return out, nil
}

func (b *backend) ListTemplates(context.Context, *senderv1.ListTemplatesRequest) (*senderv1.ListTemplatesResponse, error) {
	return &senderv1.ListTemplatesResponse{}, nil
}

func (b *backend) ListCampaigns(context.Context, *senderv1.ListCampaignsRequest) (*senderv1.ListCampaignsResponse, error) {
	return &senderv1.ListCampaignsResponse{}, nil
}

func campaign(id string) *senderv1.CampaignRecord { return &senderv1.CampaignRecord{Id: id} }

func (b *backend) CreateCampaign(_ context.Context, in *senderv1.CreateCampaignRequest) (*senderv1.CreateCampaignResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acted = append(b.acted, in.GetActor())
	return &senderv1.CreateCampaignResponse{Campaign: campaign(in.GetId())}, nil
}

func (b *backend) GetCampaign(_ context.Context, in *senderv1.GetCampaignRequest) (*senderv1.GetCampaignResponse, error) {
	return &senderv1.GetCampaignResponse{Campaign: campaign(in.GetId())}, nil
}

func (b *backend) SetAudience(_ context.Context, in *senderv1.SetAudienceRequest) (*senderv1.SetAudienceResponse, error) {
	if len(in.GetList().GetOpenids()) == 0 && len(in.GetCsv()) == 0 {
		return nil, fault.New(fault.Invalid, "list.openids: must not be empty")
	}
	report := &senderv1.AudienceReport{Lines: uint32(max(len(in.GetList().GetOpenids()), bytes.Count(in.GetCsv(), []byte("\n")))), Frozen: !in.GetStrict()}
	return &senderv1.SetAudienceResponse{Campaign: campaign(in.GetId()), Report: report}, nil
}

func (b *backend) DryCount(_ context.Context, in *senderv1.DryCountRequest) (*senderv1.DryCountResponse, error) {
	return &senderv1.DryCountResponse{Campaign: campaign(in.GetId())}, nil
}

// ListRecipients answers with one recipient of each state and errcode that was asked for.
func (b *backend) ListRecipients(_ context.Context, in *senderv1.ListRecipientsRequest) (*senderv1.ListRecipientsResponse, error) {
	out := &senderv1.ListRecipientsResponse{}
	for _, state := range in.GetFilter().GetStates() {
		for _, code := range in.GetFilter().GetErrcodes() {
			out.Recipients = append(out.Recipients, &senderv1.Recipient{State: state, Errcode: code, Openid: in.GetFilter().GetOpenid(), Number: in.GetPageSize()})
		}
	}
	return out, nil
}

func (b *backend) CountReplay(_ context.Context, in *senderv1.CountReplayRequest) (*senderv1.CountReplayResponse, error) {
	return &senderv1.CountReplayResponse{Count: uint32(len(in.GetErrcodes()))}, nil
}

func (b *backend) ReplayFailures(_ context.Context, in *senderv1.ReplayFailuresRequest) (*senderv1.ReplayFailuresResponse, error) {
	return &senderv1.ReplayFailuresResponse{Campaign: campaign(in.GetId()), Count: in.GetExpectedCount()}, nil
}

func (b *backend) GetSendingStatus(context.Context, *senderv1.GetSendingStatusRequest) (*senderv1.GetSendingStatusResponse, error) {
	return &senderv1.GetSendingStatusResponse{}, nil
}

func (b *backend) UploadMedia(_ context.Context, in *senderv1.UploadMediaRequest) (*senderv1.UploadMediaResponse, error) {
	return &senderv1.UploadMediaResponse{MediaId: in.GetType().String() + " " + in.GetFilename(), Sha256: fmt.Sprintf("%x", in.GetContent()), ExpiresUnixMs: 1}, nil
}

// SendMass keeps what was sent, once for each key.
func (b *backend) SendMass(_ context.Context, in *senderv1.SendMassRequest) (*senderv1.SendMassResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, known := range b.mass {
		if known.GetIdempotencyKey() == in.GetIdempotencyKey() {
			return &senderv1.SendMassResponse{Id: fmt.Sprint("m", i), Record: massRecord(fmt.Sprint("m", i)), Replayed: true}, b.fail
		}
	}
	b.mass = append(b.mass, in)
	id := fmt.Sprint("m", len(b.mass)-1)
	return &senderv1.SendMassResponse{Id: id, Record: &senderv1.SendRecord{Id: id, State: senderv1.SendState_SEND_STATE_QUEUED}}, b.fail
}

func massRecord(id string) *senderv1.SendRecord {
	return &senderv1.SendRecord{
		Id: id, State: senderv1.SendState_SEND_STATE_SENT, MsgId: "34182", Attempts: 1,
		Result: &senderv1.SendResult{Status: "send success", AtUnixMs: 2, TotalCount: 2, FilterCount: 2, SentCount: 1, ErrorCount: 1},
	}
}

func (b *backend) GetMassStatus(_ context.Context, in *senderv1.GetMassStatusRequest) (*senderv1.GetMassStatusResponse, error) {
	return &senderv1.GetMassStatusResponse{Record: massRecord(in.GetId()), WechatStatus: "SEND_SUCCESS"}, nil
}

func (b *backend) ListMassJobs(_ context.Context, in *senderv1.ListMassJobsRequest) (*senderv1.ListMassJobsResponse, error) {
	return &senderv1.ListMassJobsResponse{Jobs: []*senderv1.MassJob{{Name: cmp.Or(in.GetName(), "friday"), Target: "tag 100", Record: massRecord("m0")}}}, nil
}

func (b *backend) PreviewMass(_ context.Context, in *senderv1.PreviewMassRequest) (*senderv1.PreviewMassResponse, error) {
	return &senderv1.PreviewMassResponse{MsgId: in.GetOpenid() + in.GetWechatName()}, nil
}

func (b *backend) DeleteMass(_ context.Context, in *senderv1.DeleteMassRequest) (*senderv1.DeleteMassResponse, error) {
	if in.GetArticleIndex() < 0 {
		return nil, fault.New(fault.Invalid, "article_index: must not be negative")
	}
	return &senderv1.DeleteMassResponse{}, nil
}

func (b *backend) GetMassSpeed(context.Context, *senderv1.GetMassSpeedRequest) (*senderv1.GetMassSpeedResponse, error) {
	return &senderv1.GetMassSpeedResponse{Speed: 0, PerMinute: 800_000}, nil
}

func (b *backend) SetMassSpeed(_ context.Context, in *senderv1.SetMassSpeedRequest) (*senderv1.SetMassSpeedResponse, error) {
	if in.GetSpeed() > 4 {
		return nil, fault.New(fault.Invalid, "speed: must be 0 to 4")
	}
	return &senderv1.SetMassSpeedResponse{}, nil
}

func (b *backend) StartCampaign(_ context.Context, in *senderv1.StartCampaignRequest) (*senderv1.StartCampaignResponse, error) {
	return &senderv1.StartCampaignResponse{Campaign: campaign(in.GetId())}, nil
}

func (b *backend) PauseCampaign(_ context.Context, in *senderv1.PauseCampaignRequest) (*senderv1.PauseCampaignResponse, error) {
	return &senderv1.PauseCampaignResponse{Campaign: campaign(in.GetId())}, nil
}

func (b *backend) ResumeCampaign(_ context.Context, in *senderv1.ResumeCampaignRequest) (*senderv1.ResumeCampaignResponse, error) {
	return &senderv1.ResumeCampaignResponse{Campaign: campaign(in.GetId())}, nil
}

func (b *backend) CancelCampaign(_ context.Context, in *senderv1.CancelCampaignRequest) (*senderv1.CancelCampaignResponse, error) {
	return &senderv1.CancelCampaignResponse{Campaign: campaign(in.GetId())}, nil
}

func waitingFan(accountName, openid string, since int64, text string) *agentroutingv1.OwnerRecord {
	return &agentroutingv1.OwnerRecord{
		Account: accountName, Openid: openid, Conversation: "c", ActiveUnixMs: since,
		Owner:    &agentroutingv1.Owner{Kind: agentroutingv1.OwnerKind_OWNER_KIND_QUEUE, Name: "returns", Epoch: 1, SinceUnixMs: since},
		Messages: []*agentroutingv1.WaitingMessage{{EventId: "e", MsgType: "text", Text: text, AtUnixMs: since}},
	}
}

// site is a console with its backend and an HTTP listener on this machine.
type site struct {
	*bustest.Env
	t       testing.TB
	backend *backend
	clock   *testkit.Clock
	url     string
	log     *logBuffer
	service *console.Service
	healthy atomic.Pointer[error]
}

func sealer(t testing.TB) *secret.Sealer {
	t.Helper()
	s, err := secret.NewSealer(bytes.Repeat([]byte{7}, 32))
	require.NoError(t, err)
	return s
}

func mustURL(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	require.NoError(t, err)
	return u
}

// logBuffer is written by handlers while the test reads it.
type logBuffer struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newSite(t testing.TB, change ...func(*console.Config)) *site {
	t.Helper()
	return newSiteIn(t, t.TempDir(), change...)
}

func newSiteIn(t testing.TB, data string, change ...func(*console.Config)) *site {
	t.Helper()
	return newSiteOn(t, httptest.NewUnstartedServer(nil), data, change...)
}

func newSiteOn(t testing.TB, web *httptest.Server, data string, change ...func(*console.Config)) *site {
	t.Helper()
	s := &site{Env: bustest.Start(t), t: t, backend: &backend{}, clock: testkit.NewClock(time.Unix(1_800_000_000, 0)), log: &logBuffer{}}
	server, conn, err := grpcx.InProcess(t.Context(), grpcx.Options{}, grpcx.DialOptions{}, func(r grpc.ServiceRegistrar) {
		senderv1.RegisterSenderServiceServer(r, s.backend)
		senderv1.RegisterCampaignServiceServer(r, s.backend)
		agentroutingv1.RegisterConversationServiceServer(r, s.backend)
		rulev1.RegisterRuleServiceServer(r, s.backend)
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = conn.Close()
		require.NoError(t, server.Stop(context.Background()))
	})
	cfg := console.DefaultConfig()
	for _, f := range change {
		f(&cfg)
	}
	service, err := console.New(cfg, console.ForTests(console.Deps{
		Accounts: accounts(t), Bus: s.Conn, Topology: s.Topology, Version: "v0.1.0", Now: s.clock.Now,
		Services: map[string]grpc.ClientConnInterface{"rule": conn, "token": conn, "sender": conn, "agent-routing": conn},
		SQL:      sqldb.Options{Service: "console", Dir: data}, Data: data, Sealer: sealer(t), Instance: "console-test",
		Health: map[string]func(context.Context) error{"sender": s.health},
		Log:    slog.New(slog.NewTextHandler(s.log, nil)),
	}))
	require.NoError(t, err)
	require.NoError(t, service.Start(t.Context()))
	web.Config.Handler = service.Handler()
	web.Start()
	t.Cleanup(func() {
		web.Close()
		require.NoError(t, service.Stop(context.Background()))
	})
	s.url, s.service = web.URL, service
	return s
}

func (s *site) health(context.Context) error {
	if err := s.healthy.Load(); err != nil {
		return *err
	}
	return nil
}

func accounts(t testing.TB) *account.Directory {
	t.Helper()
	one := func(name, appid string) account.Account {
		return account.Account{
			Name: name, AppID: appid, OriginalID: "gh_" + name, Kind: "service", Format: "xml", Mode: "secure", Reply: "passive",
			Token: secret.New("token"), EncodingAESKey: secret.New("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"), AppSecret: secret.New("app-secret"),
		}
	}
	d, err := account.NewDirectory([]account.Account{one("shop", "wx0000000000000001"), one("club", "wx0000000000000002")})
	require.NoError(t, err)
	return d
}

func withKeys(c *console.Config) {
	c.APIKeys = []console.APIKey{
		{Name: "shop", Key: secret.New(shopKey), Accounts: []string{"shop"}},
		{Name: "ops", Key: secret.New(opsKey), Accounts: []string{"*"}},
	}
}

var client = &http.Client{Timeout: 10 * time.Second}

type answer struct {
	status int
	header http.Header
	text   string
}

// data returns the answer as JSON.
func (a answer) data(t testing.TB) map[string]any {
	t.Helper()
	var out map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.text), &out), a.text)
	return out
}

func (a answer) problem(t testing.TB) map[string]any {
	t.Helper()
	p, ok := a.data(t)["error"].(map[string]any)
	require.True(t, ok, a.text)
	return p
}

func (s *site) call(method, path, body string, header ...string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	require.NoError(s.t, err)
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	w, err := client.Do(r)
	require.NoError(s.t, err)
	defer func() { _ = w.Body.Close() }()
	text, err := io.ReadAll(w.Body)
	require.NoError(s.t, err)
	return answer{w.StatusCode, w.Header, string(text)}
}
