// Package store keeps what the console owns in SQL: people, sessions, keys, the audit log and
// subscriptions. Secrets are stored as hashes only, except those that requests are signed with, which are
// sealed by the caller.
//
// The database may be away, also at the start: until it is open every method fails with Unavailable, and
// the store keeps trying. Nothing of the hot path waits for it.
package store

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
)

//go:embed migrations/*.sql
var embedded embed.FS

// Migrations returns the tables of the console, for sqldb.Options and tests.
func Migrations() fs.FS {
	sub, err := fs.Sub(embedded, "migrations")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	return sub
}

const (
	firstTry = 10 * time.Second // how long Start waits for the database
	pause    = 2 * time.Second  // between two tries
)

// errClosed is what a store answers before it is open and after it is closed.
var errClosed = fault.New(fault.Unavailable, "the database of the console does not answer")

// Store is the console's database. It is safe for concurrent use.
type Store struct {
	options sqldb.Options
	log     *slog.Logger

	mu     sync.RWMutex // guards db
	db     *sqldb.DB
	opened chan struct{} // closed when db is set

	attempts    atomic.Int64 // that this process counted, for the sweep
	maxAttempts int          // rows that the sweep leaves

	stop context.CancelFunc
	done chan struct{}
}

// New returns a store that opens the database when it is started. Migrations need not be set.
func New(o sqldb.Options, log *slog.Logger) *Store {
	o.Migrations = Migrations()
	return &Store{options: o, log: log, opened: make(chan struct{}), maxAttempts: maxAttempts}
}

// Start opens the database, or leaves that to a goroutine when it does not answer soon.
func (s *Store) Start(ctx context.Context) error {
	first, cancel := context.WithTimeout(ctx, firstTry)
	defer cancel()
	err := s.open(first)
	if err == nil {
		return nil
	}
	if fault.KindOf(err) != fault.Unavailable {
		return err // wrong settings or a broken migration: waiting does not help
	}
	s.log.WarnContext(ctx, "the database does not answer: log-in and editing wait for it", logkey.Error, err)
	var base context.Context
	base, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.done = make(chan struct{})
	go s.keepTrying(base)
	return nil
}

func (s *Store) keepTrying(ctx context.Context) {
	defer close(s.done)
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := s.open(ctx)
		if err == nil {
			s.log.InfoContext(ctx, "the database answers")
			return
		}
		s.log.DebugContext(ctx, "the database does not answer", logkey.Error, err)
	}
}

func (s *Store) open(ctx context.Context) error {
	db, err := sqldb.Open(ctx, s.options)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.db = db
	close(s.opened)
	return nil
}

// Opened returns a channel that is closed once the database is open.
func (s *Store) Opened() <-chan struct{} { return s.opened }

// Stop closes the database. It is safe to call twice, and without Start.
func (s *Store) Stop(context.Context) error {
	if s.stop != nil {
		s.stop()
		<-s.done
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return nil
	}
	err := s.db.Close()
	s.db = nil
	return err
}

// get returns the open database.
func (s *Store) get() (*sqldb.DB, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return nil, errClosed
	}
	return s.db, nil
}

// inTx runs fn in a transaction of the open database.
func (s *Store) inTx(ctx context.Context, fn func(ctx context.Context, tx *sqldb.Tx) error) error {
	db, err := s.get()
	if err != nil {
		return err
	}
	return db.InTx(ctx, fn)
}

// Healthy tells whether the database answers.
func (s *Store) Healthy(ctx context.Context) error {
	db, err := s.get()
	if err != nil {
		return err
	}
	return db.Ping(ctx)
}

// list is a list of texts or numbers as it is stored: JSON.
func list[T any](values []T) string {
	if len(values) == 0 {
		return "[]"
	}
	b, err := json.Marshal(values)
	if err != nil {
		panic(err) // texts and numbers always marshal
	}
	return string(b)
}

func unlist[T any](text string) ([]T, error) {
	var out []T
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		return nil, errors.New("a stored list is damaged")
	}
	return out, nil
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}
