package store_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/sqldb/sqldbtest"

	"github.com/wxbus/wxbus/services/console/internal/store"
)

func TestMain(m *testing.M) { sqldbtest.Main(m) }

// each runs a test for a store on each engine.
func each(t *testing.T, test func(t *testing.T, s *store.Store, raw *sqldb.DB)) {
	t.Helper()
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(engine), func(t *testing.T) {
			o := sqldbtest.Options(t, engine, store.Migrations())
			s := store.New(o, slog.New(slog.DiscardHandler))
			require.NoError(t, s.Start(t.Context()))
			t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
			<-s.Opened() // Start waits for a slow database for some seconds only
			test(t, s, sqldbtest.Open(t, o))
		})
	}
}

func admin(name string) *store.User {
	return &store.User{Name: name, DisplayName: name, Roles: []consolev1.Role{consolev1.Role_ROLE_ADMIN}, Accounts: []string{"*"}, PasswordHash: "x"}
}

func TestUsersAreKeptAndChanged(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store, _ *sqldb.DB) {
		ctx := t.Context()
		require.NoError(t, s.AddUser(ctx, admin("root")))
		require.ErrorIs(t, s.AddUser(ctx, admin("root")), store.ErrTaken)
		li := &store.User{Name: "li", Roles: []consolev1.Role{consolev1.Role_ROLE_AGENT}, Accounts: []string{"shop"}, Issuer: "https://idp", Subject: "7"}
		require.NoError(t, s.AddUser(ctx, li))

		got, err := s.UserByIdentity(ctx, "https://idp", "7")
		require.NoError(t, err)
		require.Equal(t, li, got)
		_, err = s.UserByIdentity(ctx, "", "")
		require.Equal(t, fault.NotFound, fault.KindOf(err), "users with a password have no identity to be found by")

		before, after, err := s.ChangeUser(ctx, "li", func(u *store.User) (bool, error) { u.DisplayName = "Li"; return false, nil })
		require.NoError(t, err)
		require.Equal(t, []string{"", "Li"}, []string{before.DisplayName, after.DisplayName})
		require.Equal(t, before.Revision+1, after.Revision)

		_, _, err = s.ChangeUser(ctx, "nobody", func(*store.User) (bool, error) { return false, nil })
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		all, err := s.Users(ctx)
		require.NoError(t, err)
		require.Len(t, all, 2)
	})
}

func TestOneAdministratorAlwaysRemains(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store, _ *sqldb.DB) {
		ctx := t.Context()
		require.NoError(t, s.AddUser(ctx, admin("a")))
		require.NoError(t, s.AddUser(ctx, admin("b")))
		var refused atomic.Int32
		var both sync.WaitGroup
		for _, name := range []string{"a", "b"} {
			both.Go(func() {
				_, _, err := s.ChangeUser(ctx, name, func(u *store.User) (bool, error) { u.Disabled = true; return true, nil })
				if fault.KindOf(err) == fault.Refused {
					refused.Add(1)
				}
			})
		}
		both.Wait()
		require.Equal(t, int32(1), refused.Load(), "of two who leave at the same time one is refused")
	})
}

func TestOfManyFirstUsersOneIsAdded(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store, _ *sqldb.DB) {
		var added atomic.Int32
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				ok, err := s.AddFirstUser(t.Context(), admin("admin"))
				if err == nil && ok {
					added.Add(1)
				}
				if err != nil {
					t.Errorf("%d: %v", i, err)
				}
			})
		}
		all.Wait()
		require.Equal(t, int32(1), added.Load())
	})
}

func session(hash byte, user string, at int64) *store.Session {
	return &store.Session{Hash: []byte{hash}, ID: fmt.Sprintf("s%d", hash), User: user, CreatedMS: at, SeenMS: at, ExpiresMS: at + 1000}
}

func TestSessionsEndWithTheirUserTheirTimeAndTheirNumber(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store, _ *sqldb.DB) {
		ctx := t.Context()
		require.NoError(t, s.AddUser(ctx, admin("root")))
		require.NoError(t, s.AddUser(ctx, admin("li")))
		for i := range byte(4) {
			require.NoError(t, s.OpenSession(ctx, session(i+1, "li", int64(i+1)), nil, 3))
		}
		_, _, err := s.SessionUser(ctx, []byte{1})
		require.Equal(t, fault.NotFound, fault.KindOf(err), "the oldest gave way")
		x, u, err := s.SessionUser(ctx, []byte{4})
		require.NoError(t, err)
		require.Equal(t, []string{"s4", "li"}, []string{x.ID, u.Name})
		require.Equal(t, int64(4), u.LastLogInMS)

		require.NoError(t, s.TouchSession(ctx, []byte{4}, 9))
		require.NoError(t, s.OpenSession(ctx, session(5, "li", 10), []byte{4}, 3))
		_, _, err = s.SessionUser(ctx, []byte{4})
		require.Equal(t, fault.NotFound, fault.KindOf(err), "a log-in replaces the session that it came with")

		require.Equal(t, fault.NotFound, fault.KindOf(s.RevokeSession(ctx, "s5", "root")), "not theirs")
		require.NoError(t, s.RevokeSession(ctx, "s5", "li"))
		left, err := s.Sessions(ctx, "li", 10)
		require.NoError(t, err)
		require.Len(t, left, 2)

		_, _, err = s.ChangeUser(ctx, "li", func(u *store.User) (bool, error) { u.Disabled = true; return true, nil })
		require.NoError(t, err)
		left, err = s.Sessions(ctx, "", 10)
		require.NoError(t, err)
		require.Empty(t, left)

		require.NoError(t, s.OpenSession(ctx, session(6, "root", 20), nil, 3))
		require.NoError(t, s.OpenSession(ctx, session(7, "root", 2000), nil, 3))
		left, err = s.Sessions(ctx, "root", 10)
		require.NoError(t, err)
		require.Len(t, left, 1, "what has expired is swept by the next log-in")
	})
}

func TestAttemptsWaitLongerAndLonger(t *testing.T) {
	limit := store.Limit{Free: 3, Base: 10 * time.Second, Max: time.Minute, Forget: time.Hour}
	each(t, func(t *testing.T, s *store.Store, raw *sqldb.DB) {
		ctx, now := t.Context(), time.Unix(1_800_000_000, 0)
		var waits []time.Duration
		for range 7 {
			for {
				err := s.TakeAttempt(ctx, "user:li", limit, now)
				if err == nil {
					break
				}
				require.Equal(t, fault.Exhausted, fault.KindOf(err))
				after, ok := fault.RetryAfter(err)
				require.True(t, ok)
				waits = append(waits, after)
				now = now.Add(after)
			}
		}
		require.Equal(t, []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute}, waits)

		require.NoError(t, s.TakeAttempt(ctx, "user:other", limit, now), "others do not wait")
		locked, err := s.LockedUntil(ctx, now.UnixMilli())
		require.NoError(t, err)
		require.Contains(t, locked, "user:li")
		require.NotContains(t, locked, "user:other")

		require.NoError(t, s.ForgiveAttempt(ctx, "user:li", true))
		require.NoError(t, s.TakeAttempt(ctx, "user:li", limit, now), "a success forgets the failures")

		require.NoError(t, s.TakeAttempt(ctx, "user:new", limit, now.Add(3*time.Hour)))
		var rows int
		require.NoError(t, raw.Row(ctx, "SELECT COUNT(*) FROM attempts", nil, &rows))
		require.Equal(t, 1, rows, "old rows are swept")
	})
}

func TestWhoTriesManyNamesDoesNotFillTheDatabase(t *testing.T) {
	limit := store.Limit{Free: 3, Base: 10 * time.Second, Max: time.Minute, Forget: time.Hour}
	each(t, func(t *testing.T, s *store.Store, raw *sqldb.DB) {
		ctx, now := t.Context(), time.Unix(1_800_000_000, 0)
		s.RememberAttempts(200)
		_, err := raw.Exec(ctx, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
			INSERT INTO attempts (subject, failures, last_ms, until_ms) SELECT 'user:guess' || i, 1, CAST(? AS BIGINT) - i, 0 FROM n`, now.UnixMilli())
		require.NoError(t, err)
		require.NoError(t, s.TakeAttempt(ctx, "user:li", limit, now))
		var rows, oldest int
		require.NoError(t, raw.Row(ctx, "SELECT COUNT(*) FROM attempts", nil, &rows))
		require.NoError(t, raw.Row(ctx, "SELECT COUNT(*) FROM attempts WHERE subject = 'user:guess201'", nil, &oldest))
		require.Equal(t, 201, rows, "the newest, and this one")
		require.Zero(t, oldest)
	})
}

func TestManyAttemptsAtOnceGetNoMoreThanTheirNumber(t *testing.T) {
	limit := store.Limit{Free: 5, Base: time.Minute, Max: time.Hour, Forget: time.Hour}
	each(t, func(t *testing.T, s *store.Store, _ *sqldb.DB) {
		var taken atomic.Int32
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if err := s.TakeAttempt(t.Context(), "ip:192.0.2.1", limit, time.Unix(1_800_000_000, 0)); err == nil {
					taken.Add(1)
				}
			})
		}
		all.Wait()
		require.LessOrEqual(t, taken.Load(), int32(5))
		require.Positive(t, taken.Load())
	})
}

func TestKeysAreFoundUsedAndRevokedOnce(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store, _ *sqldb.DB) {
		ctx := t.Context()
		k := &store.Key{ID: "wxk_a", Hash: []byte{1}, Name: "shop", Scopes: []string{"messages:write"}, Accounts: []string{"shop"}, CreatedBy: "root", CreatedMS: 1}
		require.NoError(t, s.AddKey(ctx, k))
		require.NoError(t, s.UseKey(ctx, "wxk_a", 5))
		require.NoError(t, s.UseKey(ctx, "wxk_a", 4))
		got, err := s.Key(ctx, "wxk_a")
		require.NoError(t, err)
		k.LastUsedMS = 5
		require.Equal(t, k, got)
		for _, at := range []int64{7, 9} {
			got, err = s.RevokeKey(ctx, "wxk_a", at)
			require.NoError(t, err)
			require.Equal(t, int64(7), got.RevokedMS)
		}
		_, err = s.RevokeKey(ctx, "wxk_b", 9)
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		all, err := s.Keys(ctx)
		require.NoError(t, err)
		require.Len(t, all, 1)
	})
}

func entries(n int) []*store.Entry {
	var out []*store.Entry
	for i := range n {
		out = append(out, &store.Entry{AtMS: int64(i + 1), Actor: "li", Action: "wxbus.console.v1.UserService/UpdateUser", Outcome: "ok", Target: fmt.Sprint(i)})
	}
	return out
}

func TestAuditIsAChainThatShowsTampering(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store, raw *sqldb.DB) {
		ctx := t.Context()
		c, err := s.CheckAudit(ctx)
		require.NoError(t, err)
		require.Equal(t, store.Chain{}, c, "an empty log is intact")

		require.NoError(t, s.AppendAudit(ctx, entries(3)))
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := s.AppendAudit(ctx, entries(2)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		c, err = s.CheckAudit(ctx)
		require.NoError(t, err)
		require.Equal(t, []int64{1, 9, 0}, []int64{c.First, c.Last, c.Broken}, "writers take turns")

		tamper := func(name, change, back string, want int64) {
			_, err := raw.Exec(ctx, change)
			require.NoError(t, err, name)
			c, err := s.CheckAudit(ctx)
			require.NoError(t, err, name)
			require.Equal(t, want, c.Broken, name)
			_, err = raw.Exec(ctx, back)
			require.NoError(t, err, name)
		}
		tamper("a change", "UPDATE audit SET actor = 'wang' WHERE seq = 2", "UPDATE audit SET actor = 'li' WHERE seq = 2", 2)
		tamper("a text moved to the next field", "UPDATE audit SET actor = 'l', action = 'i' || action WHERE seq = 2",
			"UPDATE audit SET actor = 'li', action = substr(action, 2) WHERE seq = 2", 2)
		_, err = raw.Exec(ctx, "DELETE FROM audit WHERE seq = 5")
		require.NoError(t, err)
		c, err = s.CheckAudit(ctx)
		require.NoError(t, err)
		require.Equal(t, int64(6), c.Broken, "a hole shows at the entry behind it")
		_, err = raw.Exec(ctx, "DELETE FROM audit WHERE seq >= 5")
		require.NoError(t, err)
		c, err = s.CheckAudit(ctx)
		require.NoError(t, err)
		require.Equal(t, int64(5), c.Broken, "a cut end shows")
	})
}

func TestAuditIsFilteredAndPruned(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store, _ *sqldb.DB) {
		ctx := t.Context()
		rows := entries(6)
		rows[3].Actor, rows[3].Account, rows[3].Outcome = "wang", "shop", "permission_denied"
		require.NoError(t, s.AppendAudit(ctx, rows))
		seqs := func(f store.AuditFilter) []int64 {
			if f.Limit == 0 {
				f.Limit = 10
			}
			got, err := s.Audit(ctx, f)
			require.NoError(t, err)
			out := []int64{}
			for _, e := range got {
				out = append(out, e.Seq)
			}
			return out
		}
		require.Equal(t, []int64{6, 5, 4, 3, 2, 1}, seqs(store.AuditFilter{}))
		require.Equal(t, []int64{3, 2}, seqs(store.AuditFilter{BeforeSeq: 4, Limit: 2}))
		require.Equal(t, []int64{4}, seqs(store.AuditFilter{Actor: "wang"}))
		require.Equal(t, []int64{4}, seqs(store.AuditFilter{Account: "shop", RefusedOnly: true}))
		require.Len(t, seqs(store.AuditFilter{Action: "wxbus.console.v1.UserService/"}), 6)
		require.Equal(t, []int64{3, 2}, seqs(store.AuditFilter{FromMS: 2, ToMS: 3}))

		n, err := s.PruneAudit(ctx, 4)
		require.NoError(t, err)
		require.Equal(t, int64(3), n)
		c, err := s.CheckAudit(ctx)
		require.NoError(t, err)
		require.Equal(t, []int64{4, 6, 0}, []int64{c.First, c.Last, c.Broken}, "what is kept is still a chain")
		_, err = s.PruneAudit(ctx, 1000)
		require.NoError(t, err)
		require.Equal(t, []int64{6}, seqs(store.AuditFilter{}), "the newest one stays")
	})
}

func TestAStoreWithoutADatabaseStartsAndAnswersUnavailable(t *testing.T) {
	s := store.New(sqldb.Options{Service: "console", URL: secret.New("postgres://nobody@127.0.0.1:1/none?connect_timeout=1")}, slog.New(slog.DiscardHandler))
	require.NoError(t, s.Start(t.Context()))
	_, err := s.Users(t.Context())
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.Equal(t, fault.Unavailable, fault.KindOf(s.Healthy(t.Context())))
	require.NoError(t, s.Stop(context.Background()))
	require.NoError(t, s.Stop(context.Background()))
}

func TestSubscriptionsAreLeasedReadAndRetried(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store, _ *sqldb.DB) {
		ctx := t.Context()
		w := &store.Webhook{ID: "wh_a", Name: "crm", URL: "https://example.com", Accounts: []string{"shop"}, Secret: []byte{1}, CreatedMS: 5}
		require.NoError(t, s.AddWebhook(ctx, w, map[string]uint64{"INBOUND": 7}, 1))
		require.Equal(t, fault.Exhausted, fault.KindOf(s.AddWebhook(ctx, &store.Webhook{ID: "wh_b", Secret: []byte{1}}, nil, 1)))

		lease := func(owner string, now int64) bool {
			ok, err := s.LeaseWebhook(ctx, "wh_a", owner, now, now+30)
			require.NoError(t, err)
			return ok
		}
		require.True(t, lease("one", 0))
		require.False(t, lease("two", 10), "one process serves a subscription")
		require.True(t, lease("one", 20), "and renews")
		require.True(t, lease("two", 50), "until its time is over")
		require.NoError(t, s.ReleaseWebhook(ctx, "wh_a", "two"))
		require.True(t, lease("one", 51))

		delivery := func(id string, state, attempts int) *store.Delivery {
			return &store.Delivery{ID: id, Webhook: "wh_a", Stream: "INBOUND", Seq: 9, Kind: "k", Account: "shop", State: state, Attempts: attempts, CreatedMS: int64(attempts), NextMS: 100, EndedMS: 50}
		}
		require.NoError(t, s.SaveProgress(ctx, store.Progress{Webhook: "wh_a", Stream: "INBOUND", Seq: 9, Failure: "status 500", OpenUntilMS: 70, Deliveries: []*store.Delivery{
			delivery("a", store.DeliveryPending, 1), delivery("b", store.DeliveryDead, 2), delivery("c", store.DeliveryDelivered, 3),
		}}))
		require.NoError(t, s.SaveProgress(ctx, store.Progress{Webhook: "wh_a", Deliveries: []*store.Delivery{delivery("a", store.DeliveryPending, 5)}}))
		cursors, err := s.Cursors(ctx, "wh_a")
		require.NoError(t, err)
		require.Equal(t, map[string]uint64{"INBOUND": 9}, cursors)
		got, err := s.Webhook(ctx, "wh_a")
		require.NoError(t, err)
		require.Equal(t, []any{int64(1), int64(1), "status 500", int64(0)}, []any{got.Pending, got.Dead, got.LastFailure, got.OpenUntilMS})

		due, err := s.DueDeliveries(ctx, "wh_a", 99, 10)
		require.NoError(t, err)
		require.Empty(t, due)
		due, err = s.DueDeliveries(ctx, "wh_a", 100, 10)
		require.NoError(t, err)
		require.Equal(t, 5, due[0].Attempts)
		n, err := s.RetryDeliveries(ctx, "wh_a", nil, 1)
		require.NoError(t, err)
		require.Equal(t, int64(1), n, "what was given up")
		n, err = s.RetryDeliveries(ctx, "wh_a", []string{"a", "b", "c"}, 1)
		require.NoError(t, err)
		require.Equal(t, int64(2), n, "what was delivered is not sent again")
		page, err := s.Deliveries(ctx, "wh_a", 0, "", 2)
		require.NoError(t, err)
		require.Equal(t, []string{"c", "b"}, []string{page[0].ID, page[1].ID})
		page, err = s.Deliveries(ctx, "wh_a", 0, "b", 2)
		require.NoError(t, err)
		require.Equal(t, "a", page[0].ID)

		require.NoError(t, s.PruneDeliveries(ctx, 60, 0))
		page, err = s.Deliveries(ctx, "wh_a", store.DeliveryDelivered, "", 2)
		require.NoError(t, err)
		require.Empty(t, page)
		_, after, err := s.ChangeWebhook(ctx, "wh_a", func(w *store.Webhook) error { w.Paused = true; return nil })
		require.NoError(t, err)
		require.True(t, after.Paused)
		require.NoError(t, s.DeleteWebhook(ctx, "wh_a"))
		require.Equal(t, fault.NotFound, fault.KindOf(s.DeleteWebhook(ctx, "wh_a")))
	})
}

// A process that dies between a change and the entry about its end leaves the attempt, and the chain goes on behind it.
func TestAttemptsWithoutAnEndStay(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store, raw *sqldb.DB) {
		ctx := t.Context()
		require.NoError(t, s.AppendAudit(ctx, entries(1)), "from before attempts were kept")
		rows := entries(4)
		rows[0].Outcome, rows[0].Attempt = store.Attempted, "done"
		rows[1].Outcome, rows[1].Attempt = store.Attempted, "died"
		rows[2].Attempt = "done"
		rows[3].Outcome = "permission_denied"
		require.NoError(t, s.AppendAudit(ctx, rows))
		seqs := func(f store.AuditFilter) (out []int64) {
			f.Limit = 10
			got, err := s.Audit(ctx, f)
			require.NoError(t, err)
			for _, e := range got {
				out = append(out, e.Seq)
			}
			return out
		}
		require.Equal(t, []int64{5, 4, 3, 1}, seqs(store.AuditFilter{}), "one line for a change whose end is known")
		require.Equal(t, []int64{3}, seqs(store.AuditFilter{OpenOnly: true}))
		require.Equal(t, []int64{5}, seqs(store.AuditFilter{RefusedOnly: true}), "nobody refused what was begun")
		c, err := s.CheckAudit(ctx)
		require.NoError(t, err)
		require.Equal(t, []int64{1, 5, 0}, []int64{c.First, c.Last, c.Broken})
		_, err = raw.Exec(ctx, "UPDATE audit SET attempt = 'died' WHERE seq = 4")
		require.NoError(t, err)
		c, err = s.CheckAudit(ctx)
		require.NoError(t, err)
		require.EqualValues(t, 4, c.Broken, "nobody gives an attempt the end of another one")
	})
}
