// Package httpx serves HTTP with bounds on everything a client controls, and the admin endpoints
// that every process has.
//
// A Server is a lifecycle component: it listens in Start, drains in Stop, and reports a listener that
// breaks. Middleware for pages and APIs is in one place: SecurityHeaders, Recover, LogUnusual, Trace.
package httpx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/wxbus/wxbus/pkg/httpx/internal/direct"
	"github.com/wxbus/wxbus/pkg/lifecycle"
)

// Defaults of Options. The read bounds suit WeChat's pushes, which are small and come at once.
const (
	DefaultReadHeaderTimeout = 2 * time.Second
	DefaultReadTimeout       = 4 * time.Second
	DefaultIdleTimeout       = 60 * time.Second
	DefaultMaxHeaderBytes    = 16 << 10
	DefaultMaxConns          = 10_000
)

// Options of a Server. Zero durations and sizes mean the defaults.
type Options struct {
	// Name is for logs and errors, for example "gateway http".
	Name string
	// Addr is host:port; port 0 is any free one.
	Addr    string
	Handler http.Handler
	Log     *slog.Logger // nil discards

	ReadHeaderTimeout time.Duration
	ReadTimeout       time.Duration // header and body; negative for none
	WriteTimeout      time.Duration // from the end of the header to the end of the answer; default none, handlers set their own deadlines
	IdleTimeout       time.Duration
	MaxHeaderBytes    int
	MaxConns          int // accepted at the same time; further ones wait in the kernel's queue; negative for no limit
	// Direct serves requests in the plainest form without net/http, for ports whose traffic is hardly anything else
	// (ADR 0062). The handler must not keep the request, its header or the writer when it has returned, and hears that a
	// client hung up only while somebody waits for the context to end.
	Direct bool
}

// Server is an HTTP server as a lifecycle component. Create it with NewServer.
type Server struct {
	opts     Options
	failed   chan error
	stopping chan struct{} // closed when Stop begins
	stopOnce sync.Once

	mu       sync.Mutex // guards the fields below
	http     *http.Server
	direct   *direct.Listener // nil without Direct
	listener net.Listener
	cancel   context.CancelFunc
	serving  chan struct{} // closed when Serve has returned
}

var (
	_ lifecycle.Component = (*Server)(nil)
	_ lifecycle.Failer    = (*Server)(nil)
)

// NewServer returns a server that listens when it is started.
func NewServer(o Options) *Server {
	if o.Name == "" {
		o.Name = "http"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.ReadHeaderTimeout = orDefault(o.ReadHeaderTimeout, DefaultReadHeaderTimeout)
	o.ReadTimeout = orDefault(o.ReadTimeout, DefaultReadTimeout)
	o.IdleTimeout = orDefault(o.IdleTimeout, DefaultIdleTimeout)
	o.MaxHeaderBytes = orDefault(o.MaxHeaderBytes, DefaultMaxHeaderBytes)
	o.MaxConns = orDefault(o.MaxConns, DefaultMaxConns)
	return &Server{opts: o, failed: make(chan error, 1), stopping: make(chan struct{})}
}

// orDefault also turns "negative for none" into 0, which is how net/http says none.
func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return max(v, 0)
}

// Name returns the name from Options.
func (s *Server) Name() string { return s.opts.Name }

// Addr returns the real address once started, before that the one from Options.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return s.opts.Addr
	}
	return s.listener.Addr().String()
}

// Failed yields the error when serving ends without Stop.
func (s *Server) Failed() <-chan error { return s.failed }

// Start listens and serves. The contexts of requests keep the values of ctx but not its end; they
// end when Stop gives up waiting.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		return errors.New("http server was started before")
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.opts.Addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.opts.Addr, err)
	}
	base, cancel := context.WithCancel(context.WithValue(context.WithoutCancel(ctx), stoppingKey{}, s.stopping))
	s.http = &http.Server{
		Handler:           s.opts.Handler,
		ReadHeaderTimeout: s.opts.ReadHeaderTimeout,
		ReadTimeout:       s.opts.ReadTimeout,
		WriteTimeout:      s.opts.WriteTimeout,
		IdleTimeout:       s.opts.IdleTimeout,
		MaxHeaderBytes:    s.opts.MaxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return base },
		// Clients that break off or send nonsense are no events of ours.
		ErrorLog: slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelDebug),
	}
	s.listener, s.cancel, s.serving = listener, cancel, make(chan struct{})
	accepting := limitListener(listener, s.opts.MaxConns)
	if s.opts.Direct {
		s.direct = direct.Listen(base, accepting, direct.Options{
			Handler: s.opts.Handler, Log: s.opts.Log, ReadHeaderTimeout: s.opts.ReadHeaderTimeout,
			ReadTimeout: s.opts.ReadTimeout, WriteTimeout: s.opts.WriteTimeout, IdleTimeout: s.opts.IdleTimeout,
		})
		accepting = s.direct
	}
	go s.serve(s.http, accepting, s.serving)
	s.opts.Log.InfoContext(ctx, "listening", "component", s.opts.Name, "address", listener.Addr().String())
	return nil
}

func (s *Server) serve(server *http.Server, l net.Listener, done chan<- struct{}) {
	defer close(done)
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		s.failed <- fmt.Errorf("serve %s: %w", s.opts.Addr, err)
	}
}

type stoppingKey struct{}

// Stopping returns a channel that is closed when the server of this request begins to stop. Long
// streams must watch it and end; they would otherwise hold up the stop until its deadline. Outside a
// Server it is nil, which never yields.
func Stopping(ctx context.Context) <-chan struct{} {
	ch, _ := ctx.Value(stoppingKey{}).(chan struct{})
	return ch
}

// Stop refuses new connections and waits for requests in flight. At the deadline of ctx their
// contexts end and their connections are closed, and the error says so.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	server, plain, cancel, serving := s.http, s.direct, s.cancel, s.serving
	s.mu.Unlock()
	if server == nil {
		return nil
	}
	s.stopOnce.Do(func() { close(s.stopping) })
	err := drain(ctx, server, plain)
	cancel()
	if err != nil {
		err = errors.Join(fmt.Errorf("drain requests: %w", err), server.Close())
		if plain != nil {
			plain.Cut()
		}
	}
	<-serving
	return err
}

// drain ends the direct connections first: what they hand over still finds net/http.
func drain(ctx context.Context, server *http.Server, plain *direct.Listener) error {
	if plain == nil {
		return server.Shutdown(ctx)
	}
	server.SetKeepAlivesEnabled(false)
	return errors.Join(plain.Drain(ctx), server.Shutdown(ctx))
}
