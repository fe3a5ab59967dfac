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
