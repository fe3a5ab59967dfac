package worktime_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/services/rule/internal/worktime"
)

func span(t *testing.T, text string) worktime.Span {
	t.Helper()
	s, err := worktime.ParseSpan(text)
	require.NoError(t, err)
	return s
}

func dates(t *testing.T, text string) worktime.Dates {
	t.Helper()
	d, err := worktime.ParseDates(text)
	require.NoError(t, err)
	return d
}

func TestACalendarKnowsHolidaysAndMakeUpDays(t *testing.T) {
	weekdays, err := worktime.ParseWeekdays("mon-fri")
	require.NoError(t, err)
	clock, err := worktime.NewClock(worktime.Calendar{
		Weekdays: weekdays, Hours: []worktime.Span{span(t, "09:00-12:00"), span(t, "13:30-18:00")},
		Holidays: []worktime.Dates{dates(t, "2026-10-01..2026-10-07"), dates(t, "01-01")}, Workdays: []worktime.Dates{dates(t, "2026-10-10")},
	})
	require.NoError(t, err)
	for text, open := range map[string]bool{
		"2026-09-30T09:00:00+08:00": true,
		"2026-09-30T08:59:59+08:00": false,
		"2026-09-30T12:00:00+08:00": false, // lunch
		"2026-09-30T17:59:59+08:00": true,
		"2026-09-30T18:00:00+08:00": false,
		"2026-10-01T10:00:00+08:00": false, // holiday
		"2026-10-10T10:00:00+08:00": true,  // a Saturday that is worked
		"2026-10-11T10:00:00+08:00": false, // Sunday
		"2027-01-01T10:00:00+08:00": false, // every year
		"2026-09-30T02:00:00Z":      true,  // 10:00 in Shanghai
	} {
		at, err := time.Parse(time.RFC3339, text)
		require.NoError(t, err)
		require.Equal(t, open, clock.Open(at), text)
	}
	holiday, _ := time.Parse(time.RFC3339, "2026-10-03T23:00:00+08:00")
	require.True(t, clock.Holiday(holiday))
	require.False(t, clock.Holiday(holiday.AddDate(0, 0, 7)), "the make-up day is none")
}

func TestANightShiftBelongsToTheDayOnWhichItBegins(t *testing.T) {
	friday, err := worktime.ParseWeekdays("fri")
	require.NoError(t, err)
	clock, err := worktime.NewClock(worktime.Calendar{Zone: "UTC", Weekdays: friday, Hours: []worktime.Span{span(t, "22:00-06:00")}})
	require.NoError(t, err)
	night := time.Date(2026, 11, 27, 22, 0, 0, 0, time.UTC) // a Friday
	require.True(t, clock.Open(night))
	require.True(t, clock.Open(night.Add(7*time.Hour+59*time.Minute)))
	require.False(t, clock.Open(night.Add(8*time.Hour)))
	require.False(t, clock.Open(night.AddDate(0, 0, 1)))
	require.False(t, clock.Open(night.Add(-17*time.Hour)), "Friday 05:00 is the night of Thursday")
}

func TestDaysOverTheTurnOfTheYear(t *testing.T) {
	clock, err := worktime.NewClock(worktime.Calendar{Zone: "UTC", Holidays: []worktime.Dates{dates(t, "12-30..01-02")}})
	require.NoError(t, err)
	require.False(t, clock.Open(time.Date(2026, 12, 31, 1, 0, 0, 0, time.UTC)))
	require.False(t, clock.Open(time.Date(2027, 1, 2, 1, 0, 0, 0, time.UTC)))
	require.True(t, clock.Open(time.Date(2027, 1, 3, 1, 0, 0, 0, time.UTC)))
}

func TestWhatCannotBeReadIsRefused(t *testing.T) {
	for _, text := range []string{"", "9-18", "09:00", "09:00-09:00", "24:00-06:00", "09:00-25:00", "09:0-10:00", "-1:00-02:00", "a:00-b:00"} {
		_, err := worktime.ParseSpan(text)
		require.Error(t, err, text)
	}
	require.Equal(t, worktime.Span{From: 0, To: 1440}, span(t, "00:00-24:00"))
	for _, text := range []string{"", "2026-02-30", "13-01", "2026-10-07..2026-10-01", "10-01..2026-10-02", "2026-1-1"} {
		_, err := worktime.ParseDates(text)
		require.Error(t, err, text)
	}
	for _, text := range []string{"", "monday", "mon-", "0"} {
		_, err := worktime.ParseWeekdays(text)
		require.Error(t, err, text)
	}
	weekend, err := worktime.ParseWeekdays("Sat-Sun")
	require.NoError(t, err)
	require.True(t, weekend.Has(time.Sunday) && weekend.Has(time.Saturday) && !weekend.Has(time.Monday))
	_, err = worktime.NewClock(worktime.Calendar{Zone: "Mars/Olympus"})
	require.ErrorContains(t, err, "is not a time zone")
}

func FuzzParse(f *testing.F) {
	f.Add("09:00-18:00", "mon-fri", "2026-10-01..2026-10-07")
	f.Fuzz(func(t *testing.T, hours, days, date string) {
		if s, err := worktime.ParseSpan(hours); err == nil {
			require.True(t, s.From >= 0 && s.From < 1440 && s.To >= 0 && s.To <= 1440 && s.From != s.To)
		}
		if w, err := worktime.ParseWeekdays(days); err == nil {
			require.NotZero(t, w)
		}
		if d, err := worktime.ParseDates(date); err == nil {
			require.NotZero(t, d.From.Month)
		}
	})
}
