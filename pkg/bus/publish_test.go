package bus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/bus/natsembed"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

func inbound(t testing.TB, partition uint32, openid string) string {
	t.Helper()
	s, err := topology.SubjectInbound("shop", partition, eventv1.EventKind_EVENT_KIND_MESSAGE, openid)
	require.NoError(t, err)
	return s
}

// publisher is what Conn and Batcher have in common.
type publisher interface {
	Publish(ctx context.Context, m bus.Msg) (bus.Ack, error)
}

// eachPublisher runs a test with both ways to publish.
func eachPublisher(t *testing.T, test func(t *testing.T, e *bustest.Env, p publisher), opts ...bustest.Option) {
	t.Run("one by one", func(t *testing.T) {
		e := bustest.Start(t, opts...)
		test(t, e, e.Conn)
	})
	t.Run("batched", func(t *testing.T) {
		e := bustest.Start(t, opts...)
		b := e.Conn.NewBatcher(bus.BatchOptions{})
		t.Cleanup(b.Close)
		test(t, e, b)
	})
}

func TestPublishStoresOnceAndSaysSo(t *testing.T) {
	eachPublisher(t, func(t *testing.T, e *bustest.Env, p publisher) {
		m := bus.Msg{Subject: inbound(t, 0, "fan"), ID: "one", Data: []byte("hello"), Header: nats.Header{"X": {"y"}}}
		first, err := p.Publish(t.Context(), m)
		require.NoError(t, err)
		require.Equal(t, bus.Ack{Stream: "INBOUND", Seq: 1}, first)
		again, err := p.Publish(t.Context(), m)
		require.NoError(t, err)
		require.Equal(t, bus.Ack{Stream: "INBOUND", Seq: 1, Duplicate: true}, again)
		stream, err := e.JS.Stream(t.Context(), "INBOUND")
		require.NoError(t, err)
		stored, err := stream.GetMsg(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, "hello", string(stored.Data))
		require.Equal(t, "y", stored.Header.Get("X"))
		require.Equal(t, "one", stored.Header.Get("Nats-Msg-Id"))
		require.Empty(t, stored.Header.Get("traceparent"))
	})
}

// TestErrorsOfPublish is the table of reliability.md 1.2.
func TestErrorsOfPublish(t *testing.T) {
	t.Parallel()
	decision, err := topology.SubjectDecision("shop", 0, "id")
	require.NoError(t, err)
	seven := uint64(7)
	for _, tc := range []struct {
		name    string
		prepare func(t *testing.T, e *bustest.Env)
		msg     bus.Msg
		want    error
		kind    fault.Kind
	}{
		{name: "no stream", msg: bus.Msg{Subject: "wx.nothing"}, want: bus.ErrNoStream, kind: fault.Unavailable},
		{name: "stream is full", prepare: func(t *testing.T, e *bustest.Env) {
			limit(t, e, "INBOUND", func(c *jetstream.StreamConfig) { c.MaxBytes = 64 })
		}, msg: bus.Msg{Subject: inbound(t, 0, "a"), Data: make([]byte, 100)}, want: bus.ErrStreamFull, kind: fault.Exhausted},
		{name: "subject is full", prepare: func(t *testing.T, e *bustest.Env) {
			limit(t, e, "INBOUND", func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject, c.DiscardNewPerSubject = 1, true })
			publish(t, e.Conn, "a", "1")
		}, msg: bus.Msg{Subject: inbound(t, 0, "a")}, want: bus.ErrSubjectFull, kind: fault.Conflict},
		{name: "larger than the stream takes", msg: bus.Msg{Subject: inbound(t, 0, "a"), Data: make([]byte, 3<<19+1)}, want: bus.ErrTooLarge, kind: fault.Permanent},
		{name: "larger than the server takes", msg: bus.Msg{Subject: inbound(t, 0, "a"), Data: make([]byte, 2<<20+1)}, want: bus.ErrTooLarge, kind: fault.Permanent},
		{name: "lost compare-and-set", msg: bus.Msg{Subject: decision, ExpectLastSubjectSeq: &seven}, want: bus.ErrWrongSequence, kind: fault.Conflict},
		{name: "another stream", msg: bus.Msg{Subject: decision, ExpectStream: "INBOUND"}, want: bus.ErrWrongStream, kind: fault.Permanent},
	} {
		t.Run(tc.name, func(t *testing.T) {
			eachPublisher(t, func(t *testing.T, e *bustest.Env, p publisher) {
				if tc.prepare != nil {
					tc.prepare(t, e)
				}
				_, err := p.Publish(t.Context(), tc.msg)
				require.ErrorIs(t, err, tc.want)
				require.Equal(t, tc.kind, fault.KindOf(err))
			})
		})
	}
}

func limit(t *testing.T, e *bustest.Env, stream string, change func(*jetstream.StreamConfig)) {
	t.Helper()
	s, err := e.JS.Stream(t.Context(), stream)
	require.NoError(t, err)
	c := s.CachedInfo().Config
	change(&c)
	_, err = e.JS.UpdateStream(t.Context(), c)
	require.NoError(t, err)
}

func TestErrorsOfTheServerByCode(t *testing.T) {
	for _, tc := range []struct {
		answer string
		want   error
	}{
		{`{"error":{"code":409,"err_code":10158,"description":"duplicate message id is in process"},"stream":"INBOUND","seq":0}`, bus.ErrDuplicateInProcess},
		{`{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"INBOUND","seq":0}`, bus.ErrStreamFull},
		{`{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"INBOUND","seq":0}`, bus.ErrStreamFull},
		{`{"error":{"code":503,"err_code":10077,"description":"maximum messages per subject exceeded"},"stream":"INBOUND","seq":0}`, bus.ErrSubjectFull},
		{`{"error":{"code":503,"err_code":10077,"description":"no space left on device"},"stream":"INBOUND","seq":0}`, bus.ErrUnavailable},
		{`{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"},"stream":"INBOUND","seq":0}`, bus.ErrTooLarge},
		{`{"error":{"code":429,"err_code":10167,"description":"too many requests"},"stream":"INBOUND","seq":0}`, bus.ErrThrottled},
		{`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"},"stream":"INBOUND","seq":0}`, bus.ErrWrongSequence},
		{`{"error":{"code":400,"err_code":10164,"description":"wrong last sequence"},"stream":"INBOUND","seq":0}`, bus.ErrWrongSequence},
		{`{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"},"stream":"","seq":0}`, bus.ErrUnavailable},
		{`{"error":{"code":503,"err_code":10023,"description":"insufficient resources"}}`, bus.ErrUnavailable},
		{`{"error":{"code":500,"err_code":10047,"description":"insufficient storage resources available"}}`, bus.ErrUnavailable},
	} {
		_, err := bus.DecodeAck([]byte(tc.answer))
		require.ErrorIs(t, err, tc.want, tc.answer)
		for _, other := range []error{bus.ErrStreamFull, bus.ErrSubjectFull, bus.ErrUnavailable, bus.ErrDuplicateInProcess} {
			if !errors.Is(other, tc.want) {
				require.NotErrorIs(t, err, other, tc.answer)
			}
		}
	}
}

// expiring is a context whose deadline passes when over is closed.
type expiring struct {
	context.Context
	over chan struct{}
}

func (e expiring) Done() <-chan struct{} { return e.over }

func (e expiring) Err() error {
	select {
	case <-e.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestPublishEndsWithItsContext(t *testing.T) {
	eachPublisher(t, func(t *testing.T, e *bustest.Env, p publisher) {
		// A subscriber that never answers keeps the server from saying that there is no stream.
		sub, err := e.Conn.NC().SubscribeSync("silent")
		require.NoError(t, err)
		t.Cleanup(func() { _ = sub.Unsubscribe() })
		require.NoError(t, e.Conn.NC().Flush())
		ctx := expiring{t.Context(), make(chan struct{})}
		ended := make(chan error, 1)
		go func() {
			_, err := p.Publish(ctx, bus.Msg{Subject: "silent"})
			ended <- err
		}()
		m, err := sub.NextMsg(wait)
		require.NoError(t, err)
		close(ctx.over)
		err = <-ended
		require.ErrorIs(t, err, bus.ErrTimeout)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		// A late answer to a wait that ended must not reach the next publisher.
		require.NoError(t, m.Respond([]byte(`{"stream":"WRONG", "seq":99}`)))
		require.NoError(t, e.Conn.NC().Flush())
		ack, err := p.Publish(t.Context(), bus.Msg{Subject: inbound(t, 0, "a")})
		require.NoError(t, err)
		require.Equal(t, bus.Ack{Stream: "INBOUND", Seq: 1}, ack)
	})
}

func TestPublishEndsWithItsPatience(t *testing.T) {
	eachPublisher(t, func(t *testing.T, e *bustest.Env, p publisher) {
		sub, err := e.Conn.NC().SubscribeSync("silent")
		require.NoError(t, err)
		t.Cleanup(func() { _ = sub.Unsubscribe() })
		require.NoError(t, e.Conn.NC().Flush())
		for range 3 { // what waits is used again
			_, err = p.Publish(context.WithoutCancel(t.Context()), bus.Msg{Subject: "silent", Patience: 20 * time.Millisecond})
			require.ErrorIs(t, err, bus.ErrTimeout)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		ack, err := p.Publish(t.Context(), bus.Msg{Subject: inbound(t, 0, "a"), Patience: time.Hour})
		require.NoError(t, err)
		require.Equal(t, bus.Ack{Stream: "INBOUND", Seq: 1}, ack)
	})
}

func TestALostConnectionEndsTheWaitAtOnce(t *testing.T) {
	server, err := natsembed.Start(natsembed.Options{Memory: true, Listen: "127.0.0.1:-1"})
	require.NoError(t, err)
	defer server.Shutdown()
	conn, err := bus.Connect(t.Context(), bus.Options{Name: "test", URLs: []string{server.ClientURL()}})
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	sub, err := conn.NC().SubscribeSync("silent")
	require.NoError(t, err)
	result := make(chan error, 1)
	go func() {
		_, err := conn.Publish(context.WithoutCancel(t.Context()), bus.Msg{Subject: "silent"})
		result <- err
	}()
	_, err = sub.NextMsg(wait)
	require.NoError(t, err)
	server.Shutdown()
	select {
	case err = <-result:
		require.ErrorIs(t, err, bus.ErrTimeout, "what was on the way may be stored")
	case <-time.After(30 * time.Second):
		t.Fatal("the wait went on without a connection")
	}
	require.Eventually(t, func() bool { return conn.Healthy() != nil }, wait, 5*time.Millisecond)
	_, err = conn.Publish(t.Context(), bus.Msg{Subject: "silent"})
	require.ErrorIs(t, err, bus.ErrDisconnected)
}

func TestBatchKeepsEveryMessagesOwnResult(t *testing.T) {
	e := bustest.Start(t)
	b := e.Conn.NewBatcher(bus.BatchOptions{MaxBatch: 16})
	t.Cleanup(b.Close)
	const callers, each = 32, 40
	var duplicates, refused atomic.Int64
	var group errgroup.Group
	for c := range callers {
		group.Go(func() error {
			for i := range each {
				m := bus.Msg{Subject: inbound(t, 0, "a"), ID: fmt.Sprintf("%d-%d", c/2, i), Data: []byte("x")} // every id twice
				if i%10 == 9 {
					m.ExpectStream = "WRONG"
				}
				ack, err := b.Publish(t.Context(), m)
				switch {
				case i%10 == 9:
					if err == nil {
						return fmt.Errorf("message for another stream was taken")
					}
					refused.Add(1)
				case err != nil:
					return err
				case ack.Duplicate:
					duplicates.Add(1)
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	require.EqualValues(t, callers*each/10, refused.Load())
	require.EqualValues(t, callers*each*9/10/2, duplicates.Load(), "one of each pair is the repeated one")
	stream, err := e.JS.Stream(t.Context(), "INBOUND")
	require.NoError(t, err)
	require.EqualValues(t, callers*each*9/10/2, stream.CachedInfo().State.Msgs)
}

func TestAQueuedMessageLeavesAfterTheWindow(t *testing.T) {
	e := bustest.Start(t)
	sub, err := e.Conn.NC().SubscribeSync("silent")
	require.NoError(t, err)
	require.NoError(t, e.Conn.NC().Flush())
	b := e.Conn.NewBatcher(bus.BatchOptions{Window: 20 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	blocked := make(chan error, 1)
	go func() {
		_, err := b.Publish(ctx, bus.Msg{Subject: "silent"})
		blocked <- err
	}()
	_, err = sub.NextMsg(wait)
	require.NoError(t, err)
	ack, err := b.Publish(t.Context(), bus.Msg{Subject: inbound(t, 0, "a")}) // while the first has no answer
	require.NoError(t, err)
	require.EqualValues(t, 1, ack.Seq)
	cancel()
	require.Error(t, <-blocked)
	gone, cancelGone := context.WithCancel(t.Context())
	cancelGone()
	_, err = b.Publish(gone, bus.Msg{Subject: inbound(t, 0, "a")})
	require.True(t, err == nil || fault.KindOf(err) == fault.Unavailable)
	b.Close()
	_, err = b.Publish(t.Context(), bus.Msg{Subject: inbound(t, 0, "a")})
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
}

func TestPublishIsLight(t *testing.T) {
	e := bustest.Start(t)
	m := bus.Msg{Subject: inbound(t, 0, "a"), ID: "id", Data: []byte("x")}
	parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	ctx, cancel := context.WithTimeout(trace.ContextWithSpanContext(t.Context(), parent), time.Minute)
	defer cancel()
	b := e.Conn.NewBatcher(bus.BatchOptions{})
	t.Cleanup(b.Close)
	allocs := func(publish func() error) float64 {
		return testing.AllocsPerRun(200, func() { require.NoError(t, publish()) })
	}
	// The server is in this process and allocates too; the difference is the client's. Under the race detector pools forget some of what they hold.
	plain := allocs(func() error {
		_, err := e.JS.PublishMsg(ctx, &nats.Msg{Subject: m.Subject, Data: m.Data, Header: nats.Header{"Nats-Msg-Id": {m.ID}}})
		return err
	})
	require.LessOrEqual(t, allocs(func() error { _, err := e.Conn.Publish(ctx, m); return err }), plain-5)
	require.LessOrEqual(t, allocs(func() error { _, err := b.Publish(ctx, m); return err }), plain-5)
}

func FuzzDecodeAck(f *testing.F) {
	for _, s := range []string{`{"stream":"INBOUND","seq":12}`, `{"stream":"INBOUND","seq":12,"duplicate": true}`, `{"stream":"A", "domain":"d", "seq":1}`, `{"error":{"code":503}}`, `{"stream":"a\"b", "seq":1}`, `{"stream":"S", "seq":01}`, `{}`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := bus.DecodeAck(data)
		var want struct {
			Error *jetstream.APIError `json:"error"`
			*jetstream.PubAck
		}
		if jerr := json.Unmarshal(data, &want); jerr != nil || want.Error != nil || want.PubAck == nil || want.Stream == "" {
			require.Error(t, err, "%s", data)
			return
		}
		require.NoError(t, err, "%s", data)
		require.Equal(t, bus.Ack{Stream: want.Stream, Seq: want.Sequence, Duplicate: want.Duplicate}, got)
	})
}

func TestCommonAckIsReadWithoutJSON(t *testing.T) {
	data := []byte(`{"stream":"INBOUND","seq":18,"duplicate": true}`)
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = bus.DecodeAck(data) }))
	long := []byte(`{"stream":"` + strings.Repeat("S", 20) + `", "seq":18446744073709551615}`)
	ack, err := bus.DecodeAck(long)
	require.NoError(t, err)
	require.EqualValues(t, uint64(18446744073709551615), ack.Seq)
	require.False(t, bytes.Contains(long, []byte("duplicate")))
}

func BenchmarkPublish(b *testing.B) {
	e := bustest.Start(b)
	data := bytes.Repeat([]byte("x"), 700)
	batcher := e.Conn.NewBatcher(bus.BatchOptions{})
	defer batcher.Close()
	var n atomic.Int64
	for _, tc := range []struct {
		name    string
		publish func(context.Context, string) error
	}{
		{"jetstream", func(ctx context.Context, id string) error {
			_, err := e.JS.PublishMsg(ctx, &nats.Msg{Subject: "wx.in.shop.0.message.a", Data: data, Header: nats.Header{"Nats-Msg-Id": {id}}})
			return err
		}},
		{"conn", func(ctx context.Context, id string) error {
			_, err := e.Conn.Publish(ctx, bus.Msg{Subject: "wx.in.shop.0.message.a", ID: id, Data: data})
			return err
		}},
		{"batcher", func(ctx context.Context, id string) error {
			_, err := batcher.Publish(ctx, bus.Msg{Subject: "wx.in.shop.0.message.a", ID: id, Data: data})
			return err
		}},
	} {
		b.Run(tc.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				for pb.Next() {
					if err := tc.publish(ctx, fmt.Sprint(n.Add(1))); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
