// Package bustest gives tests a real NATS server with JetStream and the whole topology, in process.
// There is no mock of the bus: what a test publishes goes through the server.
package bustest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/natsembed"
	"github.com/wxbus/wxbus/pkg/topology"
)

const stopTimeout = 60 * time.Second

// provisionTimeout is generous: three servers in one process create dozens of streams while other tests compile.
const provisionTimeout = 3 * time.Minute

// Env is a provisioned bus. Everything ends with the test.
type Env struct {
	// Conn is a connection named "test".
	Conn *bus.Conn
	// Topology as provisioned.
	Topology *topology.Topology
	// JS is the JetStream context of Conn.
	JS jetstream.JetStream
	// URL of the server over TCP; empty without Listen.
	URL string
	// Server that runs; in a Cluster the first one.
	Server *natsembed.Server

	options config
}

type config struct {
	topology topology.Options
	listen   bool
	file     bool
	log      *slog.Logger
	tracer   trace.TracerProvider
	meter    metric.MeterProvider
}

// Option changes what Start starts.
type Option func(*config)

// WithTopology provisions with these options. Memory is set for them unless WithFiles is given.
func WithTopology(o topology.Options) Option { return func(c *config) { c.topology = o } }

// WithListen also listens on a free TCP port: Env.URL.
func WithListen() Option { return func(c *config) { c.listen = true } }

// WithFiles stores the streams in files, written through, as in production.
func WithFiles() Option { return func(c *config) { c.file = true } }

// WithLog sends the logs of server and connections to log.
func WithLog(log *slog.Logger) Option { return func(c *config) { c.log = log } }

// WithTracer records the spans of Conn and of NewConn.
func WithTracer(p trace.TracerProvider) Option { return func(c *config) { c.tracer = p } }

// WithMeter records the metrics of Conn and of NewConn.
func WithMeter(p metric.MeterProvider) Option { return func(c *config) { c.meter = p } }

// Start returns a running, provisioned server with streams in memory: 2 partitions, AckWait 2 s and
// PinnedTTL 2 s unless WithTopology says otherwise.
func Start(t testing.TB, opts ...Option) *Env {
	t.Helper()
	c := newConfig(opts)
	server := natsembed.New(natsembed.Options{
		Name: "bustest", Listen: listenAddr(c.listen), Log: c.log,
		Memory: !c.file, StoreDir: storeDir(t, c.file), SyncAlways: c.file,
	})
	require.NoError(t, server.Start(t.Context()))
	t.Cleanup(func() { stopServer(t, server) })
	e := &Env{Server: server, URL: server.ClientURL(), options: c}
	e.provision(t)
	return e
}

func newConfig(opts []Option) config {
	c := config{topology: topology.Options{Partitions: 2, AckWait: 2 * time.Second, PinnedTTL: 2 * time.Second}}
	for _, o := range opts {
		o(&c)
	}
	c.topology.Memory = !c.file
	if c.file && c.topology.Store == 0 {
		c.topology.Store = 1 << 30
	}
	return c
}

func storeDir(t testing.TB, file bool) string {
	if !file {
		return ""
	}
	return t.TempDir()
}

func listenAddr(listen bool) string {
	if listen {
		return "127.0.0.1:-1"
	}
	return ""
}

func stopServer(t testing.TB, s *natsembed.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("stop nats server: %v", err)
	}
}

// provision connects and creates the topology.
func (e *Env) provision(t testing.TB) {
	t.Helper()
	var err error
	e.Topology, err = topology.New(e.options.topology)
	require.NoError(t, err)
	e.Conn = e.NewConn(t, "test")
	e.JS = e.Conn.JS()
	ctx, cancel := context.WithTimeout(t.Context(), provisionTimeout)
	defer cancel()
	require.NoError(t, e.Topology.Ensure(ctx, e.JS))
}

// NewConn returns another connection to the server; the test closes it at its end if nobody did before.
func (e *Env) NewConn(t testing.TB, name string) *bus.Conn {
	t.Helper()
	o := e.connOptions(name)
	o.InProcess = e.Server.InProcess()
	return connect(t, o)
}

func (e *Env) connOptions(name string) bus.Options {
	return bus.Options{Name: name, Log: e.options.log, Tracer: e.options.tracer, Meter: e.options.meter}
}

func connect(t testing.TB, o bus.Options) *bus.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stopTimeout)
	defer cancel()
	conn, err := bus.Connect(ctx, o)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := conn.Close(ctx); err != nil {
			t.Errorf("close connection %s: %v", o.Name, err)
		}
	})
	return conn
}

// Run starts a component and stops it when the test ends. Stopping it earlier is fine.
func Run(t testing.TB, c interface {
	Name() string
	Start(context.Context) error
	Stop(context.Context) error
}) {
	t.Helper()
	require.NoError(t, c.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := c.Stop(ctx); err != nil {
			t.Errorf("stop %s: %v", c.Name(), err)
		}
	})
}
