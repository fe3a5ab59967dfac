//go:build bench

// Package bench measures the budgets of the design as ratios within one run: make bench.
package bench

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
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
	rounds       = 7     // each round measures the baseline and the gateway, one after the other
	perRound     = 6_000 // pushes
	connections  = 32
	clockTicksHz = 100 // USER_HZ on Linux
)

// TestGatewayCPU compares the CPU time of the gateway process per secure push, with a durable
// publish to a NATS server in another process, with that of a bare net/http handler.
func TestGatewayCPU(t *testing.T) {
	s := stack.StartGatewayOnly(t, benchConfig())
	bare := stack.StartBare(t, s)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections}}

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
	fmt.Printf("gateway CPU per secure push    bare %5.1f µs   gateway %5.1f µs   ratio %.2f (min %.2f, max %.2f)   budget 2.0\n",
		median(bares), median(gateways), median(ratios), slices.Min(ratios), slices.Max(ratios))
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

// cpuTime reads user and system time of a process. The precision is a clock tick, 10 ms.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	require.NoError(t, err)
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+2:]))
	user, err := strconv.ParseInt(fields[11], 10, 64)
	require.NoError(t, err)
	system, err := strconv.ParseInt(fields[12], 10, 64)
	require.NoError(t, err)
	return time.Duration(user+system) * time.Second / clockTicksHz
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
