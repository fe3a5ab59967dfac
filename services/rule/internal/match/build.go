package match

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/wxbus/wxbus/services/rule/internal/rest"
)

// pattern is a folded text with one use of it.
type pattern struct {
	text string
	out  out
	sure bool // whether no condition can keep it from winning
}

// textsOf yields each text with its uses, best rank first. It sorts patterns by text.
func textsOf(patterns []pattern, r *rest.Rest) iter.Seq2[string, []pattern] {
	// Bytes of UTF-8 sort as their runes do.
	slices.SortFunc(patterns, func(x, y pattern) int {
		r.Step()
		return cmp.Or(strings.Compare(x.text, y.text), cmp.Compare(x.out.rank, y.out.rank))
	})
	return func(yield func(string, []pattern) bool) {
		for first := 0; first < len(patterns); {
			end := first + 1
			for end < len(patterns) && patterns[end].text == patterns[first].text {
				end++
			}
			if !yield(patterns[first].text, patterns[first:end]) {
				return
			}
			r.Step()
			first = end
		}
	}
}

// appendOuts keeps the uses of one text, given best first, without those that can never win
// because better ones count for every trigger for which they count.
func appendOuts(outs []out, uses []pattern) []out {
	var covered uint32
	for _, use := range uses {
		switch {
		case use.out.regex != 0:
		case use.out.mask&^covered == 0:
			continue
		default:
			if use.sure {
				covered |= use.out.mask
			}
		}
		outs = append(outs, use.out)
	}
	return outs
}

// builder turns patterns into an automaton.
type builder struct {
	automaton
	rest   *rest.Rest
	parent []uint32 // by node
	depth  []uint16 // by node
	own    []uint32 // term of the pattern that ends at the node itself, by node
	edges  []edge
	path   []uint32 // nodes of the pattern before, by depth
	runes  []rune   // runes of the pattern before
}

type edge struct {
	key  uint64
	node uint32
}

// build makes an automaton of patterns, which must be non-empty and without NUL. Without links it
// serves prefixes only.
func build(patterns []pattern, links bool, r *rest.Rest) *automaton {
	if len(patterns) == 0 {
		return nil
	}
	b := &builder{rest: r}
	b.grow(patterns)
	b.newNode(0, 0, 0)
	b.terms = append(b.terms, term{best: noRank})
	for text, uses := range textsOf(patterns, r) {
		b.insert(text, b.newTerm(uses))
	}
	b.table = newTable(len(b.edges))
	for _, e := range b.edges {
		b.table.put(e.key, e.node)
		r.Step()
	}
	if links {
		b.link()
		b.hint()
	} else {
		for i := range b.nodes {
			b.nodes[i].term = b.own[i]
			r.Step()
		}
	}
	r.Long()
	b.nodes = fitting(b.nodes)
	r.Long()
	b.terms = fitting(b.terms)
	r.Long()
	return &b.automaton
}

// fitting gives spare room back when it is more than a quarter.
func fitting[T any](list []T) []T {
	if cap(list)-len(list) <= len(list)/4 {
		return list
	}
	return slices.Clone(list)
}

// grow makes room for the most that patterns can need.
func (b *builder) grow(patterns []pattern) {
	runes := 1
	for _, p := range patterns {
		runes += utf8.RuneCountInString(p.text)
		b.rest.Step()
	}
	b.nodes = make([]node, 0, runes)
	b.parent = make([]uint32, 0, runes)
	b.depth = make([]uint16, 0, runes)
	b.own = make([]uint32, 0, runes)
	b.outs = make([]out, 0, len(patterns))
	b.terms = make([]term, 0, len(patterns)+1)
	b.edges = make([]edge, 0, len(patterns))
}

func (b *builder) newNode(parent uint32, depth int, r rune) uint32 {
	id := uint32(len(b.nodes))
	b.nodes = append(b.nodes, node{label: uint32(r)})
	b.parent = append(b.parent, parent)
	b.depth = append(b.depth, uint16(min(depth, MaxPatternRunes)))
	b.own = append(b.own, 0)
	return id
}

func (b *builder) newTerm(uses []pattern) uint32 {
	t := term{best: uses[0].out.rank, first: uint32(len(b.outs))}
	b.outs = appendOuts(b.outs, uses)
	t.end = uint32(len(b.outs))
	b.terms = append(b.terms, t)
	return uint32(len(b.terms) - 1)
}

// insert adds a pattern that sorts after all before it.
func (b *builder) insert(text string, t uint32) {
	common, depth := 0, 0
	shared := true
	for _, r := range text {
		if shared && depth < len(b.runes) && b.runes[depth] == r {
			common++
		} else {
			shared = false
			b.runes = append(b.runes[:depth], r)
		}
		depth++
	}
	b.runes = b.runes[:depth]
	if depth == 1 {
		b.single = true
		b.path = append(b.path[:0], 0)
		b.edges = append(b.edges, edge{singleKey(b.runes[0]), t})
		return
	}
	// path[i] is the node at depth i+1; depth 1 has none.
	b.path = append(b.path[:min(common, len(b.path))], make([]uint32, depth-min(common, len(b.path)))...)
	for i := max(common, 1); i < depth; i++ {
		b.path[i] = b.addChild(b.path[i-1], i+1)
	}
	b.own[b.path[depth-1]] = t
}

// addChild makes the node of the given depth below parent on the current path.
func (b *builder) addChild(parent uint32, depth int) uint32 {
	r := b.runes[depth-1]
	id := b.newNode(parent, depth, r)
	switch {
	case depth == 2:
		b.edges = append(b.edges, edge{pairKey(b.runes[0], r), id})
	case id == parent+1:
		b.nodes[parent].label |= hasFirst
	default:
		b.nodes[parent].label |= hasOthers
		b.edges = append(b.edges, edge{edgeKey(parent, r), id})
	}
	return id
}

// link sets the suffix links and, with them, what ends at each node, shallow nodes first.
func (b *builder) link() {
	for _, id := range b.byDepth() {
		b.rest.Step()
		n := &b.nodes[id]
		r := rune(n.label & runeMask)
		if parent := b.parent[id]; parent != 0 {
			above := rune(b.nodes[parent].label & runeMask)
			n.fail = b.suffix(b.nodes[parent].fail, above, r)
		}
		suffix := b.nodes[n.fail].term
		if n.fail == 0 && b.single {
			suffix = b.table.get(singleKey(r))
		}
		n.term = suffix
		if own := b.own[id]; own != 0 {
			b.terms[own].next = suffix
			b.terms[own].best = min(b.terms[own].best, b.terms[suffix].best)
			n.term = own
		}
	}
}

// suffix follows the edge r from a state, as step does while there are no hints yet.
func (b *builder) suffix(state uint32, previous, r rune) uint32 {
	for state != 0 {
		if child := b.child(state, r); child != 0 {
			return child
		}
		state = b.nodes[state].fail
	}
	return b.table.get(pairKey(previous, r))
}

// hint notes with each pair what may come of it.
func (b *builder) hint() {
	hints := make(map[uint32]uint32)
	for id, depth := range b.depth {
		b.rest.Step()
		switch {
		case depth == 2 && b.nodes[id].term != 0:
			hints[uint32(id)] |= hintEnd
		case depth == 3:
			hints[b.parent[id]] |= hintBit(rune(b.nodes[id].label & runeMask))
		}
	}
	for i := range b.table.slots {
		b.rest.Step()
		if s := &b.table.slots[i]; s.key&(1<<63) != 0 {
			s.hint = hints[s.val]
		}
	}
}

// byDepth lists the nodes from shallow to deep.
func (b *builder) byDepth() []uint32 {
	var count [MaxPatternRunes + 2]uint32
	for _, d := range b.depth[1:] {
		count[d+1]++
	}
	for i := 1; i < len(count); i++ {
		count[i] += count[i-1]
	}
	order := make([]uint32, len(b.nodes)-1)
	for id := 1; id < len(b.nodes); id++ {
		d := b.depth[id]
		order[count[d]] = uint32(id)
		count[d]++
		b.rest.Step()
	}
	return order
}

// MaxPatternRunes bounds the length of a pattern.
const MaxPatternRunes = 512

// Usable tells whether s can be a pattern.
func Usable(s string) bool {
	return s != "" && utf8.RuneCountInString(s) <= MaxPatternRunes && !strings.ContainsRune(s, 0)
}
