// Package sqldb opens the SQL database of a service: Postgres in a cluster, a SQLite file in one process.
//
// There is one query layer for both. Queries are written once, with ? for parameters, in the common subset of
// the two; what differs is asked of the DB (ForUpdate, SkipLocked, Engine). Times are BIGINT Unix
// milliseconds, JSON is TEXT. A service owns its tables: in Postgres they live in a schema of its name, in
// SQLite in a file of its name. Package sqldbtest runs a suite against both real engines.
package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // registers the driver sqlite

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
)

// Engine is the database engine.
type Engine string

// The engines.
const (
	Postgres Engine = "postgres"
	SQLite   Engine = "sqlite"
)

const (
	maxConns     = 16
	connLife     = 30 * time.Minute
	busyTimeout  = 10 * time.Second // SQLite: how long a writer waits for another
	connectTries = 30               // Postgres may start at the same time as we do
	connectPause = time.Second
)

// Options say which database to open.
type Options struct {
	// Service owns the tables: the Postgres schema and the SQLite file are named after it.
	Service string
	// URL of Postgres, postgres://user:password@host/database. Empty means SQLite below Dir.
	URL secret.Value
	// Dir holds the SQLite file <service>.db.
	Dir string
	// Migrations are the numbered files NNNNN_name.sql at the top of this file system, see Migrate.
	Migrations fs.FS
}

// DB is an open database with its tables at the newest version. It is safe for concurrent use.
type DB struct {
	Querier
	db *sql.DB
}

// Open opens the database and brings its tables to the newest version. Several processes may do so at once.
// The caller closes it.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Service == "" {
		return nil, fault.New(fault.Internal, "sqldb: Service is required")
	}
	d, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := d.migrate(ctx, o.Migrations); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func connect(ctx context.Context, o Options) (*DB, error) {
	if o.URL.IsZero() {
		return openSQLite(ctx, o)
	}
	return openPostgres(ctx, o)
}

func newDB(db *sql.DB, e Engine) *DB { return &DB{Querier: Querier{run: db, engine: e}, db: db} }

func openSQLite(ctx context.Context, o Options) (*DB, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fault.Errorf(fault.Unavailable, "make the folder of the database: %w", err)
	}
	q := url.Values{}
	q.Add("_pragma", fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()))
	q.Add("_pragma", "journal_mode(WAL)")
	q.Add("_pragma", "synchronous(NORMAL)")
	q.Add("_pragma", "foreign_keys(1)")
	q.Add("_txlock", "immediate") // a transaction that reads and then writes must not fail half way
	name := filepath.Join(o.Dir, o.Service+".db")
	db, err := sql.Open("sqlite", "file:"+name+"?"+q.Encode())
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "open %s: %w", name, err)
	}
	// One connection: SQLite has one writer anyhow, and readers never see "database is locked".
	db.SetMaxOpenConns(1)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fault.Errorf(fault.Unavailable, "open %s: %w", name, err), db.Close())
	}
	return newDB(db, SQLite), nil
}

func openPostgres(ctx context.Context, o Options) (*DB, error) {
	cfg, err := pgx.ParseConfig(o.URL.Reveal())
	if err != nil {
		return nil, fault.New(fault.Invalid, "sql.url: must be postgres://user:password@host:port/database")
	}
	schema := schemaOf(o.Service)
	cfg.RuntimeParams["search_path"] = schema
	cfg.RuntimeParams["application_name"] = "wxbus-" + o.Service
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(maxConns)
	db.SetMaxIdleConns(maxConns)
	db.SetConnMaxLifetime(connLife)
	if err := createSchema(ctx, db, schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return newDB(db, Postgres), nil
}

func schemaOf(service string) string { return strings.ReplaceAll(service, "-", "_") }

// createSchema waits for a server that is starting.
func createSchema(ctx context.Context, db *sql.DB, schema string) error {
	query := "CREATE SCHEMA IF NOT EXISTS " + pgx.Identifier{schema}.Sanitize() //nolint:gosec // a quoted name of a service of ours
	for try := 1; ; try++ {
		_, err := db.ExecContext(ctx, query)
		switch {
		case err == nil, isUnique(err): // two processes at once: one of them loses, the schema is there
			return nil
		case !isConnection(err) || try == connectTries:
			return fault.Errorf(fault.Unavailable, "open Postgres: %w", err)
		}
		select {
		case <-ctx.Done():
			return fault.Errorf(fault.Unavailable, "open Postgres: %w", errors.Join(err, ctx.Err()))
		case <-time.After(connectPause):
		}
	}
}

// Close closes all connections and waits for queries under way.
func (d *DB) Close() error { return d.db.Close() }

// Ping tells whether the database answers; an Unavailable fault otherwise.
func (d *DB) Ping(ctx context.Context) error {
	if err := d.db.PingContext(ctx); err != nil {
		return fault.Errorf(fault.Unavailable, "ask the database: %w", err)
	}
	return nil
}

const txTries = 8

// InTx runs fn in a transaction: committed when fn returns nil, otherwise rolled back. When the database says
// that two transactions were in each other's way, fn runs again, a bounded number of times; it must have no
// effect outside. In Postgres the isolation is Read Committed: lock what you decide on (ForUpdate).
func (d *DB) InTx(ctx context.Context, fn func(context.Context, *Tx) error) error {
	for try := 1; ; try++ {
		err := d.once(ctx, fn)
		if err == nil || !isContention(err) || try == txTries {
			return err
		}
		select {
		case <-ctx.Done():
			return fault.Wrap(fault.Unavailable, errors.Join(err, ctx.Err()))
		case <-time.After(time.Duration(try*try) * 2 * time.Millisecond):
		}
	}
}

func (d *DB) once(ctx context.Context, fn func(context.Context, *Tx) error) (err error) {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return classify(fmt.Errorf("begin transaction: %w", err))
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // the first error is the one that matters
		}
	}()
	if err := fn(ctx, &Tx{Querier{run: tx, engine: d.engine}}); err != nil {
		return err
	}
	return classify(tx.Commit())
}
