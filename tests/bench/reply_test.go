//go:build bench

package bench

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/tests/stack"
)

const (
	replyRate = 500 // pushes per second
	replyFans = 2_000
	warmUp    = 5 * time.Second
)

// replyRows measures the time from a push to its passive reply through an all-in-one process with an
// embedded NATS on disk. WeChat is the simulator in a process of its own; its histogram counts from when a
// push was due, so a stall is not hidden.
func replyRows(t *testing.T, sync bool) []Row {
	s := startEmbedded(t, sync)
	s.runLoad(t, warmUp)
	s.Sim(t, http.MethodPost, "/sim/v1/reset", nil, nil)
	cpu, writes := cpuTime(t, s.Gateways[0].PID()), s.writes(t)
	s.runLoad(t, *duration)
	cpu, writes = cpuTime(t, s.Gateways[0].PID())-cpu, s.writes(t)-writes

	var report struct {
		Numbered int     `json:"numbered"`
		Passive  int     `json:"replies_passive"`
		Reply    latency `json:"reply"`
	}
	s.Sim(t, http.MethodGet, "/sim/v1/report", nil, &report)
	require.NotZero(t, report.Numbered)
	what, budget, limit := "push → passive reply, embedded, 500/s, no fsync", "p99 ≤ 25 ms", float64(25*time.Millisecond)
	if sync {
		what, budget, limit = "the same with an fsync for every acknowledgement", "", 0
	}
	rows := []Row{{
		What: what, Budget: budget, Limit: limit, Value: float64(report.Reply.P99),
		Measured: fmt.Sprintf("%s; %d of %d passively; %.2f cores", report.Reply, report.Passive, report.Numbered, cpu.Seconds()/duration.Seconds()),
	}}
	if !sync {
		rows = append(rows, Row{What: "durable writes for each of these pushes", Measured: fmt.Sprintf("%.1f", float64(writes)/float64(report.Numbered))})
	}
	return rows
}

// writes returns how many messages all streams and buckets have taken so far.
func (s embedded) writes(t *testing.T) (n uint64) {
	t.Helper()
	nc, err := nats.Connect(s.NATS[0], nats.Timeout(5*time.Second))
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	streams := js.ListStreams(t.Context())
	for info := range streams.Info() {
		n += info.State.LastSeq
	}
	require.NoError(t, streams.Err())
	return n
}

type latency struct {
	P50  time.Duration `json:"p50_ns"`
	P90  time.Duration `json:"p90_ns"`
	P99  time.Duration `json:"p99_ns"`
	P999 time.Duration `json:"p999_ns"`
	Max  time.Duration `json:"max_ns"`
}

func (l latency) String() string {
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/1e6) }
	return fmt.Sprintf("p50 %s, p90 %s, p99 %s, p99.9 %s, max %s ms", ms(l.P50), ms(l.P90), ms(l.P99), ms(l.P999), ms(l.Max))
}

// embedded is an all-in-one process with its simulator.
type embedded struct{ *stack.Stack }

func startEmbedded(t *testing.T, sync bool) embedded {
	t.Helper()
	config := benchConfig()
	config["accounts"].([]map[string]any)[0]["reply"] = "passive"
	config["nats"] = map[string]any{"sync_always": sync}
	config["simulator"] = map[string]any{"demo_fans": 0}
	s := embedded{stack.Start(t, stack.Options{Mode: stack.All, Config: config, Gateways: 1, Rules: "rules: []\n"})}
	s.PublishNumberedRules(t, "shop", s.keywords())
	return s
}

// keywords is how many questions each fan asks in all.
func (embedded) keywords() int {
	return int(duration.Seconds()+warmUp.Seconds())*replyRate/replyFans + 2
}

func (s embedded) runLoad(t *testing.T, d time.Duration) {
	t.Helper()
	s.Load(t, map[string]any{
		"accounts": []string{"shop"}, "rate": replyRate, "duration": d.String(), "fans": replyFans, "keywords": s.keywords(), "settle": "10s",
	}, d+time.Minute)
}
