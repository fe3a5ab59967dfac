package wechat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// EncodeJSON encodes v as a request body: no HTML escapes and no \uXXXX, which WeChat refuses (40033)
// or shows to the fan.
func EncodeJSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return PlainJSON(bytes.TrimSuffix(buf.Bytes(), []byte("\n"))), nil
}

// PlainJSON returns valid JSON with every \uXXXX replaced by the character itself, or by a short
// escape where JSON needs one. Other control characters are left out. It returns src when there is
// nothing to replace.
func PlainJSON(src []byte) []byte {
	if !bytes.Contains(src, []byte(`\u`)) {
		return src
	}
	out := make([]byte, 0, len(src))
	for {
		i := bytes.IndexByte(src, '\\')
		if i < 0 || i+1 >= len(src) {
			return append(out, src...)
		}
		out = append(out, src[:i]...)
		src = src[i:]
		if src[1] != 'u' || len(src) < 6 {
			out = append(out, src[:2]...)
			src = src[2:]
			continue
		}
		r, size := decodeJSONEscape(src)
		src = src[size:]
		if r < utf8.RuneSelf && (r < ' ' || r == '"' || r == '\\') {
			out = appendJSONEscape(out, byte(r))
			continue
		}
		out = utf8.AppendRune(out, r)
	}
}
