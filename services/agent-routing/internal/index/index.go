// Package index keeps in memory which fans are not with the bot, so that lists need no scan of the
// bucket. It follows the bucket by a watch; what a list shows is read from the bucket again.
package index

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

// retryWait is how long a broken watch rests before it is opened again.
const retryWait = time.Second

// Row is what the index knows of a fan.
type Row struct {
	Account, OpenID string
	Owner           domain.Owner
	Active          time.Time
	// Unpublished is when facts of the record were first seen waiting for the stream; zero for none.
	Unpublished time.Time
}

// Index is safe for concurrent use. Start follows the bucket until Stop.
type Index struct {
	owners *store.Owners
	log    *slog.Logger
	now    func() time.Time

	mu     sync.RWMutex // guards rows and synced
	rows   map[string]Row
	synced bool

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// New returns an empty index.
func New(owners *store.Owners, log *slog.Logger, now func() time.Time) *Index {
	return &Index{owners: owners, log: log, now: now, rows: map[string]Row{}}
}

// Start returns when the index has seen the whole bucket.
func (x *Index) Start(ctx context.Context) error {
	// The watch outlives ctx, which bounds the start only.
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	watcher, err := x.watch(run)
	if err != nil {
		cancel()
		return err
	}
	x.cancel = cancel
	synced := make(chan struct{})
	x.done.Go(func() { x.follow(run, watcher, synced) })
	select {
	case <-synced:
		return nil
	case <-ctx.Done():
		x.Stop()
		return fault.Errorf(fault.Unavailable, "read the bucket of owners: %w", ctx.Err())
	}
}

// Stop ends the watch and waits. It is safe to call twice, and without Start.
func (x *Index) Stop() {
	if x.cancel != nil {
		x.cancel()
	}
	x.done.Wait()
}

// Ready returns an Unavailable fault while the index may miss changes.
func (x *Index) Ready(context.Context) error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if !x.synced {
		return fault.New(fault.Unavailable, "the waiting lists are being read")
	}
	return nil
}

func (x *Index) watch(ctx context.Context) (jetstream.KeyWatcher, error) {
	kv, err := x.owners.Bucket()
	if err != nil {
		return nil, err
	}
	watcher, err := kv.WatchAll(ctx)
	if err != nil {
		return nil, fault.Errorf(fault.Unavailable, "watch owners: %w", err)
	}
	return watcher, nil
}

// follow reads a watch to its end and opens the next one, until ctx ends. first is closed when the
// whole bucket has been seen once.
func (x *Index) follow(ctx context.Context, watcher jetstream.KeyWatcher, first chan struct{}) {
	once := sync.OnceFunc(func() { close(first) })
	for {
		err := x.read(ctx, watcher, once)
		end(watcher)
		if ctx.Err() != nil {
			return
		}
		x.setSynced(false)
		x.log.WarnContext(ctx, "watch of owners ended", logkey.Error, err)
		for watcher = nil; watcher == nil; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(retryWait):
			}
			if watcher, err = x.watch(ctx); err != nil {
				x.log.WarnContext(ctx, "watch of owners not opened", logkey.Error, err)
				watcher = nil
			}
		}
	}
}

// end stops a watch and takes what it still holds: it blocks for ever on an entry that nobody takes.
func end(w jetstream.KeyWatcher) {
	_ = w.Stop() // fails only when it has ended already
	timeout := time.After(retryWait)
	for {
		select {
		case _, ok := <-w.Updates():
			if !ok {
				return
			}
		case <-timeout:
			return
		}
	}
}

var errWatchClosed = errors.New("closed by the server")

// read applies one watch. Rows that the bucket no longer has are dropped when it has been seen as a
// whole, because expired keys leave no mark.
func (x *Index) read(ctx context.Context, watcher jetstream.KeyWatcher, synced func()) error {
	seen := map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case entry, ok := <-watcher.Updates():
			switch {
			case !ok:
				return errWatchClosed
			case entry == nil:
				x.dropUnseen(seen)
				seen = nil
				x.setSynced(true)
				synced()
			default:
				if seen != nil {
					seen[entry.Key()] = true
				}
				if err := x.apply(entry); err != nil {
					x.log.ErrorContext(ctx, "owner record is not readable", logkey.Error, err)
				}
			}
		}
	}
}

func (x *Index) apply(entry jetstream.KeyValueEntry) error {
	if entry.Operation() != jetstream.KeyValuePut {
		x.Forget(entry.Key())
		return nil
	}
	r, err := store.Decode(entry.Value())
	if err != nil {
		return fmt.Errorf("revision %d: %w", entry.Revision(), err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if r.Owner.Kind == domain.Bot && len(r.Outbox) == 0 {
		delete(x.rows, entry.Key())
		return nil
	}
	row := Row{Account: r.Account, OpenID: r.OpenID, Owner: r.Owner, Active: r.Active}
	if len(r.Outbox) > 0 {
		if row.Unpublished = x.rows[entry.Key()].Unpublished; row.Unpublished.IsZero() {
			row.Unpublished = x.now()
		}
	}
	x.rows[entry.Key()] = row
	return nil
}

// Forget drops a key that the bucket no longer has.
func (x *Index) Forget(key string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.rows, key)
}

func (x *Index) dropUnseen(seen map[string]bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for key := range x.rows {
		if !seen[key] {
			delete(x.rows, key)
		}
	}
}

func (x *Index) setSynced(ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.synced = ok
}

// Waiting returns up to limit fans who wait, the longest waiting first, and how many wait in all.
// An empty account or queue means every one.
func (x *Index) Waiting(account, queue string, limit int) ([]Row, int) {
	rows := x.filter(func(r Row) bool {
		return r.Owner.Kind == domain.Queue && (account == "" || r.Account == account) && (queue == "" || r.Owner.Name == queue)
	})
	return first(rows, limit, func(r Row) time.Time { return r.Owner.Since }), len(rows)
}

// Serving returns up to limit fans whom agents talk to, the one with the oldest activity first, and
// how many there are. An empty account or agent means every one.
func (x *Index) Serving(account, agent string, limit int) ([]Row, int) {
	rows := x.filter(func(r Row) bool {
		return r.Owner.Kind == domain.Agent && (account == "" || r.Account == account) && (agent == "" || r.Owner.Name == agent)
	})
	return first(rows, limit, func(r Row) time.Time { return r.Active }), len(rows)
}

// Due returns up to limit fans for whom due says yes.
func (x *Index) Due(limit int, due func(Row) bool) []Row {
	rows := x.filter(due)
	return rows[:min(len(rows), limit)]
}

// Count returns the number of fans with an owner of that kind.
func (x *Index) Count(kind domain.Kind) int {
	return len(x.filter(func(r Row) bool { return r.Owner.Kind == kind }))
}

func (x *Index) filter(want func(Row) bool) []Row {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var rows []Row
	for _, r := range x.rows {
		if want(r) {
			rows = append(rows, r)
		}
	}
	return rows
}

func first(rows []Row, limit int, by func(Row) time.Time) []Row {
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(by(a).Compare(by(b)), cmp.Compare(a.Account, b.Account), cmp.Compare(a.OpenID, b.OpenID))
	})
	return rows[:min(len(rows), limit)]
}
