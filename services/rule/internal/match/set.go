package match

import (
	"sync"
	"unicode"
)

// Set is a compiled set of rules. It is immutable and safe for concurrent use.
type Set struct {
	rules    []Rule
	entries  []entry
	bits     map[string]uint32 // mask bit of a trigger that text rules use
	every    *scope            // rules of every account
	accounts map[string]*scope
	pool     sync.Pool
}

// scope holds the rules of one account, or of every account.
type scope struct {
	any    map[string]uint32 // trigger to rank
	keys   map[keyRef]uint32
	groups []*group
}

type keyRef struct{ trigger, key string }

// Len returns the number of rules.
func (s *Set) Len() int { return len(s.rules) }

// Match returns the rule that wins, or false when no rule matches.
func (s *Set) Match(in Input) (Hit, bool) {
	v, _ := s.pool.Get().(*search)
	if v == nil {
		v = &search{}
	}
	defer s.pool.Put(v)
	v.reset(s.mask(in.Triggers))
	s.every.search(in, v)
	if own := s.accounts[in.Account]; own != nil {
		own.search(in, v)
	}
	if v.best == noRank {
		return Hit{}, false
	}
	return s.hit(in, v), true
}

func (s *Set) mask(triggers []string) uint32 {
	var mask uint32
	for _, trigger := range triggers {
		mask |= s.bits[trigger]
	}
	return mask
}

func (s *scope) search(in Input, v *search) {
	for _, trigger := range in.Triggers {
		if rank, ok := s.any[trigger]; ok {
			v.offer(rank, byNothing, "")
		}
		if len(s.keys) == 0 {
			continue
		}
		for _, key := range in.Keys {
			if rank, ok := s.keys[keyRef{trigger, key}]; ok {
				v.offer(rank, byKey, key)
			}
		}
	}
	if !in.HasText || v.mask == 0 {
		return
	}
	for _, g := range s.groups {
		g.search(in.Text, v)
	}
}

// hit describes the best rank of a search.
func (s *Set) hit(in Input, v *search) Hit {
	e := s.entries[v.best]
	hit := Hit{Rule: int(e.rule), Class: e.class}
	switch v.found {
	case byKey:
		hit.Matched = v.key
	case byText:
		start := v.start
		if start < 0 { // the automata report ends only
			start = v.end - int(e.length)
		}
		hit.Start, hit.Matched = cut(in.Text, start, v.end)
	case byNothing:
	}
	return hit
}

// cut returns the runes from start to end of the text without its leading white space, and where
// they begin.
func cut(text string, start, end int) (int, string) {
	from, to, n := len(text), len(text), 0
	leading := true
	for i, r := range text {
		if leading && unicode.IsSpace(r) {
			continue
		}
		leading = false
		if n == start {
			from = i
		}
		if n == end {
			to = i
			break
		}
		n++
	}
	return from, text[from:to]
}
