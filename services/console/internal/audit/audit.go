// Package audit writes down who changed what. Entries go into a chain of hashes in SQL, so that a change or
// a hole shows; they hold no message texts and no secrets.
package audit

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"

	"github.com/wxbus/wxbus/services/console/internal/store"
)

const (
	// queueSize bounds the entries that wait for the database; more go to the log.
	queueSize = 4096
	// batchSize entries share one transaction.
	batchSize = 256
	// patience is how long a request waits until its entry is stored.
	patience = 2 * time.Second
	// retryPause is between two tries while the database does not answer.
	retryPause = time.Second
	// pruneEvery is how often old entries are removed.
	pruneEvery = time.Hour
	// maxTarget bounds the name of the thing in bytes.
	maxTarget = 200
)

// MinRetention is the least time that entries are kept: what the law wants.
const MinRetention = 180 * 24 * time.Hour

// Log keeps entries. *store.Store is one.
type Log interface {
	AppendAudit(ctx context.Context, entries []*store.Entry) error
	PruneAudit(ctx context.Context, beforeMS int64) (int64, error)
}

// Options of a Recorder. Every field is required.
type Options struct {
	To  Log
	Log *slog.Logger
	Now func() time.Time
	// Retention is how long entries are kept, at least MinRetention.
	Retention time.Duration
}

// Recorder appends entries in the order in which they come. It is safe for concurrent use.
type Recorder struct {
	o     Options
	queue chan waiting

	mu     sync.RWMutex // guards closed; held while an entry is queued
	closed bool
	stop   context.CancelFunc
	done   chan struct{}
	// away is true while the database does not answer: then nobody waits for it.
	away atomic.Bool
}

type waiting struct {
	entry  *store.Entry
	stored chan struct{}
}

// New returns a recorder. Start it.
func New(o Options) *Recorder {
	o.Retention = max(o.Retention, MinRetention)
	return &Recorder{o: o, queue: make(chan waiting, queueSize), done: make(chan struct{})}
}

// Start begins to store entries.
func (r *Recorder) Start(ctx context.Context) error {
	var base context.Context
	base, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	go r.run(base)
	return nil
}

// Stop stores what waits and ends. What cannot be stored until ctx ends goes to the log.
func (r *Recorder) Stop(ctx context.Context) error {
	r.mu.Lock()
	started, again := r.stop != nil, r.closed
	r.closed = true
	if !again {
		close(r.queue)
	}
	r.mu.Unlock()
	if !started {
		return nil
	}
	defer context.AfterFunc(ctx, r.stop)()
	<-r.done
	r.stop()
	return nil
}

// Begin writes down what is about to be changed, waits until that is stored, and returns the attempt, which the entry about the end has
// too. So a process that dies in between leaves an entry. While the database is away nobody waits: the attempt goes to the log as well.
func (r *Recorder) Begin(ctx context.Context, e *store.Entry) (attempt string) {
	e.Outcome, e.Attempt = store.Attempted, rand.Text()
	w, ok := r.queued(ctx, e)
	if !ok {
		return e.Attempt
	}
	if !r.away.Load() && r.await(ctx, w) {
		return e.Attempt
	}
	r.write(ctx, slog.LevelWarn, "a change begins before its audit entry is stored", e)
	return e.Attempt
}

// await tells whether an entry is stored, after a moment at most.
func (r *Recorder) await(ctx context.Context, w waiting) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.stored:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// Record queues an entry and waits a moment until it is stored. It sets the time. When the database does not answer
// the entry stays queued and the request goes on; when nothing can be kept it goes to the log, so that it exists somewhere.
func (r *Recorder) Record(ctx context.Context, e *store.Entry) {
	if w, ok := r.queued(ctx, e); ok {
		r.await(ctx, w)
	}
}

// Queue is Record without the wait, for what must not wait for a database.
func (r *Recorder) Queue(ctx context.Context, e *store.Entry) { r.queued(ctx, e) }

func (r *Recorder) queued(ctx context.Context, e *store.Entry) (waiting, bool) {
	e.AtMS = r.o.Now().UnixMilli()
	if len(e.Target) > maxTarget {
		e.Target = e.Target[:maxTarget]
	}
	w := waiting{entry: e, stored: make(chan struct{})}
	if !r.enqueue(w) {
		r.lose(ctx, e, "the queue is full or closed")
		return w, false
	}
	return w, true
}

func (r *Recorder) enqueue(w waiting) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed {
		return false
	}
	select {
	case r.queue <- w:
		return true
	default:
		return false
	}
}

func (r *Recorder) run(ctx context.Context) {
	defer close(r.done)
	prune := time.NewTicker(pruneEvery)
	defer prune.Stop()
	for {
		select {
		case w, ok := <-r.queue:
			if !ok {
				return
			}
			r.store(ctx, r.batch(w))
		case <-prune.C:
			r.Prune(ctx)
		}
	}
}

// batch takes what waits already along with the first one.
func (r *Recorder) batch(first waiting) []waiting {
	batch := []waiting{first}
	for len(batch) < batchSize {
		select {
		case w, ok := <-r.queue:
			if !ok {
				return batch
			}
			batch = append(batch, w)
		default:
			return batch
		}
	}
	return batch
}

func (r *Recorder) store(ctx context.Context, batch []waiting) {
	entries := make([]*store.Entry, len(batch))
	for i, w := range batch {
		entries[i] = w.entry
	}
	for {
		err := r.o.To.AppendAudit(ctx, entries)
		r.away.Store(err != nil && fault.Dispose(err) == fault.Retry)
		if err == nil {
			break
		}
		if fault.Dispose(err) != fault.Retry || !r.wait(ctx) {
			for _, e := range entries {
				r.lose(ctx, e, err.Error())
			}
			break
		}
	}
	for _, w := range batch {
		close(w.stored)
	}
}

// wait pauses between two tries; false when there is no time for another one.
func (r *Recorder) wait(ctx context.Context) bool {
	timer := time.NewTimer(retryPause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// lose writes an entry to the log instead.
func (r *Recorder) lose(ctx context.Context, e *store.Entry, why string) {
	r.write(ctx, slog.LevelError, "audit entry is not stored", e, logkey.Error, why)
}

// write writes an entry to the log with all its fields.
func (r *Recorder) write(ctx context.Context, level slog.Level, what string, e *store.Entry, more ...any) {
	r.o.Log.Log(ctx, level, what, append(more, "at_unix_ms", e.AtMS, "actor", e.Actor, "action", e.Action,
		logkey.Account, e.Account, "target", e.Target, logkey.Outcome, e.Outcome, "request_digest", e.RequestDigest, "address", e.Address, "attempt", e.Attempt)...)
}

// Prune removes entries that are older than the retention.
func (r *Recorder) Prune(ctx context.Context) {
	n, err := r.o.To.PruneAudit(ctx, r.o.Now().Add(-r.o.Retention).UnixMilli())
	switch {
	case err != nil:
		r.o.Log.WarnContext(ctx, "old audit entries are not removed", logkey.Error, err)
	case n > 0:
		r.o.Log.InfoContext(ctx, "old audit entries are removed", "entries", n)
	}
}
