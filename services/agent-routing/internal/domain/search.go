package domain

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Search works on pairs of characters, which needs no dictionary and so works for Chinese as for anything else: a
// text is found by every word of the query that it contains, whatever the width and the case.

// maxGrams bounds the index of one text.
const maxGrams = 2048

// Fold brings a text into the form in which it is compared: narrow, lower case, one space between words.
func Fold(s string) string {
	s = strings.ToLower(width.Fold.String(s))
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
}

// Grams returns the pairs of characters of a folded text, each once, and its last characters alone, so that a single
// character is found as the beginning of a pair.
func Grams(folded string) []string {
	seen := map[string]bool{}
	var out []string
	add := func(g string) {
		if !seen[g] && len(out) < maxGrams {
			seen[g] = true
			out = append(out, g)
		}
	}
	for _, word := range strings.Fields(folded) {
		runes := []rune(word)
		for i := range runes {
			add(string(runes[i:min(i+2, len(runes))]))
		}
	}
	return out
}

// Words returns the words of a query, folded and each once, and the pairs that a text must have to contain them all. A word of
// one character gives a pair of that one character, to be used as a beginning.
func Words(query string) (words, grams []string) {
	words = strings.Fields(Fold(query))
	slices.Sort(words)
	words = slices.Compact(words)
	seen := map[string]bool{}
	for _, w := range words {
		runes := []rune(w)
		for i := 0; i+1 < len(runes) || i == 0; i++ {
			g := string(runes[i:min(i+2, len(runes))])
			if !seen[g] {
				seen[g] = true
				grams = append(grams, g)
			}
		}
	}
	return words, grams
}

// Contains tells whether a folded text has every word.
func Contains(folded string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(folded, w) {
			return false
		}
	}
	return true
}
