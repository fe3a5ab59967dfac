package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/wxbus/wxbus/pkg/fault"
)

// SQLSTATE classes and codes of Postgres that mean something to us.
const (
	pgUnique        = "23505"
	pgConstraint    = "23" // class: integrity constraint
	pgSerialization = "40001"
	pgDeadlock      = "40P01"
	pgConnection    = "08" // class: connection exception
	pgNotNow        = "57" // class: operator intervention, e.g. starting up
	pgResources     = "53" // class: insufficient resources
)

// classify gives an error of a driver its kind. An error that has one keeps it.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return fault.Wrap(fault.NotFound, err)
	case isUnique(err), isContention(err):
		return fault.Wrap(fault.Conflict, err)
	case isConstraint(err):
		return fault.Wrap(fault.Invalid, err)
	case isConnection(err):
		return fault.Wrap(fault.Unavailable, err)
	}
	return err
}

// IsUnique tells whether err says that a key exists already.
func IsUnique(err error) bool { return isUnique(err) }

func isUnique(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == pgUnique || pg.Code == "42P06" // duplicate_schema
	}
	lite, ok := errors.AsType[*sqlite.Error](err)
	return ok && (lite.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || lite.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

func isConstraint(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return strings.HasPrefix(pg.Code, pgConstraint)
	}
	lite, ok := errors.AsType[*sqlite.Error](err)
	return ok && lite.Code()&0xff == sqlite3.SQLITE_CONSTRAINT
}

func isContention(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == pgSerialization || pg.Code == pgDeadlock
	}
	lite, ok := errors.AsType[*sqlite.Error](err)
	return ok && (lite.Code()&0xff == sqlite3.SQLITE_BUSY || lite.Code()&0xff == sqlite3.SQLITE_LOCKED)
}

func isConnection(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return strings.HasPrefix(pg.Code, pgConnection) || strings.HasPrefix(pg.Code, pgNotNow) || strings.HasPrefix(pg.Code, pgResources)
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
