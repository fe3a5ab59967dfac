package sqldb

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
)

// runner is what *sql.DB and *sql.Tx have in common.
type runner interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Querier runs queries with ? for parameters. Errors carry a kind of package fault: NotFound for no row,
// Conflict for a key that exists and for transactions in each other's way, Unavailable for a database that
// does not answer, Invalid for a value that a constraint refuses.
type Querier struct {
	run    runner
	engine Engine
}

// Tx is a transaction, see DB.InTx.
type Tx struct{ Querier }

// Engine tells which engine answers.
func (q Querier) Engine() Engine { return q.engine }

// Exec runs a statement and returns how many rows it changed.
func (q Querier) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	res, err := q.run.ExecContext(ctx, q.bind(query), args...)
	if err != nil {
		return 0, classify(err)
	}
	n, err := res.RowsAffected()
	return n, classify(err)
}

// Row runs a query for one row and scans it; NotFound when there is none.
func (q Querier) Row(ctx context.Context, query string, args []any, into ...any) error {
	return classify(q.run.QueryRowContext(ctx, q.bind(query), args...).Scan(into...))
}

// Each runs a query and calls scan for each row. The first error ends it.
func (q Querier) Each(ctx context.Context, query string, args []any, scan func(Scanner) error) error {
	rows, err := q.run.QueryContext(ctx, q.bind(query), args...)
	if err != nil {
		return classify(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return classify(err)
		}
	}
	return classify(rows.Err())
}

// Scanner reads the columns of one row.
type Scanner interface {
	Scan(into ...any) error
}

// ForUpdate locks the rows of a SELECT until the end of the transaction. SQLite locks the whole database from
// the beginning of each transaction instead.
func (q Querier) ForUpdate() string {
	if q.engine == Postgres {
		return " FOR UPDATE"
	}
	return ""
}

// SkipLocked is ForUpdate that leaves out rows which another transaction holds.
func (q Querier) SkipLocked() string {
	if q.engine == Postgres {
		return " FOR UPDATE SKIP LOCKED"
	}
	return ""
}

// bind turns ? into $1, $2, … for Postgres. A question mark within quotes stays.
func (q Querier) bind(query string) string {
	if q.engine != Postgres || !strings.Contains(query, "?") {
		return query
	}
	var b strings.Builder
	b.Grow(len(query) + 8)
	n, quoted := 0, false
	for i := range len(query) {
		c := query[i]
		if c == '\'' {
			quoted = !quoted
		}
		if c != '?' || quoted {
			b.WriteByte(c)
			continue
		}
		n++
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
	}
	return b.String()
}

// In returns "?, ?, …" for n parameters, to be put between the parentheses of an IN.
func In(n int) string {
	if n <= 0 {
		return "NULL"
	}
	return strings.Repeat("?, ", n-1) + "?"
}
