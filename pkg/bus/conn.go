package bus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/wxbus/wxbus/pkg/certs"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

const (
	// A hung server goes unnoticed for four minutes with the defaults of nats.go; WeChat waits five
	// seconds.
	pingInterval = time.Second
	pingsLost    = 2

	reconnectWait   = 200 * time.Millisecond
	reconnectJitter = 200 * time.Millisecond
	connectTimeout  = 2 * time.Second
	// avoidFor is how long a connection that just let a publish time out is used only when there is no
	// other one.
	avoidFor = 2 * time.Second
	// permissionTTL is how long a denied subject makes the connection unhealthy: a denied publish
	// otherwise looks like a timeout.
	permissionTTL = time.Minute
	closeTimeout  = 10 * time.Second
)

// Options of a connection.
type Options struct {
	// Name of the client, one token; it is also part of the inbox prefix "_INBOX_<name>", on which the
	// permissions of the service are built.
	Name string
	// URLs of the servers. Ignored when InProcess is set.
	URLs []string
	// InProcess connects to a server in this process.
	InProcess nats.InProcessConnProvider
	// Conns is the number of connections, to different servers where possible; 1 when zero. Publishers
	// use all of them, everything else the first.
	Conns int
	// CredsFile is a file with NATS credentials.
	CredsFile string
	// User and Password are the other way to log in.
	User, Password string
	// Certificates make the connection use TLS, with our own certificate when there is one; nil is plain text unless
	// the server wants TLS.
	Certificates *certs.Store
	// ServerName is the name that the certificate of a server must have; default the host of its address.
	ServerName string
	// Log gets connection events; nil discards them.
	Log *slog.Logger
	// Tracer and Meter record spans and metrics; nil records nothing.
	Tracer trace.TracerProvider
	Meter  metric.MeterProvider
}

// Conn is a set of connections to NATS. It is safe for concurrent use. Close ends it.
type Conn struct {
	name    string
	log     *slog.Logger
	tracer  trace.Tracer
	tracing bool
	metrics *metrics
	links   []*link
	js      jetstream.JetStream
	next    atomic.Uint32
	denied  atomic.Int64 // Unix nanoseconds of the last permission violation

	mu       sync.Mutex // guards hearings; no callback of one may call Hear or Close
	hearings map[*Hearing]struct{}
}

// link is one connection and the acks that are awaited on it.
type link struct {
	nc       *nats.Conn
	acks     *acks
	timedOut atomic.Int64 // Unix nanoseconds of the last publish without an answer
	// serverEnds is the Unix time at which the certificate of the server expires; 0 in plain text.
	serverEnds atomic.Int64
}

// Connect returns when the first connection is up, and one after the other the rest. It fails with
// Invalid for wrong options and Unavailable when no server answers before ctx ends.
func Connect(ctx context.Context, o Options) (*Conn, error) {
	if err := topology.CheckToken("nats client name", o.Name); err != nil {
		return nil, err
	}
	c := &Conn{name: o.Name, log: o.Log, hearings: make(map[*Hearing]struct{})}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.tracing = o.Tracer != nil
	if o.Tracer == nil {
		o.Tracer = tracenoop.NewTracerProvider()
	}
	if o.Meter == nil {
		o.Meter = metricnoop.NewMeterProvider()
	}
	c.tracer = o.Tracer.Tracer(scope)
	var err error
	if c.metrics, err = newMetrics(o.Meter); err != nil {
		return nil, err
	}
	for range max(o.Conns, 1) {
		l, err := c.dial(ctx, o)
		if err != nil {
			return nil, errors.Join(err, c.Close(ctx))
		}
		c.links = append(c.links, l)
	}
	if c.js, err = newJetStream(c.links[0].nc); err != nil {
		return nil, errors.Join(fault.Wrap(fault.Internal, err), c.Close(ctx))
	}
	if o.Certificates != nil {
		o.Certificates.WatchServer(c.serverExpires)
	}
	return c, nil
}

// dial opens one connection; it tries until ctx ends, because a server may start after its clients.
func (c *Conn) dial(ctx context.Context, o Options) (*link, error) {
	l := &link{acks: newAcks()}
	opts, err := c.natsOptions(o, l) //nolint:contextcheck // events of the connection come long after this call
	if err != nil {
		return nil, err
	}
	for {
		l.nc, err = opts.Connect()
		if err == nil {
			break
		}
		if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) {
			return nil, fault.Errorf(fault.Permanent, "connect to NATS as %s: %w", c.name, err)
		}
		if refused, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			return nil, fault.Errorf(fault.Permanent, "connect to NATS as %s: %w; compare the server's certificate with nats.tls_ca_file and the names in nats.urls", c.name, refused)
		}
		select {
		case <-ctx.Done():
			return nil, fault.Errorf(fault.Unavailable, "connect to NATS as %s: %w", c.name, errors.Join(err, ctx.Err()))
		case <-time.After(reconnectWait + rand.N(reconnectJitter)): //nolint:gosec // jitter is no secret
		}
	}
	if err := l.acks.listen(l.nc); err != nil {
		l.nc.Close()
		return nil, fault.Errorf(fault.Unavailable, "connect to NATS as %s: %w", c.name, err)
	}
	return l, nil
}

func (c *Conn) natsOptions(o Options, l *link) (nats.Options, error) {
	opts := nats.GetDefaultOptions()
	apply := []nats.Option{
		nats.Name(o.Name),
		nats.Timeout(connectTimeout),
		nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(pingsLost),
		// Publishing while disconnected must fail at once, not fill a buffer in silence.
		nats.ReconnectBufSize(-1),
		nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait), nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		nats.CustomInboxPrefix("_INBOX_" + o.Name),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { c.disconnected(l, err) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { c.reconnected(nc) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { c.asyncError(sub, err) }),
		nats.DrainTimeout(closeTimeout),
	}
	switch {
	case o.InProcess != nil:
		apply = append(apply, nats.InProcessServer(o.InProcess))
	case len(o.URLs) > 0:
		opts.Servers = c.serverOrder(o.URLs)
		// The order already spreads connections over servers.
		opts.NoRandomize = len(c.links) > 0
	default:
		return opts, fault.New(fault.Invalid, "nats: needs urls or a server in the process")
	}
	if o.CredsFile != "" {
		apply = append(apply, nats.UserCredentials(o.CredsFile))
	}
	if o.User != "" {
		apply = append(apply, nats.UserInfo(o.User, o.Password))
	}
	if o.Certificates != nil {
		apply = append(apply, secured(o, l))
	}
	for _, option := range apply {
		if err := option(&opts); err != nil {
			return opts, fault.Errorf(fault.Invalid, "nats: %w", err)
		}
	}
	return opts, nil
}

// serverOrder puts servers that no earlier connection uses first, discovered ones included.
func (c *Conn) serverOrder(urls []string) []string {
	if len(c.links) == 0 {
		return urls
	}
	known := slices.Concat(c.links[0].nc.DiscoveredServers(), urls)
	var used []string
	for _, l := range c.links {
		used = append(used, l.nc.ConnectedUrl(), l.nc.ConnectedUrlRedacted())
	}
	var first, last []string
	for _, u := range known {
		if slices.Contains(used, u) {
			last = append(last, u)
		} else if !slices.Contains(first, u) {
			first = append(first, u)
		}
	}
	return append(first, last...)
}

// secured reads the certificates at each connection, so that renewed ones need no restart, and notes when that of the
// server expires.
func secured(o Options, l *link) nats.Option {
	return func(opts *nats.Options) error {
		opts.TLSConfig = o.Certificates.Client(o.ServerName)
		opts.TLSConfig.VerifyConnection = func(state tls.ConnectionState) error {
			l.serverEnds.Store(state.PeerCertificates[0].NotAfter.Unix())
			return nil
		}
		var own nats.TLSCertHandler
		if len(opts.TLSConfig.Certificates) > 0 {
			own = func() (tls.Certificate, error) { return o.Certificates.Client("").Certificates[0], nil }
		}
		return nats.ClientTLSConfig(own, func() (*x509.CertPool, error) { return o.Certificates.Client("").RootCAs, nil })(opts)
	}
}

// serverExpires returns when the first certificate of the servers that we are connected to expires; zero when we are
// connected to none.
func (c *Conn) serverExpires() time.Time {
	var first time.Time
	for _, l := range c.links {
		if !l.nc.IsConnected() {
			continue
		}
		if end := time.Unix(l.serverEnds.Load(), 0); first.IsZero() || end.Before(first) {
			first = end
		}
	}
	return first
}

// errLostConnection is a timeout for the caller: what was on the way may be stored.
var errLostConnection = fmt.Errorf("connection lost: %w", nats.ErrTimeout)

func (c *Conn) disconnected(l *link, err error) {
	if err != nil { // nil: we closed it ourselves
		c.metrics.connection(eventDisconnected)
		c.log.Warn("nats disconnected", "client", c.name, "error", err)
	}
	l.acks.failAll(transportFault(errLostConnection))
	c.deafened(nil)
}

func (c *Conn) reconnected(nc *nats.Conn) {
	c.metrics.connection(eventReconnected)
	c.log.Info("nats reconnected", "client", c.name, "server", nc.ConnectedServerName())
}

// asyncError hears what no call returns: denied subjects and slow subscriptions.
func (c *Conn) asyncError(sub *nats.Subscription, err error) {
	var template string
	if sub != nil {
		template = topology.Template(sub.Subject)
	}
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		c.denied.Store(time.Now().UnixNano())
		c.metrics.connection(eventDenied)
	case errors.Is(err, nats.ErrSlowConsumer):
		c.metrics.connection(eventSlowConsumer)
		c.deafened(sub)
	default:
		c.metrics.connection(eventError)
	}
	c.log.Error("nats error", "client", c.name, "subject", template, "error", err)
}

// JS returns the JetStream context of the first connection. Reads and writes of its buckets wait for an answer
// until their context ends, at most AnswerTimeout.
func (c *Conn) JS() jetstream.JetStream { return c.js }

// NC returns the first connection.
func (c *Conn) NC() *nats.Conn { return c.links[0].nc }

// Healthy returns an Unavailable fault while the first connection is down, and for a minute after the
// server denied a subject: a denied publish shows only as a timeout.
func (c *Conn) Healthy() error {
	if !c.links[0].nc.IsConnected() {
		return fault.Wrap(fault.Unavailable, &publishError{sentinel: ErrDisconnected, cause: errors.New("client " + c.name)})
	}
	if at := c.denied.Load(); at != 0 && time.Since(time.Unix(0, at)) < permissionTTL {
		return fault.New(fault.Unavailable, "nats: the server denied a subject; see the log and the permissions of this service")
	}
	return nil
}

// Close drains the connections: subscriptions end, what is written goes out. It waits for that until ctx
// ends. Close consumers, responders and batchers first. A second call does nothing.
func (c *Conn) Close(ctx context.Context) error {
	var errs []error
	for _, l := range c.links {
		if l.nc.IsClosed() {
			continue
		}
		closed := l.nc.StatusChanged(nats.CLOSED)
		if err := l.nc.Drain(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			l.nc.Close() // reconnecting: there is nobody to drain to
			continue
		}
		select {
		case <-closed:
		case <-ctx.Done():
			l.nc.Close()
			errs = append(errs, fault.Errorf(fault.Unavailable, "close connection %s: %w", c.name, ctx.Err()))
		}
	}
	return errors.Join(errs...)
}

// pick returns a connection for a publish: in turn those that are up and answered lately, else any that
// is up, else nil.
func (c *Conn) pick() *link {
	if len(c.links) == 1 {
		return c.links[0]
	}
	start := int(c.next.Add(1))
	now := time.Now().UnixNano()
	var fallback *link
	for i := range c.links {
		l := c.links[(start+i)%len(c.links)]
		if !l.nc.IsConnected() {
			continue
		}
		if now-l.timedOut.Load() > int64(avoidFor) {
			return l
		}
		if fallback == nil {
			fallback = l
		}
	}
	if fallback == nil {
		return c.links[0]
	}
	return fallback
}
