package match

import "math/bits"

// table is a hash table from a 64-bit key to a number, built once and then only read. A filter of
// three bits per key stays in the processor's cache when the slots do not: most look-ups of a scan
// fail, and those never touch the slots.
type table struct {
	filter []uint64
	slots  []slot
	shift  uint8
}

type slot struct {
	key  uint64 // zero marks a free slot
	val  uint32
	hint uint32 // what may follow a pair, see enter
}

const golden = 0x9E3779B97F4A7C15

// The keys of the three uses never collide, and none is zero.
func pairKey(first, second rune) uint64 { return 1<<63 | uint64(first)<<21 | uint64(second) }
func singleKey(r rune) uint64           { return 1<<62 | uint64(r) }
func edgeKey(node uint32, r rune) uint64 {
	return 1<<61 | uint64(node)<<21 | uint64(r)
}

// hash mixes every bit of the key into every bit of the result.
func hash(key uint64) uint64 {
	high, low := bits.Mul64(key, golden)
	return high ^ low
}

// newTable makes room for n keys at a load of at most one half, with 16 to 32 filter bits for each key.
func newTable(n int) table {
	size := 1 << bits.Len(uint(max(n, 4)*2-1))
	return table{
		filter: make([]uint64, max(size/8, 1)),
		slots:  make([]slot, size),
		shift:  uint8(64 - bits.TrailingZeros(uint(size))),
	}
}

func (t *table) put(key uint64, val uint32) {
	h := hash(key)
	word, mask := t.filterBits(h)
	t.filter[word] |= mask
	for i := h >> t.shift; ; i++ {
		s := &t.slots[i&uint64(len(t.slots)-1)]
		if s.key == 0 || s.key == key {
			s.key, s.val = key, val
			return
		}
	}
}

// get returns the value of a key, or zero.
func (t *table) get(key uint64) uint32 { return t.find(key).val }

// nothing is what find returns for a key that is not there.
var nothing slot

// find returns the slot of a key, or an empty one.
func (t *table) find(key uint64) *slot {
	h := hash(key)
	if !t.mayHave(h) {
		return &nothing
	}
	return t.slot(h, key)
}

// mayHave tells whether a key with a hash may be there; false is certain.
func (t *table) mayHave(h uint64) bool {
	word, mask := t.filterBits(h)
	return t.filter[word]&mask == mask
}

// slot returns the slot of a key with its hash, or an empty one.
func (t *table) slot(h, key uint64) *slot {
	for i := h >> t.shift; ; i++ {
		s := &t.slots[i&uint64(len(t.slots)-1)]
		if s.key == key || s.key == 0 {
			return s
		}
	}
}

func (t *table) filterBits(h uint64) (word, mask uint64) {
	return h >> 12 & uint64(len(t.filter)-1), 1<<(h&63) | 1<<(h>>6&63) | 1<<(h>>40&63)
}
