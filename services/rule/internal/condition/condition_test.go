package condition_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/condition"
	"github.com/wxbus/wxbus/services/rule/internal/worktime"
)

// noon is a Wednesday in Shanghai.
var noon = time.Date(2026, 11, 25, 4, 0, 0, 0, time.UTC)

func calendars(t *testing.T) map[string]*worktime.Clock {
	t.Helper()
	weekdays, err := worktime.ParseWeekdays("mon-fri")
	require.NoError(t, err)
	holiday, err := worktime.ParseDates("2026-11-26")
	require.NoError(t, err)
	clock, err := worktime.NewClock(worktime.Calendar{Weekdays: weekdays, Hours: []worktime.Span{{From: 540, To: 1080}}, Holidays: []worktime.Dates{holiday}})
	require.NoError(t, err)
	return map[string]*worktime.Clock{"office": clock}
}

func TestEveryConditionCanFailAndSaysWhy(t *testing.T) {
	fan := &rulev1.FanRecord{
		Tags: []string{"vip"}, SubscribedUnixS: noon.Add(-10 * condition.Day).Unix(), Language: "zh_CN",
		Cooldowns: map[string]int64{"had": noon.Add(time.Hour).UnixMilli(), "long ago": noon.UnixMilli()},
	}
	tests := []struct {
		name string
		when condition.When
		want string
	}{
		{"hours hold", condition.When{Hours: []worktime.Span{{From: 660, To: 780}}}, ""},
		{"hours fail", condition.When{Hours: []worktime.Span{{From: 0, To: 720}}}, "hours, weekdays: not at Wed 12:00"},
		{"hours of another zone", condition.When{Zone: "UTC", Hours: []worktime.Span{{From: 240, To: 300}}}, ""},
		{"weekdays", condition.When{Weekdays: 1 << time.Sunday}, "hours, weekdays: not at Wed 12:00"},
		{"within", condition.When{Within: "office"}, ""},
		{"outside", condition.When{Outside: "office"}, "calendar: within office at 2026-11-25 12:00"},
		{"holiday", condition.When{HolidayOf: "office"}, "calendar: 2026-11-25 is no holiday of office"},
		{"both of one calendar", condition.When{Within: "office", HolidayOf: "office"}, "calendar: 2026-11-25 is no holiday of office"},
		{"has", condition.When{HasTags: []string{"vip"}}, ""},
		{"has not", condition.When{HasTags: []string{"vip", "new"}}, `tags: the fan has no tag "new"`},
		{"must not have", condition.When{NotTags: []string{"vip"}}, `tags: the fan has the tag "vip"`},
		{"older", condition.When{OlderThan: 10 * condition.Day}, ""},
		{"not old enough", condition.When{OlderThan: 11 * condition.Day}, "subscribed: the fan follows for a shorter time"},
		{"too old", condition.When{YoungerThan: 10 * condition.Day}, "subscribed: the fan follows for a longer time"},
		{"language", condition.When{Languages: []string{"en", "zh"}}, ""},
		{"another language", condition.When{Languages: []string{"zh-TW", "z"}}, `language: the fan's is "zh_CN"`},
		{"cooldown", condition.When{Cooldown: time.Hour}, "cooldown, once_per: the fan had it; again from 2026-11-25 13:00"},
		{"once", condition.When{OncePer: condition.Ever}, "once_per: the fan had it"},
		{"expression", condition.When{Expr: `"vip" in tags && hour == 12 && weekday == 3 && text contains "退"`}, ""},
		{"expression of time", condition.When{Expr: `date < "2026-01-01"`}, "expr: is false"},
		{"expression that fails", condition.When{Expr: `int(text) > 3`}, "expr: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := condition.Compile(tt.when, calendars(t))
			require.NoError(t, err)
			require.False(t, tt.when.IsZero())
			got := c.Failed(condition.Facts{Rule: "had", Now: noon, Message: condition.Message{Text: "退货"}, Fan: func() *rulev1.FanRecord { return fan }})
			if tt.want == "" {
				require.Empty(t, got)
				return
			}
			require.True(t, strings.HasPrefix(got, tt.want), got)
		})
	}
	c, err := condition.Compile(condition.When{Cooldown: time.Hour}, nil)
	require.NoError(t, err)
	require.Empty(t, c.Failed(condition.Facts{Rule: "long ago", Now: noon, Fan: func() *rulev1.FanRecord { return fan }}))
	require.NotEmpty(t, c.Failed(condition.Facts{Rule: "x", Now: noon, Fan: func() *rulev1.FanRecord { return nil }}))
}

func TestAFanIsLookedAtOnlyForConditionsThatNeedIt(t *testing.T) {
	look := func(w condition.When) (looked bool) {
		c, err := condition.Compile(w, calendars(t))
		require.NoError(t, err)
		c.Failed(condition.Facts{Now: noon, Fan: func() *rulev1.FanRecord { looked = true; return &rulev1.FanRecord{} }})
		require.Equal(t, looked, c.NeedsFan() && w.Weekdays == 0)
		return looked
	}
	require.False(t, look(condition.When{Within: "office", Expr: `hour > 3`}))
	require.True(t, look(condition.When{Expr: `hour > 3 or len(tags) > 0`}))
	require.True(t, look(condition.When{HasTags: []string{"a"}}))
	require.False(t, look(condition.When{HasTags: []string{"a"}, Weekdays: 1 << time.Sunday}), "the time has failed already")
}

func TestARuleIsSilentUntilTheEndOfItsPeriod(t *testing.T) {
	shanghai := time.FixedZone("", 8*3600)
	for when, want := range map[*condition.When]time.Time{
		{Cooldown: 6 * time.Hour}:                              noon.Add(6 * time.Hour),
		{OncePer: condition.PerDay}:                            time.Date(2026, 11, 26, 0, 0, 0, 0, shanghai),
		{OncePer: condition.PerDay, Zone: "UTC"}:               time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC),
		{OncePer: condition.PerWeek}:                           time.Date(2026, 11, 30, 0, 0, 0, 0, shanghai),
		{OncePer: condition.PerMonth}:                          time.Date(2026, 12, 1, 0, 0, 0, 0, shanghai),
		{OncePer: condition.PerDay, Cooldown: 48 * time.Hour}:  noon.Add(48 * time.Hour),
		{OncePer: condition.PerMonth, Cooldown: 2 * time.Hour}: time.Date(2026, 12, 1, 0, 0, 0, 0, shanghai),
	} {
		c, err := condition.Compile(*when, nil)
		require.NoError(t, err)
		require.WithinDuration(t, want, c.SilentUntil(noon), 0, "%+v", when)
	}
}

func TestExpressionsThatCouldTakeLongAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		`text +`:                      "unexpected token",
		`text`:                        "expected bool",
		`unknown > 1`:                 "unknown name unknown",
		`all(tags, {# == "a"})`:       "not supported",
		`len(1..1000000) > 1`:         "ranges",
		`text matches text`:           "must be written out",
		`text matches "("`:            "missing closing",
		`2 ** 100 > 1`:                "powers are not supported",
		`let x = text; x == "a"`:      "not supported",
		`repeat(text, 1000000) == ""`: "unknown name repeat",
		`now() > now()`:               "unknown name now",
		`text[0:1] == "a"`:            "not supported",
		`hour == "a"`:                 "invalid operation",
		strings.Repeat("(", 600):      "",
		strings.Repeat("hour > 1 and ", 78) + "hour > 1": "",
		strings.Repeat("x", 1025):                        "is 1025 bytes long, at most 1024 are allowed",
	} {
		_, err := condition.ParseExpression(text)
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "\n")
	}
}

// The worst that can be written within the bounds still takes less than the time limit.
func TestACostBombIsCheap(t *testing.T) {
	bomb := `upper(lower(upper(lower(text)))) matches "(a+)+(a+)+(a+)+$" or ` + strings.Repeat(`lastIndexOf(text, "aaaaaaab") > 0 or `, 20) + `false`
	e, err := condition.ParseExpression(bomb)
	require.NoError(t, err)
	_, err = e.Holds(condition.Environment{Message: condition.Message{Text: strings.Repeat("a", 1<<20)}})
	if err != nil {
		require.ErrorContains(t, err, "took longer", "a slow machine refuses the result and goes on")
	}
}

func FuzzParseExpression(f *testing.F) {
	f.Add(`"vip" in tags && hour >= 9`, "text")
	f.Add(`text matches "^\\d+$" ? true : subscribed_days > 30`, "123")
	f.Add(`$env["text"] == "a"`, "a")
	f.Fuzz(func(t *testing.T, expression, text string) {
		e, err := condition.ParseExpression(expression)
		if err != nil {
			return
		}
		_, _ = e.Holds(condition.Environment{Message: condition.Message{Text: text}})
	})
}
