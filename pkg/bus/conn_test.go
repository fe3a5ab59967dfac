package bus_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/bus/natsembed"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/testkit"
)

func TestConnectSaysWhatIsWrong(t *testing.T) {
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	for _, tc := range []struct {
		name    string
		options bus.Options
		kind    fault.Kind
		text    string
	}{
		{"no name", bus.Options{URLs: []string{"nats://127.0.0.1:1"}}, fault.Invalid, "nats client name"},
		{"a name that is no token", bus.Options{Name: "a.b"}, fault.Invalid, "nats client name"},
		{"nowhere to go", bus.Options{Name: "a"}, fault.Invalid, "needs urls"},
		{"nobody there", bus.Options{Name: "a", URLs: []string{"nats://127.0.0.1:1"}}, fault.Unavailable, "connect to NATS as a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := bus.Connect(short, tc.options)
			require.Equal(t, tc.kind, fault.KindOf(err))
			require.ErrorContains(t, err, tc.text)
		})
	}
}

func TestConnectWaitsForTheServer(t *testing.T) {
	ports, err := testkit.FreePorts(1)
	require.NoError(t, err)
	addr := fmt.Sprintf("127.0.0.1:%d", ports[0])
	connected := make(chan error, 1)
	go func() {
		conn, err := bus.Connect(t.Context(), bus.Options{Name: "early", URLs: []string{"nats://" + addr}})
		if err == nil {
			err = conn.Close(context.WithoutCancel(t.Context()))
		}
		connected <- err
	}()
	server, err := natsembed.Start(natsembed.Options{Memory: true, Listen: addr})
	require.NoError(t, err)
	defer server.Shutdown()
	require.NoError(t, <-connected)
}

func TestWrongPasswordIsNotTriedForEver(t *testing.T) {
	server, err := natsembed.Start(natsembed.Options{Memory: true, Listen: "127.0.0.1:-1", User: "u", Password: "p"})
	require.NoError(t, err)
	defer server.Shutdown()
	_, err = bus.Connect(t.Context(), bus.Options{Name: "a", URLs: []string{server.ClientURL()}, User: "u", Password: "wrong"})
	require.Equal(t, fault.Permanent, fault.KindOf(err))
	require.NotContains(t, err.Error(), "wrong")
	conn, err := bus.Connect(t.Context(), bus.Options{Name: "a", URLs: []string{server.ClientURL()}, User: "u", Password: "p"})
	require.NoError(t, err)
	require.NoError(t, conn.Healthy())
	require.NoError(t, conn.Close(t.Context()))
	require.NoError(t, conn.Close(t.Context()), "close twice")
	require.Error(t, conn.Healthy())
}

func TestPublishersUseAllConnectionsThatAnswer(t *testing.T) {
	e := bustest.Start(t, bustest.WithListen())
	conn, err := bus.Connect(t.Context(), bus.Options{Name: "two", URLs: []string{e.URL}, Conns: 2})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	require.Equal(t, map[int]int{0: 5, 1: 5}, conn.Picks(10))
	conn.Avoid(0)
	require.Equal(t, map[int]int{1: 10}, conn.Picks(10))
	conn.Avoid(1)
	require.Equal(t, map[int]int{0: 5, 1: 5}, conn.Picks(10), "when none answers, each is as good")
	conn.NC().Close()
	require.Equal(t, map[int]int{1: 10}, conn.Picks(10))
	for i := range 4 {
		ack, err := conn.Publish(t.Context(), bus.Msg{Subject: inbound(t, 0, "a")})
		require.NoError(t, err)
		require.EqualValues(t, i+1, ack.Seq)
	}
}

func TestADeniedSubjectMakesTheConnectionUnhealthy(t *testing.T) {
	e := bustest.Start(t)
	require.NoError(t, e.Conn.Healthy())
	e.Conn.Deny()
	require.ErrorContains(t, e.Conn.Healthy(), "permissions")
}

func TestTheClientsInboxIsItsOwn(t *testing.T) {
	e := bustest.Start(t)
	require.Regexp(t, `^_INBOX_test\.`, e.Conn.NC().NewInbox(), "permissions are given for this prefix")
}

func TestMetricsAreBounded(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	e := bustest.Start(t, bustest.WithMeter(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))))
	done := make(chan struct{}, 10)
	bustest.Run(t, e.Conn.NewConsumer(ruleConsumer(nil), func(_ context.Context, d *bus.Delivery) error {
		done <- struct{}{}
		switch {
		case string(d.Data) == "bad":
			return fault.New(fault.Invalid, "bad")
		case string(d.Data) == "later" && d.NumDelivered == 1:
			return fault.New(fault.Retryable, "later")
		}
		return nil
	}))
	for _, id := range []string{"good", "good", "bad", "later"} {
		_, err := e.Conn.Publish(t.Context(), bus.Msg{Subject: inbound(t, 0, "oSecret"+id), ID: id, Data: []byte(id)})
		require.NoError(t, err)
	}
	for range 4 {
		<-done
	}
	_, err := e.Conn.Publish(t.Context(), bus.Msg{Subject: "wx.none"})
	require.Error(t, err)
	letters(t, e.Conn, 1)
	var sums map[string]int64
	require.Eventually(t, func() bool {
		sums = collect(t, reader)
		// A lane ends after its message is counted.
		return sums["wxbus.bus.handled service=rule stream=INBOUND outcome=ack"] == 2 && sums["wxbus.bus.lanes.active service=rule stream=INBOUND"] == 0
	}, wait, 10*time.Millisecond, "%v", sums)
	for name, want := range map[string]int64{
		"wxbus.bus.published stream=INBOUND outcome=stored":                      3,
		"wxbus.bus.published stream=INBOUND outcome=duplicate":                   1,
		"wxbus.bus.published stream=DLQ outcome=stored":                          1,
		"wxbus.bus.published stream= outcome=no_stream":                          1,
		"wxbus.bus.handled service=rule stream=INBOUND outcome=dead_letter":      1,
		"wxbus.bus.handled service=rule stream=INBOUND outcome=retry":            1,
		"wxbus.bus.lanes.active service=rule stream=INBOUND":                     0,
		"wxbus.bus.in_flight service=rule stream=INBOUND":                        0,
		"wxbus.bus.handler.duration service=rule stream=INBOUND outcome=ack":     2,
		"wxbus.bus.publish.duration stream=INBOUND outcome=stored":               3,
		"wxbus.bus.pending service=rule stream=INBOUND durable=rule-00 (exists)": 1,
	} {
		require.Equal(t, want, sums[name], "%s in %v", name, sums)
	}
	for _, name := range []string{ // what alerts count, before it happens the first time
		"wxbus.bus.published stream=INBOUND outcome=stream_full", "wxbus.bus.published stream=INBOUND outcome=timeout",
		"wxbus.bus.connection.events event=denied", "wxbus.bus.ack.errors service=rule stream=INBOUND",
	} {
		require.Contains(t, sums, name)
	}
	for name := range sums {
		require.NotContains(t, name, "oSecret")
		require.NotContains(t, name, "shop")
	}
}

// collect returns sums, counts of histograms, and for gauges whether they exist.
func collect(t *testing.T, reader sdkmetric.Reader) map[string]int64 {
	t.Helper()
	var data metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &data))
	out := make(map[string]int64)
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					out[key(m.Name, p)] = p.Value
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					out[name(m.Name, p.Attributes)] = int64(p.Count)
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					out[key(m.Name, p)+" (exists)"] = 1
				}
			}
		}
	}
	return out
}

func key(metric string, p metricdata.DataPoint[int64]) string { return name(metric, p.Attributes) }

// name joins a metric with its labels in a fixed order.
func name(metric string, labels attribute.Set) string {
	for _, label := range []attribute.Key{"service", "stream", "durable", "outcome", "event"} {
		if v, ok := labels.Value(label); ok {
			metric += " " + string(label) + "=" + v.AsString()
		}
	}
	return metric
}
