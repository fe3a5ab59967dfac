package match

// automaton finds every pattern in a text in one pass: Aho–Corasick over folded runes.
//
// Nodes of depth 0 and 1 do not exist. Most runes of a text start no pattern, so the scan keeps the
// previous rune instead of a shallow state and asks the table whether the pair begins a pattern;
// that answer comes from the table's filter alone for nearly every position. Nodes are numbered in
// the order of a depth-first walk, so the first child of a node is its neighbour in memory and only
// further children need the table.
//
// An automaton is immutable after build and safe for concurrent use.
type automaton struct {
	nodes  []node // node 0 stands for every shallow state
	terms  []term // term 0 means nothing
	outs   []out
	table  table
	single bool // whether patterns of one rune exist
}

// node is 12 bytes, five to a cache line.
type node struct {
	label uint32 // rune of the edge into this node, and the two flags
	fail  uint32 // longest proper suffix of at least two runes, or 0
	term  uint32 // what ends here: this node's own patterns and those of its suffixes
}

const (
	hasFirst  = 1 << 31 // the next node is a child of this one
	hasOthers = 1 << 30 // further children are in the table
	runeMask  = 1<<21 - 1
)

// term is what ends at a node. Terms of suffixes follow by next.
type term struct {
	best  uint32 // best rank here and in all that follow, to leave early
	next  uint32
	first uint32 // outs[first:end] belong to the pattern that ends here
	end   uint32
}

// out is one use of a pattern.
type out struct {
	rank  uint32
	mask  uint32 // triggers for which it counts
	regex uint32 // list of regular expressions that the pattern makes worth trying, or 0
}

// blockRunes is how much of a text is looked up ahead of the walk.
const blockRunes = 128

// ahead is what is known about a block of text before the walk comes there.
type ahead struct {
	entered [blockRunes]uint32 // by position: the node that the pair which ends there begins, or 0
	hits    [blockRunes]hit
	touched uint32 // keeps the compiler from leaving out what only fills the cache
}

// hit is a pair that may begin a pattern.
type hit struct {
	hash uint64
	at   uint32 // position in the block
}

// scan reports to v every pattern that occurs anywhere in text.
func (a *automaton) scan(text []rune, v *search) {
	var state uint32
	for from := 0; from < len(text); from += blockRunes {
		to := min(from+blockRunes, len(text))
		a.lookAhead(text, from, to, &v.ahead)
		for i, r := range text[from:to] {
			state = a.step(state, r, v.ahead.entered[i])
			var t uint32
			if state != 0 {
				t = a.nodes[state].term
			} else if a.single {
				t = a.table.get(singleKey(r))
			}
			if t != 0 {
				a.report(t, from+i+1, v)
			}
		}
	}
}

// lookAhead finds out where in text[from:to] patterns begin. A walk that asked at each step would wait for memory at
// each step: with many patterns neither the table nor the nodes are in the processor's cache. Here no question
// depends on the answer to another one, so the processor asks them at the same time; last it touches the nodes that
// the walk is about to enter.
func (a *automaton) lookAhead(text []rune, from, to int, w *ahead) {
	n := 0
	var previous rune
	if from > 0 {
		previous = text[from-1]
	}
	for i, r := range text[from:to] {
		w.entered[i] = 0
		h := hash(pairKey(previous, r))
		w.hits[n] = hit{h, uint32(i)}
		if a.table.mayHave(h) {
			n++
		}
		previous = r
	}
	for _, found := range w.hits[:n] {
		at := from + int(found.at)
		var next rune
		if at+1 < len(text) {
			next = text[at+1]
		}
		if at > 0 {
			w.entered[found.at] = a.enter(found.hash, pairKey(text[at-1], text[at]), next)
		}
	}
	var sum uint32
	for _, found := range w.hits[:n] {
		sum += a.nodes[w.entered[found.at]].label
	}
	w.touched = sum
}

// step follows the edge r from a state, by way of its suffixes when it has none; entered is the node of the pair
// that ends here.
func (a *automaton) step(state uint32, r rune, entered uint32) uint32 {
	for state != 0 {
		if child := a.child(state, r); child != 0 {
			return child
		}
		state = a.nodes[state].fail
	}
	return entered
}

// enter returns the node of a pair, or zero when there is none or nothing can come of it: neither does
// a pattern end there nor does one go on with the next rune. That saves a look at the node.
func (a *automaton) enter(h, key uint64, next rune) uint32 {
	s := a.table.slot(h, key)
	if s.hint&(hintBit(next)|hintEnd) == 0 {
		return 0
	}
	return s.val
}

// A hint is a filter of 31 bits for the runes that go on, and a bit for pairs at which a pattern ends.
const hintEnd = 1 << 31

func hintBit(r rune) uint32 { return 1 << (uint32(r) % 31) }

func (a *automaton) child(state uint32, r rune) uint32 {
	label := a.nodes[state].label
	if label&hasFirst != 0 && a.nodes[state+1].label&runeMask == uint32(r) {
		return state + 1
	}
	if label&hasOthers != 0 {
		return a.table.get(edgeKey(state, r))
	}
	return 0
}

// prefixes reports to v every pattern that text begins with. It needs no suffix links, so it is for
// an automaton that was built without them.
func (a *automaton) prefixes(text []rune, v *search) {
	if len(text) == 0 {
		return
	}
	if a.single {
		if t := a.table.get(singleKey(text[0])); t != 0 {
			a.report(t, 1, v)
		}
	}
	if len(text) == 1 {
		return
	}
	state := a.table.get(pairKey(text[0], text[1]))
	for i := 2; state != 0; i++ {
		if t := a.nodes[state].term; t != 0 {
			a.report(t, i, v)
		}
		if i == len(text) {
			return
		}
		state = a.child(state, text[i])
	}
}

// report offers v the uses of every pattern that ends at position end.
func (a *automaton) report(t uint32, end int, v *search) {
	for t != 0 {
		here := &a.terms[t]
		if here.best >= v.best {
			return
		}
		for _, o := range a.outs[here.first:here.end] {
			switch {
			case o.mask&v.mask == 0:
			case o.regex != 0:
				v.candidate(o.regex)
			case o.rank < v.best && v.allows(o.rank):
				v.best, v.end = o.rank, end
			}
		}
		t = here.next
	}
}
