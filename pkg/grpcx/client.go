package grpcx

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry"
)

// DefaultTimeout is the deadline of a unary call whose context has none.
const DefaultTimeout = 5 * time.Second

// serviceConfig spreads calls over all addresses of a headless Service.
const serviceConfig = `{"loadBalancingConfig":[{"round_robin":{}}]}`

// reconnect keeps the pauses between connection attempts short: replicas come back in seconds.
var reconnect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
	MinConnectTimeout: 2 * time.Second,
}

// DialOptions tune a client connection. Zero values mean the defaults.
type DialOptions struct {
	Timeout    time.Duration      // deadline of unary calls whose context has none; default DefaultTimeout
	MaxMessage int                // largest message in bytes; default DefaultMaxMessage
	TLS        func() *tls.Config // settings of the next handshake; nil is plain text
	Tracer     trace.TracerProvider
	Meter      metric.MeterProvider
	Extra      []grpc.DialOption
}

// Dial returns a connection to target, for example "dns:///token:9090". It does not wait: the
// first call connects, and fails with fault.Unavailable when nothing answers. The caller closes it.
// Errors of calls and streams are fault errors.
func Dial(ctx context.Context, target string, o DialOptions) (*grpc.ClientConn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return newClient(target, o)
}

func newClient(target string, o DialOptions, extra ...grpc.DialOption) (*grpc.ClientConn, error) {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.MaxMessage <= 0 {
		o.MaxMessage = DefaultMaxMessage
	}
	if o.Tracer == nil {
		o.Tracer = tracenoop.NewTracerProvider()
	}
	if o.Meter == nil {
		o.Meter = metricnoop.NewMeterProvider()
	}
	creds := insecure.NewCredentials()
	if o.TLS != nil {
		creds = handshakes{settings: o.TLS}
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithConnectParams(reconnect),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: keepaliveTime, Timeout: keepaliveTimeout, PermitWithoutStream: true,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(o.MaxMessage), grpc.MaxCallSendMsgSize(o.MaxMessage)),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler(
			otelgrpc.WithTracerProvider(o.Tracer),
			otelgrpc.WithMeterProvider(o.Meter),
			otelgrpc.WithPropagators(telemetry.Propagator()),
			otelgrpc.WithFilter(notHealth),
		)),
		grpc.WithChainUnaryInterceptor(unaryClient(o.Timeout)),
		grpc.WithChainStreamInterceptor(streamClient),
	}
	opts = append(append(opts, extra...), o.Extra...)
	conn, err := grpc.NewClient(target, opts...)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, fmt.Errorf("create client for %s: %w", target, err))
	}
	return conn, nil
}

// unaryClient sets a deadline where there is none and turns statuses into fault errors.
func unaryClient(timeout time.Duration) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if _, ok := ctx.Deadline(); !ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		return fault.FromStatus(invoke(ctx, method, req, reply, cc, opts...))
	}
}

// streamClient turns the statuses of a stream into fault errors.
func streamClient(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, desc, cc, method, opts...)
	if err != nil {
		return nil, fault.FromStatus(err)
	}
	return &clientStream{s}, nil
}

type clientStream struct{ grpc.ClientStream }

func (s *clientStream) RecvMsg(m any) error { return streamError(s.ClientStream.RecvMsg(m)) }
func (s *clientStream) SendMsg(m any) error { return streamError(s.ClientStream.SendMsg(m)) }
func (s *clientStream) CloseSend() error    { return streamError(s.ClientStream.CloseSend()) }

func (s *clientStream) Header() (metadata.MD, error) {
	md, err := s.ClientStream.Header()
	return md, streamError(err)
}

// streamError keeps io.EOF as it is: it is the end of the stream, and generated code compares it.
func streamError(err error) error {
	if errors.Is(err, io.EOF) {
		return err
	}
	return fault.FromStatus(err)
}
