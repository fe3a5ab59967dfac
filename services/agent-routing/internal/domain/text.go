package domain

import (
	"strings"
	"unicode/utf8"
)

// cut shortens s to at most limit bytes between two runes and replaces what is not UTF-8, because
// a record that cannot be encoded would block the fan for ever.
func cut(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
