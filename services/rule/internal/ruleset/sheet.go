package ruleset

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/wxbus/wxbus/services/rule/internal/rest"
)

// sheet is rules written one after the other, each with its length before it. However many there are, the garbage collector
// sees one text and one list of numbers; a rule is read when it has won. See ADR 0066.
type sheet struct {
	text string
	// ends are where each rule ends; the first one begins at 0.
	ends []uint32
}

func (s *sheet) len() int { return len(s.ends) }

// of returns a rule as it is written, without its length.
func (s *sheet) of(rule int) string {
	from := uint32(0)
	if rule > 0 {
		from = s.ends[rule-1]
	}
	r := decoder{rest: s.text[from:s.ends[rule]]}
	return r.text()
}

// finding returns what a rule is found by, as it is written: two rules with the same differ at most in what is said, and in
// conditions.
func (s *sheet) finding(rule int) string {
	r := decoder{rest: s.of(rule)}
	return r.text()
}

// special tells whether a rule needs more than its texts.
func (s *sheet) special(rule int) bool {
	r := decoder{rest: s.finding(rule)}
	r.text()
	return r.byte()&ruleSpecial != 0
}

// name returns the name of a rule.
func (s *sheet) name(rule int) string {
	r := decoder{rest: s.finding(rule)}
	return strings.Clone(r.text())
}

// find reads what a rule is found by into a rule, whose texts are then those of the sheet.
func (s *sheet) find(rule int, into *Rule) (conditional bool) {
	r := decoder{rest: s.finding(rule)}
	return r.finding(into)&(ruleNear|ruleWhen) != 0
}

// rule reads a rule, which keeps nothing of the sheet alive. It cannot fail: openSheet has read every rule.
func (s *sheet) rule(rule int) *Rule {
	r, out := decoder{rest: strings.Clone(s.of(rule))}, &Rule{}
	r.rule(out)
	return out
}

// writeSheet writes rules into a sheet.
func writeSheet(rules []Rule) (sheet, error) {
	var text, one []byte
	s := sheet{ends: make([]uint32, 0, len(rules))}
	for i := range rules {
		var err error
		if one, err = appendRule(one[:0], &rules[i]); err != nil {
			return sheet{}, fmt.Errorf("encode rules[%d]: %w", i, err)
		}
		text = appendText(text, string(one))
		s.ends = append(s.ends, uint32(len(text)))
	}
	if uint64(len(text)) > math.MaxUint32 {
		return sheet{}, fmt.Errorf("encode rules: %d bytes", len(text))
	}
	s.text = string(text)
	return s, nil
}

// openSheet makes a sheet of a text that writeSheet wrote. It reads every rule once, so that no one fails later.
func openSheet(text string, count int, rests *rest.Rest) (sheet, error) {
	if uint64(len(text)) > math.MaxUint32 || count < 0 || count > MaxRules {
		return sheet{}, fmt.Errorf("decode rules: %d of %d bytes", count, len(text))
	}
	s := sheet{text: text, ends: make([]uint32, 0, count)}
	all, scratch := decoder{rest: text}, Rule{}
	for i := range count {
		rests.Step()
		one := decoder{rest: all.text(), checks: true}
		one.rule(&scratch)
		if all.bad || one.bad || one.rest != "" {
			return sheet{}, fmt.Errorf("decode rules: rule %d of %d is damaged", i+1, count)
		}
		s.ends = append(s.ends, uint32(len(text)-len(all.rest)))
	}
	if all.rest != "" {
		return sheet{}, fmt.Errorf("decode rules: %d bytes after the last one", len(all.rest))
	}
	return s, nil
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func appendList(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, text := range list {
		b = appendText(b, text)
	}
	return b
}

// decoder reads what was written. Its texts are parts of what it reads.
type decoder struct {
	rest string
	// bad is set by the first thing that cannot be read; what is read after it is empty.
	bad bool
	// checks is set by who only wants to know bad.
	checks bool
}

func (d *decoder) uvarint() uint64 {
	var n uint64
	for i := 0; i < len(d.rest) && i < binary.MaxVarintLen64; i++ {
		n |= uint64(d.rest[i]&0x7f) << (7 * i)
		if d.rest[i] < 0x80 {
			d.rest = d.rest[i+1:]
			return n
		}
	}
	d.bad, d.rest = true, ""
	return 0
}

func (d *decoder) varint() int64 {
	n := d.uvarint()
	return int64(n>>1) ^ -int64(n&1)
}

func (d *decoder) byte() byte {
	if d.rest == "" {
		d.bad = true
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) text() string {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.bad, d.rest = true, ""
		return ""
	}
	text := d.rest[:n]
	d.rest = d.rest[n:]
	return text
}

// list reads a list into room; an empty one of no room is nil.
func (d *decoder) list(room []string) []string {
	room = room[:0]
	for range min(d.uvarint(), uint64(len(d.rest))) {
		room = append(room, d.text())
	}
	return room
}
