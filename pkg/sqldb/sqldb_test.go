package sqldb_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/sqldb/sqldbtest"
)

func TestMain(m *testing.M) { sqldbtest.Main(m) }

var migrations = os.DirFS("testdata/migrations")

func TestRowsKeysAndBytes(t *testing.T) {
	sqldbtest.Each(t, migrations, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		n, err := db.Exec(ctx, "INSERT INTO things (name, body) VALUES (?, ?), ('what?', ?)", "a", []byte{0, 255}, nil)
		require.NoError(t, err)
		require.EqualValues(t, 2, n)

		var id int64
		var body []byte
		require.NoError(t, db.Row(ctx, "SELECT id, body FROM things WHERE name = ?", []any{"a"}, &id, &body))
		require.Positive(t, id)
		require.Equal(t, []byte{0, 255}, body)
		require.NoError(t, db.Row(ctx, "SELECT id FROM things WHERE name = 'what?' AND size = ?", []any{0}, &id), "a quoted question mark stays")

		var names []string
		require.NoError(t, db.Each(ctx, "SELECT name FROM things WHERE name IN ("+sqldb.In(2)+") ORDER BY name", []any{"a", "what?"}, func(r sqldb.Scanner) error {
			var name string
			names = append(names, "")
			err := r.Scan(&name)
			names[len(names)-1] = name
			return err
		}))
		require.Equal(t, []string{"a", "what?"}, names)
	})
}

func TestErrorsHaveAKind(t *testing.T) {
	sqldbtest.Each(t, migrations, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		var id int64
		require.Equal(t, fault.NotFound, fault.KindOf(db.Row(ctx, "SELECT id FROM things WHERE name = ?", []any{"nobody"}, &id)))
		_, err := db.Exec(ctx, "INSERT INTO things (name) VALUES (?)", "a")
		require.NoError(t, err)
		_, err = db.Exec(ctx, "INSERT INTO things (name) VALUES (?)", "a")
		require.True(t, sqldb.IsUnique(err))
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		_, err = db.Exec(ctx, "INSERT INTO things (name, size) VALUES (?, ?)", "b", -1)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		_, err = db.Exec(canceled, "INSERT INTO things (name) VALUES ('c')")
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
	})
}

func TestATransactionIsAllOrNothing(t *testing.T) {
	sqldbtest.Each(t, migrations, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		no := errors.New("no")
		err := db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO things (name) VALUES ('a')")
			return errors.Join(err, no)
		})
		require.ErrorIs(t, err, no)
		var n int
		require.NoError(t, db.Row(ctx, "SELECT COUNT(*) FROM things", nil, &n))
		require.Zero(t, n)
	})
}

func TestWritersDoNotLoseUpdates(t *testing.T) {
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(engine), func(t *testing.T) {
			o := sqldbtest.Options(t, engine, migrations)
			replicas := []*sqldb.DB{sqldbtest.Open(t, o), sqldbtest.Open(t, o)}
			_, err := replicas[0].Exec(t.Context(), "INSERT INTO things (name) VALUES ('counter')")
			require.NoError(t, err)
			group, ctx := errgroup.WithContext(t.Context())
			for i := range 4 {
				group.Go(func() error {
					for range 25 {
						if err := replicas[i%2].InTx(ctx, increment); err != nil {
							return err
						}
					}
					return nil
				})
			}
			require.NoError(t, group.Wait())
			var size int
			require.NoError(t, replicas[1].Row(t.Context(), "SELECT size FROM things", nil, &size))
			require.Equal(t, 100, size)
		})
	}
}

func increment(ctx context.Context, tx *sqldb.Tx) error {
	var size int
	if err := tx.Row(ctx, "SELECT size FROM things WHERE name = 'counter'"+tx.ForUpdate(), nil, &size); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "UPDATE things SET size = ? WHERE name = 'counter'", size+1)
	return err
}

func TestSeveralProcessesMayMigrateAtOnce(t *testing.T) {
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(engine), func(t *testing.T) {
			o := sqldbtest.Options(t, engine, migrations)
			if engine == sqldb.SQLite {
				sqldbtest.Open(t, o) // one process has the file; a second one may come later
			}
			var group errgroup.Group
			for range 3 {
				group.Go(func() error {
					db, err := sqldb.Open(t.Context(), o)
					if err != nil {
						return err
					}
					return db.Close()
				})
			}
			require.NoError(t, group.Wait())
		})
	}
}

func TestAMigrationThatIsCutOffMayBeTriedAgain(t *testing.T) {
	slow := fstest.MapFS{"00001_slow.sql": {Data: []byte("-- +goose Up\nSELECT pg_sleep(60);\n")}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := sqldb.Open(ctx, sqldbtest.Options(t, sqldb.Postgres, slow))
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
}

func TestAMigrationThatFailsIsNamed(t *testing.T) {
	broken := fstest.MapFS{"00001_broken.sql": {Data: []byte("-- +goose Up\nCREATE TABEL x (id BIGINT);\n")}}
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(engine), func(t *testing.T) {
			_, err := sqldb.Open(t.Context(), sqldbtest.Options(t, engine, broken))
			require.ErrorContains(t, err, "migrate 00001_broken.sql")
			require.Equal(t, fault.Permanent, fault.KindOf(err))
		})
	}
}

func TestAWrongURLIsRefusedWithoutShowingIt(t *testing.T) {
	_, err := sqldb.Open(t.Context(), sqldb.Options{Service: "x", URL: secret.New("postgres://user:canary@:bad:/")})
	require.ErrorContains(t, err, "sql.url")
	require.NotContains(t, err.Error(), "canary")
}
