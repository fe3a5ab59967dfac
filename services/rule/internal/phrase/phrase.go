// Package phrase brings texts of fans together that say the same, and shortens them for people to read.
package phrase

import (
	"strings"
	"unicode"

	"github.com/wxbus/wxbus/services/rule/internal/match"
)

const (
	// maxKey is the longest key in characters; longer texts are the same when they begin alike.
	maxKey = 64
	// maxDigits is the longest number that is kept: longer ones are of orders, phones and identities.
	maxDigits = 3
)

const fold = match.FoldWidth | match.FoldCase | match.FoldHan

// Key returns what texts have in common that differ in case, width, traditional characters, white space,
// punctuation or long numbers only. It is empty for a text without a letter, a digit or a sign of its own.
func Key(text string) string {
	var b strings.Builder
	kept := 0
	for _, r := range Masked(text, maxScan) {
		r = fold.Rune(r)
		if kept == maxKey {
			break
		}
		if unicode.IsSpace(r) || unicode.IsControl(r) || unicode.IsPunct(r) && r != mask || r == unicode.ReplacementChar {
			continue
		}
		b.WriteRune(r)
		kept++
	}
	return b.String()
}

const (
	mask = '#'
	// maxScan bounds how much of a text is looked at, in characters.
	maxScan = 1024
)

// Masked returns a text on one line with at most the given number of characters, and # for each long number.
func Masked(text string, most int) string {
	var b strings.Builder
	written := 0
	put := func(r rune) {
		if written < most {
			b.WriteRune(r)
		}
		written++
	}
	var digits []rune
	flush := func() {
		if len(digits) > maxDigits {
			put(mask)
		} else {
			for _, d := range digits {
				put(d)
			}
		}
		digits = digits[:0]
	}
	for _, r := range text {
		if written > most {
			break
		}
		if unicode.IsDigit(r) {
			digits = append(digits, r)
			continue
		}
		flush()
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			r = ' '
		}
		put(r)
	}
	flush()
	if written <= most {
		return b.String()
	}
	runes := []rune(b.String())
	return string(runes[:most-1]) + "…"
}
