// Package condition decides whether a rule that matches may win: by time, by what is known about the fan,
// and by an expression.
package condition

import (
	"fmt"
	"slices"
	"strings"
	"time"

	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/worktime"
)

// Day is the unit in which ages of followers are written.
const Day = 24 * time.Hour

// When is the conditions of a rule as written; all of them must hold. Its fields are plain, so that it can be
// stored. No When, and the zero one, always hold.
type When struct {
	Zone     string // of Hours, Weekdays, OncePer and Expr; "" means worktime.DefaultZone
	Hours    []worktime.Span
	Weekdays worktime.Weekdays

	Within, Outside, HolidayOf string // names of calendars

	HasTags, NotTags       []string
	OlderThan, YoungerThan time.Duration // since the fan followed
	Languages              []string
	Cooldown               time.Duration // how long the rule is silent towards a fan after it won
	OncePer                Period        // how often it may win for a fan

	Expr string
}

// IsZero tells whether there are no conditions.
func (w *When) IsZero() bool {
	return w == nil || len(w.Hours)+len(w.HasTags)+len(w.NotTags)+len(w.Languages) == 0 && w.Weekdays == 0 &&
		w.Within+w.Outside+w.HolidayOf+w.Expr == "" && w.OncePer == "" &&
		w.OlderThan == 0 && w.YoungerThan == 0 && w.Cooldown == 0
}

// Period is a part of the calendar in which a rule wins at most once for a fan.
type Period string

// The periods. A week begins on Monday.
const (
	PerDay   Period = "day"
	PerWeek  Period = "week"
	PerMonth Period = "month"
	Ever     Period = "ever"
)

// Periods returns every period.
func Periods() []string {
	return []string{string(PerDay), string(PerWeek), string(PerMonth), string(Ever)}
}

// end returns when the period that holds a moment ends.
func (p Period) end(at time.Time, zone *time.Location) time.Time {
	year, month, day := at.In(zone).Date()
	midnight := time.Date(year, month, day, 0, 0, 0, 0, zone)
	switch p {
	case PerDay:
		return midnight.AddDate(0, 0, 1)
	case PerWeek:
		return midnight.AddDate(0, 0, 7-(int(midnight.Weekday())+6)%7)
	case PerMonth:
		return time.Date(year, month+1, 1, 0, 0, 0, 0, zone)
	default:
		return time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
}

// Facts are what conditions look at.
type Facts struct {
	Rule string // the rule whose conditions they are
	Now  time.Time
	Message
	// Fan returns what is known about the fan. It is asked only for conditions that need it, and last.
	// nil means that nothing can be known now: the condition fails.
	Fan func() *rulev1.FanRecord
}

// Condition is compiled conditions. It is immutable and safe for concurrent use.
type Condition struct {
	when   When
	zone   *time.Location
	clock  *worktime.Clock // of Hours and Weekdays, or nil
	within *worktime.Clock
	out    *worktime.Clock
	free   *worktime.Clock
	expr   *Expression
}

// Compile compiles conditions over named calendars. It fails for what Parse of the rule file refuses.
func Compile(w When, calendars map[string]*worktime.Clock) (*Condition, error) {
	c := &Condition{when: w}
	var err error
	if c.zone, err = worktime.Zone(w.Zone); err != nil {
		return nil, err
	}
	if len(w.Hours) > 0 || w.Weekdays != 0 {
		if c.clock, err = worktime.NewClock(worktime.Calendar{Zone: w.Zone, Hours: w.Hours, Weekdays: w.Weekdays}); err != nil {
			return nil, err
		}
	}
	c.within, c.out, c.free = calendars[w.Within], calendars[w.Outside], calendars[w.HolidayOf]
	for _, name := range []string{w.Within, w.Outside, w.HolidayOf} {
		if name != "" && calendars[name] == nil {
			return nil, fmt.Errorf("there is no calendar %q", name)
		}
	}
	if w.Expr != "" {
		if c.expr, err = ParseExpression(w.Expr); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// NeedsFan tells whether the conditions look at the fan.
func (c *Condition) NeedsFan() bool { return c.fanOnly() || c.expr != nil && c.expr.NeedsFan() }

func (c *Condition) fanOnly() bool {
	w := &c.when
	return len(w.HasTags)+len(w.NotTags)+len(w.Languages) > 0 || w.OlderThan > 0 || w.YoungerThan > 0 || c.Paced()
}

// Paced tells whether the rule is silent for a while after it won.
func (c *Condition) Paced() bool { return c.when.Cooldown > 0 || c.when.OncePer != "" }

// SilentUntil returns until when a rule that wins now is silent towards the fan.
func (c *Condition) SilentUntil(now time.Time) time.Time {
	var until time.Time
	if c.when.Cooldown > 0 {
		until = now.Add(c.when.Cooldown)
	}
	if c.when.OncePer != "" {
		if end := c.when.OncePer.end(now, c.zone); end.After(until) {
			until = end
		}
	}
	return until
}

// Failed returns the first condition that does not hold and why, or "".
func (c *Condition) Failed(f Facts) string {
	if failed := c.failedByTime(f.Now); failed != "" {
		return failed
	}
	if !c.NeedsFan() {
		return c.failedByExpr(f, &rulev1.FanRecord{})
	}
	fan := f.Fan()
	if fan == nil {
		return "the fan is not known now"
	}
	if failed := c.failedByFan(f, fan); failed != "" {
		return failed
	}
	return c.failedByExpr(f, fan)
}

func (c *Condition) failedByTime(now time.Time) string {
	switch {
	case c.clock != nil && !c.clock.Open(now):
		return "hours, weekdays: not at " + now.In(c.zone).Format("Mon 15:04")
	case c.within != nil && !c.within.Open(now):
		return fmt.Sprintf("calendar: outside %s at %s", c.when.Within, now.In(c.zone).Format("2006-01-02 15:04"))
	case c.out != nil && c.out.Open(now):
		return fmt.Sprintf("calendar: within %s at %s", c.when.Outside, now.In(c.zone).Format("2006-01-02 15:04"))
	case c.free != nil && !c.free.Holiday(now):
		return fmt.Sprintf("calendar: %s is no holiday of %s", now.In(c.zone).Format("2006-01-02"), c.when.HolidayOf)
	default:
		return ""
	}
}

func (c *Condition) failedByFan(f Facts, fan *rulev1.FanRecord) string {
	w := &c.when
	for _, tag := range w.HasTags {
		if !slices.Contains(fan.GetTags(), tag) {
			return fmt.Sprintf("tags: the fan has no tag %q", tag)
		}
	}
	for _, tag := range w.NotTags {
		if slices.Contains(fan.GetTags(), tag) {
			return fmt.Sprintf("tags: the fan has the tag %q", tag)
		}
	}
	if failed := c.failedByAge(f.Now, fan); failed != "" {
		return failed
	}
	if len(w.Languages) > 0 && !slices.ContainsFunc(w.Languages, func(l string) bool { return speaks(fan.GetLanguage(), l) }) {
		return fmt.Sprintf("language: the fan's is %q", fan.GetLanguage())
	}
	if until := fan.GetCooldowns()[f.Rule]; c.Paced() && f.Now.UnixMilli() < until {
		if w.OncePer == Ever {
			return "once_per: the fan had it"
		}
		return "cooldown, once_per: the fan had it; again from " + time.UnixMilli(until).In(c.zone).Format("2006-01-02 15:04")
	}
	return ""
}

func (c *Condition) failedByAge(now time.Time, fan *rulev1.FanRecord) string {
	w := &c.when
	if w.OlderThan == 0 && w.YoungerThan == 0 {
		return ""
	}
	since := fan.GetSubscribedUnixS()
	age := now.Sub(time.Unix(since, 0))
	switch {
	case since == 0:
		return "subscribed: it is not known since when the fan follows"
	case w.OlderThan > 0 && age < w.OlderThan:
		return "subscribed: the fan follows for a shorter time"
	case w.YoungerThan > 0 && age >= w.YoungerThan:
		return "subscribed: the fan follows for a longer time"
	default:
		return ""
	}
}

// speaks tells whether a language is the one asked for: "zh" asks for every kind of Chinese.
func speaks(language, asked string) bool {
	language, asked = strings.ToLower(strings.ReplaceAll(language, "-", "_")), strings.ToLower(strings.ReplaceAll(asked, "-", "_"))
	return language != "" && (language == asked || strings.HasPrefix(language, asked+"_"))
}

func (c *Condition) failedByExpr(f Facts, fan *rulev1.FanRecord) string {
	if c.expr == nil {
		return ""
	}
	ok, err := c.expr.Holds(c.environment(f, fan))
	switch {
	case err != nil:
		return "expr: " + err.Error()
	case !ok:
		return "expr: is false"
	default:
		return ""
	}
}

func (c *Condition) environment(f Facts, fan *rulev1.FanRecord) Environment {
	local := f.Now.In(c.zone)
	e := Environment{
		Message: f.Message,
		Hour:    local.Hour(), Minute: local.Minute(), Weekday: (int(local.Weekday())+6)%7 + 1, Date: local.Format("2006-01-02"),
		Tags: fan.GetTags(), Language: fan.GetLanguage(), SubscribedDays: -1,
	}
	if since := fan.GetSubscribedUnixS(); since > 0 {
		e.SubscribedDays = int(f.Now.Sub(time.Unix(since, 0)) / Day)
	}
	return e
}
