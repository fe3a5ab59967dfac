package grpcx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
)

// interceptor is one step around every handler. Both kinds of calls go through call; stream
// replaces what only a stream has.
type interceptor struct {
	name string
	// call runs next and returns the error that goes out.
	call func(ctx context.Context, method string, next func(context.Context) error) error
	// unaryOnly leaves streams out.
	unaryOnly bool
	// streamOnly leaves unary calls out.
	streamOnly bool
}

type chain []interceptor

// interceptors returns the steps of a server, the outermost first. Spans and metrics come from the
// stats handler, which is outside all of them and therefore sees the final status.
func interceptors(stopping context.Context, o Options) chain {
	return chain{
		// A panic anywhere below, also in the other steps, must not end the process.
		{name: "recover", call: recoverCall(o.Log)},
		// Sees the status that goes out together with the cause that does not.
		{name: "log", call: logCall(o.Log)},
		// Inside log, so that a call that was cut is logged as such.
		{name: "deadline", call: limitCall(o.MaxCallTime), unaryOnly: true},
		// Streams have no deadline; without this one watcher would hold up every stop.
		{name: "stop", call: stopCall(stopping), streamOnly: true},
		// Innermost: only what the handler returns is a domain error.
		{name: "fault", call: faultCall},
	}
}

func (c chain) names() []string {
	names := make([]string, len(c))
	for i, x := range c {
		names[i] = x.name
	}
	return names
}

func (c chain) options() []grpc.ServerOption {
	var unary []grpc.UnaryServerInterceptor
	var stream []grpc.StreamServerInterceptor
	for _, x := range c {
		if !x.streamOnly {
			unary = append(unary, x.unary)
		}
		if !x.unaryOnly {
			stream = append(stream, x.stream)
		}
	}
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(unary...), grpc.ChainStreamInterceptor(stream...)}
}

func (x interceptor) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	err = x.call(ctx, info.FullMethod, func(ctx context.Context) (err error) {
		resp, err = handler(ctx, req)
		return err
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

func (x interceptor) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return x.call(ss.Context(), info.FullMethod, func(ctx context.Context) error {
		return handler(srv, &serverStream{ServerStream: ss, ctx: ctx})
	})
}

// serverStream carries the context of the steps to the handler.
type serverStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *serverStream) Context() context.Context { return s.ctx }

// answered is an error whose status may leave the process; the cause stays inside.
type answered struct {
	status error
	cause  error
}

func (e *answered) Error() string              { return e.status.Error() }
func (e *answered) Unwrap() error              { return e.cause }
func (e *answered) GRPCStatus() *status.Status { return status.Convert(e.status) }

func faultCall(ctx context.Context, _ string, next func(context.Context) error) error {
	err := next(ctx)
	if err == nil {
		return nil
	}
	return &answered{status: fault.Status(err), cause: err}
}

func limitCall(limit time.Duration) func(context.Context, string, func(context.Context) error) error {
	return func(ctx context.Context, _ string, next func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, limit) // a shorter deadline of the client stays
		defer cancel()
		return next(ctx)
	}
}

func stopCall(stopping context.Context) func(context.Context, string, func(context.Context) error) error {
	return func(ctx context.Context, _ string, next func(context.Context) error) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(stopping, cancel)()
		return next(ctx)
	}
}

func recoverCall(log *slog.Logger) func(context.Context, string, func(context.Context) error) error {
	return func(ctx context.Context, method string, next func(context.Context) error) (err error) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			err = fault.Status(fmt.Errorf("panic: %v", p))
			log.ErrorContext(ctx, "handler panicked", logkey.Method, method, logkey.ErrorID, fault.ErrorID(err),
				logkey.Error, fmt.Sprint(p), logkey.Stack, string(debug.Stack()))
		}()
		return next(ctx)
	}
}

// logCall writes one line for a call that failed. What the caller did wrong is only worth a line
// for debugging; what we did wrong is an error.
func logCall(log *slog.Logger) func(context.Context, string, func(context.Context) error) error {
	return func(ctx context.Context, method string, next func(context.Context) error) error {
		begin := time.Now()
		err := next(ctx)
		if err == nil {
			return nil
		}
		cause := err
		if a, ok := errors.AsType[*answered](err); ok {
			cause = a.cause
		}
		code := status.Code(err)
		log.Log(ctx, logLevel(code, cause), "call failed", logkey.Method, method, logkey.Code, code.String(),
			logkey.ErrorKind, fault.KindOf(cause).String(), logkey.ErrorID, fault.ErrorID(err),
			logkey.Error, cause, logkey.Took, time.Since(begin))
		return err
	}
}

func logLevel(code codes.Code, cause error) slog.Level {
	if errors.Is(cause, context.Canceled) { // the caller left, or we are stopping
		return slog.LevelDebug
	}
	switch code {
	case codes.Internal, codes.Unknown, codes.DataLoss:
		return slog.LevelError
	case codes.Unavailable, codes.ResourceExhausted, codes.DeadlineExceeded:
		return slog.LevelWarn
	default:
		return slog.LevelDebug
	}
}

// notHealth keeps probes out of traces and metrics.
func notHealth(info *stats.RPCTagInfo) bool {
	return !strings.HasPrefix(info.FullMethodName, "/grpc.health.v1.Health/")
}
