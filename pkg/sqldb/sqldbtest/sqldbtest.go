// Package sqldbtest runs tests against both engines: SQLite in a file, and a real Postgres from Debian's
// package. A missing Postgres is a failure that says how to install it, never a skip.
package sqldbtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/sqldb"
)

// URLEnv names the variable with the URL of a Postgres that tests may fill. Without it a package starts one of
// its own, on a free port of loopback, and stops it at its end (see Main).
const URLEnv = "WXBUS_TEST_POSTGRES"

// Each runs test once for each engine, as subtests "sqlite" and "postgres", each with fresh tables.
func Each(t *testing.T, migrations fs.FS, test func(t *testing.T, db *sqldb.DB)) {
	t.Helper()
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(engine), func(t *testing.T) {
			test(t, Open(t, Options(t, engine, migrations)))
		})
	}
}

// Options returns what opens a fresh, empty database of an engine. Opening it twice gives two replicas of a
// service on the same tables.
func Options(t testing.TB, engine sqldb.Engine, migrations fs.FS) sqldb.Options {
	t.Helper()
	o := sqldb.Options{Service: "t_" + strings.ToLower(rand.Text()[:12]), Migrations: migrations}
	if engine == sqldb.SQLite {
		o.Dir = t.TempDir()
		return o
	}
	o.URL = URL(t)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		db, err := sqldb.Open(ctx, sqldb.Options{Service: o.Service, URL: o.URL})
		require.NoError(t, err)
		_, err = db.Exec(ctx, "DROP SCHEMA "+o.Service+" CASCADE")
		require.NoError(t, err)
		require.NoError(t, db.Close())
	})
	return o
}

// Open opens a database that the test closes at its end.
func Open(t testing.TB, o sqldb.Options) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// URL returns the URL of a Postgres that lives as long as the test binary.
func URL(t testing.TB) secret.Value {
	t.Helper()
	if url := os.Getenv(URLEnv); url != "" {
		return secret.New(url)
	}
	s, err := own()
	require.NoError(t, err, "start Postgres: install it with scripts/postgres.sh, or set %s", URLEnv)
	return secret.New(fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", s.port))
}
