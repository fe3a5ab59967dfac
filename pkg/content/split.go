package content

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// MaxMessage is the size in bytes of a text that one message shows in full: WeChat cuts what is longer.
const MaxMessage = 2047

// SplitText cuts a text into parts of at most most bytes, in order and without loss: only blanks and
// line breaks at a cut are left out. It cuts at the end of a paragraph or sentence when that leaves a part
// at least half full, else between words, else between what a reader sees as characters, and only within
// one of these when it alone is larger than most. A link (<a …>…</a>) that fits stays whole. A text that
// fits is returned as it is; most below 4 is taken as 4, the size of the largest rune.
func SplitText(text string, most int) []string {
	most = max(most, utf8.UTFMax)
	if len(text) <= most {
		return []string{text}
	}
	var parts []string
	for text != "" {
		n := cut(text, most)
		if part := strings.TrimRightFunc(text[:n], unicode.IsSpace); part != "" {
			parts = append(parts, part)
		}
		text = strings.TrimLeftFunc(text[n:], unicode.IsSpace)
	}
	return parts
}

// cut returns where the first part of text ends: at most most bytes, at least one.
func cut(text string, most int) int {
	if len(text) <= most {
		return len(text)
	}
	var sentence, word, cluster, whole int // the last good places
	rest, state, link := text, -1, 0
	for rest != "" {
		var c string
		var boundaries int
		c, rest, boundaries, state = uniseg.StepString(rest, state)
		end := len(text) - len(rest)
		if end > most {
			break
		}
		if link == 0 {
			link = linkAt(text[end-len(c):], most)
		}
		link = max(0, link-len(c))
		cluster = end
		if link > 0 {
			continue
		}
		whole = end
		if boundaries&uniseg.MaskSentence != 0 || strings.ContainsAny(c, "\n") || endsSentence(c, rest) {
			sentence = end
		}
		if boundaries&uniseg.MaskLine != uniseg.LineDontBreak {
			word = end
		}
	}
	switch {
	case sentence >= most/2:
		return sentence
	case word >= most/2:
		return word
	case whole > 0:
		return whole
	case cluster > 0:
		return cluster
	}
	return runes(text, most)
}

// linkAt returns the size of the link that text begins with, or zero when there is none that fits.
func linkAt(text string, most int) int {
	if !strings.HasPrefix(text, "<a ") && !strings.HasPrefix(text, "<a>") {
		return 0
	}
	end := strings.Index(text[:min(len(text), most)], "</a>")
	if end < 0 {
		return 0
	}
	return end + len("</a>")
}

// endsSentence knows the marks that end a sentence although no blank follows, as in Chinese.
func endsSentence(c, rest string) bool {
	switch c {
	case "。", "！", "？", "…", "；":
		return !strings.HasPrefix(rest, "”") && !strings.HasPrefix(rest, "」") && !strings.HasPrefix(rest, "…")
	}
	return false
}

// runes cuts within something that is larger than a part, between its runes.
func runes(text string, most int) int {
	n := 0
	for i, r := range text {
		if i+utf8.RuneLen(r) > most && i > 0 {
			return i
		}
		n = i + utf8.RuneLen(r)
	}
	return n
}
