package decision

import (
	"time"

	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

// WithPoll returns the store with another pace for reads without a hint.
func (s *Store) WithPoll(d time.Duration) *Store {
	c := *s
	c.poll = d
	return &c
}

// Uncovered returns the cases of the table that no line decides, and the lines that decide no case.
func Uncovered() (cases []string, lines []string) {
	used := make(map[int]bool)
	for v := VerbClaim; v <= VerbResend; v++ {
		for r := range rulev1.Route_name {
			if r == int32(rulev1.Route_ROUTE_UNSPECIFIED) {
				continue
			}
			for _, s := range standingsOf(v) {
				for g := guard(0); g < 8; g++ {
					clock := afterEnd
					if g&1 != 0 {
						clock = beforeEnd
					}
					holds := clock
					if g&2 != 0 {
						holds |= room
					}
					if g&4 != 0 {
						holds |= sendable
					}
					i := lineFor(v, rulev1.Route(r), s, holds)
					if i < 0 {
						cases = append(cases, v.String()+" on "+RouteName(rulev1.Route(r))+", "+s.text(v)+", "+holds.String())
					}
					used[i] = true
				}
			}
		}
	}
	for i, l := range table {
		if !used[i] {
			lines = append(lines, l.verb.String()+": "+l.why)
		}
	}
	return cases, lines
}

func standingsOf(v Verb) []standing {
	if aboutClaim(v) {
		return []standing{none, pending, sharedPending, delivered, released}
	}
	return []standing{none, pending, delivered}
}

func lineFor(v Verb, r rulev1.Route, s standing, holds guard) int {
	want, ok := find(v, r, s, holds)
	if !ok {
		return -1
	}
	for i, l := range table {
		if l == want {
			return i
		}
	}
	return -1
}
