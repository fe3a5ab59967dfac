package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/telemetry"
	"github.com/wxbus/wxbus/pkg/telemetry/telemetrytest"
	"github.com/wxbus/wxbus/pkg/topology"
	"github.com/wxbus/wxbus/pkg/wechat"
)

// BenchmarkPush compares the gateway in secure mode, with one durable publish for each push, to a bare
// handler that reads the body and says success. cpu-µs/op is the CPU of the whole process: the server, the
// same small client, and for the gateway also NATS. The budget is a ratio of 2.0 under load.
func BenchmarkPush(b *testing.B) {
	for _, conns := range []int{1, 64} {
		b.Run(fmt.Sprintf("bare/%d", conns), func(b *testing.B) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, err := io.ReadAll(r.Body); err != nil {
					b.Error(err)
				}
				_, _ = w.Write([]byte("success"))
			}))
			defer server.Close()
			benchmark(b, server.Listener.Addr().String(), conns)
		})
		b.Run(fmt.Sprintf("gateway/%d", conns), func(b *testing.B) {
			r := quietRig(b, bustest.WithTopology(topology.Options{Partitions: 4}))
			g := r.gateway(b, quick(), shop(nil))
			benchmark(b, g.server.Addr(), conns)
		})
	}
}

// quietRig records no spans and no log, as a production process without a collector.
func quietRig(b *testing.B, opts ...bustest.Option) *rig {
	tel, err := telemetry.Start(b.Context(), telemetry.Config{LogOutput: io.Discard}, telemetry.Resource{Service: "bench"})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, tel.Shutdown(context.Background())) })
	env := bustest.Start(b, append(opts, bustest.WithTracer(tel.TracerProvider), bustest.WithMeter(tel.MeterProvider))...)
	return &rig{env: env, tel: &telemetrytest.Telemetry{Telemetry: tel}}
}

// sealedPushes returns whole requests with different messages.
func sealedPushes(b *testing.B, n int) [][]byte {
	requests := make([][]byte, n)
	for i := range requests {
		query, body := valid.seal(b, account.ModeSecure, wechat.XML, message{id: fmt.Sprint(1_000_000 + i), content: "请问周末营业吗？"}.body())
		requests[i] = fmt.Appendf(nil, "POST /wx/shop?%s HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s", query, len(body), body)
	}
	return requests
}

func benchmark(b *testing.B, addr string, conns int) {
	requests := sealedPushes(b, b.N)
	var next atomic.Int64
	before := cpu(b)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range conns {
		wg.Go(func() { pushAll(b, addr, requests, &next) })
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// pushAll sends requests on one connection until there are no more.
func pushAll(b *testing.B, addr string, requests [][]byte, next *atomic.Int64) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Error(err)
		return
	}
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	for {
		i := int(next.Add(1)) - 1
		if i >= len(requests) {
			return
		}
		if _, err := conn.Write(requests[i]); err != nil {
			b.Error(err)
			return
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			b.Error(err)
			return
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || string(body) != "success" {
			b.Errorf("%d %s %v", res.StatusCode, body, err)
			return
		}
	}
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
