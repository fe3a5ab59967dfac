// Package store keeps the sealed token records in the bucket tokens and a copy of them in memory.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/tokens"
)

// ErrChanged is returned by Put when another replica wrote first.
var ErrChanged = fault.New(fault.Conflict, "the token record was changed by another replica")

// Record is a token record as of a revision. Rec is nil and Revision zero when there is none. Rec must
// not be changed.
type Record struct {
	Rec      *tokenv1.TokenRecord
	Revision uint64
}

// Store is safe for concurrent use.
type Store struct {
	kv       jetstream.KeyValue
	sealer   *secret.Sealer
	follower *tokens.Follower

	mu      sync.Mutex // guards records and changed
	records map[string]Record
	changed chan struct{} // closed and replaced at every change
}

// New returns a store that knows nothing before Start.
func New(kv jetstream.KeyValue, sealer *secret.Sealer, log *slog.Logger) *Store {
	s := &Store{kv: kv, sealer: sealer, records: map[string]Record{}, changed: make(chan struct{})}
	s.follower = tokens.NewFollower(kv, sealer, log, s.seen)
	return s
}

// Start reads the bucket and follows it until Stop.
func (s *Store) Start(ctx context.Context) error { return s.follower.Start(ctx) }

// Stop ends following the bucket.
func (s *Store) Stop(ctx context.Context) error { return s.follower.Stop(ctx) }

// Seen returns the newest record in memory, which may be a moment behind the bucket.
func (s *Store) Seen(account string) Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records[account]
}

// All returns the records in memory by account.
func (s *Store) All() map[string]Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.records)
}

// Load returns the newest record that can be known. In a cluster a read may be answered by a server
// that is behind; Put finds that out.
func (s *Store) Load(ctx context.Context, account string) (Record, error) {
	seen := s.Seen(account)
	entry, err := s.kv.Get(ctx, account)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return seen, nil
	}
	if err != nil {
		return Record{}, fault.Wrap(fault.Unavailable, fmt.Errorf("read token record of account %s: %w", account, err))
	}
	if entry.Revision() <= seen.Revision {
		return seen, nil
	}
	rec, err := tokens.OpenRecord(s.sealer, account, entry.Value())
	if err != nil {
		return Record{}, err
	}
	s.seen(account, rec, entry.Revision())
	return Record{rec, entry.Revision()}, nil
}

// Put replaces the record of that revision. It fails with ErrChanged when the bucket has another one,
// and with Unavailable when nobody can tell whether it was written.
func (s *Store) Put(ctx context.Context, account string, rec *tokenv1.TokenRecord, revision uint64) (Record, error) {
	value, err := tokens.SealRecord(s.sealer, account, rec)
	if err != nil {
		return Record{}, err
	}
	if revision == 0 {
		revision, err = s.kv.Create(ctx, account, value)
	} else {
		revision, err = s.kv.Update(ctx, account, value, revision)
	}
	switch {
	case errors.Is(err, jetstream.ErrKeyExists), errors.Is(err, jetstream.ErrKeyRevisionMismatch):
		return Record{}, ErrChanged
	case err != nil:
		return Record{}, fault.Wrap(fault.Unavailable, fmt.Errorf("write token record of account %s: %w", account, err))
	}
	s.seen(account, rec, revision)
	return Record{rec, revision}, nil
}

// Wait returns true as soon as memory has another record of the account than that revision, false
// when d has passed or ctx has ended.
func (s *Store) Wait(ctx context.Context, account string, revision uint64, d time.Duration) bool {
	limit := time.NewTimer(d)
	defer limit.Stop()
	for {
		s.mu.Lock()
		current, changed := s.records[account].Revision, s.changed
		s.mu.Unlock()
		if current != revision {
			return true
		}
		select {
		case <-changed:
		case <-limit.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// seen takes a record into memory unless it has a newer one. A nil rec is a key that is gone.
func (s *Store) seen(account string, rec *tokenv1.TokenRecord, revision uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if revision <= s.records[account].Revision {
		return
	}
	if rec == nil {
		delete(s.records, account)
	} else {
		s.records[account] = Record{rec, revision}
	}
	close(s.changed)
	s.changed = make(chan struct{})
}
