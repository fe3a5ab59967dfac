package decision_test

// Where the fields of a state are in a word: WeChat in the lowest 8 bits, then the waits, the streams with
// the memory of the gateway, the handlers, and the record in the highest 16.
const (
	waitBits, waitsAt       = 6, 8
	storedAt                = waitsAt + waitBits*len(state{}.waits)
	handlerBits, handlersAt = 3, storedAt + 6
	handledAt               = handlersAt + handlerBits*len(state{}.handlers)
	recordAt                = 48
)

func (s state) pack() uint64 {
	w := uint64(s.attempt) | bit(s.alive)<<2 | bit(s.acked)<<3 | uint64(s.shown)<<4 | uint64(s.sent)<<6
	for k := range s.waits {
		wt := &s.waits[k]
		w |= (uint64(wt.stage) | uint64(wt.gw)<<4 | bit(wt.old)<<5) << (waitsAt + waitBits*k)
	}
	w |= (uint64(s.stored) | uint64(s.spilled)<<2 | uint64(s.sealed)<<4) << storedAt
	for i := range s.handlers {
		h := &s.handlers[i]
		w |= (uint64(h.phase) | bit(h.offer)<<2) << (handlersAt + handlerBits*i)
	}
	return w | bit(s.handled)<<handledAt | uint64(s.record)<<recordAt
}

func unpack(w uint64) state {
	s := state{
		attempt: uint8(w & 3), alive: w>>2&1 == 1, acked: w>>3&1 == 1, shown: uint8(w >> 4 & 3), sent: uint8(w >> 6 & 3),
		stored: uint8(w >> storedAt & 3), spilled: uint8(w >> (storedAt + 2) & 3), sealed: outcome(w >> (storedAt + 4) & 3),
		handled: w>>handledAt&1 == 1, record: uint16(w >> recordAt),
	}
	for k := range s.waits {
		v := w >> (waitsAt + waitBits*k)
		s.waits[k] = wait{stage: stage(v & 15), gw: uint8(v >> 4 & 1), old: v>>5&1 == 1}
	}
	for i := range s.handlers {
		v := w >> (handlersAt + handlerBits*i)
		s.handlers[i] = handler{phase: phase(v & 3), offer: v>>2&1 == 1}
	}
	return s
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
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
