package tokens

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
)

// How long a lost watch waits before it is opened again, and how long one that was stopped may take
// to end.
const (
	reopenMin = 200 * time.Millisecond
	reopenMax = 5 * time.Second
	drainTime = 2 * time.Second
)

// Follower keeps up with the bucket tokens: it tells every change of every record, in the order of
// the revisions of a key, from one goroutine.
type Follower struct {
	kv     jetstream.KeyValue
	sealer *secret.Sealer
	log    *slog.Logger
	apply  func(account string, rec *tokenv1.TokenRecord, revision uint64)

	mu     sync.Mutex // guards cancel and done
	cancel context.CancelFunc
	done   chan struct{}
}

// NewFollower returns a follower that calls apply for each change; rec is nil when the key is gone.
// A record that cannot be opened is logged and left out. apply must be quick.
func NewFollower(kv jetstream.KeyValue, sealer *secret.Sealer, log *slog.Logger, apply func(account string, rec *tokenv1.TokenRecord, revision uint64)) *Follower {
	return &Follower{kv: kv, sealer: sealer, log: log, apply: apply}
}

// Start opens the watch and returns when everything that the bucket holds now was applied. The watch
// survives lost connections and lives until Stop.
func (f *Follower) Start(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cancel != nil {
		return errors.New("follow tokens: already started")
	}
	if f.sealer == nil {
		return fault.New(fault.Invalid, "master_key: must be set: tokens are stored sealed")
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	watcher, err := f.open(ctx, life)
	if err != nil {
		cancel()
		return fault.Wrap(fault.Unavailable, fmt.Errorf("follow tokens: %w", err))
	}
	f.cancel, f.done = cancel, make(chan struct{})
	go f.run(life, watcher, f.done)
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
		return fmt.Errorf("stop following tokens: %w", context.Cause(ctx))
	}
}

// open opens a watch that ends with life and applies all that the bucket holds, within ctx.
func (f *Follower) open(ctx, life context.Context) (<-chan jetstream.KeyValueEntry, error) {
	// NATS ends the watch together with the context it was opened with, so it gets one of its own.
	watch, cancel := context.WithCancel(life)
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	w, err := f.kv.WatchAll(watch)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watch bucket: %w", err)
	}
	updates := w.Updates()
	for entry := range updates {
		if entry == nil {
			if !stop() { // ctx ended in this moment and took the watch along
				break
			}
			context.AfterFunc(life, cancel)
			return updates, nil
		}
		f.take(entry)
	}
	cancel()
	return nil, errors.Join(errors.New("watch ended"), context.Cause(ctx))
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
			f.log.WarnContext(life, "token watch lost", logkey.Error, err)
			wait = min(2*wait, reopenMax)
			updates = closed
			continue
		}
		updates, wait = fresh, reopenMin
	}
}

// closed stands for a watch that could not be opened.
var closed = func() chan jetstream.KeyValueEntry {
	c := make(chan jetstream.KeyValueEntry)
	close(c)
	return c
}()

// follow applies changes until the watch ends. After life has ended it drains the watch, which would
// else block in the client library.
func (f *Follower) follow(life context.Context, updates <-chan jetstream.KeyValueEntry) {
	var limit <-chan time.Time
	ended := life.Done()
	for {
		select {
		case entry, ok := <-updates:
			if !ok {
				return
			}
			if entry != nil && ended != nil {
				f.take(entry)
			}
		case <-ended:
			ended, limit = nil, time.After(drainTime)
		case <-limit:
			return
		}
	}
}

func (f *Follower) take(entry jetstream.KeyValueEntry) {
	if entry.Operation() != jetstream.KeyValuePut {
		f.apply(entry.Key(), nil, entry.Revision())
		return
	}
	rec, err := OpenRecord(f.sealer, entry.Key(), entry.Value())
	if err != nil {
		f.log.Error("token record is not readable", logkey.Account, entry.Key(), logkey.Error, err)
		return
	}
	f.apply(entry.Key(), rec, entry.Revision())
}
