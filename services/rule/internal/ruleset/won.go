package ruleset

import "sync/atomic"

// wonSize bounds the rules that are kept as they were read.
const wonSize = 1024

// won keeps rules that won lately, so that one that wins often is read once. It is safe for concurrent use.
type won [wonSize]atomic.Pointer[wonRule]

type wonRule struct {
	number int
	Rule
}

// rule returns a rule, which must not be changed.
func (s *Set) rule(number int) *Rule {
	place := &s.won[number%wonSize]
	if known := place.Load(); known != nil && known.number == number {
		return &known.Rule
	}
	read := &wonRule{number: number, Rule: *s.rules.rule(number)}
	place.Store(read)
	return &read.Rule
}
