package app_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/sqldb/sqldbtest"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

// BenchmarkAssign measures one decision, from the lock of the queue to the commit, with 10 000 open conversations of 500 agents in
// 10 groups. The aim is a p99 of 10 ms.
func BenchmarkAssign(b *testing.B) {
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		b.Run(string(engine), func(b *testing.B) {
			w := newWorld(b, sqldbtest.Open(b, sqldbtest.Options(b, engine, store.Migrations())))
			crowd(b, w)
			var took []time.Duration
			for n := 0; b.Loop(); n++ {
				b.StopTimer()
				group := fmt.Sprintf("g%d", n%10)
				id := w.queued(b, group, n)
				b.StartTimer()
				start := time.Now()
				require.NoError(b, w.desk.Dispatch(w.ctx, group))
				took = append(took, time.Since(start))
				b.StopTimer()
				require.NotEqual(b, domain.Waiting, w.conversation(id).State)
				b.StartTimer()
			}
			slices.Sort(took)
			for _, percent := range []int{50, 99} {
				b.ReportMetric(float64(took[len(took)*percent/100].Microseconds())/1000, fmt.Sprintf("p%d-ms", percent))
			}
		})
	}
}

// crowd fills the tables: each agent has 20 conversations, and room for many more.
func crowd(b *testing.B, w *world) {
	b.Helper()
	q, err := w.store.Query()
	require.NoError(b, err)
	for n := range 10 {
		w.group(domain.Group{ID: fmt.Sprintf("g%d", n)})
	}
	for n := range 500 {
		id := fmt.Sprintf("agent-%03d", n)
		require.NoError(b, q.SaveMember(w.ctx, domain.Member{ID: id, Name: id, Groups: []string{fmt.Sprintf("g%d", n%10)}, Capacity: 1000}))
		require.NoError(b, q.SetPresence(w.ctx, id, domain.Online, w.clock.Now(), w.clock.Now().Add(time.Hour)))
		for k := range 20 {
			c := domain.Conversation{
				Account: shop, ID: fmt.Sprintf("c-%d-%d", n, k), OpenID: fmt.Sprintf("o-%d-%d", n, k), State: domain.Active, Group: fmt.Sprintf("g%d", n%10), Agent: id,
				Number: 3, Opened: w.clock.Now(), StateSince: w.clock.Now(), IdleFrom: w.clock.Now(),
			}
			require.NoError(b, q.SaveConversation(w.ctx, c, w.clock.Now().Add(time.Hour)))
		}
	}
}

// queued puts one more fan into a queue without deciding.
func (w *world) queued(b *testing.B, group string, n int) string {
	b.Helper()
	q, err := w.store.Query()
	require.NoError(b, err)
	openID := fmt.Sprintf("bench-%d", n)
	c := domain.Open(shop, openID, openID, domain.Group{ID: group}, "", "rule", w.clock.Now(), w.clock.Now())
	require.NoError(b, q.AddFan(w.ctx, domain.Fan{
		Account: shop, OpenID: openID, Owner: domain.Owner{Kind: domain.Queue, Name: group, Epoch: 1}, Conversation: openID, LastConversation: openID, FirstSeen: w.clock.Now(),
	}))
	require.NoError(b, q.SaveConversation(w.ctx, c, time.Time{}))
	return openID
}
