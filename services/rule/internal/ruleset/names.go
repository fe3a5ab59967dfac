package ruleset

import (
	"slices"
	"strings"
)

// Names returns the names of the rules, in the order of the file.
func (s *Set) Names() []string {
	names := make([]string, 0, s.Len())
	for i := range s.Len() {
		names = append(names, s.rules.name(i))
	}
	return names
}

// CatchAll returns the names of the rules that take every text: what they decide, no rule asked for.
func (s *Set) CatchAll() map[string]bool {
	names := map[string]bool{}
	var r Rule
	for i := range s.Len() {
		s.rules.find(i, &r)
		if r.Match.Any && (slices.Contains(r.On, "text") || slices.Contains(r.On, anyMessage)) {
			names[strings.Clone(r.Name)] = true
		}
	}
	return names
}
