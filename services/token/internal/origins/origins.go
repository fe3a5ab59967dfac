// Package origins keeps where WeChat's pushes come from: the list of each account, asked for once a day
// and published in the bucket callback_ips. The list is for alarms: WeChat's own lags behind.
package origins

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
)

// retryAfter is how long an account is left alone whose list could not be fetched.
const retryAfter = 10 * time.Minute

// Config of a List.
type Config struct {
	Refresh time.Duration // age at which a list is fetched again; 0 never fetches by itself
	Scan    time.Duration // how often ages are looked at
	Timeout time.Duration // of one fetch
}

// Deps of a List.
type Deps struct {
	KV  jetstream.KeyValue // the bucket callback_ips
	Dir *account.Directory
	// InUse tells whether an account has an access token: only the lists of those are refreshed, so that
	// nothing is asked for an account that nobody uses.
	InUse func(account string) bool
	// Fetch asks WeChat.
	Fetch func(ctx context.Context, account string) ([]netip.Prefix, error)
	Log   *slog.Logger
	Now   func() time.Time
}

// List is safe for concurrent use.
type List struct {
	cfg Config
	Deps
	follower *bus.Follower

	mu    sync.Mutex // guards known and retry
	known map[string]*tokenv1.CallbackIPs
	retry map[string]time.Time

	end context.CancelFunc
	wg  sync.WaitGroup
}

// New returns a list that knows nothing before Start.
func New(cfg Config, d Deps) *List {
	l := &List{cfg: cfg, Deps: d, known: map[string]*tokenv1.CallbackIPs{}, retry: map[string]time.Time{}}
	l.follower = bus.NewFollower(d.KV, d.Log, l.follow)
	return l
}

// Start reads the bucket and begins to refresh.
func (l *List) Start(ctx context.Context) error {
	if err := l.follower.Start(ctx); err != nil {
		return err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	l.end = end
	if l.cfg.Refresh > 0 {
		l.wg.Go(func() { l.loop(life) })
	}
	return nil
}

// Stop waits for the goroutines.
func (l *List) Stop(ctx context.Context) error {
	if l.end != nil {
		l.end()
	}
	l.wg.Wait()
	return l.follower.Stop(ctx)
}

// Known returns the list of an account as it was fetched last. Nobody may change it.
func (l *List) Known(name string) (*tokenv1.CallbackIPs, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ips, ok := l.known[name]
	return ips, ok
}

// Get returns the list of an account, from WeChat when it is not known or fresh is asked for.
func (l *List) Get(ctx context.Context, name string, fresh bool) (*tokenv1.CallbackIPs, error) {
	if ips, ok := l.Known(name); ok && !fresh {
		return ips, nil
	}
	return l.fetch(ctx, name)
}

func (l *List) fetch(ctx context.Context, name string) (*tokenv1.CallbackIPs, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
	defer cancel()
	prefixes, err := l.Fetch(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("fetch callback IPs of account %s: %w", name, err)
	}
	ips := &tokenv1.CallbackIPs{FetchedUnixMs: l.Now().UnixMilli()}
	for _, p := range prefixes {
		ips.Prefixes = append(ips.Prefixes, p.String())
	}
	data, err := proto.Marshal(ips)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, fmt.Errorf("encode callback IPs: %w", err))
	}
	if _, err := l.KV.Put(ctx, name, data); err != nil {
		return nil, fault.Wrap(fault.Unavailable, fmt.Errorf("store callback IPs of account %s: %w", name, err))
	}
	l.keep(name, ips)
	return ips, nil
}

func (l *List) keep(name string, ips *tokenv1.CallbackIPs) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ips == nil {
		delete(l.known, name)
		delete(l.retry, name)
	} else if l.known[name].GetFetchedUnixMs() <= ips.GetFetchedUnixMs() {
		l.known[name] = ips
	}
}

func (l *List) follow(entries []jetstream.KeyValueEntry) {
	for _, e := range entries {
		if e.Operation() != jetstream.KeyValuePut {
			l.keep(e.Key(), nil)
			continue
		}
		ips := &tokenv1.CallbackIPs{}
		if err := proto.Unmarshal(e.Value(), ips); err != nil {
			l.Log.Error("callback IPs are not readable", logkey.Account, e.Key(), logkey.Error, err)
			continue
		}
		l.keep(e.Key(), ips)
	}
}

// loop fetches the lists that are too old, one after the other. Two replicas may fetch the same one;
// that costs a call and nothing else.
func (l *List) loop(ctx context.Context) {
	ticker := time.NewTicker(l.cfg.Scan)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, a := range l.Dir.All() {
			if ctx.Err() == nil && l.due(a) {
				l.refresh(ctx, a.Name)
			}
		}
	}
}

func (l *List) due(a account.Account) bool {
	if a.Disabled || a.AppSecret.IsZero() || !l.InUse(a.Name) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.Now()
	return now.Sub(time.UnixMilli(l.known[a.Name].GetFetchedUnixMs())) >= l.cfg.Refresh && !now.Before(l.retry[a.Name])
}

func (l *List) refresh(ctx context.Context, name string) {
	_, err := l.fetch(ctx, name)
	if err == nil || ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	l.retry[name] = l.Now().Add(retryAfter)
	l.mu.Unlock()
	l.Log.WarnContext(ctx, "callback IPs not refreshed", logkey.Account, name, logkey.Error, err)
}
