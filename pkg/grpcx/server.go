// Package grpcx makes gRPC servers and client connections that behave the same everywhere: traced,
// bounded in time, with errors of package fault on both sides, over TCP or inside one process.
//
// A handler returns fault errors. The server turns them into statuses (Internal ones masked by an
// id that is logged with the cause), the client connection turns statuses back into fault errors. So
// a caller asks fault.KindOf and never looks at codes.
package grpcx

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/test/bufconn"

	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/telemetry"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
)

// Defaults and fixed bounds of servers.
const (
	// DefaultMaxCallTime bounds a unary call, also when the client set no or a longer deadline.
	DefaultMaxCallTime = 30 * time.Second
	// DefaultMaxMessage is the largest message in bytes.
	DefaultMaxMessage = 4 << 20
	// DefaultMaxConnectionAge makes clients reconnect, and so find new replicas.
	DefaultMaxConnectionAge = 5 * time.Minute

	connectionAgeGrace = 30 * time.Second
	keepaliveTime      = 20 * time.Second
	keepaliveTimeout   = 5 * time.Second
	minClientPing      = 10 * time.Second
	inProcessBuffer    = 256 << 10
)

// Options of a Server. Zero values mean the defaults.
type Options struct {
	Name      string             // for logs and errors; default "grpc"
	Listen    string             // host:port, port 0 is any free one; "" does not listen
	InProcess bool               // also serve InProcessConn
	TLS       func() *tls.Config // settings of the next handshake over TCP; nil is plain text
	Log       *slog.Logger       // nil discards
	Tracer    trace.TracerProvider
	Meter     metric.MeterProvider

	MaxCallTime      time.Duration
	MaxConnectionAge time.Duration
	MaxMessage       int
	Reflection       bool // lets tools list services
}

// Server is a gRPC server as a lifecycle component. Register services between NewServer and Start.
type Server struct {
	opts     Options
	grpc     *grpc.Server
	health   *health.Server
	failed   chan error
	stopping context.Context // ends when Stop begins; ends server streams
	stop     context.CancelFunc

	mu       sync.Mutex // guards the fields below
	started  bool
	listener net.Listener
	buffer   *bufconn.Listener
	serving  sync.WaitGroup
}

var (
	_ lifecycle.Component   = (*Server)(nil)
	_ lifecycle.Failer      = (*Server)(nil)
	_ grpc.ServiceRegistrar = (*Server)(nil)
)

// NewServer returns a server that serves when it is started.
func NewServer(o Options) *Server {
	o = o.withDefaults()
	s := &Server{opts: o, health: health.NewServer(), failed: make(chan error, 1)}
	s.stopping, s.stop = context.WithCancel(context.Background())
	chain := interceptors(s.stopping, o)
	s.grpc = grpc.NewServer(append(serverOptions(o), chain.options()...)...)
	healthpb.RegisterHealthServer(s.grpc, s.health)
	if o.InProcess {
		s.buffer = bufconn.Listen(inProcessBuffer)
	}
	return s
}

func (o Options) withDefaults() Options {
	if o.Name == "" {
		o.Name = "grpc"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Tracer == nil {
		o.Tracer = tracenoop.NewTracerProvider()
	}
	if o.Meter == nil {
		o.Meter = metricnoop.NewMeterProvider()
	}
	if o.MaxCallTime <= 0 {
		o.MaxCallTime = DefaultMaxCallTime
	}
	if o.MaxConnectionAge <= 0 {
		o.MaxConnectionAge = DefaultMaxConnectionAge
	}
	if o.MaxMessage <= 0 {
		o.MaxMessage = DefaultMaxMessage
	}
	return o
}

func serverOptions(o Options) []grpc.ServerOption {
	opts := []grpc.ServerOption{
		grpc.StatsHandler(otelgrpc.NewServerHandler(
			otelgrpc.WithTracerProvider(o.Tracer),
			otelgrpc.WithMeterProvider(o.Meter),
			otelgrpc.WithPropagators(telemetry.Propagator()),
			otelgrpc.WithFilter(notHealth),
		)),
		grpc.MaxRecvMsgSize(o.MaxMessage),
		grpc.MaxSendMsgSize(o.MaxMessage),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge:      o.MaxConnectionAge,
			MaxConnectionAgeGrace: connectionAgeGrace,
			Time:                  keepaliveTime,
			Timeout:               keepaliveTimeout,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime: minClientPing, PermitWithoutStream: true,
		}),
	}
	if o.TLS != nil {
		opts = append(opts, grpc.Creds(handshakes{settings: o.TLS}))
	}
	return opts
}

// RegisterService implements grpc.ServiceRegistrar. It must be called before Start.
func (s *Server) RegisterService(desc *grpc.ServiceDesc, impl any) {
	s.grpc.RegisterService(desc, impl)
}

// Name returns the name from Options.
func (s *Server) Name() string { return s.opts.Name }

// Addr returns the real TCP address once started, before that the one from Options.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return s.opts.Listen
	}
	return s.listener.Addr().String()
}

// Failed yields the error when serving ends without Stop.
func (s *Server) Failed() <-chan error { return s.failed }

// Start serves on TCP, in process, or both. Every registered service is then healthy by its name.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started || s.stopping.Err() != nil {
		return errors.New("grpc server was started before")
	}
	if s.opts.Listen != "" {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.opts.Listen)
		if err != nil {
			return fmt.Errorf("listen on %s: %w", s.opts.Listen, err)
		}
		s.listener = l
	}
	s.started = true
	if s.opts.Reflection {
		reflection.Register(s.grpc)
	}
	for name := range s.grpc.GetServiceInfo() {
		s.health.SetServingStatus(name, healthpb.HealthCheckResponse_SERVING)
	}
	if s.listener != nil {
		s.serve(s.listener)
		s.opts.Log.InfoContext(ctx, "listening", logkey.Component, s.opts.Name, logkey.Address, s.listener.Addr().String())
	}
	if s.buffer != nil {
		s.serve(s.buffer)
	}
	return nil
}

func (s *Server) serve(l net.Listener) {
	s.serving.Go(func() {
		if err := s.grpc.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			select {
			case s.failed <- fmt.Errorf("serve %s: %w", l.Addr(), err):
			default: // one failure is enough to end the process
			}
		}
	})
}

// SetServing changes the health of one service, for example when it loses its store.
func (s *Server) SetServing(service string, ok bool) {
	status := healthpb.HealthCheckResponse_NOT_SERVING
	if ok {
		status = healthpb.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus(service, status)
}

// Services returns the names of the registered services, sorted.
func (s *Server) Services() []string {
	var names []string
	for name := range s.grpc.GetServiceInfo() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Stop turns the health to not serving, ends server streams, refuses new calls and waits for unary
// calls in flight. When ctx ends first, those are cut and the error says so.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	started, buffer := s.started, s.buffer
	s.mu.Unlock()
	s.stop()
	s.health.Shutdown()
	if !started {
		s.grpc.Stop()
		if buffer != nil {
			_ = buffer.Close() // never fails
		}
		return nil
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		s.grpc.GracefulStop()
	}()
	var err error
	select {
	case <-drained:
	case <-ctx.Done():
		err = fmt.Errorf("drain calls: %w", ctx.Err())
		s.grpc.Stop()
		<-drained
	}
	s.serving.Wait()
	return err
}

// InProcessConn returns a connection to this server without a network; the caller closes it. The
// server needs Options.InProcess. Calls before Start wait.
func (s *Server) InProcessConn(o DialOptions) (*grpc.ClientConn, error) {
	if s.buffer == nil {
		return nil, errors.New("grpc server does not serve in process")
	}
	return newClient("passthrough:///in-process", o, grpc.WithContextDialer(
		func(ctx context.Context, _ string) (net.Conn, error) { return s.buffer.DialContext(ctx) }))
}

// InProcess starts a server that only serves in process, with the services that register adds, and
// connects to it. The caller closes the connection, then stops the server.
func InProcess(ctx context.Context, o Options, d DialOptions, register func(grpc.ServiceRegistrar)) (*Server, *grpc.ClientConn, error) {
	o.Listen, o.InProcess = "", true
	s := NewServer(o)
	register(s)
	conn, err := s.InProcessConn(d)
	if err != nil {
		return nil, nil, err
	}
	if err := s.Start(ctx); err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return s, conn, nil
}
