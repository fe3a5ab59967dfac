// Package agentrouting is the desk: it puts fans into queues, finds agents for them, keeps who may talk to each fan under
// an epoch that grows with every change, and what is said. Conversations live in SQL; the bucket owners tells rule and
// sender, and the stream CONVERSATIONS tells everybody else.
package agentrouting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"google.golang.org/grpc"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/telemetry"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/consumer"
	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/facts"
	"github.com/wxbus/wxbus/services/agent-routing/internal/grpcapi"
	"github.com/wxbus/wxbus/services/agent-routing/internal/media"
	"github.com/wxbus/wxbus/services/agent-routing/internal/owners"
	"github.com/wxbus/wxbus/services/agent-routing/internal/platform"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
	"github.com/wxbus/wxbus/services/agent-routing/internal/transcript"
)

// handleTimeout bounds one message of the bus.
const handleTimeout = 10 * time.Second

// Tokens gives access tokens for calls to WeChat.
type Tokens = platform.Tokens

// Deps are what the service needs. Nothing in it is the service's to close.
type Deps struct {
	Accounts *account.Directory
	Bus      *bus.Conn
	Topology *topology.Topology
	Sender   senderv1.SenderServiceClient
	Rules    rulev1.RuleServiceClient
	// Tokens may be nil: then WeChat is not asked about fans and their files, and its own desk is not reachable.
	Tokens Tokens
	// SQL says where the database is.
	SQL sqldb.Options
	// Files is the folder for the files of messages, unless the configuration names a bucket.
	Files string
	Tel   *telemetry.Telemetry // nil records nothing
	Log   *slog.Logger         // nil discards
	Now   func() time.Time     // nil means time.Now
}

// Service is the agent-routing service as a component. Any number of replicas may run.
type Service struct {
	cfg       Config
	deps      Deps
	store     *store.Store
	owners    *owners.Owners
	platform  *platform.Platform
	desk      *app.Desk
	keeper    *media.Keeper
	profiles  *profiles
	caretaker *caretaker
	servers   []func(grpc.ServiceRegistrar)
	consumers []*bus.Consumer
	opener    opener
	// closeFiles ends the connections to the store of files.
	closeFiles func()
}

var _ lifecycle.Component = (*Service)(nil)

// New returns the service. It fails with every fault of cfg, or with what is missing in deps.
func New(cfg Config, deps Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure agent-routing: %w", err)
	}
	if deps.Accounts == nil || deps.Bus == nil || deps.Topology == nil || deps.Sender == nil || deps.Rules == nil || deps.SQL.Service == "" || deps.Files == "" {
		return nil, errors.New("configure agent-routing: a dependency is missing")
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	s := &Service{cfg: cfg, deps: deps, store: store.New(), owners: owners.New(), platform: platform.New(deps.Accounts, deps.Tokens)}
	meters, err := instrument(deps.Tel, s.store)
	if err != nil {
		return nil, err
	}
	files, closeFiles := cfg.store(deps.Files)
	s.closeFiles = closeFiles
	s.profiles = newProfiles(deps.Log)
	feed, said := facts.New(deps.Bus), transcript.New(deps.Bus.JS(), deps.Topology)
	s.desk = app.New(app.Options{
		Store: s.store, Owners: s.owners, Facts: feed, Transcript: said, Sender: sender{deps.Sender},
		Rules:    memory{deps.Rules},
		Platform: s.platform, Files: files, Limits: domain.Limits{Waiting: cfg.WaitingLimit, Serving: cfg.ServingIdle, KeptForEnd: cfg.KeptForEnd}, NativeIdle: cfg.NativeIdle,
		Lease: cfg.AgentLease, EraseOnLeave: cfg.EraseOnUnsubscribe, Changed: meters.changed,
		Promised: meters.promised, Promising: meters.promising, Met: s.profiles.met, Log: deps.Log, Now: deps.Now,
	})
	s.profiles.desk = s.desk
	s.caretaker = &caretaker{desk: s.desk, store: s.store, log: deps.Log}
	if deps.Tokens != nil {
		s.keeper = &media.Keeper{
			Desk: s.desk, Source: s.platform, Files: files, Converter: media.FindConverter(), Log: deps.Log, Now: deps.Now,
		}
	}
	s.serve(feed, files)
	s.consumers = []*bus.Consumer{
		newConsumer(cfg, deps, topology.StreamInbound, consumer.Inbound(s.desk)),
		newConsumer(cfg, deps, topology.StreamDecisions, consumer.Decisions(s.desk)),
		newConsumer(cfg, deps, topology.StreamDelivery, consumer.Delivery(s.desk, said)),
	}
	s.opener.open = s.begin
	return s, nil
}

func (s *Service) serve(feed *facts.Facts, files media.Store) {
	accounts := s.deps.Accounts
	s.servers = []func(grpc.ServiceRegistrar){
		func(r grpc.ServiceRegistrar) {
			agentroutingv1.RegisterConversationServiceServer(r, grpcapi.NewConversations(s.desk, feed, files, s.platform, accounts))
		},
		func(r grpc.ServiceRegistrar) {
			agentroutingv1.RegisterAgentServiceServer(r, grpcapi.NewAgents(s.desk, accounts))
		},
		func(r grpc.ServiceRegistrar) {
			agentroutingv1.RegisterReportServiceServer(r, grpcapi.NewReports(s.desk, accounts))
		},
		func(r grpc.ServiceRegistrar) {
			agentroutingv1.RegisterPrivacyServiceServer(r, grpcapi.NewPrivacy(s.desk, files, accounts))
		},
		func(r grpc.ServiceRegistrar) {
			agentroutingv1.RegisterKfServiceServer(r, grpcapi.NewKf(s.platform, accounts))
		},
	}
}

func newConsumer(cfg Config, deps Deps, stream string, h bus.Handler) *bus.Consumer {
	return deps.Bus.NewConsumer(bus.ConsumerConfig{
		Service: topology.ServiceAgentRouting, Stream: stream, Partitions: deps.Topology.Partitions(),
		MaxInFlight: cfg.MaxInFlight, Timeout: handleTimeout,
	}, h)
}

// RegisterGRPC adds the services. Calls answer UNAVAILABLE until the database is open.
func (s *Service) RegisterGRPC(r grpc.ServiceRegistrar) {
	for _, register := range s.servers {
		register(r)
	}
}

// Name returns "agent-routing".
func (s *Service) Name() string { return topology.ServiceAgentRouting }

// Start returns when the desk works; or, while the database is away, at once: then the desk begins as soon as it is there,
// and nothing of the bus is read before, so that nothing is given up.
func (s *Service) Start(ctx context.Context) error {
	if err := s.owners.Open(ctx, s.deps.Bus.JS()); err != nil {
		return err
	}
	if err := s.opener.start(ctx, s.deps.Log); err != nil {
		return errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
	}
	return nil
}

// begin opens the database and starts what needs it.
func (s *Service) begin(ctx context.Context) error {
	if !s.store.IsOpen() {
		if err := s.store.Open(ctx, s.deps.SQL); err != nil {
			return err
		}
		if err := errors.Join(s.prepare(ctx), s.desk.CountPromises(ctx)); err != nil {
			return errors.Join(err, s.store.Close())
		}
	}
	for _, c := range s.consumers {
		if err := c.Start(ctx); err != nil {
			return fmt.Errorf("start %s: %w", c.Name(), err)
		}
	}
	s.caretaker.start(ctx)
	if s.deps.Tokens != nil {
		s.keeper.Start(ctx)
		s.profiles.start(ctx)
	}
	return nil
}

// Stop ends the reading of the bus, finishes what is in flight and waits for every goroutine.
func (s *Service) Stop(ctx context.Context) error {
	s.opener.stop()
	var errs []error
	for _, c := range slices.Backward(s.consumers) {
		errs = append(errs, c.Stop(ctx))
	}
	s.caretaker.stop()
	if s.keeper != nil {
		s.keeper.Stop()
	}
	s.profiles.stop()
	s.platform.Close()
	s.closeFiles()
	return errors.Join(append(errs, s.store.Close())...)
}

// sender makes faults of the sender's statuses.
type sender struct{ client senderv1.SenderServiceClient }

func (s sender) Send(ctx context.Context, in *senderv1.SendRequest) (*senderv1.SendResponse, error) {
	out, err := s.client.Send(ctx, in)
	if err != nil {
		return nil, fault.FromStatus(err)
	}
	return out, nil
}

func (s sender) Window(ctx context.Context, account, openID string, catchUp bool) (app.Window, error) {
	out, err := s.client.GetQuota(ctx, &senderv1.GetQuotaRequest{Account: account, Openid: openID, CatchUp: catchUp})
	if err != nil {
		return app.Window{}, fault.FromStatus(err)
	}
	return app.Window{Open: out.GetClass() == senderv1.QuotaClass_QUOTA_CLASS_OPEN, Remaining: int(out.GetRemaining())}, nil
}

// memory is what rules know about fans.
type memory struct{ client rulev1.RuleServiceClient }

func (m memory) Get(ctx context.Context, account, openID string) (*rulev1.GetFanMemoryResponse, error) {
	out, err := m.client.GetFanMemory(ctx, &rulev1.GetFanMemoryRequest{Account: account, Openid: openID})
	if err != nil {
		return nil, fault.FromStatus(err)
	}
	return out, nil
}

func (m memory) Erase(ctx context.Context, account, openID string) ([]*agentroutingv1.ErasedItem, error) {
	out, err := m.client.EraseFanMemory(ctx, &rulev1.EraseFanMemoryRequest{Account: account, Openid: openID})
	if err != nil {
		return nil, fault.FromStatus(err)
	}
	var items []*agentroutingv1.ErasedItem
	for _, it := range out.GetItems() {
		items = append(items, &agentroutingv1.ErasedItem{Place: it.GetPlace(), Erased: it.GetErased(), Left: it.GetLeft()})
	}
	return items, nil
}

// prepare makes the groups and agents of the configuration that are not there yet. What was changed since, by the API, stays.
func (s *Service) prepare(ctx context.Context) error {
	return s.store.InTx(ctx, func(ctx context.Context, q store.Q) error {
		for _, g := range s.cfg.Groups {
			if err := q.SeedGroup(ctx, g.group()); err != nil {
				return err
			}
		}
		for _, a := range s.cfg.Agents {
			if err := q.SeedMember(ctx, a.member()); err != nil {
				return err
			}
		}
		return nil
	})
}
