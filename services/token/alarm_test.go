package token_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

// alarms waits for n events of the account and returns all that there are.
func (f *fixture) alarms(t testing.TB, n int) []*tokenv1.AccountAlarmRaised {
	t.Helper()
	stream, err := f.env.JS.Stream(t.Context(), topology.StreamAlarms)
	require.NoError(t, err)
	var state jetstream.StreamState
	require.Eventually(t, func() bool {
		info, err := stream.Info(t.Context())
		require.NoError(t, err)
		state = info.State
		return state.Msgs >= uint64(n)
	}, time.Minute, 10*time.Millisecond)
	var out []*tokenv1.AccountAlarmRaised
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		require.NoError(t, err)
		if m.Header.Get("Wxbus-Type") == "wxbus.token.v1.AccountAlarmEnded" {
			continue
		}
		a := &tokenv1.AccountAlarmRaised{}
		require.NoError(t, proto.Unmarshal(m.Data, a))
		subject, err := topology.SubjectAlarm("shop", a.GetKind())
		require.NoError(t, err)
		require.Equal(t, subject, m.Subject)
		require.Equal(t, "wxbus.token.v1.AccountAlarmRaised", m.Header.Get("Wxbus-Type"))
		require.NotContains(t, string(m.Data), "the-app-secret")
		require.NotContains(t, string(m.Data), "of-the-account", "no token is told")
		out = append(out, a)
	}
	return out
}

// ended waits for the end of the first alarm and returns all ends that there are.
func (f *fixture) ended(t testing.TB) []*tokenv1.AccountAlarmEnded {
	t.Helper()
	require.Eventually(t, func() bool { return f.record(t).GetAlarms()[0].GetEndTold() }, time.Minute, 10*time.Millisecond)
	stream, err := f.env.JS.Stream(t.Context(), topology.StreamAlarms)
	require.NoError(t, err)
	state := stream.CachedInfo().State
	var out []*tokenv1.AccountAlarmEnded
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		require.NoError(t, err)
		if m.Header.Get("Wxbus-Type") != "wxbus.token.v1.AccountAlarmEnded" {
			continue
		}
		e := &tokenv1.AccountAlarmEnded{}
		require.NoError(t, proto.Unmarshal(m.Data, e))
		out = append(out, e)
	}
	return out
}

// told waits until the record says that n events were told of its first alarm.
func (f *fixture) told(t testing.TB, n uint32) {
	t.Helper()
	require.Eventually(t, func() bool { return f.record(t).GetAlarms()[0].GetTold() == n }, time.Minute, 10*time.Millisecond)
}

func TestAnotherSystemThatRefreshesIsToldWithTheEvidence(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	get(t, s)
	f.clock.Advance(20 * time.Second)
	f.wechat.set(func(w *fakeWeChat) { w.replace() })
	_, err := bad(t, s, 1)
	require.NoError(t, err)

	got := f.alarms(t, 1)[0]
	require.Equal(t, "shop", got.GetAccount())
	require.Equal(t, tokenv1.AccountAlarmKind_ACCOUNT_ALARM_KIND_OUTSIDE_REFRESH, got.GetKind())
	require.Equal(t, f.clock.Now().UnixMilli(), got.GetFirstSeenUnixMs())
	require.Equal(t, got.GetFirstSeenUnixMs(), got.GetLastSeenUnixMs())
	require.EqualValues(t, 1, got.GetCount())
	require.EqualValues(t, 40001, got.GetErrcode())
	require.Contains(t, got.GetDetail(), "find it")
	require.EqualValues(t, 1, got.GetOutside().GetGeneration())
	require.True(t, got.GetOutside().GetReplaced())
	require.Equal(t, (20 * time.Second).Milliseconds(), got.GetOutside().GetDiedUnixMs()-got.GetOutside().GetFetchedUnixMs())

	status := tokenStatus(t, s).GetAlarms()
	require.Len(t, status, 1)
	require.Equal(t, got.GetKind(), status[0].GetKind())
	require.EqualValues(t, 1, status[0].GetCount())
}

// TestATroubleThatGoesOnIsToldOnceInAPeriod: two replicas see it, and there is one event at once and one an hour later.
func TestATroubleThatGoesOnIsToldOnceInAPeriod(t *testing.T) {
	f := setUp(t)
	a, b := f.replica(t, "a"), f.replica(t, "b")
	f.wechat.set(func(w *fakeWeChat) { w.errcode, w.errmsg = 40125, "invalid appsecret" })
	fails := func() {
		f.clock.Advance(f.cfg.RefusedBackoff)
		_, err := a.GetToken(t.Context(), &tokenv1.GetTokenRequest{Account: "shop"})
		require.Equal(t, fault.Refused, fault.KindOf(err))
		_, err = b.GetToken(t.Context(), &tokenv1.GetTokenRequest{Account: "shop"})
		require.Equal(t, fault.Refused, fault.KindOf(err))
	}
	fails()
	first := f.alarms(t, 1)[0]
	f.told(t, 1)
	require.EqualValues(t, 1, first.GetNumber())
	for range 5 {
		fails()
	}
	seen := f.record(t).GetAlarms()[0].GetCount()
	require.EqualValues(t, 12, seen)
	f.clock.Advance(f.cfg.AlarmEvery)
	events := f.alarms(t, 2)
	f.told(t, 2)
	require.Len(t, events, 2)
	require.EqualValues(t, 2, events[1].GetNumber())
	require.Equal(t, seen, events[1].GetCount())
	require.Equal(t, first.GetFirstSeenUnixMs(), events[1].GetFirstSeenUnixMs())
	require.Greater(t, events[1].GetLastSeenUnixMs(), first.GetLastSeenUnixMs())
	require.Equal(t, tokenv1.AccountAlarmKind_ACCOUNT_ALARM_KIND_CREDENTIALS, first.GetKind())
	require.EqualValues(t, 40125, first.GetErrcode())
	require.Contains(t, first.GetDetail(), "check app_secret")
}

func TestAnAddressThatIsNotInTheWhitelistIsTold(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	f.wechat.set(func(w *fakeWeChat) {
		w.errcode, w.errmsg = 40164, "invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist rid: 1"
	})
	_, err := s.GetToken(t.Context(), &tokenv1.GetTokenRequest{Account: "shop"})
	require.Error(t, err)
	got := f.alarms(t, 1)[0]
	require.Equal(t, tokenv1.AccountAlarmKind_ACCOUNT_ALARM_KIND_ADDRESS, got.GetKind())
	require.Equal(t, "203.0.113.9", got.GetAddress())
	require.Contains(t, got.GetDetail(), "whitelist")
}

func TestAUsedUpBudgetOfForcedRefreshesIsTold(t *testing.T) {
	f := setUp(t)
	f.cfg.ForcedPerDay = 1
	s := f.replica(t, "a")
	get(t, s)
	f.clock.Advance(time.Hour)
	_, err := bad(t, s, 1)
	require.NoError(t, err)
	f.clock.Advance(time.Hour)
	_, err = bad(t, s, 2)
	require.Equal(t, fault.Exhausted, fault.KindOf(err), fmt.Sprint(err))
	got := f.alarms(t, 1)[0]
	require.Equal(t, tokenv1.AccountAlarmKind_ACCOUNT_ALARM_KIND_FORCED_BUDGET, got.GetKind())
	require.Equal(t, f.clock.Now().Add(23*time.Hour).UnixMilli(), got.GetForcedAtUnixMs())
}

func TestAWeChatInTroubleIsNoAlarm(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	for _, errcode := range []int{-1, 45009, 45011} {
		f.wechat.set(func(w *fakeWeChat) { w.errcode = errcode })
		f.clock.Advance(time.Hour)
		_, err := s.GetToken(t.Context(), &tokenv1.GetTokenRequest{Account: "shop"})
		require.Error(t, err)
	}
	require.Empty(t, f.record(t).GetAlarms())
}

// TestCredentialsThatWorkAgainAreToldOnceByTwoReplicas: the end names the trouble that was told of.
func TestCredentialsThatWorkAgainAreToldOnceByTwoReplicas(t *testing.T) {
	f := setUp(t)
	a := f.replica(t, "a")
	f.replica(t, "b")
	f.wechat.set(func(w *fakeWeChat) { w.errcode, w.errmsg = 40125, "invalid appsecret" })
	_, err := a.GetToken(t.Context(), &tokenv1.GetTokenRequest{Account: "shop"})
	require.Error(t, err)
	first := f.alarms(t, 1)[0]
	f.told(t, 1)

	f.wechat.set(func(w *fakeWeChat) { w.errcode = 0 })
	f.clock.Advance(f.cfg.RefusedBackoff)
	get(t, a)
	repaired := f.clock.Now()
	require.Empty(t, tokenStatus(t, a).GetAlarms(), "it does not go on")
	f.clock.Advance(time.Minute)
	ends := f.ended(t)
	require.Len(t, ends, 1)
	require.Equal(t, "shop", ends[0].GetAccount())
	require.Equal(t, first.GetKind(), ends[0].GetKind())
	require.Equal(t, first.GetFirstSeenUnixMs(), ends[0].GetFirstSeenUnixMs())
	require.Equal(t, first.GetLastSeenUnixMs(), ends[0].GetLastSeenUnixMs())
	require.Equal(t, tokenv1.AccountAlarmEnd_ACCOUNT_ALARM_END_REPAIRED, ends[0].GetEnd())
	require.Equal(t, repaired.UnixMilli(), ends[0].GetEndedUnixMs())
}

func TestAnotherSystemThatIsQuietForADayIsOver(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	get(t, s)
	f.clock.Advance(20 * time.Second)
	f.wechat.set(func(w *fakeWeChat) { w.replace() })
	_, err := bad(t, s, 1)
	require.NoError(t, err)
	seen := f.alarms(t, 1)[0].GetLastSeenUnixMs()
	f.told(t, 1)
	f.clock.Advance(24 * time.Hour)
	ends := f.ended(t)
	require.Len(t, ends, 1)
	require.Equal(t, tokenv1.AccountAlarmEnd_ACCOUNT_ALARM_END_QUIET, ends[0].GetEnd())
	require.Equal(t, seen, ends[0].GetEndedUnixMs())
}
