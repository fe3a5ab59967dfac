package domain

import (
	"slices"
	"time"
	_ "time/tzdata" // images without a zone database
)

// Zone is the time zone of groups and reports that name none.
const Zone = "Asia/Shanghai"

// Hours are the working hours of a group. The zero value is always open.
type Hours struct {
	Zone string         `json:",omitempty"`
	Week []WeekSpan     `json:",omitempty"`
	Days []HolidayHours `json:",omitempty"`
}

// WeekSpan is a span of minutes on a weekday, Monday is 1.
type WeekSpan struct{ Weekday, From, To int }

// HolidayHours are the hours of one date, "2026-10-01"; no spans means closed.
type HolidayHours struct {
	Date, Name string
	Spans      []WeekSpan
}

// Location returns the time zone; UTC+8 when the name is unknown.
func (h Hours) Location() *time.Location { return LocationOf(h.Zone) }

// LocationOf returns a time zone by name, Zone for an empty one.
func LocationOf(name string) *time.Location {
	if name == "" {
		name = Zone
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return time.FixedZone(Zone, 8*60*60) // refused when a group is stored; this is for what was stored before
	}
	return loc
}

// Open tells whether at is within the hours.
func (h Hours) Open(at time.Time) bool {
	if h.always() {
		return true
	}
	local := at.In(h.Location())
	minute := local.Hour()*60 + local.Minute()
	for _, s := range h.spans(local) {
		if minute >= s.From && minute < s.To {
			return true
		}
	}
	return false
}

// NextOpen returns when the hours begin next, from at on; a zero time when they never do within a year.
func (h Hours) NextOpen(at time.Time) time.Time {
	if h.Open(at) {
		return at
	}
	local := at.In(h.Location())
	for day := range 366 {
		date := time.Date(local.Year(), local.Month(), local.Day()+day, 0, 0, 0, 0, local.Location())
		best := time.Time{}
		for _, s := range h.spans(date) {
			begin := minuteOf(date, s.From)
			if begin.After(at) && (best.IsZero() || begin.Before(best)) {
				best = begin
			}
		}
		if !best.IsZero() {
			return best.UTC()
		}
	}
	return time.Time{}
}

// horizon is how many days are looked at for working time.
const horizon = 731

// always tells that there are no hours: every moment counts.
func (h Hours) always() bool { return len(h.Week) == 0 && len(h.Days) == 0 }

// After returns when a span of working time is over that begins at a moment: the clock stands still outside of the hours. It is a zero
// time when there is not that much within two years.
func (h Hours) After(from time.Time, span time.Duration) time.Time {
	if h.always() {
		return from.Add(span)
	}
	at := time.Time{}
	h.stretches(from, func(begin, end time.Time) bool {
		if d := end.Sub(begin); d < span {
			span -= d
			return true
		}
		at = begin.Add(span).UTC()
		return false
	})
	return at
}

// Between returns the working time between two moments, of two years at most; zero when to is not after from.
func (h Hours) Between(from, to time.Time) time.Duration {
	if h.always() {
		return max(to.Sub(from), 0)
	}
	sum := time.Duration(0)
	h.stretches(from, func(begin, end time.Time) bool {
		if end.After(to) {
			sum += max(to.Sub(begin), 0)
			return false
		}
		sum += end.Sub(begin)
		return true
	})
	return sum
}

// stretches calls visit with the working time from a moment on, in order and without overlap, until it wants no more.
func (h Hours) stretches(from time.Time, visit func(begin, end time.Time) (more bool)) {
	local, seen := from.In(h.Location()), from
	for day := range horizon {
		date := time.Date(local.Year(), local.Month(), local.Day()+day, 0, 0, 0, 0, local.Location())
		spans := slices.SortedFunc(slices.Values(h.spans(date)), func(a, b WeekSpan) int { return a.From - b.From })
		for _, s := range spans {
			begin, end := minuteOf(date, s.From), minuteOf(date, s.To)
			if begin.Before(seen) {
				begin = seen
			}
			if !begin.Before(end) {
				continue
			}
			if !visit(begin, end) {
				return
			}
			seen = end
		}
	}
}

// minuteOf is the wall clock, not midnight plus minutes: a day in a zone with summer time may have 23 hours.
func minuteOf(date time.Time, minute int) time.Time {
	return time.Date(date.Year(), date.Month(), date.Day(), minute/60, minute%60, 0, 0, date.Location())
}

func (h Hours) spans(date time.Time) []WeekSpan {
	key := date.Format(time.DateOnly)
	for _, d := range h.Days {
		if d.Date == key {
			return d.Spans
		}
	}
	if len(h.Week) == 0 { // only holidays: open on every other day
		return []WeekSpan{{From: 0, To: 24 * 60}}
	}
	weekday := int(date.Weekday())
	if weekday == 0 {
		weekday = 7
	}
	var out []WeekSpan
	for _, s := range h.Week {
		if s.Weekday == weekday {
			out = append(out, s)
		}
	}
	return out
}
