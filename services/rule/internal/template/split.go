package template

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Ellipsis ends a text whose rest was left out.
const Ellipsis = "…"

// Split cuts a text into at most parts pieces of at most size bytes, at the last border of a kind within
// the size: the end of a paragraph, of a sentence, of a clause, of a word, else between characters; never within a
// link. What does not fit into the last piece is left out, and the piece then ends with an ellipsis. Pieces are
// never blank. size must be at least 64 and parts at least 1.
func Split(text string, size, parts int) []string {
	var pieces []string
	for rest := strings.TrimSpace(text); rest != ""; {
		switch {
		case len(rest) <= size:
			return append(pieces, rest)
		case len(pieces) == parts-1:
			end := border(rest, size-len(Ellipsis))
			return append(pieces, strings.TrimRightFunc(rest[:end], unicode.IsSpace)+Ellipsis)
		}
		end := border(rest, size)
		pieces = append(pieces, strings.TrimRightFunc(rest[:end], unicode.IsSpace))
		rest = strings.TrimLeftFunc(rest[end:], unicode.IsSpace)
	}
	return pieces
}

// borders are the characters after which a text may be cut, best first.
var borders = []string{"\n", "。！？!?…；;", "，、,：:", " \t"}

// border returns where to cut a text that is longer than size. A border in the first half is not worth it.
func border(text string, size int) int {
	size = beforeLink(text, len(cut(text, size)))
	for _, marks := range borders {
		if at := strings.LastIndexAny(text[:size], marks); at >= size/2 {
			_, width := utf8.DecodeRuneInString(text[at:])
			if end := beforeLink(text, at+width); end == at+width {
				return end
			}
		}
	}
	return size
}

// beforeLink returns end, or the beginning of the link that end is within. A link that is longer than a whole
// piece is cut all the same.
func beforeLink(text string, end int) int {
	lower := strings.ToLower(text[:end])
	if len(lower) != end { // lower case of another length: positions would be wrong
		lower = text[:end]
	}
	open := strings.LastIndex(lower, "<a ")
	if open <= 0 || strings.Contains(lower[open:], "</a>") {
		return end
	}
	return open
}

// Cut returns a text of at most size bytes, with an ellipsis when something was left out.
func Cut(text string, size int) string {
	if len(text) <= size {
		return text
	}
	return cut(text, size-len(Ellipsis)) + Ellipsis
}
