// Package sender is the sender: it accepts messages for fans, keeps WeChat's windows and quotas, calls
// WeChat's APIs and tells what became of every message.
//
// Any number of replicas may run. What they share is in NATS: the queue OUTBOUND, the state of every send
// (bucket sends), the windows (bucket grants) and the pauses. See README.md.
package sender

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/telemetry"
	"github.com/wxbus/wxbus/pkg/tokens"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/sender/internal/api"
	"github.com/wxbus/wxbus/services/sender/internal/budget"
	"github.com/wxbus/wxbus/services/sender/internal/campaign"
	"github.com/wxbus/wxbus/services/sender/internal/catchup"
	"github.com/wxbus/wxbus/services/sender/internal/deliver"
	"github.com/wxbus/wxbus/services/sender/internal/endpoint"
	"github.com/wxbus/wxbus/services/sender/internal/facts"
	"github.com/wxbus/wxbus/services/sender/internal/intake"
	"github.com/wxbus/wxbus/services/sender/internal/jobs"
	"github.com/wxbus/wxbus/services/sender/internal/later"
	"github.com/wxbus/wxbus/services/sender/internal/mass"
	"github.com/wxbus/wxbus/services/sender/internal/media"
	"github.com/wxbus/wxbus/services/sender/internal/owners"
	"github.com/wxbus/wxbus/services/sender/internal/pace"
	"github.com/wxbus/wxbus/services/sender/internal/pauses"
	"github.com/wxbus/wxbus/services/sender/internal/sends"
	"github.com/wxbus/wxbus/services/sender/internal/standing"
	"github.com/wxbus/wxbus/services/sender/internal/templates"
	"github.com/wxbus/wxbus/services/sender/internal/windows"
)

const scope = "github.com/wxbus/wxbus/services/sender"

// Deps are what the service works with. Nothing in it is the service's to close.
type Deps struct {
	Accounts *account.Directory
	Bus      *bus.Conn
	Topology *topology.Topology
	// Tokens is started before the service and stopped after it.
	Tokens *tokens.Client
	// HTTP calls WeChat; nil means a client of our own.
	HTTP *http.Client
	Tel  *telemetry.Telemetry
	Log  *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Server is the clock of NATS, which paces what replicas share and gives back what waits for its time; nil means
	// time.Now, for tests that shift Now.
	Server func() time.Time
	// Rand draws the jitter of pauses; nil means a random seed.
	Rand *rand.Rand
	// Instance names the replica in send records; it must be unique among those that run.
	Instance string
}

// Service is the sender. It is a lifecycle.Component.
type Service struct {
	senderv1.UnimplementedSenderServiceServer

	cfg     Config
	deps    Deps
	metrics *metrics
	own     *http.Transport // nil when Deps brought a client
	// campaigns send through the service itself.
	campaigns *campaign.Campaigns

	mu    sync.RWMutex // guards parts
	parts *parts
}

// parts exist from Start on.
type parts struct {
	sends     *sends.Store
	windows   *windows.Ledger
	calls     *api.API
	intake    *intake.Intake
	media     *media.Media
	templates *templates.Templates
	mass      *mass.Mass
	massJobs  *mass.Jobs
	standing  *standing.Standing
	gates     *pace.Gates
	pauses    *pauses.Pauses
	consumers []*bus.Consumer
	forget    func() // ends the look-out for new accounts
}

var (
	_ lifecycle.Component          = (*Service)(nil)
	_ senderv1.SenderServiceServer = (*Service)(nil)
)

// New checks the configuration and starts nothing.
func New(cfg Config, d Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	if d.Accounts == nil || d.Bus == nil || d.Topology == nil || d.Tokens == nil || d.Tel == nil || d.Instance == "" {
		return nil, fault.New(fault.Internal, "sender: Accounts, Bus, Topology, Tokens, Tel and Instance are required")
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	var own *http.Transport
	if d.HTTP == nil {
		own = transport()
		d.HTTP = &http.Client{Transport: own} // every call has a deadline of its own
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Server == nil {
		d.Server = time.Now
	}
	if d.Rand == nil {
		d.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) //nolint:gosec // jitter, no secret
	}
	m, err := newMetrics(d.Tel.MeterProvider)
	if err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, deps: d, metrics: m, own: own}
	s.campaigns = newCampaigns(s)
	return s, nil
}

// transport keeps as many connections to WeChat open as calls are usually under way.
func transport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        256,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 5 * time.Second,
	}
}

// Name implements lifecycle.Component.
func (s *Service) Name() string { return "sender" }

// Start opens the buckets, which must exist, and begins to read the streams and to run campaigns.
func (s *Service) Start(ctx context.Context) error {
	if err := s.startParts(ctx); err != nil {
		return err
	}
	if err := s.campaigns.Start(ctx); err != nil {
		return errors.Join(err, s.stopParts(ctx))
	}
	return nil
}

func (s *Service) startParts(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parts != nil {
		return errors.New("sender: already started")
	}
	p, err := s.build(ctx)
	if err != nil {
		return err
	}
	if err := p.pauses.Start(ctx); err != nil {
		return err
	}
	for i, c := range p.consumers {
		if err := c.Start(ctx); err != nil {
			for _, started := range p.consumers[:i] {
				err = errors.Join(err, started.Stop(ctx))
			}
			return errors.Join(err, p.pauses.Stop(ctx))
		}
	}
	p.forget = s.deps.Accounts.Each(s.metrics.know)
	s.parts = p
	return nil
}

func (s *Service) build(ctx context.Context) (*parts, error) {
	buckets := map[string]jetstream.KeyValue{}
	for _, name := range []string{
		topology.BucketSends, topology.BucketGrants, topology.BucketOwners, topology.BucketJobs, topology.BucketMedia,
		topology.BucketBudgets,
	} {
		kv, err := s.deps.Bus.JS().KeyValue(ctx, name)
		if err != nil {
			return nil, fault.Wrap(fault.Unavailable, fmt.Errorf("open bucket %s: %w", name, err))
		}
		buckets[name] = kv
	}
	files, err := s.deps.Bus.JS().ObjectStore(ctx, topology.StoreMedia)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, fmt.Errorf("open object store %s: %w", topology.StoreMedia, err))
	}
	d := s.deps
	records := sends.New(buckets[topology.BucketSends], d.Now)
	ledger := windows.New(buckets[topology.BucketGrants], records, s.cfg.Grants, s.cfg.WindowGrace, d.Now)
	budgets := budget.New(buckets[topology.BucketBudgets], s.cfg.Pace.Rate, s.cfg.Pace.Burst, s.quota, d.Now, d.Server)
	gates := pace.New(s.cfg.Pace, budgets, d.Now, s.metrics.breaker)
	shared := pauses.New(buckets[topology.BucketSends], gates, d.Log)
	owner := owners.New(buckets[topology.BucketOwners])
	told := facts.New(d.Bus, d.Now)
	calls := api.New(d.Accounts, d.Tokens, d.HTTP, s.cfg.CallTimeout, d.Now)
	own := later.New(d.Bus, d.Now, d.Server)
	stand := standing.New(standing.Deps{Bus: d.Bus, Budgets: budgets, Gates: gates, Later: own, API: calls, Quota: s.quota, Rate: s.cfg.Pace.Rate, Now: d.Now})
	uploads := media.New(buckets[topology.BucketMedia], files, d.Accounts, calls, d.Now)
	massJobs := mass.NewJobs(buckets[topology.BucketSends], records)
	worker := deliver.New(s.deliverConfig(), deliver.Deps{
		Accounts: d.Accounts, Sends: records, Windows: ledger, Owners: owner, Facts: told, Gates: gates, Pauses: shared,
		Jobs: jobs.New(buckets[topology.BucketJobs]), Later: own, Media: uploads, Quotas: stand, API: calls,
		Tracer: d.Tel.TracerProvider.Tracer(scope), Observer: s.metrics, Log: d.Log, Now: d.Now, Rand: d.Rand,
	})
	return &parts{
		sends: records, windows: ledger, calls: calls, gates: gates, pauses: shared, media: uploads, standing: stand,
		templates: templates.New(calls, d.Now), mass: mass.New(calls, records), massJobs: massJobs,
		intake: intake.New(intake.Deps{
			Accounts: d.Accounts, Topology: d.Topology, Bus: d.Bus, Sends: records, Windows: ledger, Owners: owner,
			CatchUp: catchup.New(d.Bus, d.Topology, ledger), MassJobs: massJobs, Facts: told, Later: own, Gates: gates, Observer: s.metrics, Now: d.Now,
		}),
		consumers: s.consumers(ledger, worker, own),
	}, nil
}

// quota implements budget.Quota.
func (s *Service) quota(key pace.Key) (usual int64, r budget.Reserve) {
	e, _ := endpoint.Named(key.Endpoint)
	usual = e.Daily
	if n, ok := s.cfg.Daily[key.Endpoint]; ok {
		usual = n
	}
	if e.Family == endpoint.FamilyMass {
		return usual, budget.Reserve{} // nothing more urgent goes there
	}
	return usual, s.cfg.Reserve.For(key.Account)
}

// Stop lets calls under way finish and waits for all goroutines. Campaigns stop first: they hand messages over.
func (s *Service) Stop(ctx context.Context) error {
	return errors.Join(s.campaigns.Stop(ctx), s.stopParts(ctx))
}

func (s *Service) stopParts(ctx context.Context) error {
	s.mu.RLock()
	p := s.parts
	s.mu.RUnlock()
	if p == nil {
		return nil
	}
	p.forget()
	p.gates.Close() // who waits for a turn goes back to the bus
	var errs []error
	for _, c := range p.consumers {
		errs = append(errs, c.Stop(ctx))
	}
	if s.own != nil {
		s.own.CloseIdleConnections()
	}
	return errors.Join(append(errs, p.pauses.Stop(ctx))...)
}

// RegisterGRPC registers SenderService and CampaignService.
func (s *Service) RegisterGRPC(r grpc.ServiceRegistrar) {
	senderv1.RegisterSenderServiceServer(r, s)
	s.campaigns.RegisterGRPC(r)
}

// Campaigns serves CampaignService.
func (s *Service) Campaigns() senderv1.CampaignServiceServer { return s.campaigns }

// Send implements SenderService.
func (s *Service) Send(ctx context.Context, req *senderv1.SendRequest) (*senderv1.SendResponse, error) {
	p, err := s.running()
	if err != nil {
		return nil, err
	}
	if req.GetCampaign() != nil {
		return nil, fault.New(fault.Invalid, "campaign: only campaigns set it")
	}
	return p.intake.Send(ctx, req)
}

// GetSend implements SenderService.
func (s *Service) GetSend(ctx context.Context, req *senderv1.GetSendRequest) (*senderv1.GetSendResponse, error) {
	p, err := s.running()
	if err != nil {
		return nil, err
	}
	rec, err := p.sends.Get(ctx, req.GetAccount(), req.GetId())
	if err != nil {
		return nil, err
	}
	return &senderv1.GetSendResponse{Record: rec.Rec}, nil
}

// GetQuota implements SenderService.
func (s *Service) GetQuota(ctx context.Context, req *senderv1.GetQuotaRequest) (*senderv1.GetQuotaResponse, error) {
	p, err := s.running()
	if err != nil {
		return nil, err
	}
	return p.intake.Quota(ctx, req)
}

func (s *Service) running() (*parts, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.parts == nil {
		return nil, fault.New(fault.Unavailable, "the sender is starting")
	}
	return s.parts, nil
}
