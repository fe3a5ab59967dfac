package content_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/pkg/content"
)

func TestSplitText(t *testing.T) {
	family := "👨‍👩‍👧‍👦"
	accent := "e\u0301"
	link := `<a href="http://x/1">订单详情</a>`
	tests := []struct {
		name, text string
		most       int
		want       []string
	}{
		{"what fits stays", "你好\n\n", 2047, []string{"你好\n\n"}},
		{"at the end of a sentence", "第一句话。第二句话。", 18, []string{"第一句话。", "第二句话。"}},
		{"a closing quote stays with its sentence", "他说：“好。”走了。", 21, []string{"他说：“好。”", "走了。"}},
		{"at the end of a paragraph", "one two\nthree four", 12, []string{"one two", "three four"}},
		{"between words", "alpha beta gamma", 11, []string{"alpha beta", "gamma"}},
		{"between characters", strings.Repeat("好", 5), 7, []string{"好好", "好好", "好"}},
		{"a family is one character", family + family, 30, []string{family, family}},
		{"an accent stays on its letter", strings.Repeat(accent, 3), 7, []string{accent + accent, accent}},
		{"what is larger than a part is cut between runes", family, 12, nil},
		{"a link stays whole", "请看：" + link + "，谢谢。", len(link) + 4, []string{"请看：", link + "，", "谢谢。"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := content.SplitText(tt.text, tt.most)
			if tt.want != nil {
				require.Equal(t, tt.want, got)
			}
			for _, part := range got {
				require.LessOrEqual(t, len(part), max(tt.most, 4))
				require.True(t, utf8.ValidString(part))
			}
		})
	}
}

// TestSplitTextLosesNothing: for every text the parts fit, are valid and seen, come in order, hold everything but
// blanks, and no character that a reader sees is cut unless it alone is too large.
func TestSplitTextLosesNothing(t *testing.T) {
	pieces := rapid.SampledFrom([]string{
		"你", "好", "a", "word ", "。", "！", "\n", " ", "👨‍👩‍👧‍👦", "e\u0301", "🇨🇳", "🏳️‍🌈", "<a href=\"u\">x</a>", "\u200d", "。”", "한", "नि",
	})
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(pieces, 1, 80).Draw(t, "text"), "")
		most := rapid.IntRange(30, 200).Draw(t, "most")
		parts := content.SplitText(text, most)
		for _, part := range parts {
			require.LessOrEqual(t, len(part), most)
			require.True(t, utf8.ValidString(part))
		}
		if len(text) > most {
			for _, part := range parts {
				require.NotEmpty(t, strings.TrimSpace(part))
			}
		}
		require.Equal(t, solid(text), solid(strings.Join(parts, "")))
		clusters := map[string]bool{}
		for g := uniseg.NewGraphemes(text); g.Next(); {
			clusters[g.Str()] = true
		}
		for _, part := range parts {
			for g := uniseg.NewGraphemes(part); g.Next(); {
				require.True(t, clusters[g.Str()] || strings.ContainsFunc(g.Str(), unicode.IsSpace) || known(clusters, g.Str(), most), "%q was cut", g.Str())
			}
		}
	})
}

// known allows a character whose blank was left out at a cut, and everything once one alone is too large.
func known(clusters map[string]bool, c string, most int) bool {
	for k := range clusters {
		if len(k) > most || solid(k) == solid(c) {
			return true
		}
	}
	return false
}

func solid(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
}

func FuzzSplitText(f *testing.F) {
	f.Add("你好。<a href=x>", 10)
	f.Fuzz(func(t *testing.T, text string, most int) {
		if !utf8.ValidString(text) || most > 1<<16 {
			t.Skip()
		}
		parts := content.SplitText(text, most)
		require.Equal(t, solid(text), solid(strings.Join(parts, "")))
		for _, part := range parts {
			require.LessOrEqual(t, len(part), max(most, 4))
		}
	})
}
