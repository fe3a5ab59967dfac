package webhooks

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/wxbus/wxbus/pkg/httpout"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"

	"github.com/wxbus/wxbus/services/console/internal/store"
)

const (
	// lease is how long a process that has died keeps others from its subscriptions.
	lease = 30 * time.Second
	// keepDelivered and keepDead are how long ended deliveries are shown.
	keepDelivered = 7 * 24 * time.Hour
	keepDead      = 30 * 24 * time.Hour
	pruneEvery    = time.Hour
	everyAccount  = "*"
)

// Options of an Engine. Every field is required but where it says otherwise.
type Options struct {
	Store     *store.Store
	JetStream jetstream.JetStream
	Sealer    *secret.Sealer
	Log       *slog.Logger
	Now       func() time.Time
	// Instance names this process among those that share the database.
	Instance string
	// Poll is how often an idle subscription looks for events; 500 ms when zero.
	Poll time.Duration
	// MaxAttempts after which a delivery is given up; 12 when zero, which is some hours.
	MaxAttempts int
	// Timeout of one request; 10 s when zero.
	Timeout time.Duration
	// AllowHTTP and AllowPrivate, see httpout.
	AllowHTTP, AllowPrivate bool
}

// Engine delivers events for the subscriptions that this process holds. It is safe for concurrent use.
type Engine struct {
	o   Options
	out *httpout.Client

	stop context.CancelFunc
	done chan struct{}
}

// New returns an engine.
func New(o Options) *Engine {
	if o.Poll <= 0 {
		o.Poll = 500 * time.Millisecond
	}
	if o.MaxAttempts <= 0 {
		o.MaxAttempts = 12
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	return &Engine{o: o, done: make(chan struct{}), out: httpout.New(httpout.Options{
		AllowHTTP: o.AllowHTTP, AllowPrivate: o.AllowPrivate, Timeout: o.Timeout, UserAgent: "wxbus-webhooks/1",
	})}
}

// Start begins to deliver.
func (e *Engine) Start(ctx context.Context) error {
	var base context.Context
	base, e.stop = context.WithCancel(context.WithoutCancel(ctx))
	go e.run(base)
	return nil
}

// Stop ends requests under way, which are made again later, and waits.
func (e *Engine) Stop(context.Context) error {
	if e.stop != nil {
		e.stop()
		<-e.done
	}
	e.out.Close()
	return nil
}

// run looks for subscriptions that nobody serves and gives each a worker.
func (e *Engine) run(ctx context.Context) {
	defer close(e.done)
	var workers sync.WaitGroup
	defer workers.Wait()
	var mu sync.Mutex // guards running
	running := map[string]bool{}
	tick := time.NewTicker(e.o.Poll)
	defer tick.Stop()
	var pruned time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now := e.o.Now(); now.Sub(pruned) >= pruneEvery {
			pruned = now
			e.prune(ctx, now)
		}
		for _, id := range e.idle(ctx) {
			mu.Lock()
			taken := running[id]
			running[id] = true
			mu.Unlock()
			if taken {
				continue
			}
			workers.Go(func() {
				w := &worker{e: e, id: id}
				w.run(ctx)
				e.release(context.WithoutCancel(ctx), id)
				mu.Lock()
				defer mu.Unlock()
				delete(running, id)
			})
		}
	}
}

// idle returns the subscriptions that are to be served and are leased to us or to nobody.
func (e *Engine) idle(ctx context.Context) []string {
	hooks, err := e.o.Store.Webhooks(ctx)
	if err != nil {
		return nil // the database is away, which the store has said
	}
	var out []string
	now := e.o.Now()
	for _, h := range hooks {
		if h.Paused {
			continue
		}
		ok, err := e.o.Store.LeaseWebhook(ctx, h.ID, e.o.Instance, now.UnixMilli(), now.Add(lease).UnixMilli())
		if err == nil && ok {
			out = append(out, h.ID)
		}
	}
	return out
}

func (e *Engine) release(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := e.o.Store.ReleaseWebhook(ctx, id, e.o.Instance); err != nil {
		e.o.Log.DebugContext(ctx, "events out: a lease runs out by itself", logkey.Error, err)
	}
}

func (e *Engine) prune(ctx context.Context, now time.Time) {
	if err := e.o.Store.PruneDeliveries(ctx, now.Add(-keepDelivered).UnixMilli(), now.Add(-keepDead).UnixMilli()); err != nil {
		e.o.Log.DebugContext(ctx, "events out: old deliveries are not removed", logkey.Error, err)
	}
}

func sealedFor(id string) []byte { return []byte("webhook:" + id) }
