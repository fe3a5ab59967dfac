// Package pusher is the part of WeChat that calls the developer's URL: it seals pushes, tries each of them up to three times
// on any replica, reads the answers and tells the ledger what the fan saw (protocol facts sheet a, b, c, d).
package pusher

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/clock"
	"github.com/wxbus/wxbus/services/simulator/internal/codec"
	"github.com/wxbus/wxbus/services/simulator/internal/faults"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
)

// Config tells where and how to push.
type Config struct {
	Targets        []string      // base URLs of the replicas; the path is /wx/{account}
	AllowRemote    []string      // hosts besides the loopback addresses that may be pushed to
	RandomReplica  bool          // choose replicas by chance instead of in turn
	AttemptTimeout time.Duration // WeChat: 5 s
	Attempts       int           // in all; WeChat: 3
	RetryPause     time.Duration // after an attempt that failed at once
}

// Deps are what a Pusher works with.
type Deps struct {
	Clock    *clock.Clock
	Dice     clock.Dice
	Ledger   *ledger.Ledger
	Faults   *faults.Engine
	Accounts []codec.Account
	// Media returns id and URL of a medium for pushes that name none; may be nil.
	Media func(account, typ string) (id, url string)
}

// Pusher is safe for concurrent use.
type Pusher struct {
	cfg    Config
	deps   Deps
	client *http.Client

	wireMu sync.RWMutex // guards wires
	wires  map[string]*codec.Wire

	targets atomic.Pointer[[]string]
	slots   chan struct{} // events of After that wait or run

	mu    sync.Mutex
	life  context.Context // of the events of After; nil before Start and after Close
	stop  context.CancelFunc
	later sync.WaitGroup
}

const maxLater = 20_000

// New returns a Pusher, or an error for a target that is neither loopback nor allowed, or for broken keys.
func New(cfg Config, deps Deps) (*Pusher, error) {
	if err := checkTargets(cfg); err != nil {
		return nil, err
	}
	p := &Pusher{cfg: cfg, deps: deps, wires: map[string]*codec.Wire{}, slots: make(chan struct{}, maxLater)}
	p.targets.Store(&cfg.Targets)
	for _, a := range deps.Accounts {
		w, err := codec.NewWire(a)
		if err != nil {
			return nil, err
		}
		p.wires[a.Name] = w
	}
	p.client = newClient(len(cfg.AllowRemote) == 0)
	return p, nil
}

// SetKeys plays the console in which somebody enters another Token or EncodingAESKey: pushes that begin from
// now on use them, also with an empty one, which keeps the present one. The keys before become the previous ones.
func (p *Pusher) SetKeys(name, token, encodingAESKey string) error {
	p.wireMu.Lock()
	defer p.wireMu.Unlock()
	w, ok := p.wires[name]
	if !ok {
		return fmt.Errorf("no account %q", name)
	}
	a := w.Account()
	if token != "" {
		a.PreviousToken, a.Token = a.Token, token
	}
	if encodingAESKey != "" {
		a.PreviousEncodingAESKey, a.EncodingAESKey = a.EncodingAESKey, encodingAESKey
	}
	fresh, err := codec.NewWire(a)
	if err != nil {
		return err
	}
	p.wires[name] = fresh
	return nil
}

func (p *Pusher) wire(name string) *codec.Wire {
	p.wireMu.RLock()
	defer p.wireMu.RUnlock()
	return p.wires[name]
}

// SetTargets replaces the replicas for the attempts that begin from now on.
func (p *Pusher) SetTargets(targets []string) error {
	if len(targets) == 0 {
		return errors.New("targets: must not be empty")
	}
	cfg := p.cfg
	cfg.Targets = targets
	if err := checkTargets(cfg); err != nil {
		return err
	}
	p.targets.Store(&targets)
	return nil
}

// Start allows After and Later to run until Close.
func (p *Pusher) Start(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.life, p.stop = context.WithCancel(context.WithoutCancel(ctx))
}

// Close ends what After and Later started, waits for it and closes the idle connections. It may be called twice.
func (p *Pusher) Close(ctx context.Context) error {
	p.mu.Lock()
	if p.life != nil {
		p.stop()
		p.life = nil
	}
	p.mu.Unlock()
	done := make(chan struct{})
	go func() {
		p.later.Wait()
		p.client.CloseIdleConnections()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Result is what became of a push.
type Result struct {
	Native bool         `json:"native,omitempty"` // went to the native customer service, no push
	Push   *ledger.Push `json:"push,omitempty"`   // a copy
}

// Push makes one push and returns when it is over: answered, or out of attempts. The error tells that it could not begin.
func (p *Pusher) Push(ctx context.Context, push Push) (Result, error) {
	return p.push(ctx, push, 1)
}

// PushConcurrently sends the same push copies times at once, each to the next replica, and goes on with single attempts
// when none was answered.
func (p *Pusher) PushConcurrently(ctx context.Context, push Push, copies int) (Result, error) {
	if copies < 1 || copies > 100 {
		return Result{}, fmt.Errorf("copies: must be 1 to 100, is %d", copies)
	}
	return p.push(ctx, push, copies)
}

// Later makes a push of its own accord after a delay, like a job result. It reports false when too many wait already.
func (p *Pusher) Later(delay time.Duration, push Push) bool {
	return p.After(delay, func(ctx context.Context) {
		// An event that cannot begin has no caller to tell, and the ledger has no trace of it, which is the truth.
		_, _ = p.Push(ctx, push)
	})
}

// After runs f after a delay on the simulator's clock, unless the Pusher is closed before; Close waits for it.
// It reports false when the Pusher is not running or too many wait already.
func (p *Pusher) After(delay time.Duration, f func(ctx context.Context)) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life == nil {
		return false
	}
	select {
	case p.slots <- struct{}{}:
	default:
		return false
	}
	ctx := p.life
	p.later.Go(func() {
		defer func() { <-p.slots }()
		if p.deps.Clock.Sleep(ctx, delay) == nil {
			f(ctx)
		}
	})
	return true
}

// Check tells why a push could not begin, as far as that is known before.
func (p *Pusher) Check(push Push) error {
	switch {
	case p.wire(push.Account) == nil:
		return fmt.Errorf("no account %q", push.Account)
	case len(*p.targets.Load()) == 0:
		return errors.New("simulator.targets: there is no gateway to push to")
	}
	return push.validate()
}

func (p *Pusher) push(ctx context.Context, push Push, copies int) (Result, error) {
	if err := p.Check(push); err != nil {
		return Result{}, err
	}
	w := p.wire(push.Account)
	push = push.withMedia(p.deps.Media)
	b := &build{push: push}
	kind := push.kind()
	opened, err := p.deps.Ledger.Open(ledger.NewPush{Account: push.Account, OpenID: push.OpenID, Kind: kind, EventKey: b.get("EventKey", ""),
		Text: text(push, kind), JobID: jobID(push, kind), MsgID: push.MsgID, Scheduled: push.Scheduled, Shown: shown(push, kind)})
	if err != nil {
		return Result{}, fmt.Errorf("open push: %w", err)
	}
	p.consent(push, kind)
	if opened.Native {
		return Result{Native: true}, nil
	}
	fields := push.elements(w.Account(), opened, b)
	random := p.deps.Dice.Bytes("random16", opened.ID)
	r := &run{Pusher: p, wire: w, id: opened.ID, push: opened.Push, account: push.Account, openID: push.OpenID, kind: kind,
		sealed: w.Seal(fields, [16]byte(random[:16]), push.PreviousKeys),
		expect: codec.Expect{OpenID: push.OpenID, Event: kind.IsEvent(), NoReply: kind.NoReply(), Previous: push.PreviousKeys}}
	r.all(ctx, copies)
	done := p.deps.Ledger.Get(opened.Push)
	return Result{Push: &done}, nil
}

// consent counts the permission that a fan gives in a subscribe dialogue (c.2).
func (p *Pusher) consent(push Push, kind ledger.Kind) {
	if !strings.EqualFold(kind.Event, "subscribe_msg_popup_event") {
		return
	}
	b := &build{push: push}
	if b.get("SubscribeStatusString", "accept") == "accept" {
		err := p.deps.Ledger.EditFan(push.Account, push.OpenID, func(f *ledger.FanEdit) { f.Consents[b.get("TemplateId", "template")]++ })
		if err != nil && !errors.Is(err, ledger.ErrUnknownFan) {
			panic(err) // Open made the fan; EditFan has no other error
		}
	}
}

func text(push Push, kind ledger.Kind) string {
	if kind.MsgType != "text" {
		return ""
	}
	s, _ := push.Fields["Content"].(string)
	return s
}

// jobID is the identity of a job result, which is not the time of the event (b).
func jobID(push Push, kind ledger.Kind) string {
	if !kind.IsEvent() || !strings.HasSuffix(strings.ToLower(kind.Event), "sendjobfinish") {
		return ""
	}
	return (&build{push: push}).get("MsgID", "1")
}

// shown is the fan's own view of what the fan did; nothing for events that WeChat raises.
func shown(push Push, kind ledger.Kind) codec.Content {
	b := &build{push: push}
	if !kind.IsEvent() {
		return codec.Content{Type: kind.MsgType, Text: b.get("Content", b.get("Label", b.get("Recognition", ""))), MediaID: b.get("MediaId", ""),
			PicURL: b.get("PicUrl", ""), Title: b.get("Title", ""), Description: b.get("Description", ""), URL: b.get("Url", "")}
	}
	name := strings.ToLower(kind.Event)
	for _, system := range []string{"jobfinish", "kf_", "subscribe_msg_sent", "subscribe_msg_change", "verify", "audit", "wxa_", "user_", "card_", "debug_"} {
		if strings.Contains(name, system) && name != "user_enter_tempsession" {
			return codec.Content{}
		}
	}
	return codec.Content{Type: "action", Title: kind.Event, Text: b.get("EventKey", "")}
}
