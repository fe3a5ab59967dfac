// Package token is the token service: one current access token per account for the whole cluster, its
// tickets, and the accounts themselves.
//
// Any number of replicas may run. They share the bucket tokens, in which the sealed record of an
// account carries the token, its generation, the lease of the replica that refreshes now and the budget of
// forced refreshes, and the bucket accounts. See README.md.
package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/telemetry"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/token/internal/accounts"
	"github.com/wxbus/wxbus/services/token/internal/alarms"
	"github.com/wxbus/wxbus/services/token/internal/doctor"
	"github.com/wxbus/wxbus/services/token/internal/origins"
	"github.com/wxbus/wxbus/services/token/internal/refresh"
	"github.com/wxbus/wxbus/services/token/internal/store"
	"github.com/wxbus/wxbus/services/token/internal/upstream"
	"github.com/wxbus/wxbus/services/token/internal/witness"
)

const scope = "github.com/wxbus/wxbus/services/token"

// Deps are what the service works with. Nothing in it is the service's to close.
type Deps struct {
	Accounts *account.Directory
	Bus      *bus.Conn
	// Sealer has the master key; every process that uses pkg/tokens needs the same.
	Sealer *secret.Sealer
	// HTTP calls WeChat; nil means a client of our own.
	HTTP *http.Client
	Tel  *telemetry.Telemetry
	Log  *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Rand draws the jitter; nil means a random seed.
	Rand *rand.Rand
	// Instance names the replica in leases; it must be unique.
	Instance string
}

// Service is the token service. It is a lifecycle.Component.
type Service struct {
	tokenv1.UnimplementedTokenServiceServer

	cfg  Config
	deps Deps
	up   *upstream.Upstream
	obs  *metrics
	own  *http.Transport // nil when Deps brought a client

	mu    sync.RWMutex // guards parts
	parts *parts
}

// parts exist from Start on.
type parts struct {
	store     *store.Store
	refresher *refresh.Refresher
	accounts  *accounts.Store
	origins   *origins.List
	witness   *witness.Witness
	doctor    *doctor.Doctor
	alarms    *alarms.Teller
	forget    func() // ends the look-out for new accounts
}

var (
	_ lifecycle.Component        = (*Service)(nil)
	_ tokenv1.TokenServiceServer = (*Service)(nil)
)

// New checks the configuration and starts nothing.
func New(cfg Config, d Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	if d.Sealer == nil {
		return nil, fault.New(fault.Invalid, "master_key: must be set: tokens are stored sealed")
	}
	if d.Accounts == nil || d.Bus == nil || d.Tel == nil || d.Instance == "" {
		return nil, fault.New(fault.Internal, "token: Accounts, Bus, Tel and Instance are required")
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
	if d.Rand == nil {
		d.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) //nolint:gosec // jitter, no secret
	}
	obs, err := newMetrics(d.Tel.MeterProvider)
	if err != nil {
		return nil, err
	}
	up := upstream.New(upstream.Config{
		HTTP: d.HTTP, Now: d.Now, Tracer: d.Tel.TracerProvider.Tracer(scope),
		RefusedBackoff: cfg.RefusedBackoff, FailedBackoff: cfg.FailedBackoff,
	}, d.Accounts)
	return &Service{cfg: cfg, deps: d, up: up, obs: obs, own: own}, nil
}

// transport is for few calls.
func transport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        16,
		IdleConnTimeout:     30 * time.Second,
		TLSHandshakeTimeout: 5 * time.Second,
	}
}

// Name implements lifecycle.Component.
func (s *Service) Name() string { return "token" }

// Start reads the buckets, which must exist, and begins to refresh ahead of expiry.
func (s *Service) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parts != nil {
		return errors.New("token: already started")
	}
	p, err := s.build(ctx)
	if err != nil {
		return err
	}
	if err := p.store.Start(ctx); err != nil {
		return err
	}
	if err := p.accounts.Start(ctx); err != nil {
		return errors.Join(err, p.store.Stop(ctx))
	}
	if err := p.origins.Start(ctx); err != nil {
		return errors.Join(err, p.accounts.Stop(ctx), p.store.Stop(ctx))
	}
	p.refresher.Start(ctx)
	p.alarms.Start(ctx)
	p.forget = s.deps.Accounts.Each(s.obs.know)
	s.parts = p
	return nil
}

func (s *Service) build(ctx context.Context) (*parts, error) {
	buckets := map[string]jetstream.KeyValue{}
	for _, name := range []string{topology.BucketTokens, topology.BucketAccounts, topology.BucketCallbackIPs} {
		kv, err := s.deps.Bus.JS().KeyValue(ctx, name)
		if err != nil {
			return nil, fault.Wrap(fault.Unavailable, fmt.Errorf("open bucket %s: %w", name, err))
		}
		buckets[name] = kv
	}
	d := s.deps
	p := &parts{
		store:   store.New(buckets[topology.BucketTokens], d.Sealer, d.Log),
		witness: witness.New(d.Bus, d.Log),
	}
	p.refresher = refresh.New(s.refreshConfig(), refresh.Deps{
		Accounts: d.Accounts, Store: p.store, Upstream: s.up, Observer: s.obs,
		Log: d.Log, Now: d.Now, Rand: d.Rand,
	})
	p.alarms = alarms.New(alarms.Deps{Store: p.store, Bus: d.Bus, Log: d.Log, Now: d.Now, Every: s.cfg.AlarmEvery})
	p.accounts = accounts.New(accounts.Deps{
		KV: buckets[topology.BucketAccounts], Sealer: d.Sealer, Dir: d.Accounts, Log: d.Log, Now: d.Now,
		Belongings: []accounts.Belonging{
			{KV: buckets[topology.BucketTokens], Keys: refresh.KeysOf, Sealed: true},
			{KV: buckets[topology.BucketCallbackIPs], Keys: func(name string) []string { return []string{name} }},
		},
	})
	p.origins = origins.New(origins.Config{Refresh: s.cfg.CallbackIPs, Scan: time.Minute, Timeout: 3 * s.cfg.UpstreamTimeout}, origins.Deps{
		KV: buckets[topology.BucketCallbackIPs], Dir: d.Accounts, Log: d.Log, Now: d.Now,
		InUse: func(name string) bool { return p.store.Seen(name).Rec.GetToken().GetValue() != "" },
		Fetch: func(ctx context.Context, name string) ([]netip.Prefix, error) { return s.callbackIPs(ctx, p, name) },
	})
	p.doctor = doctor.New(doctor.Deps{
		Tokens: p.refresher, Client: s.up.Client, Witness: p.witness.Ask, HTTP: d.HTTP, Now: d.Now,
		Record:        func(name string) *tokenv1.TokenRecord { return p.store.Seen(name).Rec },
		PreviousUntil: p.accounts.PreviousUntil,
	})
	return p, nil
}

// callbackIPs asks WeChat where the pushes of an account come from.
func (s *Service) callbackIPs(ctx context.Context, p *parts, name string) (prefixes []netip.Prefix, err error) {
	client, err := s.up.Client(name)
	if err != nil {
		return nil, err
	}
	err = p.refresher.Call(ctx, name, func(ctx context.Context, token string) error {
		prefixes, err = client.CallbackIPs(ctx, token)
		return err
	})
	return prefixes, err
}

func (s *Service) refreshConfig() refresh.Config {
	return refresh.Config{
		Instance: s.deps.Instance,
		Ahead:    s.cfg.RefreshAhead, Jitter: s.cfg.Jitter, Lease: s.cfg.Lease,
		UpstreamTimeout: s.cfg.UpstreamTimeout, Fresh: s.cfg.Fresh, Budget: s.cfg.budget(),
		RefusedBackoff: s.cfg.RefusedBackoff, FailedBackoff: s.cfg.FailedBackoff, Parallel: s.cfg.Parallel,
	}
}

// Stop ends refreshes under way and waits for all goroutines.
func (s *Service) Stop(ctx context.Context) error {
	s.mu.RLock()
	p := s.parts
	s.mu.RUnlock()
	if p == nil {
		return nil
	}
	p.forget()
	err := p.origins.Stop(ctx)
	p.refresher.Stop()
	p.alarms.Stop()
	if s.own != nil {
		s.own.CloseIdleConnections()
	}
	return errors.Join(err, p.accounts.Stop(ctx), p.store.Stop(ctx))
}

// RegisterGRPC registers TokenService and AccountService.
func (s *Service) RegisterGRPC(r grpc.ServiceRegistrar) {
	tokenv1.RegisterTokenServiceServer(r, s)
	tokenv1.RegisterAccountServiceServer(r, s.Accounts())
}

// Accounts returns the part of the service that manages accounts.
func (s *Service) Accounts() tokenv1.AccountServiceServer { return &accountServer{s: s} }
