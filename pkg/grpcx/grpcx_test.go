package grpcx_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/grpcx"
	"github.com/wxbus/wxbus/pkg/telemetry/telemetrytest"
)

// service is a gRPC service whose methods a test replaces.
type service struct {
	pb.UnimplementedTestServiceServer
	call   func(context.Context) error
	stream func(grpc.ServerStreamingServer[pb.StreamingOutputCallResponse]) error
}

func (s *service) EmptyCall(ctx context.Context, _ *pb.Empty) (*pb.Empty, error) {
	if s.call != nil {
		if err := s.call(ctx); err != nil {
			return nil, err
		}
	}
	return &pb.Empty{}, nil
}

func (s *service) StreamingOutputCall(_ *pb.StreamingOutputCallRequest, ss grpc.ServerStreamingServer[pb.StreamingOutputCallResponse]) error {
	return s.stream(ss)
}

// world is a server with a client, and what they told telemetry.
type world struct {
	client pb.TestServiceClient
	conn   *grpc.ClientConn
	server *grpcx.Server
	tel    *telemetrytest.Telemetry
}

// start serves svc, in process or over TCP; both must behave the same.
func start(t *testing.T, tcp bool, svc *service, o grpcx.Options, d grpcx.DialOptions) world {
	t.Helper()
	tel := telemetrytest.New(t)
	o.Log, o.Tracer, o.Meter = tel.Logger, tel.TracerProvider, tel.MeterProvider
	d.Tracer, d.Meter = tel.TracerProvider, tel.MeterProvider
	w := world{tel: tel}
	var err error
	if tcp {
		o.Listen = "127.0.0.1:0"
		w.server = grpcx.NewServer(o)
		pb.RegisterTestServiceServer(w.server, svc)
		require.NoError(t, w.server.Start(t.Context()))
		w.conn, err = grpcx.Dial(t.Context(), w.server.Addr(), d)
	} else {
		w.server, w.conn, err = grpcx.InProcess(t.Context(), o, d, func(r grpc.ServiceRegistrar) { pb.RegisterTestServiceServer(r, svc) })
	}
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_ = w.conn.Close()
		_ = w.server.Stop(ctx)
	})
	w.client = pb.NewTestServiceClient(w.conn)
	return w
}

// bothWays runs a test in process and over TCP.
func bothWays(t *testing.T, f func(*testing.T, bool)) {
	t.Run("in process", func(t *testing.T) { f(t, false) })
	t.Run("over TCP", func(t *testing.T) { f(t, true) })
}

func TestOrderOfInterceptors(t *testing.T) {
	require.Equal(t, []string{"recover", "log", "deadline", "stop", "fault"}, grpcx.InterceptorNames())
}

func TestFaultsCrossTheWire(t *testing.T) {
	bothWays(t, func(t *testing.T, tcp bool) {
		svc := &service{}
		w := start(t, tcp, svc, grpcx.Options{}, grpcx.DialOptions{})
		for _, kind := range []fault.Kind{
			fault.Invalid, fault.NotFound, fault.Conflict, fault.Permanent,
			fault.Refused, fault.Retryable, fault.Unavailable, fault.Exhausted,
		} {
			svc.call = func(context.Context) error { return fault.New(kind, "the reason") }
			_, err := w.client.EmptyCall(t.Context(), &pb.Empty{})
			require.Equal(t, kind, fault.KindOf(err), kind.String())
			require.EqualError(t, err, "the reason")
		}
		svc.call = func(context.Context) error { return fault.After(time.Minute, errors.New("quota")) }
		_, err := w.client.EmptyCall(t.Context(), &pb.Empty{})
		after, ok := fault.RetryAfter(err)
		require.True(t, ok)
		require.Equal(t, time.Minute, after)
	})
}

func TestInternalErrorsAreMaskedAndLoggedOnce(t *testing.T) {
	bothWays(t, func(t *testing.T, tcp bool) {
		w := start(t, tcp, &service{call: func(context.Context) error {
			return errors.New("postgres://user:canary@db failed")
		}}, grpcx.Options{}, grpcx.DialOptions{})
		_, err := w.client.EmptyCall(t.Context(), &pb.Empty{})
		require.Equal(t, fault.Internal, fault.KindOf(err))
		require.NotContains(t, err.Error(), "canary")
		id := fault.ErrorID(err)
		require.Regexp(t, "^[0-9a-f]{8}$", id)

		lines := logged(t, w.tel, "call failed")
		require.Len(t, lines, 1)
		require.Equal(t, id, lines[0]["error_id"])
		require.Equal(t, "postgres://user:canary@db failed", lines[0]["error"])
		require.Equal(t, "ERROR", lines[0]["level"])
		require.Equal(t, "/grpc.testing.TestService/EmptyCall", lines[0]["method"])
		require.NotEmpty(t, lines[0]["trace_id"])
	})
}

func logged(t *testing.T, tel *telemetrytest.Telemetry, msg string) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for text := range strings.Lines(tel.Log.String()) {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &m))
		if m["msg"] == msg {
			lines = append(lines, m)
		}
	}
	return lines
}

func TestLevelFollowsWhoIsToBlame(t *testing.T) {
	for level, err := range map[string]error{
		"DEBUG": fault.New(fault.Invalid, "x"), "WARN": fault.New(fault.Unavailable, "x"), "ERROR": errors.New("x"),
	} {
		w := start(t, false, &service{call: func(context.Context) error { return err }}, grpcx.Options{}, grpcx.DialOptions{})
		_, _ = w.client.EmptyCall(t.Context(), &pb.Empty{})
		require.Equal(t, level, logged(t, w.tel, "call failed")[0]["level"])
	}
}

func TestPanicIsAnInternalErrorAndTheServerLives(t *testing.T) {
	bothWays(t, func(t *testing.T, tcp bool) {
		svc := &service{
			call:   func(context.Context) error { panic("canary") },
			stream: func(grpc.ServerStreamingServer[pb.StreamingOutputCallResponse]) error { panic("canary") },
		}
		w := start(t, tcp, svc, grpcx.Options{}, grpcx.DialOptions{})
		_, err := w.client.EmptyCall(t.Context(), &pb.Empty{})
		require.Equal(t, codes.Internal, status.Code(err))
		require.NotContains(t, err.Error(), "canary")
		line := logged(t, w.tel, "handler panicked")[0]
		require.Equal(t, fault.ErrorID(err), line["error_id"])
		require.Contains(t, line["stack"], "grpcx_test.go")

		ss, err := w.client.StreamingOutputCall(t.Context(), &pb.StreamingOutputCallRequest{})
		require.NoError(t, err)
		_, err = ss.Recv()
		require.Equal(t, fault.Internal, fault.KindOf(err))

		svc.call = nil
		_, err = w.client.EmptyCall(t.Context(), &pb.Empty{})
		require.NoError(t, err)
	})
}

func TestDeadlines(t *testing.T) {
	deadline := func(ch chan<- time.Duration) func(context.Context) error {
		return func(ctx context.Context) error {
			at, _ := ctx.Deadline()
			ch <- time.Until(at)
			return nil
		}
	}
	t.Run("client sets one when the caller has none", func(t *testing.T) {
		got := make(chan time.Duration, 1)
		w := start(t, false, &service{call: deadline(got)}, grpcx.Options{}, grpcx.DialOptions{Timeout: 7 * time.Second})
		_, err := w.client.EmptyCall(t.Context(), &pb.Empty{})
		require.NoError(t, err)
		require.InDelta(t, 7, (<-got).Seconds(), 6)
	})
	t.Run("that of the caller counts", func(t *testing.T) {
		got := make(chan time.Duration, 1)
		w := start(t, false, &service{call: deadline(got)}, grpcx.Options{}, grpcx.DialOptions{Timeout: 7 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := w.client.EmptyCall(ctx, &pb.Empty{})
		require.NoError(t, err)
		require.InDelta(t, 20, (<-got).Seconds(), 10)
	})
	t.Run("server has a longest time", func(t *testing.T) {
		w := start(t, false, &service{call: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
			grpcx.Options{MaxCallTime: 20 * time.Millisecond}, grpcx.DialOptions{})
		_, err := w.client.EmptyCall(t.Context(), &pb.Empty{})
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		require.Len(t, logged(t, w.tel, "call failed"), 1)
	})
	t.Run("passed deadline is unavailable", func(t *testing.T) {
		w := start(t, false, &service{call: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
			grpcx.Options{}, grpcx.DialOptions{Timeout: 20 * time.Millisecond})
		_, err := w.client.EmptyCall(t.Context(), &pb.Empty{})
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestOneTraceOnBothSides(t *testing.T) {
	bothWays(t, func(t *testing.T, tcp bool) {
		var inHandler trace.SpanContext
		w := start(t, tcp, &service{call: func(ctx context.Context) error {
			inHandler = trace.SpanContextFromContext(ctx)
			return nil
		}}, grpcx.Options{}, grpcx.DialOptions{})
		ctx, span := w.tel.TracerProvider.Tracer("test").Start(t.Context(), "caller")
		_, err := w.client.EmptyCall(ctx, &pb.Empty{})
		require.NoError(t, err)
		span.End()
		require.Equal(t, span.SpanContext().TraceID(), inHandler.TraceID())
		const name = "grpc.testing.TestService/EmptyCall"
		require.Eventually(t, func() bool { return len(w.tel.Named(name)) == 2 }, 30*time.Second, time.Millisecond)
		for _, s := range w.tel.Named(name) {
			require.Equal(t, span.SpanContext().TraceID(), s.SpanContext.TraceID())
		}
	})
}

func TestHealth(t *testing.T) {
	w := start(t, true, &service{}, grpcx.Options{}, grpcx.DialOptions{})
	health := healthpb.NewHealthClient(w.conn)
	check := func(service string) healthpb.HealthCheckResponse_ServingStatus {
		resp, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		require.NoError(t, err)
		return resp.GetStatus()
	}
	const name = "grpc.testing.TestService"
	require.Equal(t, []string{"grpc.health.v1.Health", name}, w.server.Services())
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, check(""))
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, check(name))
	w.server.SetServing(name, false)
	require.Equal(t, healthpb.HealthCheckResponse_NOT_SERVING, check(name))
	w.server.SetServing(name, true)
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, check(name))
	_, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "nobody"})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.Empty(t, w.tel.Spans(), "probes are not traced")
}

func TestStopWaitsForCallsInFlight(t *testing.T) {
	bothWays(t, func(t *testing.T, tcp bool) {
		entered, release := make(chan struct{}), make(chan struct{})
		w := start(t, tcp, &service{call: func(ctx context.Context) error {
			close(entered)
			<-release
			return ctx.Err()
		}}, grpcx.Options{}, grpcx.DialOptions{})
		called, stopped := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := w.client.EmptyCall(t.Context(), &pb.Empty{})
			called <- err
		}()
		<-entered
		go func() { stopped <- w.server.Stop(t.Context()) }()
		require.Eventually(t, func() bool {
			return w.conn.GetState() != connectivity.Ready
		}, 30*time.Second, time.Millisecond, "the server says goodbye at once")
		require.Empty(t, stopped)
		close(release)
		require.NoError(t, <-called)
		require.NoError(t, <-stopped)
		require.NoError(t, w.server.Stop(t.Context()), "twice is fine")
		_, err := w.client.EmptyCall(t.Context(), &pb.Empty{})
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
	})
}

func TestStopCutsCallsAtTheDeadline(t *testing.T) {
	entered := make(chan struct{})
	w := start(t, true, &service{call: func(ctx context.Context) error {
		close(entered)
		<-ctx.Done()
		return ctx.Err()
	}}, grpcx.Options{}, grpcx.DialOptions{})
	called := make(chan error, 1)
	go func() {
		_, err := w.client.EmptyCall(t.Context(), &pb.Empty{})
		called <- err
	}()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, w.server.Stop(ctx), context.DeadlineExceeded)
	require.Equal(t, fault.Unavailable, fault.KindOf(<-called))
}

// A watcher would otherwise hold up every stop until the deadline.
func TestStopEndsServerStreams(t *testing.T) {
	bothWays(t, func(t *testing.T, tcp bool) {
		w := start(t, tcp, &service{stream: func(ss grpc.ServerStreamingServer[pb.StreamingOutputCallResponse]) error {
			if err := ss.Send(&pb.StreamingOutputCallResponse{}); err != nil {
				return err
			}
			<-ss.Context().Done()
			return ss.Context().Err()
		}}, grpcx.Options{}, grpcx.DialOptions{})
		ss, err := w.client.StreamingOutputCall(t.Context(), &pb.StreamingOutputCallRequest{})
		require.NoError(t, err)
		_, err = ss.Recv()
		require.NoError(t, err)
		require.NoError(t, w.server.Stop(t.Context()))
		_, err = ss.Recv()
		require.Equal(t, fault.Unavailable, fault.KindOf(err), "the client should connect again")
		require.Equal(t, "DEBUG", logged(t, w.tel, "call failed")[0]["level"])
	})
}

func TestEndOfStreamIsEOF(t *testing.T) {
	w := start(t, false, &service{stream: func(grpc.ServerStreamingServer[pb.StreamingOutputCallResponse]) error { return nil }},
		grpcx.Options{}, grpcx.DialOptions{})
	ss, err := w.client.StreamingOutputCall(t.Context(), &pb.StreamingOutputCallRequest{})
	require.NoError(t, err)
	_, err = ss.Recv()
	require.Equal(t, io.EOF, err)
}

func TestUnknownMethodIsPermanent(t *testing.T) {
	w := start(t, false, &service{}, grpcx.Options{}, grpcx.DialOptions{})
	_, err := w.client.UnimplementedCall(t.Context(), &pb.Empty{})
	require.Equal(t, fault.Permanent, fault.KindOf(err))
}

func TestMessageLimit(t *testing.T) {
	w := start(t, false, &service{}, grpcx.Options{MaxMessage: 1000}, grpcx.DialOptions{})
	_, err := w.client.UnaryCall(t.Context(), &pb.SimpleRequest{Payload: &pb.Payload{Body: make([]byte, 2000)}})
	require.Equal(t, fault.Exhausted, fault.KindOf(err))
}

func TestReflectionOnlyWhenAsked(t *testing.T) {
	for name, on := range map[string]bool{"off": false, "on": true} {
		t.Run(name, func(t *testing.T) {
			w := start(t, false, &service{}, grpcx.Options{Reflection: on}, grpcx.DialOptions{})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ss, err := grpc_reflection_v1.NewServerReflectionClient(w.conn).ServerReflectionInfo(ctx)
			require.NoError(t, err)
			_ = ss.Send(&grpc_reflection_v1.ServerReflectionRequest{ // io.EOF when the server has refused already
				MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{},
			})
			_, err = ss.Recv()
			require.Equal(t, on, err == nil)
		})
	}
}

func TestAddresses(t *testing.T) {
	w := start(t, true, &service{}, grpcx.Options{Name: "grpc api"}, grpcx.DialOptions{})
	require.Equal(t, "grpc api", w.server.Name())
	_, port, err := net.SplitHostPort(w.server.Addr())
	require.NoError(t, err)
	require.NotEqual(t, "0", port)

	other := grpcx.NewServer(grpcx.Options{Listen: w.server.Addr()})
	require.Equal(t, w.server.Addr(), other.Addr())
	require.ErrorContains(t, other.Start(t.Context()), "listen on")
	require.NoError(t, other.Stop(t.Context()), "stop without start")
	require.Error(t, other.Start(t.Context()), "not again after stop")
	_, err = other.InProcessConn(grpcx.DialOptions{})
	require.ErrorContains(t, err, "does not serve in process")
}

func TestBrokenListenerIsReported(t *testing.T) {
	w := start(t, true, &service{}, grpcx.Options{}, grpcx.DialOptions{})
	require.NoError(t, grpcx.BreakListener(w.server))
	require.ErrorContains(t, <-w.server.Failed(), "serve 127.0.0.1:")
}

func TestDialDoesNotWait(t *testing.T) {
	conn, err := grpcx.Dial(t.Context(), "127.0.0.1:1", grpcx.DialOptions{Timeout: time.Second})
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	_, err = pb.NewTestServiceClient(conn).EmptyCall(t.Context(), &pb.Empty{})
	require.Equal(t, fault.Unavailable, fault.KindOf(err))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = grpcx.Dial(ctx, "127.0.0.1:1", grpcx.DialOptions{})
	require.ErrorIs(t, err, context.Canceled)
	_, err = grpcx.Dial(t.Context(), "dns:///%zz", grpcx.DialOptions{})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

// Calls made before Start, as in one process where services start one after the other, wait for it.
func TestCallBeforeStartWaits(t *testing.T) {
	s := grpcx.NewServer(grpcx.Options{InProcess: true})
	pb.RegisterTestServiceServer(s, &service{})
	conn, err := s.InProcessConn(grpcx.DialOptions{})
	require.NoError(t, err)
	called := make(chan error, 1)
	go func() {
		_, err := pb.NewTestServiceClient(conn).EmptyCall(t.Context(), &pb.Empty{})
		called <- err
	}()
	require.Eventually(t, func() bool { return conn.GetState() == connectivity.Connecting }, 30*time.Second, time.Millisecond)
	require.NoError(t, s.Start(t.Context()))
	require.NoError(t, <-called)
	require.NoError(t, conn.Close())
	require.NoError(t, s.Stop(t.Context()))
}
