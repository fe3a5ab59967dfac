package gauges_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/console/internal/gauges"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const patience = 30 * time.Second

func start(t *testing.T) (*bustest.Env, *sdkmetric.ManualReader) {
	t.Helper()
	e := bustest.Start(t)
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	g := gauges.New(gauges.Options{
		JetStream: e.Conn.JS(), Topology: e.Topology, Meter: provider, Log: slog.New(slog.DiscardHandler), Every: 20 * time.Millisecond,
	})
	require.NoError(t, g.Start(t.Context()))
	t.Cleanup(func() {
		require.NoError(t, g.Stop(context.Background()))
		require.NoError(t, provider.Shutdown(context.Background()))
	})
	return e, reader
}

// read returns every gauge as "name labels".
func read(t *testing.T, reader sdkmetric.Reader) map[string]int64 {
	t.Helper()
	var data metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &data))
	out := map[string]int64{}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			for _, p := range m.Data.(metricdata.Gauge[int64]).DataPoints {
				name := m.Name
				for _, a := range p.Attributes.ToSlice() {
					name += fmt.Sprintf(" %s=%s", a.Key, a.Value.AsString())
				}
				out[name] = p.Value
			}
		}
	}
	return out
}

func publish(t *testing.T, e *bustest.Env, openid, id string) {
	t.Helper()
	subject, err := topology.SubjectInbound("shop", e.Topology.Partition("shop", openid), eventv1.EventKind_EVENT_KIND_MESSAGE, openid)
	require.NoError(t, err)
	_, err = e.Conn.Publish(t.Context(), bus.Msg{Subject: subject, ID: id, Data: []byte("x")})
	require.NoError(t, err)
}

func TestWhatIsLeftToReadIsReportedWithoutTheReaders(t *testing.T) {
	e, reader := start(t)
	for i := range 7 { // over all partitions
		publish(t, e, fmt.Sprintf("oFan%d", i), fmt.Sprint(i))
	}
	var got map[string]int64
	require.Eventually(t, func() bool { // a round that began before the last publish may see less
		got = read(t, reader)
		return got["wxbus.bus.waiting service=rule stream=INBOUND"] == 7 && got["wxbus.bus.waiting service=sender stream=INBOUND"] == 7 &&
			got["wxbus.bus.stream.messages stream=INBOUND"] == 7
	}, patience, 10*time.Millisecond, "%v", &got)
	require.Contains(t, got, "wxbus.bus.stream.messages stream=DLQ")
	require.Positive(t, got["wxbus.bus.stream.size stream=INBOUND"])
	for _, s := range e.Topology.Streams() {
		require.Equal(t, s.MaxBytes, got["wxbus.bus.stream.limit stream="+s.Name])
	}
}

func TestAStreamThatCannotBeReadIsLeftOutAndTheOthersAreNot(t *testing.T) {
	e, reader := start(t)
	has := func(stream string) bool {
		_, ok := read(t, reader)["wxbus.bus.stream.messages stream="+stream]
		return ok
	}
	require.Eventually(t, func() bool { return has(topology.StreamInbound) }, patience, 10*time.Millisecond)
	require.NoError(t, e.Conn.JS().DeleteStream(t.Context(), topology.StreamInbound))
	require.Eventually(t, func() bool { return !has(topology.StreamInbound) && has(topology.StreamDelivery) }, patience, 10*time.Millisecond)
	require.NotContains(t, read(t, reader), "wxbus.bus.waiting service=rule stream=INBOUND", "an old number must not pass for a new one")
}
