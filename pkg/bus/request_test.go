package bus_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

func respond(t testing.TB, c *bus.Conn, subject string, h func(context.Context, *nats.Msg) ([]byte, error)) *bus.Responder {
	t.Helper()
	r, err := c.Respond(subject, "", h)
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close(context.WithoutCancel(t.Context())) })
	return r
}

func TestRequestIsAnsweredInOneTrace(t *testing.T) {
	_, provider := newTracer(sdktrace.AlwaysSample())
	e := bustest.Start(t, bustest.WithTracer(provider))
	subject, err := topology.SubjectOffer("gw-1")
	require.NoError(t, err)
	seen := make(chan trace.TraceID, 1)
	respond(t, e.NewConn(t, "gateway"), subject, func(ctx context.Context, m *nats.Msg) ([]byte, error) {
		seen <- trace.SpanContextFromContext(ctx).TraceID()
		return append([]byte("echo "), m.Data...), nil
	})
	ctx, span := provider.Tracer("test").Start(t.Context(), "rule")
	defer span.End()
	answer, err := e.Conn.Request(ctx, subject, []byte("hi"))
	require.NoError(t, err)
	require.Equal(t, "echo hi", string(answer.Data))
	require.Equal(t, span.SpanContext().TraceID(), <-seen)
}

func TestRequestToNobody(t *testing.T) {
	e := bustest.Start(t)
	_, err := e.Conn.Request(t.Context(), "wxgw.offer.dead", nil)
	require.ErrorIs(t, err, bus.ErrNoResponders)
	require.NotErrorIs(t, err, bus.ErrTimeout)
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
}

func TestRequestWithoutAnswerIsUnknown(t *testing.T) {
	e := bustest.Start(t)
	hold := make(chan struct{})
	defer close(hold)
	respond(t, e.Conn, "slow", func(context.Context, *nats.Msg) ([]byte, error) { <-hold; return nil, nil })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := e.Conn.Request(ctx, "slow", nil)
	require.ErrorIs(t, err, bus.ErrTimeout)
	require.NotErrorIs(t, err, bus.ErrNoResponders)
}

func TestErrorsOfAResponderKeepTheirKindNotTheirSecrets(t *testing.T) {
	e := bustest.Start(t)
	for i, tc := range []struct {
		name string
		h    func() error
		kind fault.Kind
		text string
	}{
		{"refused", func() error { return fault.New(fault.Refused, "not mine") }, fault.Refused, "not mine"},
		{"defect", func() error { return errors.New("secret path") }, fault.Internal, "internal error"},
		{"panic", func() error { panic("secret") }, fault.Internal, "internal error"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			subject := fmt.Sprint("errors.", i)
			respond(t, e.Conn, subject, func(context.Context, *nats.Msg) ([]byte, error) { return nil, tc.h() })
			_, err := e.Conn.Request(t.Context(), subject, nil)
			require.Equal(t, tc.kind, fault.KindOf(err))
			require.Equal(t, tc.text, err.Error())
		})
	}
}

func TestRequestsAreAnsweredAtTheSameTime(t *testing.T) {
	e := bustest.Start(t)
	const n = 20
	var here atomic.Int64
	all := make(chan struct{})
	respond(t, e.Conn, "together", func(ctx context.Context, _ *nats.Msg) ([]byte, error) {
		if here.Add(1) == n {
			close(all)
		}
		select {
		case <-all:
			return []byte("ok"), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	var group errgroup.Group
	for range n {
		group.Go(func() error { _, err := e.Conn.Request(t.Context(), "together", nil); return err })
	}
	require.NoError(t, group.Wait())
}

func TestCloseOfAResponderWaitsForItsHandlers(t *testing.T) {
	e := bustest.Start(t)
	begun, release := make(chan struct{}), make(chan struct{})
	r := respond(t, e.Conn, "work", func(context.Context, *nats.Msg) ([]byte, error) {
		close(begun)
		<-release
		return []byte("done"), nil
	})
	answer := make(chan string, 1)
	go func() {
		m, err := e.NewConn(t, "asker").Request(t.Context(), "work", nil)
		if err != nil {
			answer <- err.Error()
			return
		}
		answer <- string(m.Data)
	}()
	<-begun
	closed := make(chan error, 1)
	go func() { closed <- r.Close(t.Context()) }()
	select {
	case <-closed:
		t.Fatal("close did not wait")
	case <-time.After(100 * time.Millisecond):
	}
	close(release)
	require.NoError(t, <-closed)
	require.Equal(t, "done", <-answer)
	_, err := e.Conn.Request(t.Context(), "work", nil)
	require.ErrorIs(t, err, bus.ErrNoResponders)
	require.NoError(t, r.Close(t.Context()), "close twice")
}

func TestCloseOfAResponderCancelsAtItsDeadline(t *testing.T) {
	e := bustest.Start(t)
	begun := make(chan struct{})
	r := respond(t, e.Conn, "stuck", func(ctx context.Context, _ *nats.Msg) ([]byte, error) {
		close(begun)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	require.NoError(t, e.Conn.NC().PublishRequest("stuck", "nobody", nil))
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_ = r.Close(ctx)
	require.Less(t, time.Since(start), 30*time.Second)
}
