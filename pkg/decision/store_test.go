package decision_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/testkit"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// never is a poll pace that no test waits for: what returns earlier was woken up.
const never = time.Hour

func newStore(t *testing.T) (*decision.Store, *bustest.Env) {
	env := bustest.Start(t)
	return decision.NewStore(env.Conn, env.Topology).WithClock(func() time.Time { return before }), env
}

func TestStoreFirstWriteWins(t *testing.T) {
	store, _ := newStore(t)
	first, second := record(rulev1.Route_ROUTE_PASSIVE), record(rulev1.Route_ROUTE_NONE)
	seq, err := store.Create(t.Context(), first)
	require.NoError(t, err)

	_, err = store.Create(t.Context(), second)
	require.ErrorIs(t, err, decision.ErrExists)
	require.Equal(t, fault.Conflict, fault.KindOf(err))

	got, at, err := store.Get(t.Context(), first.GetAccount(), first.GetOpenid(), first.GetId())
	require.NoError(t, err)
	require.Equal(t, seq, at)
	require.True(t, proto.Equal(first, got))
}

func TestStoreGetWithoutARecord(t *testing.T) {
	store, _ := newStore(t)
	_, _, err := store.Get(t.Context(), "shop", "o_fan", "unknown")
	require.ErrorIs(t, err, decision.ErrNotFound)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, _, err = store.Change(t.Context(), "shop", "o_fan", "unknown", decision.Release{Server: "gw"})
	require.ErrorIs(t, err, decision.ErrNotFound)
}

func TestStoreRefusesAnIDThatIsNoToken(t *testing.T) {
	store, _ := newStore(t)
	_, _, err := store.Get(t.Context(), "shop", "o_fan", "a.b")
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

func TestStoreChange(t *testing.T) {
	store, _ := newStore(t)
	rec := record(rulev1.Route_ROUTE_PASSIVE, claimBy("gw", pendingState))
	_, err := store.Create(t.Context(), rec)
	require.NoError(t, err)

	_, _, err = store.Change(t.Context(), rec.GetAccount(), rec.GetOpenid(), rec.GetId(), decision.MoveToAsync{})
	require.ErrorIs(t, err, decision.ErrForbidden)

	got, seq, err := store.Change(t.Context(), rec.GetAccount(), rec.GetOpenid(), rec.GetId(), decision.Release{Server: "gw"})
	require.NoError(t, err)
	require.Equal(t, releasedState, got.GetClaims()[0].GetState())

	again, same, err := store.Change(t.Context(), rec.GetAccount(), rec.GetOpenid(), rec.GetId(), decision.Release{Server: "gw"})
	require.NoError(t, err)
	require.Equal(t, seq, same, "a repeat writes nothing")
	require.True(t, proto.Equal(got, again))

	got, _, err = store.ChangeAt(t.Context(), got, seq, decision.MoveToAsync{Reason: "undeliverable"})
	require.NoError(t, err)
	require.Equal(t, rulev1.Route_ROUTE_ASYNC, got.GetRoute())
}

func TestStoreChangeAtAnOldVersion(t *testing.T) {
	store, _ := newStore(t)
	rec := record(rulev1.Route_ROUTE_PASSIVE)
	seq, err := store.Create(t.Context(), rec)
	require.NoError(t, err)
	_, _, err = store.Change(t.Context(), rec.GetAccount(), rec.GetOpenid(), rec.GetId(), decision.Claim{Server: "retry", Until: before})
	require.NoError(t, err)

	_, _, err = store.ChangeAt(t.Context(), rec, seq, decision.MoveToAsync{})
	require.ErrorIs(t, err, decision.ErrContended, "a retry that claimed in between wins")
}

// TestStoreRace lets gateways claim while the rule moves the reply to async: whoever wins, the record
// is lawful and every claim is in it.
func TestStoreRace(t *testing.T) {
	store, _ := newStore(t)
	for range 30 {
		rec := record(rulev1.Route_ROUTE_PASSIVE)
		rec.Id = rec.Id[:20] + time.Now().Format("150405.000000")[7:] + "000000"
		_, err := store.Create(t.Context(), rec)
		require.NoError(t, err)
		var claimed atomic.Int32
		var moved atomic.Bool
		var wg sync.WaitGroup
		for _, name := range []string{"a", "b", "c"} {
			wg.Go(func() {
				_, _, err := store.Change(t.Context(), rec.GetAccount(), rec.GetOpenid(), rec.GetId(), decision.Claim{Server: name, Until: before})
				if err == nil {
					claimed.Add(1)
				} else if !errors.Is(err, decision.ErrForbidden) {
					t.Errorf("claim: %v", err)
				}
			})
		}
		wg.Go(func() {
			_, _, err := store.Change(t.Context(), rec.GetAccount(), rec.GetOpenid(), rec.GetId(), decision.MoveToAsync{})
			moved.Store(err == nil)
		})
		wg.Wait()
		got, _, err := store.Get(t.Context(), rec.GetAccount(), rec.GetOpenid(), rec.GetId())
		require.NoError(t, err)
		requireLawful(t, got)
		require.Len(t, got.GetClaims(), int(claimed.Load()))
		require.NotEqual(t, moved.Load(), claimed.Load() > 0, "either claims or async")
	}
}

func TestAwaitReturnsWhatIsThere(t *testing.T) {
	store, _ := newStore(t)
	rec := record(rulev1.Route_ROUTE_NONE)
	_, err := store.Create(t.Context(), rec)
	require.NoError(t, err)
	got, _, err := store.WithPoll(never).Await(t.Context(), rec.GetAccount(), rec.GetOpenid(), rec.GetId())
	require.NoError(t, err)
	require.True(t, proto.Equal(rec, got))
}

// TestAwaitLosesNoWakeUp starts waiting and writing at the same moment, many times. Without polling
// a lost wake-up would wait until the test's patience ends.
func TestAwaitLosesNoWakeUp(t *testing.T) {
	store, env := newStore(t)
	conn := env.NewConn(t, "waiter")
	waiter := decision.NewStore(conn, env.Topology).WithPoll(never)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for i := range 200 {
		rec := record(rulev1.Route_ROUTE_PASSIVE)
		rec.Id = rec.Id[:29] + string([]byte{'a' + byte(i/26/26), 'a' + byte(i/26%26), 'a' + byte(i%26)})
		var wg sync.WaitGroup
		wg.Go(func() {
			got, seq, err := waiter.Await(ctx, rec.GetAccount(), rec.GetOpenid(), rec.GetId())
			if err != nil {
				t.Errorf("await: %v", err)
				return
			}
			for len(got.GetClaims()) == 0 {
				if got, seq, err = waiter.AwaitAfter(ctx, rec.GetAccount(), rec.GetOpenid(), rec.GetId(), seq); err != nil {
					t.Errorf("await the change: %v", err)
					return
				}
			}
		})
		_, err := store.Create(ctx, rec)
		require.NoError(t, err)
		_, _, err = store.Change(ctx, rec.GetAccount(), rec.GetOpenid(), rec.GetId(), decision.Claim{Server: "gw", Until: before})
		require.NoError(t, err)
		wg.Wait()
	}
	require.LessOrEqual(t, conn.NC().NumSubscriptions(), 2, "the inboxes of publishes and of requests are left")
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	store, _ := newStore(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, _, err := store.Await(ctx, "shop", "o_fan", "0123456789abcdef0123456789abcdef")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
}

func TestStoreWithoutAServer(t *testing.T) {
	store, env := newStore(t)
	rec := record(rulev1.Route_ROUTE_PASSIVE)
	_, err := store.Create(t.Context(), rec)
	require.NoError(t, err)
	require.NoError(t, env.Server.Stop(t.Context()))

	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, _, err = store.Get(ctx, rec.GetAccount(), rec.GetOpenid(), rec.GetId())
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	_, err = store.Create(ctx, rec)
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.NotErrorIs(t, err, decision.ErrExists)
}
