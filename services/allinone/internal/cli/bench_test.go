package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// slowAbove is a simulator whose system acknowledges in 10 ms up to a rate, and later above it; beyond twice that rate it
// refuses every tenth push.
func slowAbove(t *testing.T, held float64) string {
	t.Helper()
	var rate float64
	cpu := 0.0
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sim/v1/reset", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /sim/v1/load", func(_ http.ResponseWriter, r *http.Request) {
		var plan struct {
			Rate float64 `json:"rate"`
		}
		if json.NewDecoder(r.Body).Decode(&plan) == nil {
			rate = plan.Rate
			cpu += rate / 1000 // 1 ms for each push of a second
		}
	})
	mux.HandleFunc("GET /sim/v1/load", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"running":false}`) })
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "# HELP x\nprocess_cpu_seconds_total %g\nprocess_resident_memory_bytes 1.048576e+08\n", cpu)
	})
	mux.HandleFunc("GET /sim/v1/report", func(w http.ResponseWriter, _ *http.Request) {
		p99, refused := 10*time.Millisecond, 0
		if rate > held {
			p99 = time.Second
		}
		if rate > 2*held {
			p99, refused = 10*time.Millisecond, int(rate)/10
		}
		fmt.Fprintf(w, `{"pushes":%d,"not_acked":%d,"ack":{"p50_ns":%d,"p99_ns":%d},"reply":{}}`, int(rate), refused, p99/2, p99)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func TestBenchStopsAtTheFirstRateThatIsNotHeld(t *testing.T) {
	for name, tc := range map[string]struct {
		held   float64
		rates  string
		code   int
		want   []string
		unseen string
	}{
		"slow above 200":         {200, "100,200,400,800", exitOK, []string{"held: 200 pushes a second", "1000.0 ms", "1000 µs", "100 MB"}, "800/s"},
		"refuses above 200":      {99, "50,200", exitOK, []string{"held: 50 pushes a second", " 20 "}, "not even"},
		"every rate is held":     {1000, "100,200", exitOK, []string{"held: 200 pushes a second"}, "not even"},
		"not even the first one": {10, "15,100", exitProblems, []string{"not even 15/s is held"}, "100/s"},
	} {
		t.Run(name, func(t *testing.T) {
			url := slowAbove(t, tc.held)
			code, stdout, stderr := run(t, "bench", "--simulator", url, "--admin", url, "--rates", tc.rates, "--duration", "1s")
			require.Equal(t, tc.code, code, stderr)
			for _, want := range tc.want {
				require.Contains(t, stdout, want)
			}
			require.NotContains(t, stdout, tc.unseen)
		})
	}
}

func TestBenchTellsProgramsTheSame(t *testing.T) {
	code, stdout, stderr := run(t, "bench", "--simulator", slowAbove(t, 200), "--admin", "", "--rates", "100,400", "--json")
	require.Equal(t, exitOK, code, stderr)
	var steps []benchStep
	require.NoError(t, json.Unmarshal([]byte(stdout), &steps), stdout)
	require.Equal(t, []benchStep{
		{Rate: 100, Pushes: 100, Kept: true, P50: 5 * time.Millisecond, P99: 10 * time.Millisecond},
		{Rate: 400, Pushes: 400, P50: 500 * time.Millisecond, P99: time.Second},
	}, steps)
}

func TestStepsOfATimelineAreDrawnWhereTheyWere(t *testing.T) {
	for name, tc := range map[string]struct {
		begin, end, total int64
		want              string
	}{
		"the whole":           {0, 30, 30, "██████████████████████████████"},
		"the beginning":       {0, 10, 30, "██████████····················"},
		"the end":             {29, 30, 30, "·····························█"},
		"a moment at the end": {30, 30, 30, "·····························█"},
		"a moment":            {15, 15, 30, "···············█··············"},
		"nothing took time":   {0, 0, 0, "█·····························"},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tc.want, track(tc.begin, tc.end, tc.total)) })
	}
}
