package decision_test

// packer writes fields of a few bits one after the other into a word, or reads them back.
type packer struct {
	word  uint64
	shift uint
	write bool
}

func (p *packer) bits(v *uint8, n uint) {
	mask := uint64(1)<<n - 1
	if p.write {
		p.word |= (uint64(*v) & mask) << p.shift
	} else {
		*v = uint8(p.word >> p.shift & mask)
	}
	p.shift += n
}

func (p *packer) flag(v *bool) {
	var b uint8
	if *v {
		b = 1
	}
	p.bits(&b, 1)
	*v = b == 1
}

func (p *packer) record(v *uint16) {
	lo, hi := uint8(*v), uint8(*v>>8)
	p.bits(&lo, 8)
	p.bits(&hi, 8)
	*v = uint16(hi)<<8 | uint16(lo)
}

// state passes every field through the packer; 55 bits in all.
func (p *packer) state(s *state) {
	p.bits(&s.attempt, 2)
	p.flag(&s.alive)
	p.flag(&s.acked)
	p.bits(&s.shown, 2)
	p.bits(&s.sent, 2)
	for k := range s.waits {
		p.bits((*uint8)(&s.waits[k].stage), 4)
		p.bits(&s.waits[k].gw, 1)
		p.flag(&s.waits[k].old)
	}
	p.bits(&s.stored, 2)
	p.bits(&s.spilled, 2)
	p.record(&s.record)
	p.bits((*uint8)(&s.sealed), 2)
	for i := range s.handlers {
		p.bits((*uint8)(&s.handlers[i].phase), 2)
		p.flag(&s.handlers[i].offer)
	}
	p.flag(&s.handled)
}

func (s state) pack() uint64 {
	p := packer{write: true}
	p.state(&s)
	return p.word
}

func unpack(word uint64) state {
	p, s := packer{word: word}, state{}
	p.state(&s)
	return s
}

// set is a set of packed states: open addressing, at most half full. Zero is the first state, so
// the words are stored inverted.
type set struct {
	slots []uint64
	count int
}

// add puts a word into the set and reports whether it was new.
func (s *set) add(word uint64) bool {
	if 2*s.count >= len(s.slots) {
		old := s.slots
		s.slots = make([]uint64, max(1<<16, 4*len(old)))
		for _, w := range old {
			if w != 0 {
				s.slots[s.slot(^w)] = w
			}
		}
	}
	i := s.slot(word)
	if s.slots[i] != 0 {
		return false
	}
	s.slots[i] = ^word
	s.count++
	return true
}

// has reports whether a word is in the set.
func (s *set) has(word uint64) bool {
	return len(s.slots) > 0 && s.slots[s.slot(word)] != 0
}

// slot returns where a word is or belongs.
func (s *set) slot(word uint64) int {
	h := word * 0x9E3779B97F4A7C15
	i := int(h>>32) & (len(s.slots) - 1)
	for s.slots[i] != 0 && s.slots[i] != ^word {
		i = (i + 1) & (len(s.slots) - 1)
	}
	return i
}
