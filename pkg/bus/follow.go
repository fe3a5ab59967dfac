package bus

import (
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
)

// How long a lost watch waits before it is opened again, and how long one that was stopped may take
// to end.
const (
	reopenMin = 200 * time.Millisecond
	reopenMax = 5 * time.Second
	drainTime = 2 * time.Second
)

// followBatch is how many changes are told at once at most.
const followBatch = 1024

// Follower keeps up with a bucket: it tells every change of every key, in the order of the
// revisions of a key, from one goroutine.
type Follower struct {
	kv    jetstream.KeyValue
	log   *slog.Logger
	apply func([]jetstream.KeyValueEntry)
	keys  []string
	opts  []jetstream.WatchOpt

	mu     sync.Mutex // guards cancel and done
	cancel context.CancelFunc
	done   chan struct{}
}

// NewFollower returns a follower that calls apply with the changes that are there, at most 1024 at a
// time: few calls when a bucket is read for the first time, one for each change later. A key that is gone has another
// operation than jetstream.KeyValuePut. apply must be quick and must not keep the slice.
func NewFollower(kv jetstream.KeyValue, log *slog.Logger, apply func([]jetstream.KeyValueEntry)) *Follower {
	return &Follower{kv: kv, log: log, apply: apply, keys: []string{jetstream.AllKeys}}
}

// Only has f follow the keys that match the pattern, read as opts say; before Start. It returns f.
func (f *Follower) Only(keys string, opts ...jetstream.WatchOpt) *Follower {
	f.keys, f.opts = []string{keys}, opts
	return f
}

// Start opens the watch and returns when everything that the bucket holds now was applied. The watch
// survives lost connections and lives until Stop.
func (f *Follower) Start(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cancel != nil {
		return fmt.Errorf("follow bucket %s: already started", f.kv.Bucket())
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	updates, err := f.open(ctx, life)
	if err != nil {
		cancel()
		return fault.Wrap(fault.Unavailable, fmt.Errorf("follow bucket %s: %w", f.kv.Bucket(), err))
	}
	f.cancel, f.done = cancel, make(chan struct{})
	go f.run(life, updates, f.done)
	return nil
}

// Stop ends the watch and waits for its goroutine, until ctx ends.
func (f *Follower) Stop(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cancel == nil {
		return nil
	}
	f.cancel()
	select {
	case <-f.done:
		f.cancel = nil
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop following bucket %s: %w", f.kv.Bucket(), context.Cause(ctx))
	}
}

// open opens a watch that ends with life and applies all that the bucket holds, within ctx.
func (f *Follower) open(ctx, life context.Context) (<-chan jetstream.KeyValueEntry, error) {
	// NATS ends the watch together with the context it was opened with, so it gets one of its own.
	watch, cancel := context.WithCancel(life)
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	w, err := f.kv.WatchFiltered(watch, slices.Clone(f.keys), f.opts...) // which changes the keys that it is given
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watch bucket: %w", err)
	}
	updates := w.Updates()
	var batch []jetstream.KeyValueEntry
	for entry := range updates {
		if entry == nil {
			if !stop() { // ctx ended in this moment and took the watch along
				break
			}
			f.tell(&batch)
			context.AfterFunc(life, cancel)
			return updates, nil
		}
		if batch = append(batch, entry); len(batch) == followBatch {
			f.tell(&batch)
		}
	}
	cancel()
	return nil, errors.Join(errors.New("watch ended"), context.Cause(ctx))
}

func (f *Follower) tell(batch *[]jetstream.KeyValueEntry) {
	if len(*batch) > 0 {
		f.apply(*batch)
	}
	*batch = (*batch)[:0]
}

func (f *Follower) run(life context.Context, updates <-chan jetstream.KeyValueEntry, done chan struct{}) {
	defer close(done)
	for wait := reopenMin; ; {
		f.follow(life, updates)
		select {
		case <-life.Done():
			return
		case <-time.After(wait):
		}
		fresh, err := f.open(life, life)
		if err != nil {
			f.log.WarnContext(life, "bucket watch lost", "bucket", f.kv.Bucket(), logkey.Error, err)
			wait = min(2*wait, reopenMax)
			updates = closedWatch
			continue
		}
		updates, wait = fresh, reopenMin
	}
}

// closedWatch stands for a watch that could not be opened.
var closedWatch = func() chan jetstream.KeyValueEntry {
	c := make(chan jetstream.KeyValueEntry)
	close(c)
	return c
}()

// follow applies changes until the watch ends. After life has ended it drains the watch, which would
// else block in the client library.
func (f *Follower) follow(life context.Context, updates <-chan jetstream.KeyValueEntry) {
	var limit <-chan time.Time
	var batch []jetstream.KeyValueEntry
	ended := life.Done()
	for {
		select {
		case entry, ok := <-updates:
			if !ok {
				return
			}
			if ended != nil && entry != nil {
				batch = gather(append(batch, entry), updates)
				f.tell(&batch)
			}
		case <-ended:
			ended, limit = nil, time.After(drainTime)
		case <-limit:
			return
		}
	}
}

// gather adds the changes that wait already.
func gather(batch []jetstream.KeyValueEntry, updates <-chan jetstream.KeyValueEntry) []jetstream.KeyValueEntry {
	for len(batch) < followBatch {
		select {
		case entry, ok := <-updates:
			if !ok || entry == nil {
				return batch // follow sees a closed channel too
			}
			batch = append(batch, entry)
		default:
			return batch
		}
	}
	return batch
}
