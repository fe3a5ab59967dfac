package ruleset

import "slices"

// Names returns the names of the rules, in the order of the file.
func (s *Set) Names() []string {
	names := make([]string, 0, s.file.Len())
	for i := range s.file.Rules {
		names = append(names, s.file.Rules[i].Name)
	}
	return names
}

// CatchAll returns the names of the rules that take every text: what they decide, no rule asked for.
func (s *Set) CatchAll() map[string]bool {
	names := map[string]bool{}
	for i := range s.file.Rules {
		r := &s.file.Rules[i]
		if r.Match.Any && (slices.Contains(r.On, "text") || slices.Contains(r.On, anyMessage)) {
			names[r.Name] = true
		}
	}
	return names
}
