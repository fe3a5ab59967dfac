package phrase_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/services/rule/internal/phrase"
)

func TestTextsThatSayTheSameHaveOneKey(t *testing.T) {
	t.Parallel()
	for _, same := range [][]string{
		{"怎么退货", "怎么退货？", " 怎麼退貨 ！", "怎么 退货…"},
		{"WiFi密码", "ｗｉｆｉ 密碼", "wifi密码?"},
		{"订单 12345678 到哪了", "订单98765432到哪了"},
	} {
		for _, text := range same {
			require.Equal(t, phrase.Key(same[0]), phrase.Key(text), text)
		}
	}
	require.NotEqual(t, phrase.Key("房间 301"), phrase.Key("房间 302"), "short numbers mean something")
	require.Empty(t, phrase.Key("？！ …"))
	require.NotEmpty(t, phrase.Key("👍"))
}

func TestNobodysNumberIsShown(t *testing.T) {
	t.Parallel()
	require.Equal(t, "我的电话#，房间 301", phrase.Masked("我的电话13800138000，房间 301", 60))
	require.Equal(t, "a b", phrase.Masked("a\nb", 60))
	require.Equal(t, "abc…", phrase.Masked("abcdef", 4))
	require.Equal(t, "abcd", phrase.Masked("abcd", 4))
	require.Equal(t, "abc…", phrase.Masked("abcd12345", 4))
}

func TestMaskedIsBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text, most := rapid.String().Draw(t, "text"), rapid.IntRange(1, 30).Draw(t, "most")
		got := phrase.Masked(text, most)
		require.LessOrEqual(t, utf8.RuneCountInString(got), most)
		require.NotContains(t, got, "\n")
		require.LessOrEqual(t, utf8.RuneCountInString(phrase.Key(text)), 64)
		digits := 0
		for _, r := range got {
			if strings.ContainsRune("0123456789", r) {
				digits++
			} else {
				digits = 0
			}
			require.LessOrEqual(t, digits, 3)
		}
	})
}
