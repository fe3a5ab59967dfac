// Package natsembed runs a NATS server with JetStream inside the process: for "wxbus up" and for tests.
// Nothing else imports it, so that single services do not link a server.
package natsembed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/lifecycle"
)

const (
	// readyTimeout covers the recovery of full stores.
	readyTimeout = 2 * time.Minute
	readyPoll    = 100 * time.Millisecond
	// maxPayload lets a push of 1 MiB through with its envelope; the default of NATS is 1 MiB.
	maxPayload = 2 << 20
)

// Options of an embedded server.
type Options struct {
	// Name of the server; "wxbus" when empty.
	Name string
	// Listen is host:port for clients over TCP; port -1 takes any free port; empty listens nowhere, and
	// only InProcess connects.
	Listen string
	// StoreDir holds the streams. Required unless Memory is set.
	StoreDir string
	// Memory keeps the server's own files in a temporary directory that Stop removes. Streams are in
	// memory when the topology says so.
	Memory bool
	// SyncAlways writes through to the disk before a publish is acknowledged. Off, a power loss can
	// take the last two minutes.
	SyncAlways bool
	// MaxStore bounds the bytes of all streams on disk; three quarters of the free disk when zero.
	MaxStore int64
	// MaxMemory bounds the bytes of all streams in memory; three quarters of the memory when zero.
	MaxMemory int64
	// User and Password protect the TCP listener; empty for none.
	User, Password string
	// Cluster makes the server part of a cluster; nil for a single one.
	Cluster *ClusterOptions
	// Log takes the server's log; nil discards it.
	Log *slog.Logger
}

// ClusterOptions join servers to a cluster.
type ClusterOptions struct {
	// Name of the cluster.
	Name string
	// Listen is host:port for routes.
	Listen string
	// Routes are the URLs of the other servers, nats-route://host:port.
	Routes []string
}

// Server is an embedded NATS server. It is a lifecycle.Component.
type Server struct {
	opts Options

	mu      sync.Mutex // guards the fields below
	server  *server.Server
	tempDir string
}

var _ lifecycle.Component = (*Server)(nil)

// New returns a server that Start starts.
func New(o Options) *Server {
	if o.Name == "" {
		o.Name = "wxbus"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{opts: o}
}

// Start returns a running server; Shutdown or Stop ends it.
func Start(o Options) (*Server, error) {
	s := New(o)
	return s, s.Start(context.Background())
}

// Name returns "nats".
func (s *Server) Name() string { return "nats" }

// Start starts the server and returns when it accepts connections and JetStream is on. A single server
// has then recovered its streams. The error says what to change: a port in use, a directory that
// cannot be written.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		return fault.New(fault.Internal, "nats server: started twice")
	}
	opts, err := s.serverOptions()
	if err != nil {
		return err
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return errors.Join(fault.Errorf(fault.Invalid, "nats server: %w", err), s.removeTemp())
	}
	log := newLogger(s.opts.Log)
	srv.SetLoggerV2(log, false, false, false)
	go srv.Start() // ends after Shutdown; Stop waits with WaitForShutdown
	if err := awaitReady(ctx, srv, log.fatal); err != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
		return errors.Join(err, s.removeTemp())
	}
	s.server = srv
	return nil
}

// awaitReady returns when srv accepts connections, says why it cannot, or takes too long.
func awaitReady(ctx context.Context, srv *server.Server, fatal <-chan string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for !srv.ReadyForConnections(readyPoll) {
		select {
		case text := <-fatal:
			return fault.Errorf(fault.Permanent, "nats server: %s", text)
		case <-ctx.Done():
			return fault.Errorf(fault.Unavailable, "nats server: not ready: %w", ctx.Err())
		default:
		}
	}
	return nil
}

func (s *Server) serverOptions() (*server.Options, error) {
	o := s.opts
	opts := &server.Options{
		ServerName: o.Name, JetStream: true, NoSigs: true, DontListen: true, NoSystemAccount: o.Cluster == nil,
		StoreDir: o.StoreDir, SyncAlways: o.SyncAlways, MaxPayload: maxPayload,
		JetStreamMaxStore: o.MaxStore, JetStreamMaxMemory: o.MaxMemory,
		DisableShortFirstPing: true, Username: o.User, Password: o.Password,
	}
	if o.Listen != "" {
		host, port, err := hostPort(o.Listen)
		if err != nil {
			return nil, fault.Errorf(fault.Invalid, "nats.listen: %w", err)
		}
		opts.DontListen, opts.Host, opts.Port = false, host, port
	}
	if c := o.Cluster; c != nil {
		host, port, err := hostPort(c.Listen)
		if err != nil {
			return nil, fault.Errorf(fault.Invalid, "nats cluster listen: %w", err)
		}
		opts.Cluster = server.ClusterOpts{Name: c.Name, Host: host, Port: port}
		for _, r := range c.Routes {
			opts.Routes = append(opts.Routes, server.RoutesFromStr(r)...)
		}
	}
	if o.Memory {
		dir, err := os.MkdirTemp("", "wxbus-nats-")
		if err != nil {
			return nil, fault.Errorf(fault.Unavailable, "nats server: %w", err)
		}
		s.tempDir, opts.StoreDir = dir, dir
	}
	if opts.StoreDir == "" {
		return nil, fault.New(fault.Invalid, "nats server: needs a directory for its streams")
	}
	return opts, nil
}

func hostPort(listen string) (string, int, error) {
	host, text, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("%q: must be host:port", listen)
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < -1 || port > 65535 {
		return "", 0, fmt.Errorf("%q: port must be -1 to 65535", listen)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	return host, port, nil
}

// Stop shuts the server down and waits until its streams are closed or ctx ends.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return nil
	}
	srv := s.server
	s.server = nil
	srv.Shutdown()
	done := make(chan struct{})
	go func() { // ends with the server, at the latest when the process does
		srv.WaitForShutdown()
		close(done)
	}()
	select {
	case <-done:
		return s.removeTemp()
	case <-ctx.Done():
		return fault.Errorf(fault.Unavailable, "stop nats server: %w", ctx.Err())
	}
}

// Shutdown stops the server and waits for it.
func (s *Server) Shutdown() { _ = s.Stop(context.Background()) }

func (s *Server) removeTemp() error {
	if s.tempDir == "" {
		return nil
	}
	dir := s.tempDir
	s.tempDir = ""
	return os.RemoveAll(dir)
}

// ClientURL returns the URL for clients over TCP, or "" when the server does not listen or run.
func (s *Server) ClientURL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil || s.opts.Listen == "" {
		return ""
	}
	return s.server.ClientURL()
}

// InProcess returns a provider of connections that do not touch the network; nil when not running.
func (s *Server) InProcess() nats.InProcessConnProvider {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return nil
	}
	return s.server
}

// Healthy returns an Unavailable fault unless the server runs, JetStream is on and, in a cluster, the
// server knows the meta leader.
func (s *Server) Healthy() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.server == nil || !s.server.Running():
		return errNotRunning
	case !s.server.JetStreamEnabled():
		return errNoJetStream
	case s.opts.Cluster != nil && s.server.JetStreamIsClustered() && !s.server.JetStreamIsCurrent():
		return errNotCurrent
	}
	return nil
}

var (
	errNotRunning  = fault.Wrap(fault.Unavailable, errors.New("nats server: not running"))
	errNoJetStream = fault.Wrap(fault.Unavailable, errors.New("nats server: JetStream is off"))
	errNotCurrent  = fault.Wrap(fault.Unavailable, errors.New("nats server: behind the cluster"))
)
