// Package tables holds the SQL tables of the rule service, and the connection to them that may come late.
//
// Deciding needs no SQL. So the service starts without its database, keeps trying, and what needs the
// tables is Unavailable meanwhile.
package tables

import (
	"context"
	"embed"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
)

//go:embed migrations/*.sql
var embedded embed.FS

// Migrations returns the numbered files that make the tables.
func Migrations() fs.FS {
	sub, err := fs.Sub(embedded, "migrations")
	if err != nil {
		panic(err) // a fixed, valid path
	}
	return sub
}

const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
	// openTimeout bounds one try, so that a try which hangs is seen in the log.
	openTimeout = time.Minute
)

// Late is a database that is opened beside other work, however long that takes. It is safe for concurrent
// use.
type Late struct {
	options sqldb.Options
	log     *slog.Logger
	db      atomic.Pointer[sqldb.DB]
	cancel  context.CancelFunc
	done    chan struct{}
}

// NewLate returns a database that Start begins to open. The migrations of o are those of this package.
func NewLate(o sqldb.Options, log *slog.Logger) *Late {
	o.Migrations = Migrations()
	return &Late{options: o, log: log}
}

// DB returns the open database, or Unavailable while it is not open.
func (l *Late) DB() (*sqldb.DB, error) {
	if db := l.db.Load(); db != nil {
		return db, nil
	}
	return nil, fault.New(fault.Unavailable, "the database for editing rules is not available yet")
}

// Start begins to open the database and returns at once.
func (l *Late) Start(ctx context.Context) {
	ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	l.done = make(chan struct{})
	go l.open(ctx)
}

func (l *Late) open(ctx context.Context) {
	defer close(l.done)
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := l.try(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		l.log.WarnContext(ctx, "the database for editing rules cannot be opened, deciding goes on", logkey.Error, err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (l *Late) try(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	db, err := sqldb.Open(ctx, l.options)
	if err != nil {
		return err
	}
	l.db.Store(db)
	return nil
}

// Stop ends the trying and closes the database. It may be called twice and without Start.
func (l *Late) Stop() error {
	if l.cancel == nil {
		return nil
	}
	l.cancel()
	<-l.done
	if db := l.db.Swap(nil); db != nil {
		return db.Close()
	}
	return nil
}
