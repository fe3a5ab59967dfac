package gateway_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/topology"
	"github.com/wxbus/wxbus/pkg/wechat"
)

// tiny is a topology whose named streams take hardly anything.
func tiny(streams ...string) bustest.Option {
	limits := make(map[string]int64)
	for _, s := range streams {
		limits[s] = 1 << 10
	}
	return bustest.WithTopology(topology.Options{
		Partitions: 2, AckWait: 2 * time.Second, PinnedTTL: 2 * time.Second, MaxBytes: limits,
	})
}

func requireUnavailable(t testing.TB, r response) {
	t.Helper()
	require.NoError(t, r.err)
	require.Equal(t, http.StatusServiceUnavailable, r.status)
	require.Equal(t, "unavailable", r.body)
}

func TestNoSuccessWhileEveryStreamIsFull(t *testing.T) {
	t.Parallel()
	r := newRig(t, tiny(topology.StreamInbound, topology.StreamSpill))
	g := r.gateway(t, quick(), shop(nil))
	var refused, stored int
	for id := range 8 {
		got := g.push(t, message{id: string(rune('1' + id)), content: "a text that takes its room in the stream, with the raw body once more"})
		if got.status == http.StatusOK {
			requireSuccess(t, got)
			stored++
			continue
		}
		requireUnavailable(t, got)
		refused++
	}
	require.Positive(t, refused)
	held := len(r.events(t, topology.StreamInbound)) + len(r.events(t, topology.StreamSpill))
	require.GreaterOrEqual(t, held, stored, "every success is stored")
	require.Equal(t, float64(refused), r.metric(t, "wxbus_gateway_refused_total"))
	require.Positive(t, r.metric(t, "wxbus_gateway_refused_total", "reason=stream_full"), "a slow machine has other reasons too")
}

func TestNoSuccessWithoutAServer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	// Not started: readers that lose their server take long to stop, and receiving needs none.
	ack, passive := r.unstarted(t, quick(), shop(nil)), r.unstarted(t, quick(), shop(passiveShop))
	requireSuccess(t, ack.push(t, message{id: "1", content: "x"}))
	require.NoError(t, r.env.Server.Stop(t.Context()))
	requireUnavailable(t, ack.push(t, message{id: "2", content: "x"}))
	requireUnavailable(t, passive.push(t, message{id: "3", content: "x"}))
	requireUnavailable(t, ack.push(t, message{id: "1", content: "x"}))
}

func TestSpillWhileTheHomeStreamIsAway(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, quick(), shop(nil))
	require.NoError(t, r.env.JS.DeleteStream(t.Context(), topology.StreamInbound))

	got := g.push(t, message{id: "1", content: "kept"})
	requireSuccess(t, got)
	spilled := r.messages(t, topology.StreamSpill)
	require.Len(t, spilled, 1)
	requireSuccess(t, g.push(t, message{id: "1", content: "kept"}))
	require.Len(t, r.messages(t, topology.StreamSpill), 1, "a retry spills once")
	require.Equal(t, 2.0, r.metric(t, "wxbus_gateway_spilled_total"))

	require.NoError(t, r.env.Topology.Ensure(t.Context(), r.env.JS))
	require.Eventually(t, func() bool { return len(r.messages(t, topology.StreamInbound)) == 1 }, 30*time.Second, 10*time.Millisecond)
	home := r.messages(t, topology.StreamInbound)[0]
	require.Equal(t, spilled[0].Data, home.Data)
	require.Equal(t, spilled[0].Header.Get(nats.MsgIdHdr), home.Header.Get(nats.MsgIdHdr))
	require.Equal(t, traceOf(spilled[0].Header), traceOf(home.Header), "the trace goes on")
	require.Eventually(t, func() bool { return r.metric(t, "wxbus_gateway_spill_away_seconds") == 1 }, 30*time.Second, 10*time.Millisecond)
	requireSuccess(t, g.push(t, message{id: "1", content: "kept"}))
	require.Len(t, r.messages(t, topology.StreamInbound), 1, "a retry after the move is a duplicate")
}

func traceOf(h nats.Header) string {
	parent := h.Get("traceparent")
	if len(parent) < 35 {
		return "no trace: " + parent
	}
	return parent[3:35]
}

func TestSpillWhileTheHomeStreamIsFull(t *testing.T) {
	r := newRig(t, tiny(topology.StreamInbound))
	cfg := patient()
	cfg.Publish.PrimaryTimeout, cfg.Publish.Total = 10*time.Second, 14*time.Second // a slow machine is no slow stream
	g := r.gateway(t, cfg, shop(nil))
	for id := range 6 {
		requireSuccess(t, g.push(t, message{id: string(rune('1' + id)), content: "a text that takes its room in the stream, with the raw body once more"}))
	}
	home, spilled := r.events(t, topology.StreamInbound), r.events(t, topology.StreamSpill)
	require.NotEmpty(t, spilled)
	require.Len(t, append(home, spilled...), 6)
	refused := r.metric(t, "wxbus_gateway_spilled_total", "cause=stream_full")
	require.Equal(t, 1.0, refused, "only the first one has to be refused")
	require.Equal(t, float64(len(spilled)), refused+r.metric(t, "wxbus_gateway_spilled_total", "cause=away"), "the others follow it")
	require.Equal(t, 1.0, r.metric(t, "wxbus_gateway_away_fans"))
}

func TestPushTooLargeForTheBusIsParked(t *testing.T) {
	r := newRig(t)
	r.readTimeout = time.Minute
	cfg := patient()
	cfg.Publish.PrimaryTimeout, cfg.Publish.Total = 10*time.Second, 14*time.Second
	cfg.MaxBody = 1 << 20
	g := r.gateway(t, cfg, shop(func(a *account.Account) { a.Mode, a.AllowInsecure = account.ModePlaintext, true }))
	// The text is in the event twice, in raw and typed: together more than a message may have.
	query, body := valid.seal(t, account.ModePlaintext, wechat.XML, message{id: "1", content: strings.Repeat("a", 900<<10)}.body())
	requireSuccess(t, g.post(t.Context(), query, body))
	require.Empty(t, r.messages(t, topology.StreamInbound))
	require.Empty(t, r.messages(t, topology.StreamSpill))
	parked := r.messages(t, topology.StreamDeadLetters)
	require.Len(t, parked, 1)
	require.Equal(t, string(body), string(parked[0].Data))
	require.Equal(t, 1.0, r.metric(t, "wxbus_gateway_parked_total", "reason=too_large"))
}
