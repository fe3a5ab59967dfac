package load_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"github.com/wxbus/wxbus/services/simulator/internal/clock"
	"github.com/wxbus/wxbus/services/simulator/internal/codec"
	"github.com/wxbus/wxbus/services/simulator/internal/faults"
	"github.com/wxbus/wxbus/services/simulator/internal/gatewaytest"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
	"github.com/wxbus/wxbus/services/simulator/internal/load"
	"github.com/wxbus/wxbus/services/simulator/internal/pusher"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type world struct {
	load.Deps
	gateway *gatewaytest.Gateway
}

func newWorld(t *testing.T) *world {
	t.Helper()
	accounts := []codec.Account{{Name: "a", OriginalID: "gh_a", Kind: codec.KindService, Format: "xml", Mode: "plaintext", Token: "t"},
		{Name: "b", OriginalID: "gh_b", Kind: codec.KindService, Format: "json", Mode: "plaintext", Token: "t"}}
	ask, err := ledger.NewPattern("k%04d")
	require.NoError(t, err)
	reply, err := ledger.NewPattern("re:k%04d")
	require.NoError(t, err)
	c, d := clock.Wall(), clock.NewDice(1)
	w := &world{gateway: gatewaytest.New(accounts...)}
	server := httptest.NewServer(w.gateway)
	t.Cleanup(server.Close)
	l := ledger.New(ledger.Config{KeepPushes: 2000, KeepPerFan: 100, MaxFans: 1000, Windows: ledger.DefaultWindows(), Ask: ask, Reply: reply}, c, accounts)
	p, err := pusher.New(pusher.Config{Targets: []string{server.URL}, AttemptTimeout: time.Minute, Attempts: 3},
		pusher.Deps{Clock: c, Dice: d, Ledger: l, Faults: faults.NewEngine(c, d), Accounts: accounts})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close(context.Background())) })
	w.Deps = load.Deps{Clock: c, Dice: d, Ledger: l, Pusher: p, Ask: ask, Keep: 2000}
	return w
}

func TestARunPushesItsPlanAndStops(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	var seen []load.Progress
	last, err := load.Run(t.Context(), t.Context(), w.Deps, load.Plan{Rate: 2000, Count: 400, Fans: 20, Mix: map[string]float64{"text": 3, "LOCATION": 1}}, func(p load.Progress) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, p)
	})
	require.NoError(t, err)
	require.Equal(t, 400, last.Due)
	require.Zero(t, last.Failed, last.Error)
	require.True(t, last.Done)
	require.Equal(t, last, seen[len(seen)-1])
	totals := w.Ledger.Totals()
	require.EqualValues(t, 400, totals.Pushes)
	require.EqualValues(t, 400, totals.Acked)
	require.Equal(t, totals.Numbered, totals.Answered)
	require.InDelta(t, 300, float64(totals.Numbered), 40, "three quarters are texts")
	require.Empty(t, totals.Violations)
	require.Len(t, w.Ledger.Fans("a"), 20)
	require.Len(t, w.Ledger.Fans("b"), 20)
	f, _ := w.Ledger.Fan("a", "oLoad000003")
	for i, r := range f.Replies {
		require.NotZero(t, r.Number, i)
	}
}

func TestASecondRunGoesOnWithTheNumbers(t *testing.T) {
	w := newWorld(t)
	for range 2 {
		_, err := load.Run(t.Context(), t.Context(), w.Deps, load.Plan{Accounts: []string{"a"}, Rate: 1000, Count: 20, Fans: 2}, nil)
		require.NoError(t, err)
	}
	require.Equal(t, 20, w.Ledger.LastNumber("a", "oLoad000000"))
	require.Empty(t, w.Ledger.Totals().Violations)
}

func TestLatencyOfAStalledGatewayIsNotHidden(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	var once sync.Once
	w.gateway.Raw = func(_ http.ResponseWriter, r *http.Request, _ gatewaytest.Message) bool {
		// The gateway stops for a moment; an open loop goes on pushing and counts the wait of every push.
		once.Do(func() { time.AfterFunc(200*time.Millisecond, func() { close(release) }) })
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return false
	}
	_, err := load.Run(t.Context(), t.Context(), w.Deps, load.Plan{Accounts: []string{"a"}, Rate: 500, Count: 90, Fans: 90}, nil)
	require.NoError(t, err)
	totals := w.Ledger.Totals()
	require.EqualValues(t, 90, totals.Acked)
	require.Greater(t, totals.Ack.Quantile(0.5), 50*time.Millisecond, "half of the pushes were due during the stall")
}

func TestTooManyPushesUnderWayAreShedAndCounted(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.gateway.Raw = func(_ http.ResponseWriter, r *http.Request, _ gatewaytest.Message) bool {
		<-r.Context().Done()
		return true
	}
	last, err := load.Run(ctx, ctx, w.Deps, load.Plan{Rate: 1000, Duration: load.Duration(10 * time.Second), Count: 1000, MaxInFlight: 5, Fans: 500}, func(p load.Progress) {
		if p.Shed > 10 {
			cancel()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Greater(t, last.Shed, 10)
	require.EqualValues(t, 5, w.Ledger.Totals().Pushes)
}

func TestPlansThatCannotBeJudgedAreRefused(t *testing.T) {
	w := newWorld(t)
	tests := []struct {
		name string
		plan load.Plan
		text string
	}{
		{"no rate", load.Plan{Count: 1}, "rate"},
		{"no end", load.Plan{Rate: 1}, "count or duration"},
		{"unknown account", load.Plan{Rate: 1, Count: 1, Accounts: []string{"x"}}, `no account "x"`},
		{"more than the ledger keeps", load.Plan{Rate: 1000, Duration: load.Duration(10 * time.Second)}, "keep_pushes"},
		{"a burst without a length", load.Plan{Rate: 1, Count: 1, Burst: &load.Burst{}}, "burst"},
		{"more numbers than rules", load.Plan{Rate: 1, Count: 1000, Fans: 2, Keywords: 10}, "rules for 10"},
		{"negative share", load.Plan{Rate: 1, Count: 1, Mix: map[string]float64{"text": -1}}, "mix.text"},
	}
	for _, tc := range tests {
		_, err := load.Run(t.Context(), t.Context(), w.Deps, tc.plan, nil)
		require.ErrorContains(t, err, tc.text, tc.name)
	}
}

func TestBurstsRaiseTheRate(t *testing.T) {
	w := newWorld(t)
	plan := load.Plan{Accounts: []string{"a"}, Rate: 200, Duration: load.Duration(300 * time.Millisecond), Fans: 500,
		Burst: &load.Burst{Every: load.Duration(100 * time.Millisecond), For: load.Duration(100 * time.Millisecond), Factor: 5}}
	last, err := load.Run(t.Context(), t.Context(), w.Deps, plan, nil)
	require.NoError(t, err)
	require.InDelta(t, 220, last.Due, 5, "20 in the first tenth of a second, then 100 in each")
}

func TestOneRunAtATime(t *testing.T) {
	w := newWorld(t)
	runs := load.NewRuns(w.Deps)
	plan := load.Plan{Rate: 10, Count: 1000, Fans: 10}
	require.ErrorIs(t, runs.Start(plan), load.ErrClosed)
	runs.Open(t.Context())
	require.Error(t, runs.Start(load.Plan{}))
	require.NoError(t, runs.Start(plan))
	require.ErrorIs(t, runs.Start(plan), load.ErrRunning)
	require.True(t, runs.Stop())
	require.Eventually(t, func() bool { _, running := runs.Status(); return !running }, 30*time.Second, time.Millisecond)
	p, _ := runs.Status()
	require.True(t, p.Done)
	require.Less(t, p.Due, 1000)
	require.NoError(t, runs.Start(plan))
	runs.Close()
	_, running := runs.Status()
	require.False(t, running)
	runs.Close()
}

func TestRulesAreYAMLThatAnswersTheNumbers(t *testing.T) {
	ask, err := ledger.NewPattern("k%04d")
	require.NoError(t, err)
	reply, err := ledger.NewPattern("re:k%04d")
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, load.WriteRules(&b, 3, "shop", ask, reply))
	var file struct {
		Rules []struct {
			Name    string                         `yaml:"name"`
			Account string                         `yaml:"account"`
			Match   map[string][]string            `yaml:"match"`
			Do      []map[string]map[string]string `yaml:"do"`
		} `yaml:"rules"`
	}
	require.NoError(t, yaml.Unmarshal(b.Bytes(), &file))
	require.Len(t, file.Rules, 3)
	require.Equal(t, []string{"k0003"}, file.Rules[2].Match["exact"])
	require.Equal(t, "re:k0003", file.Rules[2].Do[0]["reply"]["text"])
	require.Equal(t, "shop", file.Rules[0].Account)
	require.Error(t, load.WriteRules(&b, 0, "", ask, reply))
}
