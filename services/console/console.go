// Package console is the web page and the JSON API of wxbus: how the system is doing, who waits for
// an agent, answering them, and sending messages from business systems.
//
// It keeps nothing. It asks the rule, sender and agent-routing services by gRPC and NATS for the state
// of streams; a part that does not answer is shown as unknown.
package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"time"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/httpx"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/telemetry"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/console/internal/access"
	"github.com/wxbus/wxbus/services/console/internal/api"
	"github.com/wxbus/wxbus/services/console/internal/status"
	"github.com/wxbus/wxbus/services/console/internal/web"
)

// slow is when a request is worth a line in the log although it succeeded.
const slow = 2 * time.Second

// Deps are what the console needs. Nothing in it is the console's to close.
type Deps struct {
	Accounts      *account.Directory
	Bus           *bus.Conn
	Topology      *topology.Topology
	Sender        senderv1.SenderServiceClient
	Conversations agentroutingv1.ConversationServiceClient
	Rules         rulev1.RuleServiceClient
	// Health holds a check for each service that the page shows; it must honour its context. The
	// connection to NATS is added as "nats".
	Health  map[string]func(ctx context.Context) error
	Tel     *telemetry.Telemetry // nil records nothing
	Log     *slog.Logger         // nil discards
	Now     func() time.Time     // nil means time.Now
	Version string
}

// Service is the console as a component. It runs no goroutine of its own; its handler is served by
// the listener of the process.
type Service struct {
	cfg     Config
	log     *slog.Logger
	guard   *access.Guard
	handler http.Handler
}

var _ lifecycle.Component = (*Service)(nil)

// New returns the console. It fails with every fault of cfg, or with what is missing in deps.
func New(cfg Config, deps Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure console: %w", err)
	}
	if deps.Accounts == nil || deps.Bus == nil || deps.Topology == nil || deps.Sender == nil || deps.Conversations == nil || deps.Rules == nil {
		return nil, errors.New("configure console: a dependency is missing")
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	s := &Service{cfg: cfg, log: deps.Log, guard: newGuard(cfg, deps.Now)}
	page, err := web.Handler()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	api.Register(mux, api.Options{
		Accounts: deps.Accounts, Guard: s.guard, Sender: deps.Sender, Conversations: deps.Conversations,
		Status: newCollector(deps), Log: deps.Log, Now: deps.Now, Timeout: cfg.Timeout,
	})
	mux.Handle("/", api.LocalPage(s.guard, page))
	s.handler = wrap(mux, deps)
	return s, nil
}

func newGuard(cfg Config, now func() time.Time) *access.Guard {
	o := access.Options{Rate: cfg.RateLimit, Burst: cfg.RateBurst, Now: now}
	for _, k := range cfg.APIKeys {
		o.Keys = append(o.Keys, access.Key{Name: k.Name, Secret: k.Key, Accounts: k.Accounts})
	}
	return access.New(o)
}

func newCollector(deps Deps) *status.Collector {
	health := map[string]func(context.Context) error{}
	maps.Copy(health, deps.Health)
	health["nats"] = func(context.Context) error { return deps.Bus.Healthy() }
	var streams []string
	for _, s := range deps.Topology.Streams() {
		streams = append(streams, s.Name)
	}
	return status.New(status.Options{
		Version: deps.Version, Accounts: deps.Accounts, JetStream: deps.Bus.JS(), Streams: streams,
		Rules: deps.Rules, Conversations: deps.Conversations, Health: health, Log: deps.Log, Now: deps.Now,
	})
}

// wrap adds what every answer needs. Order: the trace sees all; headers also go on refusals; a panic
// becomes one answer; then browsers of other origins are refused before anything reads the request.
func wrap(mux http.Handler, deps Deps) http.Handler {
	trace := httpx.TraceOptions{Public: true}
	if deps.Tel != nil {
		trace.Tracer, trace.Meter = deps.Tel.TracerProvider, deps.Tel.MeterProvider
	}
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(api.DenyCrossOrigin))
	return httpx.Chain(mux,
		httpx.Trace(trace),
		httpx.SecurityHeaders(web.Policy),
		httpx.Recover(deps.Log),
		httpx.LogUnusual(deps.Log, slow),
		origin.Handler,
	)
}

// Name returns "console".
func (s *Service) Name() string { return "console" }

// Handler serves the page at "/" and the API below "/api/".
func (s *Service) Handler() http.Handler { return s.handler }

// Start says how the console may be reached.
func (s *Service) Start(ctx context.Context) error {
	if s.guard.LocalOnly() {
		s.log.WarnContext(ctx, "console.api_keys is empty: only callers on this machine are served", "address", s.cfg.Listen)
		return nil
	}
	s.log.InfoContext(ctx, "console asks for a key", "keys", len(s.cfg.APIKeys), "address", s.cfg.Listen)
	return nil
}

// Stop has nothing to wait for: requests end with the listener.
func (s *Service) Stop(context.Context) error { return nil }
