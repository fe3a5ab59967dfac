package sender_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

// BenchmarkSend measures the acceptance of a message: record, window and queue are stored when it
// returns.
func BenchmarkSend(b *testing.B) {
	f := setUp(b)
	f.cfg.Pace.Rate, f.cfg.Pace.Burst = 100_000, 100_000
	s := f.replica(b, "a")
	var serial atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n := serial.Add(1)
			if _, err := s.Send(b.Context(), f.request(fmt.Sprint("fan-", n), fmt.Sprint("k", n), "hello")); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkMessage measures one message from Send to the fact that WeChat took it, one after the other.
func BenchmarkMessage(b *testing.B) {
	f := setUp(b)
	f.cfg.Pace.Rate, f.cfg.Pace.Burst = 100_000, 100_000 // the default, 100 a second, would be the result
	s := f.replica(b, "a")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		resp, err := s.Send(b.Context(), f.request(fmt.Sprint("fan-", i), fmt.Sprint("k", i), "hello"))
		require.NoError(b, err)
		for {
			rec, err := s.GetSend(b.Context(), &senderv1.GetSendRequest{Account: "shop", Id: resp.GetId()})
			require.NoError(b, err)
			if rec.GetRecord().GetState() == sent {
				break
			}
			<-time.After(100 * time.Microsecond)
		}
	}
}

// BenchmarkThroughput measures how fast a queue of many fans is worked off.
func BenchmarkThroughput(b *testing.B) {
	f := setUp(b)
	f.cfg.Pace.Rate, f.cfg.Pace.Burst = 100_000, 100_000
	s := f.replica(b, "a")
	var serial atomic.Int64
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n := serial.Add(1)
			if _, err := s.Send(b.Context(), f.request(fmt.Sprint("fan-", n), fmt.Sprint("k", n), "hello")); err != nil {
				b.Error(err)
				return
			}
		}
	})
	for f.queued(b) > 0 {
		<-time.After(5 * time.Millisecond)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	require.Len(b, f.wechat.seen(), b.N)
}
