// Package accounts changes the accounts that are managed over the API: sealed records in the bucket
// accounts, every change a compare-and-set that says who made it (ADR 0026).
package accounts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/account/vault"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
)

// sweepEvery is how often ended overlaps of keys are looked for.
const sweepEvery = 2 * time.Second

// changeTries bounds how often a change that lost the compare-and-set is made again.
const changeTries = 16

// overlapEnded is the actor of the removal of previous keys.
const overlapEnded = "wxbus: the overlap ended"

// Deps of a Store.
type Deps struct {
	// KV is the bucket accounts.
	KV jetstream.KeyValue
	// Belongings are what an account has beside its record; they are deleted with it.
	Belongings []Belonging
	Sealer     *secret.Sealer
	Dir        *account.Directory
	Log        *slog.Logger
	Now        func() time.Time
}

// Belonging is a bucket with keys of an account.
type Belonging struct {
	KV   jetstream.KeyValue
	Keys func(account string) []string
	// Sealed tells that the values are sealed under the name of the bucket and the key.
	Sealed bool
}

// Store is safe for concurrent use.
type Store struct {
	Deps
	follower *bus.Follower

	mu      sync.RWMutex // guards records
	records map[string]kept

	end context.CancelFunc // of the sweep
	wg  sync.WaitGroup
}

// kept is a record as of a revision; a rec of nil is an account that is gone. Nobody changes it.
type kept struct {
	rec      *tokenv1.AccountRecord
	revision uint64
}

// New returns a store that knows nothing before Start.
func New(d Deps) *Store {
	s := &Store{Deps: d, records: map[string]kept{}}
	s.follower = bus.NewFollower(d.KV, d.Log, s.follow)
	return s
}

// Start reads the bucket, follows it, and removes previous keys whose overlap has ended, until Stop.
func (s *Store) Start(ctx context.Context) error {
	if err := s.follower.Start(ctx); err != nil {
		return err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	s.end = end
	s.wg.Go(func() { s.sweep(life) })
	return nil
}

// Stop waits for the goroutines.
func (s *Store) Stop(ctx context.Context) error {
	if s.end != nil {
		s.end()
	}
	s.wg.Wait()
	return s.follower.Stop(ctx)
}

func (s *Store) follow(entries []jetstream.KeyValueEntry) {
	for _, e := range entries {
		if vault.IsClaim(e.Key()) {
			continue
		}
		if e.Operation() != jetstream.KeyValuePut {
			s.keep(e.Key(), kept{revision: e.Revision()})
			continue
		}
		rec := &tokenv1.AccountRecord{}
		if err := vault.Open(s.Sealer, e.Key(), e.Value(), rec); err != nil {
			continue // the feed of the directory has logged it
		}
		s.keep(e.Key(), kept{rec, e.Revision()})
	}
}

// keep takes a record into memory unless it has a newer one.
func (s *Store) keep(name string, k kept) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.revision > s.records[name].revision {
		s.records[name] = k
	}
}

func (s *Store) seen(name string) (kept, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	k := s.records[name]
	return k, k.rec != nil
}

// load reads the newest record of the account from the bucket.
func (s *Store) load(ctx context.Context, name string) (kept, error) {
	if a, ok := s.Dir.Get(name); ok && a.FromFile() {
		return kept{}, fault.Errorf(fault.Refused, "account %s is managed by the configuration file: change it there, under accounts", name)
	}
	entry, err := s.KV.Get(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrInvalidKey):
		return kept{}, notFound(name)
	case err != nil:
		return kept{}, fault.Wrap(fault.Unavailable, fmt.Errorf("read account %s: %w", name, err))
	}
	rec := &tokenv1.AccountRecord{}
	if err := vault.Open(s.Sealer, name, entry.Value(), rec); err != nil {
		return kept{}, err
	}
	return kept{rec, entry.Revision()}, nil
}

func notFound(name string) error {
	return fault.Errorf(fault.NotFound, "account %q is not known", name)
}

// change is one change of a record. It may be called more than once, and returns bus.ErrUnchanged when there
// is nothing to do.
type change func(rec *tokenv1.AccountRecord) error

// change reads a record, changes a copy, checks it and writes it, unless somebody wrote in between: then
// again, or Conflict when the caller expects a revision.
func (s *Store) change(ctx context.Context, actor, what, name string, expected uint64, do change) (*tokenv1.Account, error) {
	for range changeTries {
		cur, err := s.load(ctx, name)
		if err != nil {
			return nil, err
		}
		if expected != 0 && expected != cur.revision {
			return nil, fault.Errorf(fault.Conflict, "account %s has revision %d by now, changed by %s", name, cur.revision, cur.rec.GetUpdatedBy())
		}
		next := proto.CloneOf(cur.rec)
		if err := do(next); err != nil {
			if errors.Is(err, bus.ErrUnchanged) {
				return s.view(cur), nil
			}
			return nil, err
		}
		next.UpdatedUnixMs, next.UpdatedBy = s.Now().UnixMilli(), actor
		written, err := s.write(ctx, next, cur.revision)
		if errors.Is(err, errLost) {
			continue
		}
		if err != nil {
			return nil, err
		}
		s.Log.InfoContext(ctx, "account changed", logkey.Account, name, "change", what, "actor", actor, "revision", written.revision)
		return s.view(written), nil
	}
	return nil, fault.Errorf(fault.Conflict, "account %s is changed by others all the time", name)
}

var errLost = fault.New(fault.Conflict, "somebody else changed the account first")

// write checks a record and stores it; revision is the one it replaces, 0 for none.
func (s *Store) write(ctx context.Context, rec *tokenv1.AccountRecord, revision uint64) (kept, error) {
	name := rec.GetSettings().GetName()
	a := vault.Account(rec, revision)
	if err := a.Validate(); err != nil {
		return kept{}, fault.Wrap(fault.Invalid, err)
	}
	rec.Settings = vault.Settings(a) // with the defaults
	box, err := vault.Seal(s.Sealer, name, rec)
	if err != nil {
		return kept{}, err
	}
	if revision == 0 {
		revision, err = s.KV.Create(ctx, name, box)
	} else {
		revision, err = s.KV.Update(ctx, name, box, revision)
	}
	switch {
	case errors.Is(err, jetstream.ErrKeyExists), errors.Is(err, jetstream.ErrKeyRevisionMismatch):
		return kept{}, errLost
	case err != nil:
		return kept{}, fault.Wrap(fault.Unavailable, fmt.Errorf("write account %s: %w", name, err))
	}
	k := kept{rec, revision}
	s.keep(name, k)
	a.Revision = revision
	// Who asks next asks this process: it shall know already. Other processes follow the bucket.
	if err := s.Dir.Apply(account.Update{Name: name, Account: &a}); err != nil {
		s.Log.WarnContext(ctx, "account is stored and left out here", logkey.Account, name, logkey.Error, err)
	}
	return k, nil
}

// sweep removes previous keys whose overlap has ended.
func (s *Store) sweep(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		s.sweepOnce(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (s *Store) sweepOnce(ctx context.Context) {
	for _, name := range s.overdue() {
		_, err := s.change(ctx, overlapEnded, "drop previous keys", name, 0, func(rec *tokenv1.AccountRecord) error {
			if until, ok := vault.PreviousUntil(rec); !ok || until.After(s.Now()) {
				return bus.ErrUnchanged // another replica was faster
			}
			dropPrevious(rec)
			return nil
		})
		if err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "previous keys not removed", logkey.Account, name, logkey.Error, err)
		}
	}
}

func (s *Store) overdue() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var names []string
	for name, k := range s.records {
		if until, ok := vault.PreviousUntil(k.rec); ok && !until.After(s.Now()) {
			names = append(names, name)
		}
	}
	return names
}

// PreviousUntil returns when the previous keys of an account are removed; false when nobody removes them.
func (s *Store) PreviousUntil(name string) (time.Time, bool) {
	k, _ := s.seen(name)
	return vault.PreviousUntil(k.rec)
}

func dropPrevious(rec *tokenv1.AccountRecord) {
	rec.Secrets.PreviousToken, rec.Secrets.PreviousEncodingAesKey = "", ""
	rec.PreviousUntilUnixMs = 0
}
