package token_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/account/vault"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/grpcx"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/telemetry/telemetrytest"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/tokens"
	"github.com/wxbus/wxbus/pkg/topology"
	"github.com/wxbus/wxbus/services/token"
)

type fixture struct {
	env    *bustest.Env
	wechat *fakeWeChat
	clock  *testkit.Clock
	tel    *telemetrytest.Telemetry
	sealer *secret.Sealer
	kv     jetstream.KeyValue
	cfg    token.Config
	api    account.TokenAPI
	dir    *account.Directory // of the newest replica
}

func setUp(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{
		tel: telemetrytest.New(t), wechat: newFakeWeChat(t),
		clock: testkit.NewClock(time.UnixMilli(1_700_000_000_000)), cfg: token.DefaultConfig(), api: account.TokenAPIStable,
	}
	f.wechat.now = f.clock.Now
	f.env = bustest.Start(t, bustest.WithTracer(f.tel.TracerProvider))
	var err error
	f.sealer, err = secret.NewSealer(bytes.Repeat([]byte{9}, secret.KeySize))
	require.NoError(t, err)
	f.kv, err = f.env.JS.KeyValue(t.Context(), topology.BucketTokens)
	require.NoError(t, err)
	return f
}

// replica starts one more instance of the service.
func (f *fixture) replica(t testing.TB, instance string) *token.Service {
	t.Helper()
	accounts, err := account.NewDirectory([]account.Account{{
		Name: "shop", AppID: "wx0000000000000001", OriginalID: "gh_000000000001", Kind: account.KindService,
		Token: secret.New("PushToken"), EncodingAESKey: secret.New("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"),
		AppSecret: secret.New("the-app-secret"), APIBase: f.wechat.URL, TokenAPI: f.api,
	}, {
		Name: "mute", AppID: "wx0000000000000002", OriginalID: "gh_000000000002", Kind: account.KindService,
		Token: secret.New("PushToken"), EncodingAESKey: secret.New("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"),
	}})
	require.NoError(t, err)
	f.dir = accounts
	conn := f.env.NewConn(t, "token-"+instance)
	kv, err := conn.JS().KeyValue(t.Context(), topology.BucketAccounts)
	require.NoError(t, err)
	bustest.Run(t, vault.NewFeed(kv, accounts, f.sealer, f.tel.Logger))
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	s, err := token.New(f.cfg, token.Deps{
		Accounts: accounts, Bus: conn, Sealer: f.sealer,
		HTTP: &http.Client{Transport: transport}, Tel: f.tel.Telemetry, Log: f.tel.Logger,
		Now: f.clock.Now, Rand: rand.New(rand.NewPCG(1, 2)), Instance: instance,
	})
	require.NoError(t, err)
	bustest.Run(t, s)
	return s
}

func get(t testing.TB, s *token.Service) *tokenv1.AccessToken {
	t.Helper()
	resp, err := s.GetToken(t.Context(), &tokenv1.GetTokenRequest{Account: "shop"})
	require.NoError(t, err)
	return resp.GetToken()
}

func bad(t testing.TB, s *token.Service, generation uint64) (*tokenv1.AccessToken, error) {
	t.Helper()
	resp, err := s.ReportBadToken(t.Context(), &tokenv1.ReportBadTokenRequest{Account: "shop", Generation: generation, Errcode: 40001})
	return resp.GetToken(), err
}

func (f *fixture) record(t testing.TB) *tokenv1.TokenRecord {
	t.Helper()
	entry, err := f.kv.Get(t.Context(), "shop")
	require.NoError(t, err)
	rec, err := tokens.OpenRecord(f.sealer, "shop", entry.Value())
	require.NoError(t, err)
	return rec
}

func TestTheFirstCallerFetchesAndTheOthersShare(t *testing.T) {
	f := setUp(t)
	a, b := f.replica(t, "a"), f.replica(t, "b")
	first := get(t, a)
	require.EqualValues(t, 1, first.GetGeneration())
	require.Equal(t, "token-1-of-the-account", first.GetValue())
	require.Equal(t, first.GetValue(), get(t, b).GetValue())
	normal, forced, _ := f.wechat.calls()
	require.Equal(t, []int{1, 0}, []int{normal, forced})

	resp, err := b.GetToken(t.Context(), &tokenv1.GetTokenRequest{Account: "shop"})
	require.NoError(t, err)
	require.Equal(t, (2 * time.Hour).Milliseconds(), resp.GetValidForMs())
}

// TestTenThousandCallersWithADeadTokenMakeOneRefresh is the promise of the service: in two replicas,
// however many callers report the dead token at once, WeChat is asked once.
func TestTenThousandCallersWithADeadTokenMakeOneRefresh(t *testing.T) {
	f := setUp(t)
	replicas := []*token.Service{f.replica(t, "a"), f.replica(t, "b")}
	dead := get(t, replicas[0])
	f.wechat.set(func(w *fakeWeChat) { w.replace(); w.normal = 0 }) // another system forced a refresh

	const callers = 10_000
	var ready, done sync.WaitGroup
	ready.Add(callers)
	begin := make(chan struct{})
	var mu sync.Mutex
	got := map[string]int{}
	for i := range callers {
		done.Go(func() {
			ready.Done()
			<-begin
			fresh, err := bad(t, replicas[i%2], dead.GetGeneration())
			mu.Lock()
			defer mu.Unlock()
			got[fmt.Sprint(fresh.GetValue(), fresh.GetGeneration(), err)]++
		})
	}
	ready.Wait()
	close(begin)
	done.Wait()
	require.Equal(t, map[string]int{fmt.Sprint("token-2-of-the-account", 2, nil): callers}, got)
	normal, forced, _ := f.wechat.calls()
	require.Equal(t, 1, normal+forced)
}

func TestTenThousandCallersWithoutATokenMakeOneRefresh(t *testing.T) {
	f := setUp(t)
	replicas := []*token.Service{f.replica(t, "a"), f.replica(t, "b")}
	hang := make(chan struct{})
	f.wechat.set(func(w *fakeWeChat) { w.hang = hang })
	var done sync.WaitGroup
	for i := range 10_000 {
		done.Go(func() { get(t, replicas[i%2]) })
	}
	require.Eventually(t, func() bool { n, _, _ := f.wechat.calls(); return n == 1 }, 30*time.Second, time.Millisecond)
	f.wechat.set(func(w *fakeWeChat) { w.hang = nil })
	close(hang)
	done.Wait()
	normal, forced, _ := f.wechat.calls()
	require.Equal(t, []int{1, 0}, []int{normal, forced})
}

func TestAnOlderGenerationGetsTheNewerTokenAtOnce(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	get(t, s)
	f.wechat.set(func(w *fakeWeChat) { w.replace() })
	second, err := bad(t, s, 1)
	require.NoError(t, err)
	require.EqualValues(t, 2, second.GetGeneration())
	again, err := bad(t, s, 1)
	require.NoError(t, err)
	require.EqualValues(t, 2, again.GetGeneration())
	normal, _, _ := f.wechat.calls()
	require.Equal(t, 2, normal)
	require.Equal(t, "token-1-of-the-account", f.record(t).GetPrevious())
}

func TestATokenThatWeChatKeepsGivingIsForcedWithinTheBudget(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	current := get(t, s)
	for range 20 {
		f.clock.Advance(31 * time.Second)
		fresh, err := bad(t, s, current.GetGeneration())
		require.NoError(t, err)
		require.Equal(t, current.GetGeneration()+1, fresh.GetGeneration())
		require.NotEqual(t, current.GetValue(), fresh.GetValue())
		current = fresh
	}
	_, forced, _ := f.wechat.calls()
	require.Equal(t, 20, forced)

	f.clock.Advance(31 * time.Second)
	_, err := bad(t, s, current.GetGeneration())
	require.Equal(t, fault.Exhausted, fault.KindOf(err))
	wait, ok := fault.RetryAfter(err)
	require.True(t, ok)
	require.InDelta(t, (24*time.Hour - 20*31*time.Second).Hours(), wait.Hours(), 0.01)
	_, forced, _ = f.wechat.calls()
	require.Equal(t, 20, forced)

	f.wechat.set(func(w *fakeWeChat) { w.replace() })
	f.clock.Advance(10 * time.Second)
	fresh, err := bad(t, s, current.GetGeneration())
	require.NoError(t, err, "the normal mode needs no budget")
	require.Equal(t, current.GetGeneration()+1, fresh.GetGeneration())
}

func TestForcedRefreshesKeepTheirDistanceOverReplicas(t *testing.T) {
	f := setUp(t)
	a, b := f.replica(t, "a"), f.replica(t, "b")
	get(t, a)
	_, err := bad(t, a, 1)
	require.NoError(t, err)
	f.clock.Advance(10 * time.Second)
	require.Eventually(t, func() bool { return get(t, b).GetGeneration() == 2 }, 30*time.Second, time.Millisecond)
	_, err = bad(t, b, 2)
	require.Equal(t, fault.Exhausted, fault.KindOf(err))
	wait, _ := fault.RetryAfter(err)
	require.Equal(t, 20*time.Second, wait)
	_, forced, _ := f.wechat.calls()
	require.Equal(t, 1, forced)
}

func TestAnotherSystemThatRefreshesIsNoticed(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	get(t, s)
	f.clock.Advance(20 * time.Second)
	f.wechat.set(func(w *fakeWeChat) { w.replace() })
	_, err := bad(t, s, 1)
	require.NoError(t, err)
	require.EqualValues(t, 1, f.record(t).GetOutsideRefreshes())
	require.Contains(t, f.tel.Log.String(), "another system refreshes this AppSecret")
	metrics, err := f.tel.Registry.Gather()
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(metrics), "wxbus_token_outside_refreshes")

	f.clock.Advance(2*time.Hour - time.Minute)
	_, err = bad(t, s, 2)
	require.NoError(t, err)
	require.EqualValues(t, 1, f.record(t).GetOutsideRefreshes(), "an old token that ends is nobody's fault")
}

func TestRefusedCredentialsAreExplainedAndNotHammered(t *testing.T) {
	for errcode, tc := range map[int]struct{ errmsg, want string }{
		40013: {"invalid appid rid: 5f3ded7d-22929d02-4ba1f5f6", "check appid"},
		40125: {"invalid appsecret", "check app_secret"},
		40164: {"invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist rid: 1", "WeChat saw 203.0.113.9"},
		40243: {"AppSecret frozen", "unfreeze"},
		50004: {"forbidden", "support"},
		40001: {"invalid credential", "check app_secret"},
	} {
		t.Run(fmt.Sprint(errcode), func(t *testing.T) {
			f := setUp(t)
			s := f.replica(t, "a")
			f.wechat.set(func(w *fakeWeChat) { w.errcode, w.errmsg = errcode, tc.errmsg })
			for range 200 {
				_, err := s.GetToken(t.Context(), &tokenv1.GetTokenRequest{Account: "shop"})
				require.Equal(t, fault.Refused, fault.KindOf(err))
				require.ErrorContains(t, err, fmt.Sprint(errcode))
				require.ErrorContains(t, err, tc.want)
				require.NotContains(t, err.Error(), "the-app-secret")
			}
			normal, _, _ := f.wechat.calls()
			require.Equal(t, 1, normal)

			f.wechat.set(func(w *fakeWeChat) { w.errcode = 0 })
			f.clock.Advance(f.cfg.RefusedBackoff)
			require.EqualValues(t, 1, get(t, s).GetGeneration(), "it works again after the operator acted")
		})
	}
}

func TestWeChatsTroublesHaveTheirKind(t *testing.T) {
	for errcode, want := range map[int]fault.Kind{-1: fault.Unavailable, 45009: fault.Exhausted, 45011: fault.Exhausted} {
		t.Run(fmt.Sprint(errcode), func(t *testing.T) {
			f := setUp(t)
			s := f.replica(t, "a")
			f.wechat.set(func(w *fakeWeChat) { w.errcode = errcode })
			for range 50 {
				_, err := s.GetToken(t.Context(), &tokenv1.GetTokenRequest{Account: "shop"})
				require.Equal(t, want, fault.KindOf(err))
			}
			normal, _, _ := f.wechat.calls()
			require.Equal(t, 1, normal)
		})
	}
}

func TestAWeChatThatDoesNotAnswerIsUnavailable(t *testing.T) {
	f := setUp(t)
	f.cfg.UpstreamTimeout = 50 * time.Millisecond
	s := f.replica(t, "a")
	hang := make(chan struct{})
	defer close(hang)
	f.wechat.set(func(w *fakeWeChat) { w.hang = hang })
	_, err := s.GetToken(t.Context(), &tokenv1.GetTokenRequest{Account: "shop"})
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.Empty(t, f.record(t).GetLeaseHolder(), "the lease is given back")
	require.NotContains(t, f.record(t).GetLastError(), "the-app-secret")
}

func TestALeaseOfADeadReplicaIsTakenOver(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.cfg.Lease, f.cfg.UpstreamTimeout = 2100*time.Millisecond, 2*time.Second // WeChat's answer is in time
	box, err := tokens.SealRecord(f.sealer, "shop", &tokenv1.TokenRecord{
		LeaseHolder: "dead", LeaseUntilUnixMs: f.clock.Now().Add(time.Hour).UnixMilli(), // its clock was wrong, too
	})
	require.NoError(t, err)
	_, err = f.kv.Put(t.Context(), "shop", box)
	require.NoError(t, err)
	s := f.replica(t, "a")
	require.EqualValues(t, 1, get(t, s).GetGeneration())
}

func TestALateRefreshIsDropped(t *testing.T) {
	f := setUp(t)
	slow, fast := f.replica(t, "slow"), f.replica(t, "fast")
	hang := make(chan struct{})
	f.wechat.set(func(w *fakeWeChat) { w.hang = hang })
	late := make(chan *tokenv1.AccessToken, 1)
	go func() { late <- get(t, slow) }()
	require.Eventually(t, func() bool { n, _, _ := f.wechat.calls(); return n == 1 }, 30*time.Second, time.Millisecond)
	f.wechat.set(func(w *fakeWeChat) { w.hang = nil })
	f.clock.Advance(f.cfg.Lease) // the slow replica has lost its lease
	require.Equal(t, "token-1-of-the-account", get(t, fast).GetValue())
	f.wechat.set(func(w *fakeWeChat) { w.replace() })
	close(hang)
	require.Equal(t, "token-1-of-the-account", (<-late).GetValue(), "the slow replica uses what is stored")
	require.EqualValues(t, 1, f.record(t).GetToken().GetGeneration())
	require.Contains(t, f.tel.Log.String(), "late token refresh dropped")
}

func TestATokenIsRefreshedAheadOfItsEnd(t *testing.T) {
	f := setUp(t)
	a, b := f.replica(t, "a"), f.replica(t, "b")
	get(t, a)
	f.wechat.set(func(w *fakeWeChat) { w.replace(); w.normal = 0 }) // WeChat renews in the last minutes
	f.clock.Advance(2*time.Hour - 3*time.Minute)
	for _, s := range []*token.Service{a, b} {
		require.Eventually(t, func() bool { return get(t, s).GetGeneration() == 2 }, 30*time.Second, 20*time.Millisecond)
	}
	normal, forced, _ := f.wechat.calls()
	require.Equal(t, []int{1, 0}, []int{normal, forced}, "one replica asked")
	require.Zero(t, f.record(t).GetOutsideRefreshes())
}

func TestAnAccountCanUseTheOldTokenAPI(t *testing.T) {
	f := setUp(t)
	f.api = account.TokenAPIToken
	s := f.replica(t, "a")
	first := get(t, s)
	f.clock.Advance(10 * time.Minute)
	second, err := bad(t, s, first.GetGeneration())
	require.NoError(t, err)
	require.EqualValues(t, 2, second.GetGeneration())
	normal, forced, plain := f.wechat.calls()
	require.Equal(t, []int{0, 0, 2}, []int{normal, forced, plain})
}

func TestTheBucketHoldsNoPlainToken(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	value := get(t, s).GetValue()
	f.wechat.set(func(w *fakeWeChat) { w.replace() })
	_, err := bad(t, s, 1)
	require.NoError(t, err)
	entry, err := f.kv.Get(t.Context(), "shop")
	require.NoError(t, err)
	require.NotContains(t, string(entry.Value()), value)
	require.NotContains(t, string(entry.Value()), "of-the-account")
	require.NotContains(t, f.tel.Log.String(), "of-the-account")
	require.NotContains(t, f.tel.Log.String(), "the-app-secret")
	for _, span := range f.tel.Spans() {
		require.NotContains(t, fmt.Sprint(span.Attributes, span.Status), "of-the-account")
		require.NotContains(t, fmt.Sprint(span.Attributes, span.Status), "the-app-secret")
	}
	require.NotEmpty(t, f.tel.Named("POST /cgi-bin/stable_token"))
}

// TestClientsOfTwoProcessesShareOneRefresh goes the whole way: clients, gRPC, two replicas, WeChat.
func TestClientsOfTwoProcessesShareOneRefresh(t *testing.T) {
	f := setUp(t)
	clients := []*tokens.Client{f.client(t, f.replica(t, "a")), f.client(t, f.replica(t, "b"))}
	dead, err := clients[0].Current(t.Context(), "shop")
	require.NoError(t, err)
	f.wechat.set(func(w *fakeWeChat) { w.replace(); w.normal = 0 })
	var done sync.WaitGroup
	for i := range 2000 {
		done.Go(func() {
			fresh, err := clients[i%2].Bad(t.Context(), "shop", dead.Generation, 42001)
			if err != nil || fresh.Value.Reveal() != "token-2-of-the-account" {
				t.Errorf("generation %d, %v", fresh.Generation, err)
			}
		})
	}
	done.Wait()
	normal, forced, _ := f.wechat.calls()
	require.Equal(t, 1, normal+forced)

	f.wechat.set(func(w *fakeWeChat) { w.errcode, w.errmsg = 40125, "invalid appsecret" })
	_, err = clients[0].Bad(t.Context(), "shop", 2, 40001)
	require.Equal(t, fault.Refused, fault.KindOf(err))
	require.ErrorContains(t, err, "40125")
}

func (f *fixture) client(t testing.TB, s *token.Service) *tokens.Client {
	t.Helper()
	server := grpcx.NewServer(grpcx.Options{InProcess: true, Log: f.tel.Logger})
	s.RegisterGRPC(server)
	bustest.Run(t, server)
	conn, err := server.InProcessConn(grpcx.DialOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	client := tokens.New(tokens.Options{
		KV: f.kv, Sealer: f.sealer, Token: tokenv1.NewTokenServiceClient(conn), Now: f.clock.Now, Log: f.tel.Logger,
	})
	bustest.Run(t, client)
	return client
}

func TestWhoCannotBeServed(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	_, err := s.GetToken(t.Context(), &tokenv1.GetTokenRequest{Account: "nobody"})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, err = s.GetToken(t.Context(), &tokenv1.GetTokenRequest{Account: "mute"})
	require.Equal(t, fault.Refused, fault.KindOf(err))
	_, err = s.ReportBadToken(t.Context(), &tokenv1.ReportBadTokenRequest{Account: "shop"})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

func TestARecordOfAnotherMasterKeyIsNotOverwritten(t *testing.T) {
	f := setUp(t)
	other, err := secret.NewSealer(bytes.Repeat([]byte{1}, secret.KeySize))
	require.NoError(t, err)
	box, err := tokens.SealRecord(other, "shop", &tokenv1.TokenRecord{Token: &tokenv1.AccessToken{Value: "v", Generation: 5}})
	require.NoError(t, err)
	_, err = f.kv.Put(t.Context(), "shop", box)
	require.NoError(t, err)
	s := f.replica(t, "a")
	_, err = s.GetToken(t.Context(), &tokenv1.GetTokenRequest{Account: "shop"})
	require.Equal(t, fault.Permanent, fault.KindOf(err))
	normal, _, _ := f.wechat.calls()
	require.Zero(t, normal)
}

func TestAGenerationThatTheBucketLostGetsTheCurrentToken(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	get(t, s)
	fresh, err := bad(t, s, 57)
	require.NoError(t, err)
	require.EqualValues(t, 1, fresh.GetGeneration())
}

func TestStoppingIsSafe(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	get(t, s)
	require.NoError(t, s.Stop(t.Context()))
	require.NoError(t, s.Stop(t.Context()))
	_, err := bad(t, s, 1)
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
}

func TestConfigIsChecked(t *testing.T) {
	require.NoError(t, token.DefaultConfig().Validate())
	cfg := token.DefaultConfig()
	cfg.Lease = cfg.UpstreamTimeout
	cfg.ForcedPerDay = 21
	cfg.ForcedInterval = time.Second
	err := cfg.Validate()
	require.ErrorContains(t, err, "lease:")
	require.ErrorContains(t, err, "forced_per_day:")
	require.ErrorContains(t, err, "forced_interval:")
	_, err = token.New(cfg, token.Deps{})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}
