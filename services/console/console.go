// Package console is the way into wxbus for people and business systems: the page, log-ins and roles, the methods
// of every service by Connect, the JSON API of /api/v1, the live feed, and events out.
//
// It owns users, sessions, keys, the audit log and subscriptions in SQL. What it shows it asks other services by
// gRPC, and NATS for the state of streams; a part that does not answer is shown as unknown.
package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/grpc"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	"github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1/consolev1connect"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
	_ "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1" // the door forwards by descriptor

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/httpx"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/telemetry"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/console/internal/access"
	"github.com/wxbus/wxbus/services/console/internal/api"
	"github.com/wxbus/wxbus/services/console/internal/apikeys"
	"github.com/wxbus/wxbus/services/console/internal/audit"
	"github.com/wxbus/wxbus/services/console/internal/door"
	"github.com/wxbus/wxbus/services/console/internal/feed"
	"github.com/wxbus/wxbus/services/console/internal/gauges"
	"github.com/wxbus/wxbus/services/console/internal/login"
	"github.com/wxbus/wxbus/services/console/internal/media"
	"github.com/wxbus/wxbus/services/console/internal/oidc"
	"github.com/wxbus/wxbus/services/console/internal/password"
	"github.com/wxbus/wxbus/services/console/internal/people"
	"github.com/wxbus/wxbus/services/console/internal/policy"
	"github.com/wxbus/wxbus/services/console/internal/rpc"
	"github.com/wxbus/wxbus/services/console/internal/status"
	"github.com/wxbus/wxbus/services/console/internal/store"
	"github.com/wxbus/wxbus/services/console/internal/timeline"
	"github.com/wxbus/wxbus/services/console/internal/web"
	"github.com/wxbus/wxbus/services/console/internal/webhooks"
)

const (
	// slow is when a request is worth a line in the log although it succeeded.
	slow = 2 * time.Second
	// hashers is how many passwords are checked at once: 19 MiB each.
	hashers = 4
)

// Backends are the services whose methods the console calls and passes on, by name.
var backends = map[string]string{ //nolint:gosec // names of packages, no credentials
	"rule": "wxbus.rule.v1", "token": "wxbus.token.v1", "sender": "wxbus.sender.v1", "agent-routing": "wxbus.agentrouting.v1",
}

// Deps are what the console needs. Nothing in it is the console's to close.
type Deps struct {
	Accounts *account.Directory
	Bus      *bus.Conn
	Topology *topology.Topology
	// Services are the gRPC connections to rule, token, sender and agent-routing, by name.
	Services map[string]grpc.ClientConnInterface
	// SQL says where the tables are; Migrations need not be set.
	SQL sqldb.Options
	// Instance names this process among those that share the database.
	Instance string
	// Sealer seals what is stored or carried and must be read again.
	Sealer *secret.Sealer
	// Data is the folder for the password of the first administrator.
	Data string
	// Health holds a check for each service that the page shows; it must honour its context. The
	// connection to NATS is added as "nats", the database as "sql".
	Health  map[string]func(ctx context.Context) error
	Tel     *telemetry.Telemetry // nil records nothing
	Log     *slog.Logger         // nil discards
	Now     func() time.Time     // nil means time.Now
	Version string

	// passwords is the cost of hashes; the recommended one when zero. Tests lower it.
	passwords password.Params
	// heartbeat of the feed; 15 s when zero.
	heartbeat time.Duration
	// poll of the events out; 500 ms when zero.
	poll time.Duration
}

// Service is the console as a component. Its handler is served by the listener of the process.
type Service struct {
	cfg     Config
	log     *slog.Logger
	data    string
	guard   *access.Guard
	store   *store.Store
	people  *people.Service
	audit   *audit.Recorder
	hub     *feed.Hub
	gauges  *gauges.Gauges
	events  *webhooks.Engine
	handler http.Handler

	stop     context.CancelFunc
	done     chan struct{}
	demoMade chan struct{} // closed when the users of the demo can log in
}

var _ lifecycle.Component = (*Service)(nil)

// New returns the console. It fails with every fault of cfg, or with what is missing in deps.
func New(cfg Config, deps Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure console: %w", err)
	}
	if deps.Accounts == nil || deps.Bus == nil || deps.Topology == nil || deps.Sealer == nil {
		return nil, errors.New("configure console: a dependency is missing")
	}
	for name := range backends {
		if deps.Services[name] == nil {
			return nil, fmt.Errorf("configure console: no connection to %s", name)
		}
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.passwords == (password.Params{}) {
		deps.passwords = password.Default
	}
	s := &Service{cfg: cfg, log: deps.Log, data: deps.Data, store: store.New(deps.SQL, deps.Log), demoMade: make(chan struct{})}
	s.audit = audit.New(audit.Options{To: s.store, Log: deps.Log, Now: deps.Now, Retention: cfg.Audit.Retention})
	meters := metric.MeterProvider(metricnoop.NewMeterProvider())
	if deps.Tel != nil {
		meters = deps.Tel.MeterProvider
	}
	s.hub = feed.New(feed.Options{
		JetStream: deps.Bus.JS(), Signals: deps.Bus.NC(), Log: deps.Log, Now: deps.Now, Heartbeat: deps.heartbeat, Meter: meters,
	})
	s.gauges = gauges.New(gauges.Options{JetStream: deps.Bus.JS(), Topology: deps.Topology, Meter: meters, Log: deps.Log})
	s.events = webhooks.New(webhooks.Options{
		Store: s.store, JetStream: deps.Bus.JS(), Sealer: deps.Sealer, Log: deps.Log, Now: deps.Now, Instance: deps.Instance, Poll: deps.poll,
		MaxAttempts: cfg.Webhooks.MaxAttempts, Timeout: cfg.Webhooks.Timeout, AllowHTTP: cfg.Webhooks.AllowHTTP, AllowPrivate: cfg.Webhooks.AllowPrivate,
	})
	mux, err := s.routes(deps)
	if err != nil {
		return nil, err
	}
	s.handler = wrap(mux, deps)
	return s, nil
}

// routes builds everything that answers requests.
func (s *Service) routes(deps Deps) (http.Handler, error) {
	hasher := password.New(deps.passwords, hashers)
	logins := login.New(login.Options{
		Store: s.store, Hasher: hasher, Log: deps.Log, Now: deps.Now, Idle: s.cfg.Session.Idle, Absolute: s.cfg.Session.Max,
	})
	s.people = people.New(s.store, hasher, deps.Now)
	guard, err := s.newGuard(logins, deps.Now)
	if err != nil {
		return nil, err
	}
	s.guard = guard
	collector := s.newCollector(deps)
	methods, err := s.newDoor(deps, logins, collector)
	if err != nil {
		return nil, err
	}
	page, err := web.Handler()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	api.Register(mux, api.Options{
		Accounts: deps.Accounts, Guard: s.guard, Status: collector, Log: deps.Log, Now: deps.Now, Timeout: s.cfg.Timeout,
		Sender:        senderv1.NewSenderServiceClient(deps.Services["sender"]),
		Conversations: agentroutingv1.NewConversationServiceClient(deps.Services["agent-routing"]),
		Campaigns:     senderv1.NewCampaignServiceClient(deps.Services["sender"]),
		Letters:       &rpc.DeadLetters{Letters: deps.Bus.DeadLetters()}, Webhooks: s.webhooks(deps), Record: s.audit.Queue, Begin: s.audit.Begin, Read: methods.Read,
	})
	for _, service := range policy.Services() {
		mux.Handle("/api/"+service+"/", http.StripPrefix("/api", methods))
	}
	mux.Handle(media.Pattern, &media.Handler{
		Door: methods, Files: agentroutingv1.NewConversationServiceClient(deps.Services["agent-routing"]), Log: deps.Log,
	})
	if flow := s.newOIDC(deps, logins); flow != nil {
		mux.HandleFunc("GET "+oidc.StartPath, flow.Start)
		mux.HandleFunc("GET "+oidc.CallbackPath, flow.Callback)
	}
	mux.Handle("/", page)
	return mux, nil
}

func (s *Service) newGuard(logins *login.Service, now func() time.Time) (*access.Guard, error) {
	o := access.Options{Rate: s.cfg.RateLimit, Burst: s.cfg.RateBurst, Now: now, Stored: s.store, Sessions: logins}
	var err error
	if o.Proxies, err = proxies(s.cfg.TrustedProxies); err != nil {
		return nil, err
	}
	for _, k := range s.cfg.APIKeys {
		o.Keys = append(o.Keys, access.Key{Name: k.Name, Secret: k.Key, Accounts: k.Accounts, Scopes: k.Scopes})
	}
	return access.New(o), nil
}

func (s *Service) newDoor(deps Deps, logins *login.Service, collector *status.Collector) (*door.Door, error) {
	o := door.Options{Guard: s.guard, Audit: s.audit, Log: deps.Log, Now: deps.Now, Backends: map[string]grpc.ClientConnInterface{}}
	for name, pkg := range backends {
		o.Backends[pkg] = deps.Services[name]
	}
	d, err := door.New(o)
	if err != nil {
		return nil, err
	}
	opts := connect.WithHandlerOptions(d.HandlerOptions()...)
	d.Own(consolev1connect.NewSessionServiceHandler(&rpc.Sessions{
		Login: logins, Store: s.store, Now: deps.Now, Methods: s.cfg.logInMethods(), DemoUsers: s.demoUsers,
	}, opts))
	d.Own(consolev1connect.NewUserServiceHandler(&rpc.Users{People: s.people, Store: s.store, Login: logins}, opts))
	d.Own(consolev1connect.NewApiKeyServiceHandler(&rpc.Keys{Keys: apikeys.New(s.store, deps.Now), Store: s.store, File: s.keysOfFile()}, opts))
	d.Own(consolev1connect.NewAuditServiceHandler(&rpc.Audit{Store: s.store}, opts))
	d.Own(consolev1connect.NewStatusServiceHandler(&rpc.Status{
		Collector: collector, Conversations: agentroutingv1.NewConversationServiceClient(deps.Services["agent-routing"]),
	}, opts))
	d.Own(consolev1connect.NewDeadLetterServiceHandler(&rpc.DeadLetters{Letters: deps.Bus.DeadLetters()}, opts))
	d.Own(consolev1connect.NewTraceServiceHandler(&rpc.Trace{Reader: &timeline.Reader{
		JetStream: deps.Bus.JS(), Topology: deps.Topology, Sender: senderv1.NewSenderServiceClient(deps.Services["sender"]),
	}}, opts))
	d.Own(consolev1connect.NewWebhookServiceHandler(s.webhooks(deps), opts))
	d.Own(consolev1connect.NewFeedServiceHandler(&rpc.Feed{Hub: s.hub, Login: logins}, opts))
	return d, nil
}

// newOIDC returns the log-in by a provider, or nil when none is configured.
func (s *Service) newOIDC(deps Deps, logins *login.Service) *oidc.Flow {
	c := s.cfg.OIDC
	if c.Issuer == "" {
		return nil
	}
	roles := map[string]consolev1.Role{}
	for value, name := range c.Roles {
		roles[value] = roleNames[name]
	}
	return oidc.New(oidc.Options{
		Issuer: c.Issuer, ClientID: c.ClientID, ClientSecret: c.ClientSecret, PublicURL: c.PublicURL, Scopes: c.Scopes,
		RoleClaim: c.RoleClaim, Roles: roles, NameClaim: c.NameClaim, Accounts: c.Accounts, AccountClaim: c.AccountClaim,
		Login: logins, People: s.people, Browser: s.guard.Browser, Record: s.audit.Record, Sealer: deps.Sealer, Log: deps.Log, Now: deps.Now,
	})
}

// logInMethods are what the page offers.
func (c Config) logInMethods() []*consolev1.LogInMethod {
	var out []*consolev1.LogInMethod
	if c.OIDC.Issuer == "" || !c.OIDC.Only {
		out = append(out, &consolev1.LogInMethod{Kind: consolev1.LogInKind_LOG_IN_KIND_PASSWORD})
	}
	if c.OIDC.Issuer != "" {
		out = append(out, &consolev1.LogInMethod{Kind: consolev1.LogInKind_LOG_IN_KIND_OIDC, Label: c.OIDC.Label, StartPath: oidc.StartPath})
	}
	return out
}

func (s *Service) webhooks(deps Deps) *rpc.Webhooks {
	return &rpc.Webhooks{Engine: s.events, Store: s.store, Now: func() int64 { return deps.Now().UnixMilli() }}
}

func (s *Service) keysOfFile() []*consolev1.ApiKey {
	var out []*consolev1.ApiKey
	for _, k := range s.cfg.APIKeys {
		out = append(out, &consolev1.ApiKey{Id: k.Name, Name: k.Name, Scopes: k.Scopes, Accounts: k.Accounts, FromFile: true})
	}
	return out
}

func (s *Service) newCollector(deps Deps) *status.Collector {
	health := map[string]func(context.Context) error{}
	maps.Copy(health, deps.Health)
	health["nats"] = func(context.Context) error { return deps.Bus.Healthy() }
	health["sql"] = s.store.Healthy
	var streams []string
	for _, s := range deps.Topology.Streams() {
		streams = append(streams, s.Name)
	}
	durables := map[string][]string{}
	for _, c := range deps.Topology.Consumers() {
		durables[c.Stream] = append(durables[c.Stream], c.Config.Durable)
	}
	return status.New(status.Options{
		Version: deps.Version, Accounts: deps.Accounts, JetStream: deps.Bus.JS(), Streams: streams, Durables: durables,
		Rules:         rulev1.NewRuleServiceClient(deps.Services["rule"]),
		Conversations: agentroutingv1.NewConversationServiceClient(deps.Services["agent-routing"]),
		Health:        health, Log: deps.Log, Now: deps.Now,
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

// Start opens the database, begins to follow the feed, and makes the first users when there are none. A database that
// does not answer holds nothing up: log-ins and editing wait for it.
func (s *Service) Start(ctx context.Context) error {
	if err := s.store.Start(ctx); err != nil {
		return err
	}
	if err := errors.Join(s.audit.Start(ctx), s.hub.Start(ctx), s.gauges.Start(ctx), s.events.Start(ctx)); err != nil {
		return err
	}
	var base context.Context
	base, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		s.makeFirstUsers(base)
	}()
	if s.guard.LocalOnly() {
		s.log.WarnContext(ctx, "console.api_keys is empty: programs on this machine need no key for /api/v1", "address", s.cfg.Listen)
	}
	return nil
}

// Stop waits for what runs and closes the database. Requests end with the listener, before.
func (s *Service) Stop(ctx context.Context) error {
	if s.stop != nil {
		s.stop()
		<-s.done
	}
	return errors.Join(s.events.Stop(ctx), s.gauges.Stop(ctx), s.hub.Stop(ctx), s.audit.Stop(ctx), s.store.Stop(ctx))
}
