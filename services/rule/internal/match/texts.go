package match

import (
	"hash/maphash"
	"math/bits"
)

// texts finds whole texts. Unlike a map it has no pointer for each of them, which the garbage collector would follow.
type texts struct {
	all   []byte // one after the other
	slots []textSlot
}

type textSlot struct {
	begin, end uint32 // in all; a free slot has none
	hash       uint32
	uses       span
}

// seed is one for all, so that two sets of the same rules are the same.
var seed = maphash.MakeSeed()

// newTexts makes room for the texts of patterns, at a load of at most one half.
func newTexts(patterns []pattern) *texts {
	bytes := 0
	for _, p := range patterns {
		bytes += len(p.text)
	}
	return &texts{all: make([]byte, 0, bytes), slots: make([]textSlot, 1<<bits.Len(uint(len(patterns)*2-1)))}
}

// put adds a text that is not empty and not there yet.
func (t *texts) put(text string, uses span) {
	h := maphash.String(seed, text)
	begin := uint32(len(t.all))
	t.all = append(t.all, text...)
	for i := h; ; i++ {
		s := &t.slots[i&uint64(len(t.slots)-1)]
		if s.end == 0 {
			*s = textSlot{begin, uint32(len(t.all)), uint32(h >> 32), uses}
			return
		}
	}
}

// get returns the uses of a text; none when it is not there.
func (t *texts) get(text []byte) span {
	h := maphash.Bytes(seed, text)
	for i := h; ; i++ {
		s := &t.slots[i&uint64(len(t.slots)-1)]
		if s.end == 0 {
			return span{}
		}
		if s.hash == uint32(h>>32) && string(t.all[s.begin:s.end]) == string(text) {
			return s.uses
		}
	}
}
