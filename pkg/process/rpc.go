package process

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/grpcx"
	"github.com/wxbus/wxbus/pkg/lifecycle"
)

// maxMessage bounds a gRPC message in bytes: a rule file has up to 32 MiB.
const maxMessage = 36 << 20

// rpc is the gRPC side of a process: its servers, one per address, and its connections to others.
type rpc struct {
	p       *Process
	servers []*grpcx.Server

	mu    sync.Mutex // guards conns
	conns map[string]*grpc.ClientConn
}

func newRPC(p *Process) *rpc {
	r := &rpc{p: p, conns: map[string]*grpc.ClientConn{}}
	for i, addr := range append([]string{""}, grpcAddresses(p.shared, p.rt.services)...) {
		name, secured := "grpc "+addr, p.serverTLS()
		if i == 0 {
			name, secured = "grpc in process", nil
		}
		r.servers = append(r.servers, grpcx.NewServer(grpcx.Options{
			Name: name, Listen: addr, InProcess: i == 0, TLS: secured, Log: p.rt.Log, MaxMessage: maxMessage,
			Tracer: p.rt.Tel.TracerProvider, Meter: p.rt.Tel.MeterProvider, Reflection: true,
		}))
	}
	return r
}

// RegisterService registers on every server of the process.
func (r *rpc) RegisterService(desc *grpc.ServiceDesc, impl any) {
	for _, s := range r.servers {
		s.RegisterService(desc, impl)
	}
}

func (r *rpc) components() []lifecycle.Component {
	out := make([]lifecycle.Component, 0, len(r.servers))
	for _, s := range r.servers {
		out = append(out, s)
	}
	return out
}

// dial returns the connection to a service, one per service and process.
func (r *rpc) dial(ctx context.Context, service string, inProcess bool) (grpc.ClientConnInterface, error) {
	if _, ok := grpcPorts[service]; !ok {
		return nil, fmt.Errorf("dial %s: not a service with gRPC", service)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if conn, ok := r.conns[service]; ok {
		return conn, nil
	}
	opts := grpcx.DialOptions{MaxMessage: maxMessage, Tracer: r.p.rt.Tel.TracerProvider, Meter: r.p.rt.Tel.MeterProvider}
	var conn *grpc.ClientConn
	var err error
	if inProcess {
		conn, err = r.servers[0].InProcessConn(opts)
	} else {
		opts.TLS = clientTLS(r.p.certs.grpc, r.p.shared) //nolint:contextcheck // handshakes come after this call
		conn, err = grpcx.Dial(ctx, GRPCAddress(r.p.shared, service), opts)
	}
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", service, err)
	}
	r.conns[service] = conn
	return conn, nil
}

func (r *rpc) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, c := range r.conns {
		errs = append(errs, c.Close())
	}
	r.conns = map[string]*grpc.ClientConn{}
	if err := errors.Join(errs...); err != nil {
		r.p.rt.Log.Debug("close connections", "error", err)
	}
}

// HealthCheck returns a check that asks the server behind conn whether it serves.
func HealthCheck(conn grpc.ClientConnInterface) func(context.Context) error {
	client := healthpb.NewHealthClient(conn)
	return func(ctx context.Context) error {
		resp, err := client.Check(ctx, &healthpb.HealthCheckRequest{})
		if err != nil {
			return err
		}
		if resp.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			return fault.Errorf(fault.Unavailable, "the server says %s", resp.GetStatus())
		}
		return nil
	}
}
