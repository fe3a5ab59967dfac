package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const shownIncidents = 10

// Text returns the report for a terminal.
func (r Report) Text() string {
	var b strings.Builder
	line := func(name string, format string, a ...any) {
		fmt.Fprintf(&b, "%-24s %s\n", name, fmt.Sprintf(format, a...))
	}
	line("time", "%s", r.To.Sub(r.From).Round(time.Millisecond))
	line("pushes", "%d (%d still open)", r.Pushes, r.Open)
	line("acknowledged", "%d, not acknowledged %d", r.Acked, r.NotAcked)
	line("attempts per push", "%s", counts(r.Attempts))
	line("outcomes", "%s", counts(r.Outcomes))
	line("replies seen", "%d passive, %d kf, %d fault prompts, %d native", r.Passive, r.Kf, r.Prompts, r.Native)
	line("numbered pushes", "%d, answered %d, acknowledged without a reply %d", r.Numbered, r.Answered, r.Unanswered)
	line("time to acknowledge", "%s", r.Ack)
	line("time to reply", "%s", r.Reply)
	line("ambiguous API calls", "%d", r.AmbiguousCount)
	line("order unclear", "%d", r.OrderUnclear.Count)
	line("acked but not stored", "%s", r.StoredVerdict())
	b.WriteString(r.violationText())
	return b.String()
}

// StoredVerdict is the result of the check of stored pushes in words. It never reads as zero when the check is incomplete.
func (r Report) StoredVerdict() string {
	if r.Checker.State != CheckerComplete {
		return "CHECKER INCOMPLETE: " + r.Checker.Reason
	}
	return fmt.Sprintf("%d (of %d stored)", r.Count(ClassNotStored), r.Checker.Stored)
}

func (r Report) violationText() string {
	if len(r.Violations) == 0 {
		return fmt.Sprintf("%-24s none\n", "violations")
	}
	var b strings.Builder
	for _, class := range slices.Sorted(maps.Keys(r.Violations)) {
		v := r.Violations[class]
		fmt.Fprintf(&b, "VIOLATION %-14s %d\n", class, v.Count)
		for _, i := range v.Incidents[:min(len(v.Incidents), shownIncidents)] {
			fmt.Fprintf(&b, "  %s %s: %s\n", i.At.Format(time.TimeOnly), i.ID, i.Detail)
		}
		if rest := v.Count - uint64(min(len(v.Incidents), shownIncidents)); rest > 0 {
			fmt.Fprintf(&b, "  and %d more\n", rest)
		}
	}
	return b.String()
}

// String returns the distribution in one line.
func (l Latency) String() string {
	if l.Count == 0 {
		return "no values"
	}
	return fmt.Sprintf("p50 %s  p90 %s  p99 %s  p99.9 %s  max %s  (%d)", short(l.P50), short(l.P90), short(l.P99), short(l.P999), short(l.Max), l.Count)
}

func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	default:
		return d.Round(time.Microsecond).String()
	}
}

func counts[K int | string](m map[K]uint64) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%v: %d", k, m[k]))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}
