package rule_test

import (
	"cmp"
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

// wait is the time from a push to its offer.
type wait struct {
	from time.Time
	took time.Duration
}

// percentiles reports the 50th and 99th percentile of some waits.
func percentiles(b *testing.B, waits []wait, of string) {
	b.Helper()
	if len(waits) == 0 {
		return
	}
	slices.SortFunc(waits, func(x, y wait) int { return cmp.Compare(x.took, y.took) })
	for name, share := range map[string]int{"p50": 50, "p99": 99} {
		b.ReportMetric(float64(waits[len(waits)*share/100].took.Microseconds())/1000, name+of+"-ms")
	}
}

// latency pushes events at a steady rate and returns how long those that count waited for their offer.
func latency(b *testing.B, r *rig, perSecond int, next func(i int) (ev *eventv1.InboundEvent, counts bool)) []wait {
	b.Helper()
	var mu sync.Mutex // guards the map and waits
	pushed, waits := map[string]time.Time{}, []wait{}
	done := make(chan struct{}, 1<<16)
	answer := always(delivered)
	g := r.gateway(func(o *offer) (outcome, error) {
		mu.Lock()
		at, ok := pushed[o.GetEventId()]
		if ok {
			waits = append(waits, wait{at, time.Since(at)})
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
	return waits
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
			waits := latency(b, r, 200, func(i int) (*eventv1.InboundEvent, bool) {
				if i%100 >= 100-share {
					return r.text("shop", fmt.Sprintf("slow%d", i), "slow"), false
				}
				return r.text("shop", fmt.Sprintf("fan%d", i), "x"), true
			})
			percentiles(b, waits, "")
		})
	}
}

// BenchmarkReloadUnderLoad shows what a new version of 100 000 rules, a second after the last one, does to pushes that come
// meanwhile: a replica takes what it has, reads and compiles the rest beside its work, and swaps. What overlaps a reload is
// also reported apart ("during"). Run it with -benchtime 3000x.
func BenchmarkReloadUnderLoad(b *testing.B) {
	for _, change := range []struct{ name, file string }{
		{"no reload", ""},
		{"100 answers", manyRules(nothing, aThousandth)},
		{"100 keywords", manyRules(aThousandth, nothing)},
		{"everything", manyRules(everything, everything)},
	} {
		b.Run(change.name, func(b *testing.B) {
			r := newRig(b)
			r.replica("rule-a", r.rules(manyRules(nothing, nothing)))
			store, err := publish.Open(b.Context(), r.env.JS, r.tel.Logger, time.Now)
			require.NoError(b, err)
			first, _, err := store.Pointer(b.Context())
			require.NoError(b, err)
			stop := func() []wait { return nil }
			if change.file != "" {
				stop = reload(b, r, store, first.Live, change.file)
			}
			waits := latency(b, r, 500, func(i int) (*eventv1.InboundEvent, bool) {
				return r.text("shop", fmt.Sprintf("fan%d", i), "你好"), true
			})
			reloads := stop()
			b.ReportMetric(float64(len(reloads)), "reloads")
			percentiles(b, waits, "")
			during := slices.DeleteFunc(slices.Clone(waits), func(w wait) bool {
				return !slices.ContainsFunc(reloads, func(l wait) bool {
					return w.from.Before(l.from.Add(l.took)) && w.from.Add(w.took).After(l.from)
				})
			})
			percentiles(b, during, "-during")
			percentiles(b, reloads, "-reload")
		})
	}
}

// reload switches between a version and another one, a second after the switch before was done, until the returned
// function is called, which tells when the replica was at it.
func reload(b *testing.B, r *rig, store *publish.Store, version, file string) func() []wait {
	b.Helper()
	rules, err := ruleset.Parse([]byte(file), ruleset.Options{})
	require.NoError(b, err)
	done := func() int { return strings.Count(r.tel.Log.String(), `"rules are live"`) }
	switched := func(loads int) {
		for done() <= loads {
			select {
			case <-b.Context().Done():
				return
			case <-time.After(20 * time.Millisecond): // a look copies the log
			}
		}
	}
	loads := done()
	other, err := store.Publish(b.Context(), publish.Publication{File: []byte(file), Rules: rules, Source: publish.SourceAPI})
	require.NoError(b, err)
	if !other.Unchanged { // by a run before this one
		switched(loads)
	}
	stop, versions, reloads := make(chan struct{}), []string{version, other.Info.Version}, []wait(nil)
	var publisher sync.WaitGroup
	publisher.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Second):
			}
			loads, from := done(), time.Now()
			if _, err := store.RollBack(b.Context(), versions[len(reloads)%2], ""); err != nil {
				continue
			}
			switched(loads)
			reloads = append(reloads, wait{from, time.Since(from)})
		}
	})
	return func() []wait { close(stop); publisher.Wait(); return reloads }
}

// Which of many rules differ.
func nothing(int) bool       { return false }
func aThousandth(i int) bool { return i%1000 == 0 }
func everything(int) bool    { return true }

// manyRules is a file of 100 000 rules of which some have another keyword or another answer.
func manyRules(keyword, answer func(int) bool) string {
	var file strings.Builder
	file.WriteString("rules:\n")
	kinds := []string{"exact", "prefix", "contains"}
	for i := range 100_000 {
		word, text := fmt.Sprintf("关键词%06d", i), fmt.Sprintf("答%d", i)
		if keyword(i) {
			word = "新" + word
		}
		if answer(i) {
			text = "新" + text
		}
		fmt.Fprintf(&file, "  - {match: {%s: [%s]}, do: [{reply: %s}]}\n", kinds[i%3], word, text)
	}
	file.WriteString("  - {match: any, do: [{reply: quick}]}\n")
	return file.String()
}
