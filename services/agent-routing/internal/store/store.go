// Package store keeps groups, agents, fans, conversations, messages and the log of changes in SQL: Postgres in a cluster,
// SQLite in one process, through one query layer. What must not be torn apart is done in one transaction, and always
// locked in one order: group, fan, agents by id.
package store

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
)

//go:embed migrations/*.sql
var embedded embed.FS

// Migrations are the tables.
func Migrations() fs.FS {
	sub, err := fs.Sub(embedded, "migrations")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return sub
}

var errNotOpen = fault.New(fault.Unavailable, "the desk's database is not open yet")

// Store is the database. It is safe for concurrent use.
type Store struct{ db atomic.Pointer[sqldb.DB] }

// New returns a store that answers Unavailable until Open.
func New() *Store { return &Store{} }

// Open opens the database. Close closes it.
func (s *Store) Open(ctx context.Context, o sqldb.Options) error {
	o.Migrations = Migrations()
	db, err := sqldb.Open(ctx, o)
	if err != nil {
		return fmt.Errorf("open the desk's database: %w", err)
	}
	s.db.Store(db)
	return nil
}

// Use takes a database that is open already; the caller closes it.
func (s *Store) Use(db *sqldb.DB) { s.db.Store(db) }

// IsOpen tells whether the database has been opened.
func (s *Store) IsOpen() bool { return s.db.Load() != nil }

// Close closes the database. It is safe to call twice and without Open.
func (s *Store) Close() error {
	if db := s.db.Swap(nil); db != nil {
		return db.Close()
	}
	return nil
}

// Q runs queries, in a transaction or each by itself.
type Q struct{ sqldb.Querier }

// InTx runs fn in a transaction; it may run again when transactions were in each other's way. Nothing outside the
// transaction may be asked from within: SQLite has one connection.
func (s *Store) InTx(ctx context.Context, fn func(ctx context.Context, q Q) error) error {
	db := s.db.Load()
	if db == nil {
		return errNotOpen
	}
	return db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return fn(ctx, Q{tx.Querier}) })
}

// Query returns what runs queries by themselves, or an Unavailable fault.
func (s *Store) Query() (Q, error) {
	db := s.db.Load()
	if db == nil {
		return Q{}, errNotOpen
	}
	return Q{db.Querier}, nil
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode %T: %w", v, err)
	}
	return string(b), nil
}

func decode(s string, into any) error {
	if err := json.Unmarshal([]byte(s), into); err != nil {
		return fault.Errorf(fault.Permanent, "decode %T: %w", into, err)
	}
	return nil
}

// collect runs a query and gathers what scan makes of each row.
func collect[T any](ctx context.Context, q Q, query string, args []any, scan func(sqldb.Scanner) (T, error)) ([]T, error) {
	var out []T
	err := q.Each(ctx, query, args, func(r sqldb.Scanner) error {
		v, err := scan(r)
		if err == nil {
			out = append(out, v)
		}
		return err
	})
	return out, err
}

func anys[T any](in []T) []any {
	out := make([]any, len(in))
	for i, v := range in {
		out[i] = v
	}
	return out
}
