package match

import (
	"sync"
	"unicode"
)

// Set is a compiled set of rules. It is immutable and safe for concurrent use.
type Set struct {
	count    int
	entries  []entry
	bits     map[string]uint32 // mask bit of a trigger that text rules use
	every    *scope            // rules of every account
	accounts map[string]*scope
	pool     sync.Pool
}

// scope holds the rules of one account, or of every account.
type scope struct {
	any    map[string][]uint32 // trigger to ranks, see ranksOf
	near   map[string][]uint32
	keys   map[keyRef][]uint32
	scenes map[keyRef][]uint32 // by how they begin
	// sceneLengths are the lengths in bytes of the keys of scenes.
	sceneLengths []int
	groups       []*group
}

// keyRef names what an event may carry beside text.
type keyRef struct {
	of           keySpace
	trigger, key string
}

type keySpace uint8

const (
	eventKey keySpace = iota
	scene
	media
)

// Len returns the number of rules.
func (s *Set) Len() int { return s.count }

// Match returns the rule that wins, or false when no rule matches. Every conditional rule is allowed.
func (s *Set) Match(in Input) (Hit, bool) { return s.MatchIf(in, nil) }

// MatchIf is Match for rules of which some are conditional: allows tells whether the rule with an index may
// win; nil allows every rule.
func (s *Set) MatchIf(in Input, allows func(rule int) bool) (Hit, bool) {
	v, _ := s.pool.Get().(*search)
	if v == nil {
		v = &search{}
	}
	defer s.pool.Put(v)
	v.reset(s, s.mask(in.Triggers), allows)
	defer v.forget()
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
		v.offer(s.any[trigger], byNothing, "")
		if in.Position {
			v.offer(s.near[trigger], byNothing, "")
		}
		s.searchKeys(in, trigger, v)
	}
	if !in.HasText || v.mask == 0 {
		return
	}
	for _, g := range s.groups {
		g.search(in.Text, v)
	}
}

func (s *scope) searchKeys(in Input, trigger string, v *search) {
	for _, length := range s.sceneLengths {
		if length <= len(in.Scene) {
			begin := in.Scene[:length]
			v.offer(s.scenes[keyRef{scene, trigger, begin}], byKey, begin)
		}
	}
	if len(s.keys) == 0 {
		return
	}
	for _, key := range in.Keys {
		v.offer(s.keys[keyRef{eventKey, trigger, key}], byKey, key)
	}
	if in.Scene != "" {
		v.offer(s.keys[keyRef{scene, trigger, in.Scene}], byKey, in.Scene)
	}
	for _, key := range in.Media {
		v.offer(s.keys[keyRef{media, trigger, key}], byKey, key)
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
