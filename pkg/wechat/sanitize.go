package wechat

import (
	"bytes"
	"unicode/utf8"
)

// clean returns b without a byte order mark and without the control characters that neither XML nor
// JSON allows, and with U+FFFD for every byte that is no UTF-8. In the normal case that is b itself.
func clean(b []byte) []byte {
	b = bytes.TrimPrefix(b, utf8BOM)
	if !hasControl(b) && utf8.Valid(b) {
		return b
	}
	out := make([]byte, 0, len(b)+16)
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if !isControl(r) {
			out = utf8.AppendRune(out, r)
		}
		b = b[size:]
	}
	return out
}

func hasControl(b []byte) bool {
	for _, c := range b {
		if c < ' ' && isControl(rune(c)) {
			return true
		}
	}
	return false
}

// isControl reports whether r is a control character that may not stand in a document at all.
func isControl(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r'
}
