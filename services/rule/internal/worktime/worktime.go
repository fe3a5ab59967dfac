// Package worktime tells whether a moment is within working time: hours of weekdays, holidays, and days on
// which people work although it is a weekend (调休).
package worktime

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // images have no time zones of their own
)

// DefaultZone is the time zone of rules that name none.
const DefaultZone = "Asia/Shanghai"

// Calendar is working time as written. Its fields are plain, so that it can be stored.
type Calendar struct {
	Zone     string // "" means DefaultZone
	Weekdays Weekdays
	Hours    []Span // none means the whole day
	Holidays []Dates
	// Workdays are worked although they are no weekdays, or in the holidays.
	Workdays []Dates
}

// Weekdays is a set of weekdays: bit n is time.Weekday(n). Zero means every day.
type Weekdays uint8

// Has tells whether the set holds a day.
func (w Weekdays) Has(day time.Weekday) bool { return w == 0 || w&(1<<day) != 0 }

// Span is a part of the day in minutes since midnight. One that ends before it begins goes on in the next day.
type Span struct{ From, To int }

const dayMinutes = 24 * 60

// Dates is a span of days, both included.
type Dates struct{ From, To Date }

// Date is a day; Year zero means every year.
type Date struct{ Year, Month, Day int }

func (d Date) of(year int) int {
	if d.Year != 0 {
		year = d.Year
	}
	return year*10_000 + d.Month*100 + d.Day
}

// has tells whether the days hold a date, given as yyyymmdd.
func (d Dates) has(date int) bool {
	year := date / 10_000
	if d.From.Year != 0 || d.From.of(year) <= d.To.of(year) {
		return d.From.of(year) <= date && date <= d.To.of(year)
	}
	return date >= d.From.of(year) || date <= d.To.of(year) // over the turn of the year
}

// Clock answers for a calendar. It is immutable and safe for concurrent use.
type Clock struct {
	calendar Calendar
	zone     *time.Location
}

// NewClock returns the clock of a calendar. It fails for an unknown time zone.
func NewClock(c Calendar) (*Clock, error) {
	zone, err := Zone(c.Zone)
	if err != nil {
		return nil, err
	}
	return &Clock{calendar: c, zone: zone}, nil
}

// Zone returns a time zone by name; "" is DefaultZone.
func Zone(name string) (*time.Location, error) {
	if name == "" {
		name = DefaultZone
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, fmt.Errorf("%q is not a time zone; write one like Asia/Shanghai", name)
	}
	return zone, nil
}

// Open tells whether a moment is within working time.
func (c *Clock) Open(at time.Time) bool {
	local := at.In(c.zone)
	if len(c.calendar.Hours) == 0 {
		return c.worked(local)
	}
	minute := local.Hour()*60 + local.Minute()
	for _, span := range c.calendar.Hours {
		switch {
		case span.From < span.To:
			if minute >= span.From && minute < span.To && c.worked(local) {
				return true
			}
		case minute >= span.From && c.worked(local), minute < span.To && c.worked(local.AddDate(0, 0, -1)):
			return true
		}
	}
	return false
}

// Holiday tells whether the day of a moment is a holiday that nobody works.
func (c *Clock) Holiday(at time.Time) bool {
	date := dateOf(at.In(c.zone))
	return within(c.calendar.Holidays, date) && !within(c.calendar.Workdays, date)
}

// worked tells whether a local day is a working day.
func (c *Clock) worked(local time.Time) bool {
	date := dateOf(local)
	if within(c.calendar.Workdays, date) {
		return true
	}
	return c.calendar.Weekdays.Has(local.Weekday()) && !within(c.calendar.Holidays, date)
}

func within(list []Dates, date int) bool {
	return slices.ContainsFunc(list, func(d Dates) bool { return d.has(date) })
}

func dateOf(local time.Time) int {
	return local.Year()*10_000 + int(local.Month())*100 + local.Day()
}

var errSpan = errors.New("must be a span of the day like 09:00-18:00; 22:00-06:00 goes on in the next day")

// ParseSpan reads "09:00-18:00".
func ParseSpan(text string) (Span, error) {
	from, to, ok := strings.Cut(text, "-")
	if !ok {
		return Span{}, errSpan
	}
	begin, ok1 := parseMinute(from)
	end, ok2 := parseMinute(to)
	if !ok1 || !ok2 || begin == dayMinutes || begin == end {
		return Span{}, errSpan
	}
	return Span{From: begin, To: end}, nil
}

func parseMinute(text string) (int, bool) {
	hour, minute, ok := strings.Cut(strings.TrimSpace(text), ":")
	h, ok1 := number(hour, 0, 24)
	m, ok2 := number(minute, 0, 59)
	return h*60 + m, ok && ok1 && ok2 && h*60+m <= dayMinutes && len(minute) == 2
}

func number(text string, least, most int) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= least && n <= most && text[0] != '+' && text[0] != '-'
}

var dayNames = [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseWeekdays reads "mon" or "mon-fri".
func ParseWeekdays(text string) (Weekdays, error) {
	first, last, span := strings.Cut(text, "-")
	from := slices.Index(dayNames[:], strings.ToLower(strings.TrimSpace(first)))
	to := from
	if span {
		to = slices.Index(dayNames[:], strings.ToLower(strings.TrimSpace(last)))
	}
	if from < 0 || to < 0 {
		return 0, errors.New("must be a day like mon, or a span of days like mon-fri")
	}
	var days Weekdays
	for day := from; ; day = (day + 1) % 7 {
		days |= 1 << day
		if day == to {
			return days, nil
		}
	}
}

var errDates = errors.New("must be a day like 2026-10-01 or 01-01 (every year), or days like 2026-10-01..2026-10-07")

// ParseDates reads "2026-10-01", "01-01" or two of them with ".." between.
func ParseDates(text string) (Dates, error) {
	first, last, span := strings.Cut(text, "..")
	from, ok := parseDate(first)
	if !ok {
		return Dates{}, errDates
	}
	if !span {
		return Dates{From: from, To: from}, nil
	}
	to, ok := parseDate(last)
	if !ok || (from.Year == 0) != (to.Year == 0) {
		return Dates{}, errDates
	}
	if from.Year != 0 && from.of(0) > to.of(0) {
		return Dates{}, errors.New("must not end before it begins")
	}
	return Dates{From: from, To: to}, nil
}

func parseDate(text string) (Date, bool) {
	text = strings.TrimSpace(text)
	layout, every := "2006-01-02", false
	if len(text) == len("01-02") {
		// A leap year, so that 02-29 is a day.
		text, every = "2024-"+text, true
	}
	day, err := time.Parse(layout, text)
	if err != nil || day.Year() == 0 {
		return Date{}, false
	}
	date := Date{Year: day.Year(), Month: int(day.Month()), Day: day.Day()}
	if every {
		date.Year = 0
	}
	return date, true
}
