package domain_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

func at(s string) time.Time {
	t, err := time.Parse("2006-01-02 15:04 -0700", s)
	if err != nil {
		panic(err)
	}
	return t.UTC()
}

func TestWorkingHours(t *testing.T) {
	h := domain.Hours{
		Week: []domain.WeekSpan{{Weekday: 1, From: 540, To: 720}, {Weekday: 1, From: 780, To: 1080}, {Weekday: 5, From: 540, To: 1440}},
		Days: []domain.HolidayHours{
			{Date: "2026-10-05", Name: "国庆节"},                                                // a Monday that is closed
			{Date: "2026-10-10", Name: "调休", Spans: []domain.WeekSpan{{From: 600, To: 960}}}, // a Saturday with work
		},
	}
	for moment, open := range map[string]bool{
		"2026-11-23 09:00 +0800": true, "2026-11-23 08:59 +0800": false, "2026-11-23 12:30 +0800": false, "2026-11-23 17:59 +0800": true,
		"2026-11-23 18:00 +0800": false, "2026-11-24 10:00 +0800": false, "2026-11-27 23:59 +0800": true, "2026-11-23 01:00 +0000": true,
		"2026-10-05 10:00 +0800": false, "2026-10-10 10:00 +0800": true, "2026-10-10 09:00 +0800": false,
	} {
		require.Equal(t, open, h.Open(at(moment)), moment)
	}
	require.Equal(t, at("2026-11-23 05:00 +0000"), h.NextOpen(at("2026-11-23 12:30 +0800")))
	require.Equal(t, at("2026-11-27 01:00 +0000"), h.NextOpen(at("2026-11-23 18:00 +0800")))
	require.Equal(t, at("2026-10-09 01:00 +0000"), h.NextOpen(at("2026-10-05 08:00 +0800")), "a holiday is skipped")
	require.True(t, domain.Hours{}.Open(time.Now()))
	require.True(t, domain.Hours{Days: []domain.HolidayHours{{Date: "2026-01-01"}}}.Open(at("2026-01-02 03:00 +0800")), "only holidays: open on all other days")
	require.True(t, domain.Hours{Week: []domain.WeekSpan{}, Days: []domain.HolidayHours{{Date: "2026-01-01"}}}.NextOpen(at("2026-01-01 10:00 +0800")).Equal(at("2026-01-02 00:00 +0800")))
	berlin := domain.Hours{Zone: "Europe/Berlin", Week: []domain.WeekSpan{{Weekday: 7, From: 540, To: 600}}}
	require.Equal(t, at("2026-03-29 07:00 +0000"), berlin.NextOpen(at("2026-03-28 12:00 +0000")), "nine o'clock also on the day with 23 hours")
}

func TestAutomaticTexts(t *testing.T) {
	g := domain.Group{ID: "g", Texts: []domain.Text{{Kind: domain.TextClosed, Enabled: true, Zh: "再见"}, {Kind: domain.TextAssigned}}}
	require.Equal(t, "再见", g.Say(domain.TextClosed, "", nil))
	require.Equal(t, "This conversation has ended. Thank you for contacting us.", g.Say(domain.TextClosed, "en_US", nil))
	require.Empty(t, g.Say(domain.TextAssigned, "", nil), "switched off")
	require.Empty(t, g.Say(domain.TextWelcome, "", nil), "off by default: the rule says it")
	require.Equal(t, "当前排队人数较多，您排在第 3 位，请稍候。", g.Say(domain.TextWaiting, "zh_CN", map[string]string{"position": "3"}))
	require.Empty(t, domain.ImplicitGroup("q").Say(domain.TextClosed, "", nil), "a queue that nobody configured says nothing")
	for _, text := range domain.DefaultTexts() {
		require.NotEmpty(t, text.Zh)
		require.NotEmpty(t, text.En)
		require.NotEmpty(t, text.Kind.String())
	}
	require.Equal(t, []string{"非常满意", "一般", "非常不满意"}, []string{domain.ScoreText(3, 3, ""), domain.ScoreText(2, 3, ""), domain.ScoreText(1, 3, "")})
}

func TestFriendlyNamesStay(t *testing.T) {
	name, seed := domain.Friendly("shop", "oFan000001")
	require.Equal(t, "白白鹭098", name, "a fan who is known by a name must keep it")
	require.Len(t, seed, 16)
	again, _ := domain.Friendly("shop", "oFan000001")
	require.Equal(t, name, again)
	other, otherSeed := domain.Friendly("other", "oFan000001")
	require.NotEqual(t, seed, otherSeed)
	require.NotEqual(t, name, other)
	require.Equal(t, "王先生", domain.Fan{Account: "shop", OpenID: "x", Remark: "王先生"}.Name())
}

func TestSurveyAnswers(t *testing.T) {
	c, score, ok := domain.SurveyAnswer(domain.SurveyItem("abc", 4))
	require.True(t, ok)
	require.Equal(t, "abc", c)
	require.Equal(t, 4, score)
	for _, bad := range []string{"", "101", "wxbus.survey.", "wxbus.survey.abc", "wxbus.survey.abc.9", "wxbus.survey..3", "wxbus.survey.abc.x"} {
		_, _, ok := domain.SurveyAnswer(bad)
		require.False(t, ok, bad)
	}
}

func TestVariables(t *testing.T) {
	require.Equal(t, []string{"订单号", "date"}, domain.Variables("{fan.name}您好，订单{订单号}于{ date }发出", "{订单号} {}"))
	require.Equal(t, "王您好，订单{订单号}", domain.Fill("{fan.name}您好，订单{订单号}", map[string]string{"fan.name": "王"}))
	require.Equal(t, "{b}", domain.Fill("{a}", map[string]string{"a": "{b}", "b": "x"}), "a value is not filled in again")
}

// What contains the words is found by the pairs, and the pairs of a text are never missing one of a word in it.
func TestSearchByPairsFindsWhatContainsTheWords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.SampledFrom([]rune("退货订单ＡaB １2　。"))
		text := string(rapid.SliceOfN(letters, 0, 20).Draw(t, "text"))
		query := string(rapid.SliceOfN(letters, 1, 3).Draw(t, "query"))
		folded := domain.Fold(text)
		words, grams := domain.Words(query)
		has := func(g string) bool {
			for _, known := range domain.Grams(folded) {
				if known == g || (utf8.RuneCountInString(g) == 1 && strings.HasPrefix(known, g)) {
					return true
				}
			}
			return false
		}
		if domain.Contains(folded, words) {
			for _, g := range grams {
				require.True(t, has(g), "%q of %q in %q", g, query, text)
			}
		}
	})
	require.Equal(t, "abc 1", domain.Fold("ＡＢＣ\n 1"))
}

func TestCutAndPreview(t *testing.T) {
	require.Equal(t, strings.Repeat("好", 1365), domain.Cut(strings.Repeat("好", 5000), domain.MaxTextBytes))
	require.Equal(t, "a\uFFFDb\uFFFD", domain.Cut("a\xffb\x00", 100), "what a database cannot store is replaced")
	require.Equal(t, "一 行", domain.Preview(" 一\n行 "))
	require.Equal(t, 100, utf8.RuneCountInString(domain.Preview(strings.Repeat("好", 200))))
}

func FuzzFold(f *testing.F) {
	f.Add("退货 ＡＢ")
	f.Fuzz(func(t *testing.T, s string) {
		folded := domain.Fold(domain.Cut(s, domain.MaxTextBytes))
		require.Equal(t, folded, domain.Fold(folded), "folding twice changes nothing")
		for _, g := range domain.Grams(folded) {
			require.Contains(t, folded, g)
		}
	})
}

func TestFansNeverReadTheLogInOfAnAgent(t *testing.T) {
	require.Equal(t, "小李", domain.AgentFor(domain.Member{ID: "li.wei", Name: "小李"}, "en"))
	require.Equal(t, "专员", domain.AgentFor(domain.Member{ID: "li.wei", Name: "li.wei"}, ""))
	require.Equal(t, "专员", domain.AgentFor(domain.Member{ID: "li.wei"}, "zh_CN"))
	require.Equal(t, "your agent", domain.AgentFor(domain.Member{ID: "li.wei", Name: "li.wei"}, "en_US"))
}
