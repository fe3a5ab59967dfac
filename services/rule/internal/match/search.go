package match

import (
	"slices"
	"unicode"
	"unicode/utf8"
)

// search is the state of one match: the best rank so far and the space to work in. Searches are
// pooled, so a match without regular expressions allocates nothing.
type search struct {
	set   *Set
	mask  uint32
	best  uint32
	found foundBy
	start int // rune positions in the trimmed text
	end   int
	key   string

	runes []rune
	bytes []byte
	lists []uint32 // lists of expressions to try, of the group in hand
	tried []uint32
	seen  []uint32 // by list: the epoch in which it was noted
	epoch uint32
	ahead ahead

	ask      func(rule int) bool // nil allows everything
	verdicts []verdict           // what was asked already
}

// verdict is the answer about a conditional rule.
type verdict struct {
	rule uint32
	ok   bool
}

type foundBy uint8

const (
	byNothing foundBy = iota
	byKey
	byText
)

func (v *search) reset(s *Set, mask uint32, allows func(rule int) bool) {
	v.set, v.mask, v.ask = s, mask, allows
	v.best, v.found, v.start, v.end, v.key = noRank, byNothing, 0, 0, ""
}

// forget drops what belongs to the caller, so that the pool does not keep it alive.
func (v *search) forget() {
	v.ask, v.key = nil, ""
	v.verdicts = v.verdicts[:0]
}

// offer keeps the best of ranks that do not come from the text.
func (v *search) offer(ranks []uint32, by foundBy, key string) {
	for _, rank := range ranks {
		if rank >= v.best {
			return
		}
		if v.allows(rank) {
			v.best, v.found, v.key = rank, by, key
			return
		}
	}
}

// allows tells whether the rule of a rank may win. Nobody is asked about rules without conditions.
func (v *search) allows(rank uint32) bool {
	e := &v.set.entries[rank]
	if !e.conditional || v.ask == nil {
		return true
	}
	for _, known := range v.verdicts {
		if known.rule == e.rule {
			return known.ok
		}
	}
	ok := v.ask(int(e.rule))
	v.verdicts = append(v.verdicts, verdict{e.rule, ok})
	return ok
}

// fold puts the folded and trimmed text into v.runes.
func (v *search) fold(f Fold, text string) []rune {
	v.runes = f.appendRunes(v.runes[:0], text)
	runes := v.runes
	for len(runes) > 0 && unicode.IsSpace(runes[0]) {
		runes = runes[1:]
	}
	for len(runes) > 0 && unicode.IsSpace(runes[len(runes)-1]) {
		runes = runes[:len(runes)-1]
	}
	return runes
}

// encode writes runes as UTF-8 into v.bytes.
func (v *search) encode(runes []rune) []byte {
	v.bytes = v.bytes[:0]
	for _, r := range runes {
		v.bytes = utf8.AppendRune(v.bytes, r)
	}
	return v.bytes
}

// candidate notes a list of expressions once.
func (v *search) candidate(list uint32) {
	if v.seen[list] == v.epoch {
		return
	}
	v.seen[list] = v.epoch
	v.lists = append(v.lists, list)
}

// begin prepares for a group with n lists of expressions.
func (v *search) begin(n int) {
	v.lists = v.lists[:0]
	v.epoch++
	if len(v.seen) < n || v.epoch == 0 {
		v.seen, v.epoch = make([]uint32, n), 1
	}
}

// group holds the text rules of one account, or of every account, that fold alike.
type group struct {
	fold     Fold
	exact    *texts
	outs     []out // of exact texts
	prefix   *automaton
	contains *automaton
	regexes  []regexRule // sorted by rank
	lists    [][]uint32  // indexes of regexes; list 0 holds those without a required text
}

type span struct{ first, end uint32 }

type regexRule struct {
	re   Regex
	rank uint32
	mask uint32
}

// search improves v by the rules of the group.
func (g *group) search(text string, v *search) {
	runes := v.fold(g.fold, text)
	if len(runes) == 0 {
		return
	}
	encoded := g.exact != nil
	if encoded {
		at := g.exact.get(v.encode(runes))
		for _, o := range g.outs[at.first:at.end] {
			if o.mask&v.mask != 0 && o.rank < v.best && v.allows(o.rank) {
				v.best, v.found, v.start, v.end = o.rank, byText, 0, len(runes)
			}
		}
	}
	before := v.best
	if g.prefix != nil {
		g.prefix.prefixes(runes, v)
	}
	v.begin(len(g.lists))
	if g.contains != nil {
		g.contains.scan(runes, v)
	}
	if v.best != before {
		v.found, v.start = byText, -1
	}
	if len(g.regexes) == 0 {
		return
	}
	if len(g.lists[0]) > 0 {
		v.candidate(0)
	}
	if len(v.lists) == 0 {
		return
	}
	if !encoded {
		v.encode(runes)
	}
	g.searchRegex(v)
}

// searchRegex tries the noted expressions in the order of their ranks.
func (g *group) searchRegex(v *search) {
	v.tried = v.tried[:0]
	for _, list := range v.lists {
		v.tried = append(v.tried, g.lists[list]...)
	}
	if len(v.lists) > 1 {
		slices.Sort(v.tried)
		v.tried = slices.Compact(v.tried)
	}
	for _, i := range v.tried {
		r := &g.regexes[i]
		if r.rank >= v.best {
			return
		}
		if r.mask&v.mask == 0 || !r.re.re.Match(v.bytes) {
			continue
		}
		if !v.allows(r.rank) {
			continue
		}
		at := r.re.re.FindIndex(v.bytes)
		v.best, v.found = r.rank, byText
		v.start = utf8.RuneCount(v.bytes[:at[0]])
		v.end = v.start + utf8.RuneCount(v.bytes[at[0]:at[1]])
		return
	}
}
