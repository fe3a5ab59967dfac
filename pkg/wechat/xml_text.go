package wechat

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// text stores character data: references are replaced and line ends become \n. Text around child
// elements has no meaning and is only checked.
func (r *xmlReader) text(p []byte) error {
	keep := !r.out.inBranch()
	for {
		i := bytes.IndexByte(p, '&')
		if i < 0 {
			break
		}
		if keep {
			r.literal(p[:i])
		}
		char, size := decodeReference(p[i:])
		if size == 0 {
			return r.fail("undefined entity")
		}
		if keep && !isControl(char) {
			r.out.text = utf8.AppendRune(r.out.text, char)
		}
		p = p[i+size:]
	}
	if keep {
		r.literal(p)
	}
	return nil
}

// literal stores text without references.
func (r *xmlReader) literal(p []byte) {
	for {
		i := bytes.IndexByte(p, '\r')
		if i < 0 {
			r.out.text = append(r.out.text, p...)
			return
		}
		r.out.text = append(r.out.text, p[:i]...)
		r.out.text = append(r.out.text, '\n')
		p = p[i+1:]
		if len(p) > 0 && p[0] == '\n' {
			p = p[1:]
		}
	}
}

// maxReferenceBytes is longer than every reference to a code point without leading zeros.
const maxReferenceBytes = 12

// decodeReference reads the reference at the start of p, which begins with '&'. The size is zero when
// it is no reference to a code point and none of the five entities.
func decodeReference(p []byte) (r rune, size int) {
	end := bytes.IndexByte(p[:min(len(p), maxReferenceBytes)], ';')
	if end < 2 {
		return 0, 0
	}
	name := p[1:end]
	if name[0] == '#' {
		r, ok := decodeCodePoint(name[1:])
		if !ok {
			return 0, 0
		}
		return r, end + 1
	}
	switch string(name) {
	case "lt":
		r = '<'
	case "gt":
		r = '>'
	case "amp":
		r = '&'
	case "apos":
		r = '\''
	case "quot":
		r = '"'
	default:
		return 0, 0
	}
	return r, end + 1
}

func decodeCodePoint(digits []byte) (rune, bool) {
	base := 10
	if len(digits) > 0 && digits[0] == 'x' {
		base, digits = 16, digits[1:]
	}
	n, err := strconv.ParseUint(string(digits), base, 32)
	if err != nil || n > utf8.MaxRune {
		return 0, false
	}
	if !utf8.ValidRune(rune(n)) {
		return utf8.RuneError, true
	}
	return rune(n), true
}
