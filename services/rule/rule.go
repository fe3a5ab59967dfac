// Package rule is the rule service: it decides what to answer to each push, sees the answer through, and
// keeps the published rules.
//
// Any number of replicas may run. What they share is in NATS: the events, the decision records and the
// published rule sets. See README.md.
package rule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/httpout"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/telemetry"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/topology"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
	"github.com/wxbus/wxbus/services/rule/internal/chat"
	"github.com/wxbus/wxbus/services/rule/internal/coverage"
	"github.com/wxbus/wxbus/services/rule/internal/decide"
	"github.com/wxbus/wxbus/services/rule/internal/fan"
	"github.com/wxbus/wxbus/services/rule/internal/grpcapi"
	"github.com/wxbus/wxbus/services/rule/internal/owner"
	"github.com/wxbus/wxbus/services/rule/internal/publish"
	"github.com/wxbus/wxbus/services/rule/internal/tables"
	"github.com/wxbus/wxbus/services/rule/internal/webhook"
)

const scope = "github.com/wxbus/wxbus/services/rule"

// deadLetterAfter is the try at which an event is given up. With the delays of the bus that is more
// than a minute, beside the patience of each try.
const deadLetterAfter = 7

// Deps are what the service works with. Nothing in it is the service's to close.
type Deps struct {
	Accounts  *account.Directory
	Bus       *bus.Conn
	Topology  *topology.Topology
	Decisions *decision.Store
	Sender    senderv1.SenderServiceClient
	// SQL says where the working copy of the rules is. It may be down: then only editing is.
	SQL sqldb.Options
	// RulesFile is published at the start when it has changed; "" for none.
	RulesFile string
	Tel       *telemetry.Telemetry
	Log       *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Service is the rule service. It is a lifecycle.Component.
type Service struct {
	cfg  Config
	deps Deps
	api  *grpcapi.Server
	hook *webhook.Client
	chat *chat.Client
	fans *fan.Store

	mu    sync.Mutex // guards parts
	parts *parts
}

var _ lifecycle.Component = (*Service)(nil)

// parts exist while the service runs.
type parts struct {
	live     *publish.Live
	owners   *owner.Registry
	fans     *fan.Store
	consumer *bus.Consumer
	tables   *tables.Late
	counter  *coverage.Counter
	quit     context.CancelFunc
}

// New returns a service that Start starts.
func New(cfg Config, deps Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	if deps.Accounts == nil || deps.Bus == nil || deps.Topology == nil || deps.Decisions == nil || deps.Sender == nil || deps.Tel == nil {
		return nil, fault.New(fault.Invalid, "rule: a dependency is missing")
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	s := &Service{cfg: cfg, deps: deps, fans: fan.New(deps.Log)}
	s.hook = webhook.New(webhook.Options{
		Secret: cfg.Webhook.Secret, Timeout: cfg.Webhook.Timeout,
		Policy: httpout.Policy{AllowHTTP: cfg.Webhook.AllowHTTP, AllowPrivate: cfg.Webhook.AllowPrivate,
			HowHTTP: "set rule.webhook.allow_http", HowPrivate: "set rule.webhook.allow_private"},
		Tracer: deps.Tel.TracerProvider.Tracer(scope), Now: deps.Now,
	})
	s.chat = chat.New(chat.Options{
		Providers: cfg.Chat.providers(), Ledger: fan.NewTokens(s.fans, deps.Now), Tracer: deps.Tel.TracerProvider.Tracer(scope),
	})
	s.api = grpcapi.New(deps.Accounts, s.hook.CheckURL, s.chat.Check, deps.Log, deps.Now)
	return s, nil
}

// RegisterGRPC registers RuleService. Its methods are Unavailable until Start.
func (s *Service) RegisterGRPC(r grpc.ServiceRegistrar) { rulev1.RegisterRuleServiceServer(r, s.api) }

// Name returns "rule".
func (s *Service) Name() string { return "rule" }

// Start publishes the rules file if it has changed, loads the live rules and begins to decide.
func (s *Service) Start(ctx context.Context) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parts != nil {
		return fault.New(fault.Internal, "rule: started twice")
	}
	store, err := publish.Open(ctx, s.deps.Bus.JS(), s.deps.Log, s.deps.Now)
	if err != nil {
		return err
	}
	if err := s.publishFile(ctx, store); err != nil {
		return err
	}
	life, quit := context.WithCancel(context.WithoutCancel(ctx))
	p := &parts{quit: quit, owners: owner.New(s.deps.Log), fans: s.fans}
	if p.live, err = publish.NewLive(store, s.deps.Log, s.deps.Tel.MeterProvider.Meter(scope)); err != nil {
		quit()
		return err
	}
	if p.consumer, err = s.consumer(life, p); err != nil {
		quit()
		return err
	}
	if err := p.start(ctx, s.deps.Bus); err != nil {
		return errors.Join(err, p.stop(ctx))
	}
	p.tables = tables.NewLate(s.deps.SQL, s.deps.Log)
	p.tables.Start(ctx)
	p.counter = coverage.New(coverage.Options{
		JS: s.deps.Bus.JS(), DB: p.tables.DB, Rules: p.live.Set, Log: s.deps.Log, Now: s.deps.Now,
	})
	p.counter.Start(ctx)
	s.parts = p
	s.api.Serve(s.deps.Bus.JS(), store, p.live, p.tables, s.fans)
	return nil
}

func (p *parts) start(ctx context.Context, conn *bus.Conn) error {
	if err := p.live.Start(ctx); err != nil {
		return fmt.Errorf("load rules: %w", err)
	}
	if err := p.owners.Start(ctx, conn.JS()); err != nil {
		return err
	}
	if err := p.fans.Start(ctx, conn.JS()); err != nil {
		return err
	}
	return p.consumer.Start(ctx)
}

// stop ends the intake first. Events that only wait are left to another process at once.
func (p *parts) stop(ctx context.Context) error {
	p.quit()
	err := errors.Join(p.consumer.Stop(ctx), p.owners.Stop(ctx), p.fans.Stop(ctx))
	p.live.Stop()
	if p.tables != nil {
		p.counter.Stop() //nolint:contextcheck // waits for its own goroutine
		err = errors.Join(err, p.tables.Stop())
	}
	return err
}

// consumer returns the reader of INBOUND.
func (s *Service) consumer(life context.Context, p *parts) (*bus.Consumer, error) {
	decider, err := decide.New(decide.Options{
		AttemptTimeout: s.cfg.AttemptTimeout, MinTimeLeft: s.cfg.MinTimeLeft, SendPatience: s.cfg.SendPatience, OrderPatience: s.cfg.OrderPatience,
		Accounts: s.deps.Accounts, Bus: s.deps.Bus, Records: s.deps.Decisions, Sender: s.deps.Sender,
		SlowActions: s.cfg.SlowActions, MaxDelayed: s.cfg.MaxInFlight / 4,
		Rules: p.live, Owners: p.owners, Webhooks: s.hook, Models: s.chat, Fans: s.fans,
		Tracer: s.deps.Tel.TracerProvider.Tracer(scope), Meter: s.deps.Tel.MeterProvider.Meter(scope),
		Log: s.deps.Log, Now: s.deps.Now, Life: life,
	})
	if err != nil {
		return nil, err
	}
	return s.deps.Bus.NewConsumer(bus.ConsumerConfig{
		Service: topology.ServiceRule, Stream: topology.StreamInbound, Partitions: s.deps.Topology.Partitions(),
		MaxInFlight: s.cfg.MaxInFlight, Timeout: s.cfg.handlerTimeout(), DeadLetterAfter: deadLetterAfter,
	}, decider.Handle), nil
}

// Stop ends the intake, waits for the events in hand, and leaves those that only wait to another
// process. It may be called twice and without Start.
func (s *Service) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parts == nil {
		return nil
	}
	err := s.parts.stop(ctx)
	s.parts = nil
	s.hook.Close()
	s.chat.Close()
	return err
}

// publishFile publishes the rules file of the configuration when no rules are live yet, or when it has
// changed since it was published and nobody published other rules by hand since.
func (s *Service) publishFile(ctx context.Context, store *publish.Store) error {
	if s.deps.RulesFile == "" {
		return nil
	}
	file, err := os.ReadFile(s.deps.RulesFile)
	if err != nil {
		return fault.Errorf(fault.Invalid, "rules_file: %w", err)
	}
	rules, err := s.api.Parse(file)
	if err != nil {
		return fault.Errorf(fault.Invalid, "rules_file %s: %w", s.deps.RulesFile, err)
	}
	pointer, _, err := store.Pointer(ctx)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	if !pointer.WantsFile(file) {
		return nil
	}
	done, err := store.Publish(ctx, publish.Publication{
		File: file, Rules: rules, Note: "rules_file", Source: publish.SourceFile, Expected: pointer.Live,
	})
	switch {
	case fault.KindOf(err) == fault.Conflict && err != nil:
		return nil //nolint:nilerr // another replica was faster, with the same file or a newer one
	case err != nil:
		return err
	}
	s.deps.Log.InfoContext(ctx, "rules_file published", logkey.RuleVersion, done.Info.Version, "rules", done.Info.Rules)
	return nil
}
