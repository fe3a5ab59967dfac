//go:build bench

package bench

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/tests/stack"
)

const (
	rounds      = 13    // each round measures the baseline and the gateway, one after the other
	perRound    = 8_000 // pushes
	connections = 64    // of WeChat, each with one push at a time
)

// gatewayRows compares the CPU time of the gateway process per secure push, with a durable publish to a
// NATS server in another process, with that of a bare net/http handler.
func gatewayRows(t *testing.T) []Row {
	s := stack.StartGatewayOnly(t, benchConfig())
	bare := stack.StartBare(t, s)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections}}
	defer client.CloseIdleConnections()

	var bares, gateways, ratios []float64
	for round := range rounds {
		pushes := securePushes(t, "shop", perRound, round)
		b := cpuPerPush(t, client, bare.PID(), bare.URL, pushes)
		g := cpuPerPush(t, client, s.Gateways[0].PID(), s.Gateways[0].URL, pushes)
		if round == 0 {
			continue // warm-up
		}
		bares, gateways, ratios = append(bares, b), append(gateways, g), append(ratios, g/b)
	}
	if *profileOut != "" {
		profile(t, s.Gateways[0], client)
	}
	ratio := middle(ratios)
	return []Row{{
		What: "gateway CPU per secure push with durable publish, compared with a bare handler", Budget: "≤ 2.0 × (goal 1.5 ×)", Limit: 2, Value: ratio,
		Measured: fmt.Sprintf("%.2f × (%.2f to %.2f): %.0f µs, bare %.0f µs", ratio, slices.Min(ratios), slices.Max(ratios), middle(gateways), middle(bares)),
	}}
}

// profile writes a CPU profile of the gateway while it takes pushes.
func profile(t *testing.T, gw *stack.Gateway, client *http.Client) {
	t.Helper()
	const seconds = 15
	done := make(chan struct{})
	go func() {
		defer close(done)
		resp, err := stack.HTTP.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", gw.Admin, seconds))
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode == http.StatusOK {
			err = os.WriteFile(*profileOut, b, 0o600)
		}
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("profile: %s %v", resp.Status, err)
		}
	}()
	for round := rounds; ; round++ {
		cpuPerPush(t, client, gw.PID(), gw.URL, securePushes(t, "shop", perRound, round))
		select {
		case <-done:
			return
		default:
		}
	}
}

// cpuPerPush sends all pushes over the connections and returns the process's CPU time per push in µs.
func cpuPerPush(t *testing.T, client *http.Client, pid int, base string, pushes []push) float64 {
	t.Helper()
	before := cpuTime(t, pid)
	var wg sync.WaitGroup
	failed := make(chan string, len(pushes))
	next := make(chan push, len(pushes))
	for _, p := range pushes {
		next <- p
	}
	close(next)
	for range connections {
		wg.Go(func() {
			for p := range next {
				resp, err := client.Post(base+p.path, "text/xml", bytes.NewReader(p.body))
				if err != nil {
					failed <- err.Error()
					continue
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK || string(body) != "success" {
					failed <- resp.Status + " " + string(body)
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	require.Empty(t, failed, "first failure: %s", <-failed)
	return float64(cpuTime(t, pid)-before) / float64(time.Microsecond) / float64(len(pushes))
}

// cpuTime reads how long the threads of a process have run, from the scheduler: the usual counters of the
// process only know clock ticks.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	threads, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/schedstat")
	require.NoError(t, err)
	require.NotEmpty(t, threads)
	var total time.Duration
	for _, name := range threads {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		ran, err := strconv.ParseInt(strings.Fields(string(b))[0], 10, 64)
		require.NoError(t, err)
		total += time.Duration(ran)
	}
	return total
}

func middle(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
