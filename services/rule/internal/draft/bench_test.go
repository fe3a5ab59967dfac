package draft_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/sqldb/sqldbtest"
	"github.com/wxbus/wxbus/services/rule/internal/draft"
	"github.com/wxbus/wxbus/services/rule/internal/tables"
)

// BenchmarkFollow takes publications over: the first one, and one in which a single rule has changed.
func BenchmarkFollow(b *testing.B) {
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		for _, n := range []int{1_000, 100_000} {
			names := make([]string, n)
			for i := range names {
				names[i] = fmt.Sprintf("rule%06d", i)
			}
			first := rules(names...)
			second := strings.Replace(first, "about rule000500", "changed", 1)
			b.Run(fmt.Sprintf("%s/first/%d", engine, n), func(b *testing.B) {
				for range b.N {
					live := &played{files: map[string][]byte{}}
					db := sqldbtest.Open(b, sqldbtest.Options(b, engine, tables.Migrations()))
					store := draft.New(db, live, checker{}, time.Now)
					live.publish("li", first)
					b.StartTimer()
					require.NoError(b, store.Follow(b.Context()))
					b.StopTimer()
				}
			})
			b.Run(fmt.Sprintf("%s/next/%d", engine, n), func(b *testing.B) {
				live := &played{files: map[string][]byte{}}
				db := sqldbtest.Open(b, sqldbtest.Options(b, engine, tables.Migrations()))
				store := draft.New(db, live, checker{}, time.Now)
				live.publish("li", first)
				require.NoError(b, store.Follow(b.Context()))
				b.ResetTimer()
				for i := range b.N {
					live.publish("li", []string{second, first}[i%2])
					require.NoError(b, store.Follow(b.Context()))
				}
			})
		}
	}
}
