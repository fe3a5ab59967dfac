package record_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/services/token/internal/record"
)

const (
	credentials = tokenv1.AccountAlarmKind_ACCOUNT_ALARM_KIND_CREDENTIALS
	address     = tokenv1.AccountAlarmKind_ACCOUNT_ALARM_KIND_ADDRESS
)

func TestATroubleThatEndedADayAgoBeginsAnew(t *testing.T) {
	rec := record.Raise(nil, record.Trouble{Kind: credentials, Errcode: 40125, Detail: "check app_secret"}, now)
	rec = record.Told(rec, rec.GetAlarms()[0], now)
	rec = record.Raise(rec, record.Trouble{Kind: credentials, Errcode: 40013}, now.Add(23*time.Hour))
	require.EqualValues(t, 2, rec.GetAlarms()[0].GetCount())
	require.Equal(t, now.UnixMilli(), rec.GetAlarms()[0].GetFirstSeenUnixMs())
	require.EqualValues(t, 40013, rec.GetAlarms()[0].GetErrcode())

	later := now.Add(47 * time.Hour)
	require.False(t, record.Recent(rec.GetAlarms()[0], later))
	rec = record.Raise(rec, record.Trouble{Kind: credentials}, later)
	require.Len(t, rec.GetAlarms(), 1)
	require.EqualValues(t, 1, rec.GetAlarms()[0].GetCount())
	require.Zero(t, rec.GetAlarms()[0].GetTold())
	require.Equal(t, later.UnixMilli(), rec.GetAlarms()[0].GetFirstSeenUnixMs())
}

func TestWhatWasToldOfAnotherTroubleIsNotNoted(t *testing.T) {
	old := record.Raise(nil, record.Trouble{Kind: credentials}, now)
	fresh := record.Raise(old, record.Trouble{Kind: credentials}, now.Add(25*time.Hour))
	require.True(t, proto.Equal(fresh, record.Told(fresh, old.GetAlarms()[0], now.Add(25*time.Hour))))
}

// TestAlarmsAreToldInTimeAndNotOften: whatever happens when, two events of a kind are a period apart, and everything
// that was seen is told as soon as the period allows.
func TestAlarmsAreToldInTimeAndNotOften(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		every := time.Duration(rapid.IntRange(1, 24*60).Draw(t, "every")) * time.Minute
		var rec *tokenv1.TokenRecord
		at, last := now, map[tokenv1.AccountAlarmKind]time.Time{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			at = at.Add(time.Duration(rapid.IntRange(0, 3600).Draw(t, "pause")) * time.Second * time.Duration(rapid.SampledFrom([]int{1, 1, 1, 30}).Draw(t, "times")))
			kind := rapid.SampledFrom([]tokenv1.AccountAlarmKind{credentials, address}).Draw(t, "kind")
			if rapid.Bool().Draw(t, "raise") {
				rec = record.Raise(rec, record.Trouble{Kind: kind}, at)
			}
			for _, a := range record.Untold(rec, every, at) {
				before, told := last[a.GetKind()]
				if told && at.Sub(before) < every {
					t.Fatalf("told after %s, every is %s", at.Sub(before), every)
				}
				last[a.GetKind()] = at
				rec = record.Told(rec, a, at)
			}
			for _, a := range rec.GetAlarms() {
				if a.GetCount() > a.GetToldCount() && at.Sub(last[a.GetKind()]) >= every {
					t.Fatalf("%s is not told", a.GetKind())
				}
			}
		}
		if len(rec.GetAlarms()) > 2 {
			t.Fatalf("%d alarms of two kinds", len(rec.GetAlarms()))
		}
	})
}

func TestARepairHoldsForAMinuteBeforeItIsTold(t *testing.T) {
	rec := record.Lease(record.Raise(nil, record.Trouble{Kind: credentials}, now), "a", now, time.Minute)
	rec = record.Told(rec, rec.GetAlarms()[0], now)
	mended := func(at time.Time, value string) *tokenv1.TokenRecord {
		next, err := record.Refresh(record.Lease(rec, "a", at, time.Minute), "a", rec.GetToken().GetGeneration(), record.Fetched{Value: value, Expires: at.Add(time.Hour)}, at)
		require.NoError(t, err)
		return next
	}
	rec = mended(now.Add(time.Hour), "one")
	require.False(t, record.Going(rec.GetAlarms()[0], now.Add(time.Hour)))
	require.Empty(t, record.UntoldEnds(rec, now.Add(time.Hour+59*time.Second)))

	again := record.Raise(rec, record.Trouble{Kind: credentials}, now.Add(time.Hour+30*time.Second))
	require.True(t, record.Going(again.GetAlarms()[0], now.Add(time.Hour+30*time.Second)))
	require.Equal(t, now.UnixMilli(), again.GetAlarms()[0].GetFirstSeenUnixMs(), "it is the same trouble")

	over := record.UntoldEnds(rec, now.Add(time.Hour+time.Minute))
	require.Len(t, over, 1)
	end, at := record.Ended(over[0], now.Add(time.Hour+time.Minute))
	require.Equal(t, tokenv1.AccountAlarmEnd_ACCOUNT_ALARM_END_REPAIRED, end)
	require.Equal(t, now.Add(time.Hour).UnixMilli(), at.UnixMilli())
	rec = record.EndTold(rec, over[0])
	require.Empty(t, record.UntoldEnds(rec, now.Add(48*time.Hour)), "an end is told once")
	fresh := record.Raise(rec, record.Trouble{Kind: credentials}, now.Add(2*time.Hour))
	require.Equal(t, now.Add(2*time.Hour).UnixMilli(), fresh.GetAlarms()[0].GetFirstSeenUnixMs(), "what comes after is another trouble")
}

// TestAnEndIsToldOfWhatWasToldAndOnce: whatever happens when, an end follows an event about the same trouble, comes once
// for it, never while it was seen in the last minute, and is told as soon as it may be.
func TestAnEndIsToldOfWhatWasToldAndOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		every := time.Duration(rapid.IntRange(1, 24*60).Draw(t, "every")) * time.Minute
		rec := &tokenv1.TokenRecord{Token: &tokenv1.AccessToken{}}
		at, seen := now, time.Time{}
		told, ended := map[int64]bool{}, map[int64]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			at = at.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "pause")) * time.Second * time.Duration(rapid.SampledFrom([]int{1, 1, 30, 1500}).Draw(t, "times")))
			switch rapid.SampledFrom([]string{"raise", "refresh", "nothing"}).Draw(t, "what") {
			case "raise":
				rec, seen = record.Raise(rec, record.Trouble{Kind: credentials}, at), at
			case "refresh":
				var err error
				f := record.Fetched{Value: at.String(), Expires: at.Add(time.Hour)}
				if rec, err = record.Refresh(record.Lease(rec, "a", at, time.Minute), "a", rec.GetToken().GetGeneration(), f, at); err != nil {
					t.Fatal(err)
				}
			}
			for _, a := range record.Untold(rec, every, at) {
				if ended[a.GetFirstSeenUnixMs()] {
					t.Fatal("told after its end")
				}
				told[a.GetFirstSeenUnixMs()] = true
				rec = record.Told(rec, a, at)
			}
			for _, a := range record.UntoldEnds(rec, at) {
				first := a.GetFirstSeenUnixMs()
				if !told[first] || ended[first] || at.Sub(seen) < time.Minute {
					t.Fatalf("the end of %d is told: told %v, ended %v, seen %s ago", first, told[first], ended[first], at.Sub(seen))
				}
				ended[first] = true
				rec = record.EndTold(rec, a)
			}
			for _, a := range rec.GetAlarms() {
				if end, _ := record.Ended(a, at); end != tokenv1.AccountAlarmEnd_ACCOUNT_ALARM_END_UNSPECIFIED && told[a.GetFirstSeenUnixMs()] != ended[a.GetFirstSeenUnixMs()] {
					t.Fatal("an end is not told")
				}
			}
		}
	})
}
