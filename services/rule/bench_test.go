package rule_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/publish"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

// BenchmarkDecide takes events from INBOUND through match, record, offer and settling, with the server,
// the gateway and the rule service in one process; 32 fans at a time.
func BenchmarkDecide(b *testing.B) {
	r := newRig(b)
	answered := make(chan struct{}, 1024)
	answer := always(delivered)
	r.gateway(func(o *offer) (outcome, error) {
		answered <- struct{}{}
		return answer(o)
	})
	r.replica("rule-a", r.rules(rulesText))
	inFlight := 0
	b.ResetTimer()
	for i := range b.N {
		ev := r.text("shop", fmt.Sprintf("fan%d", i%997), "hello")
		ev.PassiveDeadlineUnixMs = time.Now().Add(time.Minute).UnixMilli()
		r.push(ev)
		if inFlight++; inFlight == 32 {
			<-answered
			inFlight--
		}
	}
	for range inFlight {
		select {
		case <-answered:
		case <-time.After(patience):
			require.Fail(b, "an event was not offered")
		}
	}
	b.StopTimer()
	r.settled()
}

// latency pushes events at a steady rate and returns the 50th and 99th percentile of the time from the push to the offer
// of those that count.
func latency(b *testing.B, r *rig, perSecond int, next func(i int) (ev *eventv1.InboundEvent, counts bool)) (p50, p99 time.Duration) {
	b.Helper()
	var mu sync.Mutex // guards the maps and times
	pushed, times := map[string]time.Time{}, []time.Duration{}
	done := make(chan struct{}, 1<<16)
	answer := always(delivered)
	g := r.gateway(func(o *offer) (outcome, error) {
		mu.Lock()
		at, ok := pushed[o.GetEventId()]
		if ok {
			times = append(times, time.Since(at))
		}
		mu.Unlock()
		if ok {
			done <- struct{}{}
		}
		return answer(o)
	})
	defer g.gone(b)
	pace := time.NewTicker(time.Second / time.Duration(perSecond))
	defer pace.Stop()
	counted := 0
	for i := range b.N {
		<-pace.C
		ev, counts := next(i)
		ev.PassiveDeadlineUnixMs = time.Now().Add(time.Minute).UnixMilli()
		if counts {
			counted++
			mu.Lock()
			pushed[ev.GetId()] = time.Now()
			mu.Unlock()
		}
		r.push(ev)
	}
	for range counted {
		select {
		case <-done:
		case <-time.After(6 * patience):
			require.Fail(b, "an event was not offered")
		}
	}
	slices.Sort(times)
	return times[len(times)/2], times[len(times)*99/100]
}

// BenchmarkSlowTenth shows what a business system that takes 3 s does to the fans who have nothing to do with it: with
// 10 % of the traffic on it, and without. Run it with -benchtime 2000x.
func BenchmarkSlowTenth(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(3 * time.Second) //nolint:forbidigo // this is the slow system
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	rules := fmt.Sprintf("rules:\n  - {match: {exact: [slow]}, do: [{webhook: {url: %q, timeout: 5s}}]}\n  - {match: any, do: [{reply: quick}]}\n", server.URL)
	for _, share := range []int{0, 10} {
		b.Run(fmt.Sprintf("%d%%", share), func(b *testing.B) {
			r := newRig(b)
			r.replica("rule-a", r.rules(rules))
			p50, p99 := latency(b, r, 200, func(i int) (*eventv1.InboundEvent, bool) {
				if i%100 >= 100-share {
					return r.text("shop", fmt.Sprintf("slow%d", i), "slow"), false
				}
				return r.text("shop", fmt.Sprintf("fan%d", i), "x"), true
			})
			b.ReportMetric(float64(p50.Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(p99.Microseconds())/1000, "p99-ms")
		})
	}
}

// BenchmarkReloadUnderLoad shows what a new version of 100 000 rules, a second after the last one, does to pushes that come meanwhile: a
// replica loads and compiles beside its work, and swaps. Run it with -benchtime 5000x.
func BenchmarkReloadUnderLoad(b *testing.B) {
	var file strings.Builder
	file.WriteString("rules:\n")
	kinds := []string{"exact", "prefix", "contains"}
	for i := range 100_000 {
		fmt.Fprintf(&file, "  - {match: {%s: [关键词%06d]}, do: [{reply: 答%d}]}\n", kinds[i%3], i, i)
	}
	file.WriteString("  - {match: any, do: [{reply: quick}]}\n")
	r := newRig(b)
	api := r.api(r.replica("rule-a", r.rules(file.String())))
	another := []byte("# another version\n" + file.String())
	rules, err := ruleset.Parse(another, ruleset.Options{})
	require.NoError(b, err)
	store, err := publish.Open(b.Context(), r.env.JS, r.tel.Logger, time.Now)
	require.NoError(b, err)
	published, err := store.Publish(b.Context(), publish.Publication{File: another, Rules: rules, Source: publish.SourceAPI})
	require.NoError(b, err)
	listed, err := api.ListRuleSets(b.Context(), &rulev1.ListRuleSetsRequest{})
	require.NoError(b, err)
	versions := []string{listed.GetRuleSets()[1].GetVersion(), published.Info.Version}
	for _, reloading := range []bool{false, true} {
		b.Run(fmt.Sprintf("reloading=%v", reloading), func(b *testing.B) {
			stop, reloads := make(chan struct{}), 0
			var publisher sync.WaitGroup
			if reloading {
				publisher.Go(func() {
					for {
						select {
						case <-stop:
							return
						case <-time.After(time.Second):
						}
						if _, err := store.RollBack(b.Context(), versions[reloads%2], ""); err == nil {
							reloads++
						}
					}
				})
			}
			p50, p99 := latency(b, r, 500, func(i int) (*eventv1.InboundEvent, bool) {
				return r.text("shop", fmt.Sprintf("fan%d", i), "你好"), true
			})
			close(stop)
			publisher.Wait()
			b.ReportMetric(float64(reloads), "reloads")
			b.ReportMetric(float64(p50.Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(p99.Microseconds())/1000, "p99-ms")
		})
	}
}
