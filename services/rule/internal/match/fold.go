package match

import (
	"unicode"
	"unicode/utf8"
)

// Fold is a set of differences that a match ignores. Folding maps one rune to one rune, so a
// span of the folded text is the same span of runes in the original.
type Fold uint8

const (
	// FoldWidth reads full-width letters, digits and punctuation as half-width, the ideographic
	// space as a space, and half-width katakana as katakana (a separate voiced mark stays separate).
	FoldWidth Fold = 1 << iota
	// FoldCase ignores case, by Unicode's simple case folding as RE2 does for (?i).
	FoldCase
	// FoldHan reads common traditional characters as simplified ones.
	FoldHan
)

// DefaultFold is what a rule ignores when it does not say.
const DefaultFold = FoldWidth | FoldCase

// halfKatakana holds the katakana of U+FF61 to U+FF9F in order.
var halfKatakana = []rune("。「」、・ヲァィゥェォャュョッーアイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワン\u3099\u309a")

// fullSigns holds the half-width signs of U+FFE0 to U+FFE6 in order.
var fullSigns = []rune("¢£¬¯¦¥₩")

// Rune folds one rune.
func (f Fold) Rune(r rune) rune {
	if f&FoldWidth != 0 {
		r = foldWidth(r)
	}
	if f&FoldHan != 0 {
		r = simplify(r)
	}
	if f&FoldCase != 0 {
		r = foldCase(r)
	}
	return r
}

// String folds every rune of s.
func (f Fold) String(s string) string {
	for i, r := range s {
		if r == utf8.RuneError || f.Rune(r) != r {
			var room [64]rune // for most keywords
			return s[:i] + string(f.appendRunes(room[:0], s[i:]))
		}
	}
	return s
}

// appendRunes appends the folded runes of s. Bytes that are not UTF-8 become one U+FFFD each.
func (f Fold) appendRunes(dst []rune, s string) []rune {
	for _, r := range s {
		switch {
		case r < utf8.RuneSelf:
			if f&FoldCase != 0 && 'A' <= r && r <= 'Z' {
				r += 'a' - 'A'
			}
		case 0x4E00 <= r && r <= 0x9FFF:
			if f&FoldHan != 0 {
				r = simplify(r)
			}
		default:
			r = f.Rune(r)
		}
		dst = append(dst, r)
	}
	return dst
}

func foldWidth(r rune) rune {
	switch {
	case r == 0x3000:
		return ' '
	case 0xFF01 <= r && r <= 0xFF5E:
		return r - 0xFEE0
	case 0xFF61 <= r && r <= 0xFF9F:
		return halfKatakana[r-0xFF61]
	case 0xFFE0 <= r && r <= 0xFFE6:
		return fullSigns[r-0xFFE0]
	}
	return r
}

// foldCase returns the lower-case form of the smallest rune that differs from r in case only, so
// that it agrees with RE2: the Kelvin sign folds to k and the long s to s.
func foldCase(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	return unicode.ToLower(least)
}
