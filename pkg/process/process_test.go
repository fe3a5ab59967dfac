package process_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/account/vault"
	"github.com/wxbus/wxbus/pkg/bus/natsembed"
	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/process"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/topology"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// journal records what happened in which order.
type journal struct {
	mu     sync.Mutex
	events []string
}

func (j *journal) add(event string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, event)
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.events)
}

// part is a service that only writes the journal.
type part struct {
	name   string
	j      *journal
	failed chan error
	broken error
}

func (p *part) Name() string { return p.name }
func (p *part) Start(context.Context) error {
	p.j.add("start " + p.name)
	return p.broken
}
func (p *part) Stop(context.Context) error {
	p.j.add("stop " + p.name)
	return nil
}
func (p *part) Failed() <-chan error { return p.failed }

type sectionConfig struct {
	Listen string `yaml:"listen" desc:"Address."`
}

func module(name string, p *part, withoutBus bool, build func(*process.Runtime)) process.Module {
	return process.Module{
		Name: name, WithoutBus: withoutBus,
		Section: config.Section{Name: name, Into: &sectionConfig{}},
		Build: func(_ context.Context, rt *process.Runtime) (lifecycle.Component, error) {
			if build != nil {
				build(rt)
			}
			return p, nil
		},
	}
}

func spec(t *testing.T, file string, modules ...process.Module) process.Spec {
	t.Helper()
	return process.Spec{
		Name: "wxbus", Modules: modules, Log: io.Discard,
		Load: config.LoadOptions{File: "test", Content: []byte("data: " + t.TempDir() + "\nadmin: {listen: \"127.0.0.1:0\"}\ngrpc: {listen: \"127.0.0.1:0\"}\nnats: {listen: \"\"}\n" + file)},
		Embed: func(_ context.Context, shared config.Shared, log *slog.Logger) (process.Embedded, error) {
			return natsembed.New(natsembed.Options{StoreDir: shared.Data + "/nats", MaxStore: int64(shared.NATS.MaxStore), Log: log}), nil
		},
	}
}

func TestPartsStartInOrderAndStopInReverse(t *testing.T) {
	var j journal
	p, err := process.Start(t.Context(), spec(t, "",
		module("token", &part{name: "token", j: &j}, true, nil),
		module("rule", &part{name: "rule", j: &j}, true, nil),
		module("gateway", &part{name: "gateway", j: &j}, true, nil)))
	require.NoError(t, err)
	require.NoError(t, p.Stop(t.Context()))
	require.NoError(t, p.Stop(t.Context()), "stopping twice is safe")
	require.Equal(t, []string{"start token", "start rule", "start gateway", "stop gateway", "stop rule", "stop token"}, j.all())
}

func TestAPartThatCannotStartStopsTheOthers(t *testing.T) {
	var j journal
	_, err := process.Start(t.Context(), spec(t, "",
		module("token", &part{name: "token", j: &j}, true, nil),
		module("gateway", &part{name: "gateway", j: &j, broken: errors.New("port is taken")}, true, nil)))
	require.ErrorContains(t, err, "start gateway: port is taken")
	require.Equal(t, []string{"start token", "start gateway", "stop token"}, j.all())
}

func TestAFailingPartEndsTheProcessWithItsName(t *testing.T) {
	var j journal
	failing := &part{name: "rule", j: &j, failed: make(chan error, 1)}
	failing.failed <- errors.New("lost its mind")
	err := process.Run(t.Context(), spec(t, "", module("rule", failing, true, nil)))
	require.ErrorContains(t, err, "rule: lost its mind")
	require.Contains(t, j.all(), "stop rule")
}

func TestReadyOnlyWhenEverythingRuns(t *testing.T) {
	var j journal
	ctx, cancel := context.WithCancel(t.Context())
	urls := make(chan []process.URL, 1)
	s := spec(t, "", module("gateway", &part{name: "gateway", j: &j}, false, func(rt *process.Runtime) {
		require.NoError(t, rt.Bus.Healthy())
		rt.HTTP("gateway", "127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	}))
	s.OnReady = func(p *process.Process) { urls <- p.URLs() }
	done := make(chan error, 1)
	go func() { done <- process.Run(ctx, s) }()
	var found map[string]string
	select {
	case list := <-urls:
		found = map[string]string{}
		for _, u := range list {
			found[u.Name] = u.URL
		}
	case err := <-done:
		t.Fatalf("ended early: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("not ready")
	}
	require.Equal(t, "hello", get(t, found["gateway"]))
	require.Contains(t, get(t, found["admin"]), "wxbus_build_info")
	cancel()
	require.NoError(t, <-done)
}

func get(t *testing.T, url string) string {
	t.Helper()
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, string(b))
	return string(b)
}

func TestServicesInOneProcessCallEachOtherOverGRPC(t *testing.T) {
	var j journal
	var conn grpc.ClientConnInterface
	p, err := process.Start(t.Context(), spec(t, "",
		module("token", &part{name: "token", j: &j}, true, nil),
		module("rule", &part{name: "rule", j: &j}, true, func(rt *process.Runtime) {
			var err error
			conn, err = rt.Dial(t.Context(), "token")
			require.NoError(t, err)
			_, err = rt.Dial(t.Context(), "gateway")
			require.ErrorContains(t, err, "gateway")
		})))
	require.NoError(t, err)
	resp, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, resp.GetStatus())
	require.NoError(t, p.Stop(t.Context()))
}

func TestModulesThatNobodyAskedForStayOut(t *testing.T) {
	var j journal
	simulator := module("simulator", &part{name: "simulator", j: &j}, true, nil)
	simulator.Wanted = func(s *config.Shared) bool { return len(s.Accounts) > 0 }
	p, err := process.Start(t.Context(), spec(t, "", module("token", &part{name: "token", j: &j}, true, nil), simulator))
	require.NoError(t, err)
	require.NoError(t, p.Stop(t.Context()))
	require.Equal(t, []string{"start token", "stop token"}, j.all())
}

func TestMistakesInTheFileAreReportedBeforeAnythingStarts(t *testing.T) {
	var j journal
	_, err := process.Start(t.Context(), spec(t, "gateway: {lisen: x}\n", module("gateway", &part{name: "gateway", j: &j}, true, nil)))
	require.ErrorContains(t, err, "gateway.lisen")
	require.Empty(t, j.all())
}

func TestAMasterKeyIsMadeOnceAndKept(t *testing.T) {
	var j journal
	s := spec(t, "", module("token", &part{name: "token", j: &j}, true, nil))
	seal := func() []byte {
		p, err := process.Start(t.Context(), s)
		require.NoError(t, err)
		defer func() { require.NoError(t, p.Stop(t.Context())) }()
		return p.Runtime().Sealer.Seal([]byte("secret"), nil)
	}
	box := seal()
	p, err := process.Start(t.Context(), s)
	require.NoError(t, err)
	defer func() { require.NoError(t, p.Stop(t.Context())) }()
	plain, err := p.Runtime().Sealer.Open(box, nil)
	require.NoError(t, err)
	require.Equal(t, "secret", string(plain))
}

// writer puts an account into the bucket, as the token service of another process would.
func writer(t *testing.T, rt *process.Runtime, name, appID string) {
	t.Helper()
	kv, err := rt.Bus.JS().KeyValue(t.Context(), topology.BucketAccounts)
	require.NoError(t, err)
	box, err := vault.Seal(rt.Sealer, name, &tokenv1.AccountRecord{
		Settings: &tokenv1.AccountSettings{Name: name, Appid: appID},
		Secrets:  &tokenv1.AccountSecrets{Token: "token", EncodingAesKey: "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"},
	})
	require.NoError(t, err)
	_, err = kv.Put(t.Context(), name, box)
	require.NoError(t, err)
}

func TestAccountsOfTheAPIAreThereBeforeServicesAreBuiltAndFollowedAfter(t *testing.T) {
	var j journal
	known := 0
	s := spec(t, "", module("gateway", &part{name: "gateway", j: &j}, false, func(rt *process.Runtime) { known = rt.Accounts.Len() }))
	first, err := process.Start(t.Context(), s)
	require.NoError(t, err)
	require.Zero(t, known)
	writer(t, first.Runtime(), "club", "wx00000000000000c1")
	require.Eventually(t, func() bool { return first.Runtime().Accounts.Find("club") != nil }, 30*time.Second, time.Millisecond)
	require.NoError(t, first.Stop(t.Context()))

	second, err := process.Start(t.Context(), s)
	require.NoError(t, err)
	require.NoError(t, second.Stop(t.Context()))
	require.Equal(t, 1, known)

	s.Load.Content = append(s.Load.Content, []byte("accounts: [{name: club, appid: wx00000000000000c2, token: token, encoding_aes_key: abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG}]\n")...)
	_, err = process.Start(t.Context(), s)
	require.ErrorContains(t, err, "managed over the API")
	require.ErrorContains(t, err, "accounts[0].name")
}
