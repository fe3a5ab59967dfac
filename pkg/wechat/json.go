package wechat

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"github.com/wxbus/wxbus/pkg/fault"
)

var errJSON = fault.New(fault.Invalid, "parse body: json: malformed")

// jsonReader turns a JSON object into the document that the same push has in XML: members become
// elements, the elements of an array become siblings of the same name, numbers stay as they are
// spelled. encoding/json decides what is JSON; this reader only walks what was found valid, so
// nothing recurses before the depth is known.
type jsonReader struct {
	src []byte
	pos int
	out *builder
}

func readJSON(src []byte, out *builder) error {
	if !json.Valid(src) {
		// Official samples end objects with a comma.
		src = dropTrailingCommas(src)
		if !json.Valid(src) {
			return errJSON
		}
	}
	r := jsonReader{src: src, out: out}
	r.skipBlanks()
	return r.value(out.name([]byte(rootName)), false)
}

// value reads one value and stores it under name.
func (r *jsonReader) value(name span, listed bool) error {
	switch c := r.src[r.pos]; c {
	case '{':
		return r.object(name, listed)
	case '[':
		if !listed {
			return r.array(name)
		}
		return r.nestedArray(name)
	case '"':
		if err := r.out.begin(name, kindText, listed); err != nil {
			return err
		}
		r.string()
	default:
		kind := kindLiteral
		if c == 'n' {
			kind = kindNull
		}
		if err := r.out.begin(name, kind, listed); err != nil {
			return err
		}
		literal := r.literal()
		if kind != kindNull {
			r.out.text = append(r.out.text, literal...)
		}
	}
	r.out.end()
	return nil
}

func (r *jsonReader) object(name span, listed bool) error {
	if err := r.out.begin(name, kindBranch, listed); err != nil {
		return err
	}
	r.pos++
	for r.next('}') {
		key := r.key()
		r.skipBlanks()
		r.pos++ // the colon
		r.skipBlanks()
		if err := r.value(key, false); err != nil {
			return err
		}
	}
	r.out.end()
	return nil
}

// array stores the elements as siblings that share name.
func (r *jsonReader) array(name span) error {
	r.pos++
	empty := true
	for r.next(']') {
		empty = false
		if err := r.value(name, true); err != nil {
			return err
		}
	}
	if !empty {
		return nil
	}
	if err := r.out.begin(name, kindEmptyList, true); err != nil {
		return err
	}
	r.out.end()
	return nil
}

// nestedArray stores an array inside an array as one element whose children have no name.
func (r *jsonReader) nestedArray(name span) error {
	if err := r.out.begin(name, kindList, true); err != nil {
		return err
	}
	if err := r.array(span{}); err != nil {
		return err
	}
	r.out.end()
	return nil
}

// next skips to the next member or element. It reports false after the closing byte.
func (r *jsonReader) next(closing byte) bool {
	r.skipBlanks()
	if r.src[r.pos] == ',' {
		r.pos++
		r.skipBlanks()
	}
	if r.src[r.pos] == closing {
		r.pos++
		return false
	}
	return true
}

// key stores a member name without blanks around it; an official sample has " OpenID".
func (r *jsonReader) key() span {
	key := span{start: uint32(len(r.out.text))}
	r.string()
	key.end = uint32(len(r.out.text))
	for key.start < key.end && isBlank(r.out.text[key.start]) {
		key.start++
	}
	for key.start < key.end && isBlank(r.out.text[key.end-1]) {
		key.end--
	}
	return key
}

func (r *jsonReader) literal() []byte {
	start := r.pos
	for r.pos < len(r.src) && !isBlank(r.src[r.pos]) && bytes.IndexByte([]byte(",]}"), r.src[r.pos]) < 0 {
		r.pos++
	}
	return r.src[start:r.pos]
}

func (r *jsonReader) skipBlanks() {
	for r.pos < len(r.src) && isBlank(r.src[r.pos]) {
		r.pos++
	}
}

// string stores the text of the string at pos and moves behind it.
func (r *jsonReader) string() {
	r.pos++
	for {
		rest := r.src[r.pos:]
		quote := bytes.IndexByte(rest, '"')
		escape := bytes.IndexByte(rest[:quote], '\\')
		if escape < 0 {
			r.out.text = append(r.out.text, rest[:quote]...)
			r.pos += quote + 1
			return
		}
		r.out.text = append(r.out.text, rest[:escape]...)
		char, size := decodeJSONEscape(rest[escape:])
		if !isControl(char) {
			r.out.text = utf8.AppendRune(r.out.text, char)
		}
		r.pos += escape + size
	}
}

// decodeJSONEscape reads the valid escape at the start of p. Half a surrogate pair is U+FFFD.
func decodeJSONEscape(p []byte) (rune, int) {
	switch p[1] {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
	default:
		return rune(p[1]), 2
	}
	high := hexRune(p[2:6])
	if high < 0xd800 || high > 0xdfff {
		return high, 6
	}
	if high < 0xdc00 && len(p) >= 12 && p[6] == '\\' && p[7] == 'u' {
		if low := hexRune(p[8:12]); low >= 0xdc00 && low <= 0xdfff {
			return 0x10000 + (high-0xd800)<<10 + (low - 0xdc00), 12
		}
	}
	return utf8.RuneError, 6
}

func hexRune(digits []byte) rune {
	var n rune
	for _, c := range digits {
		n <<= 4
		switch {
		case c <= '9':
			n |= rune(c - '0')
		default:
			n |= rune(c|0x20-'a') + 10
		}
	}
	return n
}

// dropTrailingCommas returns a copy of src without the commas that stand before a closing bracket.
func dropTrailingCommas(src []byte) []byte {
	out := make([]byte, 0, len(src))
	comma := -1 // place in out of a comma that only blanks follow so far
	inString, escaped := false, false
	for _, c := range src {
		switch {
		case inString:
			inString = escaped || c != '"'
			escaped = !escaped && c == '\\'
		case c == '"':
			inString, comma = true, -1
		case c == ',':
			comma = len(out)
		case (c == '}' || c == ']') && comma >= 0:
			out = append(out[:comma], out[comma+1:]...)
			comma = -1
		case !isBlank(c):
			comma = -1
		}
		out = append(out, c)
	}
	return out
}
