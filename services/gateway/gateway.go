// Package gateway is the way in for WeChat's pushes: it answers success only for what is stored on the
// bus, and serves passive replies to the attempts that wait for one.
//
// Any number of replicas may run; none needs the memory of another, or of its own predecessor.
// See README.md.
package gateway

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/telemetry"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/topology"
	"github.com/wxbus/wxbus/pkg/wechat"
	"github.com/wxbus/wxbus/services/gateway/internal/evidence"
	"github.com/wxbus/wxbus/services/gateway/internal/httpapi"
	"github.com/wxbus/wxbus/services/gateway/internal/intake"
	"github.com/wxbus/wxbus/services/gateway/internal/meter"
	"github.com/wxbus/wxbus/services/gateway/internal/push"
	"github.com/wxbus/wxbus/services/gateway/internal/reply"
)

const scope = "github.com/wxbus/wxbus/services/gateway"

// Deps are what the service works with. Nothing in it is the service's to close.
type Deps struct {
	Accounts *account.Directory
	// Bus should have two connections at least, to different servers: while one hangs, pushes take the
	// other.
	Bus      *bus.Conn
	Topology *topology.Topology
	Tel      *telemetry.Telemetry
	// Log may be nil; it discards then.
	Log *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Instance names the replica, one NATS token. The service adds a part that no other start has.
	Instance string
	// Rand is the source of salts and names; nil means crypto/rand.
	Rand io.Reader
}

// Service is the gateway. It is a lifecycle.Component: between Start and Stop it takes offers and
// brings spilled pushes home. The HTTP server around Handler is started after it and stopped before it, so
// that attempts which wait for a reply get it.
type Service struct {
	deps     Deps
	instance string
	registry *reply.Registry
	meter    *meter.Meter
	forget   func() // ends the look-out for new accounts
	handler  http.Handler
	batcher  *bus.Batcher
	away     *intake.Away
	lookout  *intake.Lookout
	mover    *intake.Mover
	book     *evidence.Book
	lists    *evidence.Lists

	mu        sync.Mutex // guards the fields below
	responder *bus.Responder
	witness   *bus.Responder
	started   bool
	stopped   bool
}

var _ lifecycle.Component = (*Service)(nil)

// New checks configuration and accounts and starts nothing. An account whose mode does not protect the
// body is an error unless that is allowed. Errors are fault.Invalid, joined.
func New(cfg Config, d Deps) (*Service, error) {
	d = d.withDefaults()
	accounts, err := openAccounts(cfg, d)
	if err := errors.Join(cfg.Validate(), err); err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	instance, err := uniqueName(d.Instance, d.Rand)
	if err != nil {
		return nil, err
	}
	s := &Service{deps: d, instance: instance, registry: reply.NewRegistry(cfg.MaxWaits, cfg.OutcomeMemory, d.Now)}
	s.away = intake.NewAway(intake.DefaultMaxAway)
	s.lookout = intake.NewLookout(d.Bus, s.away, d.Log)
	if s.meter, err = meter.New(d.Tel.MeterProvider, meter.Gauges{Waiting: s.registry.Waiting, Away: s.away.Fans, Dark: s.away.Dark}); err != nil {
		return nil, err
	}
	s.batcher = d.Bus.NewBatcher(bus.BatchOptions{})
	s.mover = intake.NewMover(d.Bus, d.Topology, intake.MoverOptions{
		Patience: cfg.Spill.Patience, MaxInFlight: cfg.Spill.MaxInFlight, AtHome: s.lookout.Home,
	}, s.meter.MovedHome)
	s.forget = d.Accounts.Each(s.meter.Know)
	s.lists = evidence.NewLists(d.Log)
	s.book = evidence.New(d.Accounts, s.instance, d.Now)
	s.handler = s.newHandler(cfg, accounts)
	return s, nil
}

func (d Deps) withDefaults() Deps {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Rand == nil {
		d.Rand = rand.Reader
	}
	return d
}

// errDisabled is why a disabled account takes no pushes: the answer is that for a name nobody has.
var errDisabled = fault.New(fault.Refused, "the account is disabled")

// openAccounts returns the accounts with their keys ready for use, made again when an account changes.
// The accounts of the file are checked at once; of those that are managed over the API, one that does not fit
// this gateway takes no pushes and leaves the others alone.
func openAccounts(cfg Config, d Deps) (*account.Derived[*push.Account], error) {
	opts := push.Options{
		AllowInsecure: cfg.AllowInsecureModes, Limits: wechat.Limits{Bytes: cfg.MaxBody}, Rand: d.Rand,
	}
	open := func(a account.Account) (*push.Account, error) {
		opened, err := push.NewAccount(a, opts)
		return opened, errors.Join(err, cfg.checkAccount(a))
	}
	var errs []error
	for _, a := range d.Accounts.All() {
		if a.FromFile() {
			_, err := open(a)
			errs = append(errs, err)
		}
	}
	return account.NewDerived(d.Accounts, func(a account.Account) (*push.Account, error) {
		if a.Disabled {
			return nil, errDisabled
		}
		opened, err := open(a)
		if err != nil {
			d.Log.Error("account takes no pushes", logkey.Account, a.Name, logkey.Error, err)
		}
		return opened, err
	}), errors.Join(errs...)
}

// uniqueName returns a name that no other process has, nor this one after a restart: an offer for a
// process that is gone must find nobody. The model in pkg/decision shows what happens otherwise.
func uniqueName(instance string, random io.Reader) (string, error) {
	var b [6]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fault.Errorf(fault.Internal, "make a name: %w", err)
	}
	name := instance + "-" + hex.EncodeToString(b[:])
	if instance == "" {
		name = name[1:]
	}
	return name, topology.CheckToken("instance", name)
}

func (s *Service) newHandler(cfg Config, accounts *account.Derived[*push.Account]) http.Handler {
	d := s.deps
	desk := reply.NewDesk(reply.Deps{
		Registry: s.registry, Decisions: decision.NewStore(d.Bus, d.Topology).WithClock(d.Now),
		Observer: s.meter, Log: d.Log, Now: d.Now, Instance: s.instance,
	})
	proxies, _ := cfg.proxies() // checked by New
	times := intake.Times{Primary: cfg.Publish.PrimaryTimeout, Total: cfg.Publish.Total}
	spilled := func(ctx context.Context, cause error) { s.meter.Spilled(ctx, httpapi.Cause(cause)) }
	return httpapi.New(httpapi.Options{
		Account: accounts.Get,
		Publisher: intake.NewPublisher(intake.Ways{
			Home: s.batcher, Single: d.Bus, Away: s.away, AtHome: s.lookout.Home, Spills: spilled,
		}, times),
		Away:     s.away.Holds,
		Parker:   intake.NewParker(d.Bus),
		Attempts: intake.NewAttempts(d.Bus.JS(), cfg.AttemptTimeout),
		Desk:     desk, Registry: s.registry, Meter: s.meter,
		Book: s.book, Proxies: proxies, Lists: s.lists,
		Tracer: d.Tel.TracerProvider.Tracer(scope), Log: d.Log, Now: d.Now,
		Partition: d.Topology.Partition, Instance: s.instance,
		Times:       func(a *push.Account) reply.Times { return cfg.times(a.Account) },
		MaxInFlight: cfg.MaxInFlight, MaxBody: cfg.MaxBody, Tolerance: cfg.TimestampTolerance,
		ParkUndecryptable: cfg.ParkUndecryptable,
	}, cfg.MaxWaits)
}

// Name returns "gateway".
func (s *Service) Name() string { return "gateway" }

// Handler serves GET and POST /wx/{account}. The server around it should limit the time for header and
// body, and must be stopped before the service.
func (s *Service) Handler() http.Handler { return s.handler }

// Instance returns the name under which this process takes offers.
func (s *Service) Instance() string { return s.instance }

// Start returns when offers are taken and spilled pushes are brought home.
func (s *Service) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		return fault.New(fault.Internal, "gateway: started twice")
	}
	subject, err := topology.SubjectOffer(s.instance)
	if err != nil {
		return err
	}
	if s.responder, err = s.deps.Bus.Respond(subject, "", s.registry.Respond); err != nil {
		return fmt.Errorf("take offers: %w", err)
	}
	if s.witness, err = s.deps.Bus.Respond(topology.SubjectEvidence(), "", s.book.Respond); err != nil {
		return errors.Join(fmt.Errorf("answer the doctor: %w", err), s.responder.Close(ctx))
	}
	if err := s.lists.Start(ctx, s.deps.Bus.JS()); err != nil {
		return errors.Join(err, s.witness.Close(ctx), s.responder.Close(ctx))
	}
	if err := s.lookout.Start(ctx); err != nil {
		return errors.Join(err, s.lists.Stop(ctx), s.witness.Close(ctx), s.responder.Close(ctx))
	}
	if err := s.mover.Start(ctx); err != nil {
		return errors.Join(err, s.lookout.Stop(ctx), s.lists.Stop(ctx), s.witness.Close(ctx), s.responder.Close(ctx))
	}
	s.started = true
	return nil
}

// Stop ends what Start began and waits for it. No request may be in flight any more.
func (s *Service) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	s.stopped = true
	var errs []error
	if s.started {
		errs = append(errs, s.closeResponder(ctx, s.responder), s.closeResponder(ctx, s.witness), s.lists.Stop(ctx), s.mover.Stop(ctx), s.lookout.Stop(ctx))
	}
	s.forget()
	s.book.Close()
	s.batcher.Close()
	return errors.Join(append(errs, s.meter.Close())...)
}

// respondGrace bounds the end of the answers to others: no attempt waits any more, so an offer that still
// comes finds nobody, and without a connection nothing comes.
const respondGrace = 2 * time.Second

func (s *Service) closeResponder(ctx context.Context, r *bus.Responder) error {
	ctx, cancel := context.WithTimeout(ctx, respondGrace)
	defer cancel()
	if err := r.Close(ctx); err != nil && s.deps.Bus.Healthy() == nil {
		return err
	}
	return nil
}
