package process

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"

	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"

	"github.com/wxbus/wxbus/pkg/certs"
	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/grpcx"
	"github.com/wxbus/wxbus/pkg/telemetry"
)

// certificates are those of a process; nil where the connection is plain text.
type certificates struct{ grpc, nats *certs.Store }

func grpcFiles(shared config.Shared) certs.Files {
	c := shared.GRPC
	return certs.Files{Section: "grpc", Cert: c.TLSCert, Key: c.TLSKey, CA: c.TLSCAFile}
}

func natsFiles(shared config.Shared) certs.Files {
	c := shared.NATS
	return certs.Files{Section: "nats", Cert: c.TLSCert, Key: c.TLSKey, CA: c.TLSCAFile}
}

// loadFiles returns nil when there are none.
func loadFiles(files certs.Files, log *slog.Logger, meter metric.MeterProvider) (*certs.Store, error) {
	if files.Empty() {
		return nil, nil
	}
	return certs.Load(certs.Options{Files: files, Log: log, Meter: meter})
}

// loadCertificates reads what the configuration names, so that a process with a wrong file ends before it listens.
// Both faults are reported at once.
func (p *Process) loadCertificates(tel *telemetry.Telemetry) error {
	var errs [2]error
	p.certs.grpc, errs[0] = loadFiles(grpcFiles(p.shared), tel.Logger, tel.MeterProvider)
	if p.needsBus() {
		p.certs.nats, errs[1] = loadFiles(natsFiles(p.shared), tel.Logger, tel.MeterProvider)
	}
	return errors.Join(errs[:]...)
}

func (c certificates) close() error {
	var errs []error
	for _, s := range []*certs.Store{c.grpc, c.nats} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// serverTLS is how a listener of the process does its handshakes; nil is plain text.
func (p *Process) serverTLS() func() *tls.Config {
	if p.certs.grpc == nil {
		return nil
	}
	return p.certs.grpc.Server
}

// clientTLS is how a call to another process does its handshakes; nil is plain text.
func clientTLS(store *certs.Store, shared config.Shared) func() *tls.Config {
	if store == nil {
		return nil
	}
	return func() *tls.Config { return store.Client(shared.GRPC.TLSName) }
}

// DialService connects to a service from outside of any process, for commands: with the certificate of the
// configuration if there is one, else in plain text. The address is that of the configuration when it is empty. The
// caller closes the connection.
func DialService(ctx context.Context, shared config.Shared, service, address string) (*grpc.ClientConn, error) {
	store, err := loadFiles(grpcFiles(shared), nil, nil)
	if err != nil {
		return nil, err
	}
	if address == "" {
		address = GRPCAddress(shared, service)
	}
	return grpcx.Dial(ctx, address, grpcx.DialOptions{MaxMessage: maxMessage, TLS: clientTLS(store, shared)}) //nolint:contextcheck // handshakes come after this call
}

// DialPlain connects to one gRPC address in plain text, for tests of processes that have no certificates. The caller closes
// the connection.
func DialPlain(ctx context.Context, address string) (*grpc.ClientConn, error) {
	return grpcx.Dial(ctx, address, grpcx.DialOptions{MaxMessage: maxMessage})
}
