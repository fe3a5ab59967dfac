// Package simulator plays WeChat: it pushes to the gateway as fans would make it, answers the gateway's calls like
// api.weixin.qq.com, shows on a page what fans see, and keeps its own books, by which tests and benchmarks judge.
//
// It shares no protocol code with the services that it judges.
package simulator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"

	"github.com/wxbus/wxbus/services/simulator/internal/api"
	"github.com/wxbus/wxbus/services/simulator/internal/clock"
	"github.com/wxbus/wxbus/services/simulator/internal/codec"
	"github.com/wxbus/wxbus/services/simulator/internal/control"
	"github.com/wxbus/wxbus/services/simulator/internal/faults"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
	"github.com/wxbus/wxbus/services/simulator/internal/load"
	"github.com/wxbus/wxbus/services/simulator/internal/phone"
	"github.com/wxbus/wxbus/services/simulator/internal/pusher"
	"github.com/wxbus/wxbus/services/simulator/internal/report"
)

// Deps are what a Service is given.
type Deps struct {
	Accounts []account.Account
	Log      *slog.Logger // nil discards
	// Start is the time at which a virtual clock begins; zero: a fixed day.
	Start time.Time
}

// Service is the simulated WeChat. Its methods are safe for concurrent use; those that push need Start before.
type Service struct {
	cfg     Config
	log     *slog.Logger
	clock   *clock.Clock
	dice    clock.Dice
	ledger  *ledger.Ledger
	faults  *faults.Engine
	pusher  *pusher.Pusher
	api     *api.Server
	runs    *load.Runs
	stored  *report.List
	control *control.Server
	ask     ledger.Pattern
	reply   ledger.Pattern
	handler http.Handler

	mu      sync.Mutex
	stopped context.CancelFunc // of the watch over native sessions; nil before Start
	watch   sync.WaitGroup
}

var _ lifecycle.Component = (*Service)(nil)

// virtualStart is where a virtual clock begins, so that two runs are alike.
var virtualStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// New returns a Service that does nothing yet but answer its Handler. It fails for a config that Validate refuses,
// for targets that are neither on this machine nor allowed, and for a broken fault file.
func New(cfg Config, deps Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, log: deps.Log, clock: clock.Wall(), dice: clock.NewDice(cfg.Seed), stored: &report.List{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == ClockVirtual {
		start := deps.Start
		if start.IsZero() {
			start = virtualStart
		}
		s.clock = clock.Virtual(start)
	}
	all := slices.Concat(deps.Accounts, cfg.ExtraAccounts)
	for i := range all {
		all[i].SetDefaults()
	}
	if err := account.ValidateAll(all[len(deps.Accounts):]); err != nil {
		return nil, fmt.Errorf("extra_%w", err)
	}
	if err := s.build(wireAccounts(all)); err != nil {
		return nil, err
	}
	if err := s.loadFaults(); err != nil {
		return nil, err
	}
	s.addDemoFans()
	return s, nil
}

func (s *Service) build(accounts []codec.Account) error {
	var errAsk, errReply, err error
	s.ask, errAsk = ledger.NewPattern(s.cfg.AskPattern)
	s.reply, errReply = ledger.NewPattern(s.cfg.ReplyPattern)
	if err := errors.Join(errAsk, errReply); err != nil {
		return err
	}
	s.ledger = ledger.New(ledger.Config{KeepPushes: s.cfg.KeepPushes, KeepPerFan: s.cfg.KeepPerFan, MaxFans: s.cfg.MaxFans,
		OrderSlack: s.cfg.OrderSlack, Windows: s.cfg.Windows, Ask: s.ask, Reply: s.reply}, s.clock, accounts)
	s.faults = faults.NewEngine(s.clock, s.dice)
	s.api = api.New(api.Config{PublicURL: s.cfg.publicURL(), JobDelay: s.cfg.JobDelay, Accounts: s.cfg.Accounts},
		api.Deps{Clock: s.clock, Dice: s.dice, Ledger: s.ledger, Faults: s.faults, Accounts: accounts, Later: s.later, After: s.after})
	s.pusher, err = pusher.New(pusher.Config{Targets: s.cfg.Targets, AllowRemote: s.cfg.AllowRemote, RandomReplica: s.cfg.RandomReplica,
		AttemptTimeout: s.cfg.AttemptTimeout, Attempts: s.cfg.Attempts, RetryPause: s.cfg.RetryPause},
		pusher.Deps{Clock: s.clock, Dice: s.dice, Ledger: s.ledger, Faults: s.faults, Accounts: accounts, Media: s.api.DemoMedia})
	if err != nil {
		return err
	}
	s.runs = load.NewRuns(s.loadDeps())
	s.control = control.New(control.Deps{Clock: s.clock, Dice: s.dice, Ledger: s.ledger, API: s.api, Pusher: s.pusher, Faults: s.faults,
		Runs: s.runs, Stored: s.stored, Ask: s.ask, Reply: s.reply, Reset: s.Reset})
	s.handler = s.routes()
	return nil
}

func (s *Service) loadDeps() load.Deps {
	return load.Deps{Clock: s.clock, Dice: s.dice, Ledger: s.ledger, Pusher: s.pusher, Ask: s.ask, Keep: s.cfg.KeepPushes}
}

func (s *Service) routes() http.Handler {
	mux := http.NewServeMux()
	for _, prefix := range []string{"/cgi-bin/", "/customservice/", "/sns/"} {
		mux.Handle(prefix, s.api)
	}
	mux.Handle("/sim/v1/", s.control)
	mux.Handle("/", phone.Handler())
	return mux
}

func wireAccounts(accounts []account.Account) []codec.Account {
	var out []codec.Account
	for _, a := range accounts {
		original := a.OriginalID
		if original == "" {
			original = "gh_" + a.Name
		}
		out = append(out, codec.Account{Name: a.Name, AppID: a.AppID, OriginalID: original, Kind: string(a.Kind), Format: string(a.Format),
			Mode: string(a.Mode), Token: a.Token.Reveal(), EncodingAESKey: a.EncodingAESKey.Reveal(), PreviousToken: a.PreviousToken.Reveal(),
			PreviousEncodingAESKey: a.PreviousEncodingAESKey.Reveal(), AppSecret: a.AppSecret.Reveal(), KfAPI: a.AllowsKf()})
	}
	return out
}

func (s *Service) loadFaults() error {
	if s.cfg.FaultFile == "" {
		return nil
	}
	data, err := os.ReadFile(s.cfg.FaultFile)
	if err != nil {
		return fmt.Errorf("fault_file: %w", err)
	}
	script, err := faults.Parse(data)
	if err != nil {
		return fmt.Errorf("fault_file: %w", err)
	}
	return s.faults.Set(script)
}

// addDemoFans gives each account its first fans; the last one does not follow yet.
func (s *Service) addDemoFans() {
	for _, name := range s.ledger.Accounts() {
		for i := range s.cfg.DemoFans {
			openID := "oSim" + s.dice.Text(24, "demo fan "+name, uint64(i))
			if err := s.ledger.AddFan(name, openID, i < s.cfg.DemoFans-1 || i == 0); err != nil {
				s.log.Warn("demo fan not added", logkey.Account, name, logkey.Error, err) // max_fans is below demo_fans, which Validate refuses
			}
		}
	}
}

// Name returns "simulator".
func (s *Service) Name() string { return "simulator" }

// Handler serves WeChat's API below /cgi-bin, /customservice and /sns, the control API below /sim/v1 and the page at /phone.
// It has no log-in and belongs on a loopback address.
func (s *Service) Handler() http.Handler { return s.handler }

// Start allows pushes of the simulator's own accord, background pushes and load runs. It does not listen.
func (s *Service) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped != nil {
		return errors.New("simulator was started before")
	}
	s.pusher.Start(ctx)
	s.runs.Open(ctx)
	watch, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.stopped = cancel
	s.watch.Go(func() { s.watchSessions(watch) })
	return nil
}

// Stop ends load runs, background pushes, event streams and hanging calls, and waits for them.
func (s *Service) Stop(ctx context.Context) error {
	s.mu.Lock()
	if s.stopped != nil {
		s.stopped()
	}
	s.mu.Unlock()
	s.api.Close()
	s.control.Close()
	done := make(chan error, 1)
	go func() {
		s.runs.Close()
		s.watch.Wait()
		done <- s.pusher.Close(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("stop simulator: %w", ctx.Err())
	}
}

const sessionCheck = 10 * time.Second

// watchSessions ends native sessions that were silent for too long, as WeChat does.
func (s *Service) watchSessions(ctx context.Context) {
	for s.clock.Sleep(ctx, sessionCheck) == nil {
		for _, e := range s.ledger.ExpireSessions(s.cfg.SessionIdle) {
			s.later(0, e.Account, e.OpenID, "kf_close_session", map[string]any{"KfAccount": e.Session.KfAccount}) //nolint:contextcheck // the pusher has its own end
		}
	}
}

func (s *Service) later(delay time.Duration, name, openID, event string, fields map[string]any) bool {
	return s.pusher.Later(delay, pusher.Push{Account: name, OpenID: openID, Type: event, Fields: fields})
}

func (s *Service) after(delay time.Duration, job func()) bool {
	return s.pusher.After(delay, func(context.Context) { job() })
}
