package publish

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/services/rule/internal/rest"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 10 * time.Second
	// loadTimeout bounds one try to load a set.
	loadTimeout = 30 * time.Second
)

// Live holds the compiled set that is live and follows the pointer. It is safe for concurrent use.
type Live struct {
	store *Store
	log   *slog.Logger
	loads metric.Int64Counter
	took  metric.Float64Histogram
	rules metric.Int64Gauge

	set atomic.Pointer[ruleset.Set]

	mu      sync.Mutex    // guards the fields below
	applied uint64        // revision of the pointer that was dealt with last
	changed chan struct{} // closed and replaced when applied grows

	watcher jetstream.KeyWatcher
	cancel  context.CancelFunc
	done    chan struct{}
}

// NewLive returns a holder with an empty set.
func NewLive(store *Store, log *slog.Logger, meter metric.Meter) (*Live, error) {
	l := &Live{store: store, log: log, changed: make(chan struct{})}
	empty, err := ruleset.Compile("", &ruleset.File{})
	if err != nil {
		return nil, err
	}
	l.set.Store(empty)
	l.loads, err = meter.Int64Counter("wxbus.rule.set.loads",
		metric.WithDescription("Tries to load the live rules by outcome: ok, broken, unavailable."))
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err)
	}
	l.took, err = meter.Float64Histogram("wxbus.rule.set.load.duration", metric.WithUnit("s"),
		metric.WithDescription("Time to load and compile the live rules."),
		metric.WithExplicitBucketBoundaries(.001, .01, .05, .1, .25, .5, 1, 2.5, 5, 10))
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err)
	}
	for _, outcome := range []string{"broken", "unavailable"} { // alerts count them: a rate does not see the first count of a new series
		l.loads.Add(context.Background(), 0, metric.WithAttributes(attribute.String("outcome", outcome)))
	}
	l.rules, err = meter.Int64Gauge("wxbus.rule.set.rules", metric.WithDescription("Rules of the live set."))
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err)
	}
	return l, nil
}

// Set returns the set that decides now. It is empty before the first publication.
func (l *Live) Set() *ruleset.Set { return l.set.Load() }

// Start loads the live set and follows the pointer. When the live set is broken, the newest kept one
// that is not takes its place, loudly; without any, Start fails.
func (l *Live) Start(ctx context.Context) error {
	pointer, revision, err := l.store.Pointer(ctx)
	switch {
	case err == nil:
		if err := l.loadFirst(ctx, pointer); err != nil {
			return err
		}
		l.dealtWith(revision)
	case fault.KindOf(err) != fault.NotFound:
		return err
	default:
		l.log.Warn("no rules are published yet, every push stays without a reply")
	}
	watching, cancel := context.WithCancel(context.WithoutCancel(ctx))
	watcher, err := l.store.kv.Watch(watching, keyLive)
	if err != nil {
		cancel()
		return fault.Errorf(fault.Unavailable, "watch the pointer to the live rules: %w", err)
	}
	l.watcher, l.cancel, l.done = watcher, cancel, make(chan struct{})
	go l.follow(watching)
	return nil
}

// loadFirst loads the live version, or the newest kept one that can be loaded.
func (l *Live) loadFirst(ctx context.Context, pointer Pointer) error {
	live, _ := pointer.Find(pointer.Live)
	err := l.loadPatiently(ctx, live)
	if err == nil || fault.KindOf(err) == fault.Unavailable {
		return err
	}
	l.log.ErrorContext(ctx, "the live rules are broken, older ones are used: publish or roll back",
		logkey.RuleVersion, live.Version, logkey.Error, err)
	for _, info := range pointer.Sets {
		if info.Version != live.Version && l.load(ctx, info, nil) == nil {
			return nil
		}
	}
	return err
}

// loadPatiently tries again while the set cannot be read: it may have been published a moment ago, and the
// server that answers may be a follower that does not have it yet.
func (l *Live) loadPatiently(ctx context.Context, info Info) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	for wait := firstRetry; ; wait = min(2*wait, time.Second) {
		err := l.load(ctx, info, nil) // nobody is served before it is there
		if err == nil || fault.KindOf(err) != fault.Unavailable {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// Stop ends the following and waits for it. It may be called twice and without Start.
func (l *Live) Stop() {
	if l.watcher == nil {
		return
	}
	_ = l.watcher.Stop() // fails only when the connection is gone, and the watch with it
	l.cancel()
	<-l.done
	l.watcher = nil
}

// follow applies every version of the pointer; of several that wait, the last one counts.
func (l *Live) follow(ctx context.Context) {
	defer close(l.done)
	retry := time.NewTimer(0)
	<-retry.C
	defer retry.Stop()
	var pending jetstream.KeyValueEntry
	wait := firstRetry
	for {
		select {
		case entry, open := <-l.watcher.Updates():
			if !open {
				return
			}
			if entry == nil || entry.Operation() != jetstream.KeyValuePut {
				continue
			}
			pending, wait = entry, firstRetry
		case <-retry.C:
		case <-ctx.Done():
			return
		}
		if pending == nil {
			continue
		}
		if l.apply(ctx, pending) {
			l.dealtWith(pending.Revision())
			pending = nil
			continue
		}
		retry.Reset(wait)
		wait = min(2*wait, lastRetry)
	}
}

// apply makes a version of the pointer live. It returns false when it is worth another try.
func (l *Live) apply(ctx context.Context, entry jetstream.KeyValueEntry) bool {
	pointer, err := decodePointer(entry.Value())
	if err == nil {
		if pointer.Live == l.Set().Version {
			return true
		}
		info, _ := pointer.Find(pointer.Live)
		err = l.load(ctx, info, rest.New()) // the traffic goes on meanwhile
	}
	switch {
	case err == nil:
		return true
	case ctx.Err() != nil:
		return true
	case fault.Dispose(err) == fault.Retry:
		l.log.WarnContext(ctx, "the new rules cannot be loaded yet, the old ones stay", logkey.RuleVersion, pointer.Live, logkey.Error, err)
		return false
	default:
		l.log.ErrorContext(ctx, "the new rules are broken, the old ones stay", logkey.RuleVersion, pointer.Live, logkey.Error, err)
		return true
	}
}

// load reads, compiles and swaps.
func (l *Live) load(ctx context.Context, info Info, rests *rest.Rest) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	start := time.Now()
	set, err := l.compile(ctx, info, rests)
	outcome := "ok"
	switch {
	case err == nil:
	case fault.Dispose(err) == fault.Retry:
		outcome = "unavailable"
	default:
		outcome = "broken"
	}
	l.loads.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
	if err != nil {
		return err
	}
	l.set.Store(set)
	l.took.Record(ctx, time.Since(start).Seconds())
	l.rules.Record(ctx, int64(set.Len()))
	l.log.InfoContext(ctx, "rules are live", logkey.RuleVersion, set.Version, "rules", set.Len(), logkey.Took, time.Since(start))
	return nil
}

func (l *Live) compile(ctx context.Context, info Info, rests *rest.Rest) (*ruleset.Set, error) {
	stored, err := l.store.stored(ctx, info, rests)
	if err != nil {
		return nil, err
	}
	set, err := stored.Compile(info.Version, l.Set(), rests)
	if err != nil {
		return nil, fault.Wrap(fault.Permanent, err)
	}
	return set, nil
}

// dealtWith notes that a version of the pointer was dealt with.
func (l *Live) dealtWith(revision uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if revision <= l.applied {
		return
	}
	l.applied = revision
	close(l.changed)
	l.changed = make(chan struct{})
}

// Await returns when this replica has dealt with a revision of the pointer, or when ctx ends.
func (l *Live) Await(ctx context.Context, revision uint64) error {
	for {
		l.mu.Lock()
		applied, changed := l.applied, l.changed
		l.mu.Unlock()
		if applied >= revision {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fault.Errorf(fault.Unavailable, "wait for the new rules: %w", ctx.Err())
		}
	}
}
