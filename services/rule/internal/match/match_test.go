package match_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/services/rule/internal/match"
)

func text(s string) match.Input {
	return match.Input{Account: "shop", Triggers: []string{"text", "any_message"}, Text: s, HasText: true}
}

// rule completes a rule of a test: on text, default folding.
func rule(name string, r match.Rule) match.Rule {
	r.Name = name
	if r.Triggers == nil {
		r.Triggers = []string{"text"}
	}
	r.Fold |= match.DefaultFold
	return r
}

func regexes(t *testing.T, fold match.Fold, expressions ...string) []match.Regex {
	t.Helper()
	var out []match.Regex
	for _, e := range expressions {
		re, err := match.ParseRegex(e, fold)
		require.NoError(t, err)
		out = append(out, re)
	}
	return out
}

func compile(t testing.TB, rules ...match.Rule) *match.Set {
	t.Helper()
	set, err := match.Compile(rules)
	require.NoError(t, err)
	return set
}

func TestTheOrderOfRulesIsTotal(t *testing.T) {
	tests := []struct {
		name  string
		rules []match.Rule
		text  string
		want  string
	}{
		{
			"higher priority beats a better match",
			[]match.Rule{rule("exact", match.Rule{Exact: []string{"退货"}}), rule("any", match.Rule{Any: true, Priority: 1})},
			"退货", "any",
		},
		{
			"exact beats prefix beats contains beats regex beats any",
			[]match.Rule{
				rule("any", match.Rule{Any: true}), rule("regex", match.Rule{Regex: regexes(t, match.DefaultFold, "退.")}),
				rule("contains", match.Rule{Contains: []string{"退货"}}), rule("prefix", match.Rule{Prefix: []string{"退货"}}),
				rule("exact", match.Rule{Exact: []string{"退货"}}),
			},
			"退货", "exact",
		},
		{
			"a short prefix beats a long contained text",
			[]match.Rule{rule("contains", match.Rule{Contains: []string{"我要退货"}}), rule("prefix", match.Rule{Prefix: []string{"我"}})},
			"我要退货", "prefix",
		},
		{
			"a longer prefix beats a shorter one",
			[]match.Rule{rule("short", match.Rule{Prefix: []string{"我要"}}), rule("long", match.Rule{Prefix: []string{"我要退"}})},
			"我要退货", "long",
		},
		{
			"a longer contained text beats a shorter one that comes first",
			[]match.Rule{rule("short", match.Rule{Contains: []string{"我"}}), rule("long", match.Rule{Contains: []string{"退货"}})},
			"我要退货", "long",
		},
		{
			"the first of equal rules in the file wins",
			[]match.Rule{rule("first", match.Rule{Contains: []string{"退货"}}), rule("second", match.Rule{Contains: []string{"我要"}})},
			"我要退货", "first",
		},
		{
			"the best pattern of a rule counts",
			[]match.Rule{rule("two", match.Rule{Contains: []string{"货", "我要退"}}), rule("one", match.Rule{Contains: []string{"退货"}})},
			"我要退货", "two",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set := compile(t, tt.rules...)
			hit, ok := set.Match(text(tt.text))
			require.True(t, ok)
			require.Equal(t, tt.want, tt.rules[hit.Rule].Name)
		})
	}
}

func TestMatchedPartIsInTheFansOwnSpelling(t *testing.T) {
	set := compile(t,
		rule("hello", match.Rule{Exact: []string{"Hello World"}}),
		rule("refund", match.Rule{Contains: []string{"退貨abc"}, Fold: match.FoldHan}),
		rule("order", match.Rule{Regex: regexes(t, match.DefaultFold, `订单号?[a-z]{2}\d{6}`)}),
		rule("vip", match.Rule{Prefix: []string{"ＶＩＰ"}}),
	)
	tests := []struct {
		text    string
		rule    int
		class   match.Class
		matched string
	}{
		{"  ＨＥＬＬＯ\u3000world\n", 0, match.Exact, "ＨＥＬＬＯ\u3000world"},
		{"我想退货ＡＢＣ可以吗", 1, match.Contains, "退货ＡＢＣ"},
		{"我想退貨abc", 1, match.Contains, "退貨abc"},
		{"请查订单号Ab１２３４５６谢谢", 2, match.RegexClass, "订单号Ab１２３４５６"},
		{"\tvip客户", 3, match.Prefix, "vip"},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			hit, ok := set.Match(text(tt.text))
			require.True(t, ok)
			require.Equal(t, tt.rule, hit.Rule)
			require.Equal(t, tt.class, hit.Class)
			require.Equal(t, tt.matched, hit.Matched)
			require.Equal(t, tt.matched, tt.text[hit.Start:hit.Start+len(hit.Matched)])
		})
	}
}

func TestWithoutFoldingSpellingsDiffer(t *testing.T) {
	set := compile(t, match.Rule{Name: "strict", Triggers: []string{"text"}, Contains: []string{"Vip"}})
	_, ok := set.Match(text("vip"))
	require.False(t, ok)
	_, ok = set.Match(text("my Vip card"))
	require.True(t, ok)
}

func TestRulesApplyToTheirAccountsAndTriggersOnly(t *testing.T) {
	set := compile(t,
		rule("other account", match.Rule{Contains: []string{"退货"}, Accounts: []string{"bank"}, Priority: 9}),
		rule("other kind", match.Rule{Contains: []string{"退货"}, Triggers: []string{"voice"}, Priority: 8}),
		rule("menu", match.Rule{EventKeys: []string{"HELP"}, Triggers: []string{"click"}}),
		rule("follow", match.Rule{Any: true, Triggers: []string{"subscribe"}}),
		rule("everything", match.Rule{Any: true, Triggers: []string{"any_message"}, Priority: -1}),
	)
	tests := []struct {
		name string
		in   match.Input
		want int
	}{
		{"text of this account", text("我要退货"), 4},
		{"text of the other account", match.Input{Account: "bank", Triggers: []string{"text", "any_message"}, Text: "退货", HasText: true}, 0},
		{"recognised voice", match.Input{Account: "shop", Triggers: []string{"voice", "any_message"}, Text: "退货", HasText: true}, 1},
		{"image", match.Input{Account: "shop", Triggers: []string{"image", "any_message"}}, 4},
		{"menu key", match.Input{Account: "shop", Triggers: []string{"click"}, Keys: []string{"HELP"}}, 2},
		{"other menu key", match.Input{Account: "shop", Triggers: []string{"click"}, Keys: []string{"help"}}, -1},
		{"key of another event", match.Input{Account: "shop", Triggers: []string{"scan"}, Keys: []string{"HELP"}}, -1},
		{"follow", match.Input{Account: "shop", Triggers: []string{"subscribe"}, Keys: []string{""}}, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			hit, ok := set.Match(tt.in)
			if tt.want < 0 {
				require.False(t, ok)
				return
			}
			require.True(t, ok)
			require.Equal(t, tt.want, hit.Rule)
		})
	}
}

func TestAnExpressionIsTriedOnlyWhenItsTextOccurs(t *testing.T) {
	// Without the prefilter each of these would run over the whole text.
	var rules []match.Rule
	for _, e := range []string{`单号\d+`, `(?:foo|bar)\w*x`, `[0-9]{6}`, `\pL{40}!`} {
		rules = append(rules, rule(e, match.Rule{Regex: regexes(t, match.DefaultFold, e)}))
	}
	set := compile(t, rules...)
	for in, want := range map[string]int{
		"我的单号 9": -1, "我的单号99": 0, "a FOO barfx": 1, "十二345678": 2, "nothing": -1,
	} {
		hit, ok := set.Match(text(in))
		if want < 0 {
			require.False(t, ok, in)
			continue
		}
		require.True(t, ok, in)
		require.Equal(t, want, hit.Rule, in)
	}
}

func TestUnusableExpressionsAreRefused(t *testing.T) {
	for expression, want := range map[string]string{
		`(`: "missing closing )", `a**`: "invalid nested repetition", `.*`: "use any", `\d*`: "use any", `^$`: "use any", `(abc){900}`: "too complex",
	} {
		_, err := match.ParseRegex(expression, match.DefaultFold)
		require.ErrorContains(t, err, want, expression)
	}
}

func TestExplainSaysWhyEachCandidateLost(t *testing.T) {
	rules := match.Of([]match.Rule{
		rule("returns", match.Rule{Contains: []string{"退货"}, Priority: 10}),
		rule("ask", match.Rule{Prefix: []string{"我"}}),
		rule("short", match.Rule{Contains: []string{"货"}, Priority: 10}),
		rule("later", match.Rule{Contains: []string{"我要"}, Priority: 10}),
		rule("bank", match.Rule{Contains: []string{"退货"}, Accounts: []string{"bank"}}),
		rule("spoken", match.Rule{Contains: []string{"退货"}, Triggers: []string{"voice"}}),
		rule("unrelated", match.Rule{Contains: []string{"物流"}}),
		rule("default", match.Rule{Any: true, Priority: -5}),
	})
	var got [][2]string
	for _, c := range rules.Explain(text("我要退货"), 20, nil) {
		got = append(got, [2]string{c.Hit.Matched, c.Outcome})
	}
	require.Equal(t, [][2]string{
		{"退货", "won"},
		{"我要", "later in the file than returns"},
		{"货", "shorter match than returns"},
		{"我", "lower priority than returns (0 < 10)"},
		{"", "lower priority than returns (-5 < 10)"},
		{"退货", "only for account bank"},
		{"退货", "only on voice"},
	}, got)
	require.Len(t, rules.Explain(text("我要退货"), 3, nil), 3)
}

func TestAMatchWithoutExpressionsAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools at random")
	}
	set := compile(t,
		rule("exact", match.Rule{Exact: []string{"你好"}}), rule("prefix", match.Rule{Prefix: []string{"查询"}}),
		rule("contains", match.Rule{Contains: []string{"退货"}}), rule("any", match.Rule{Any: true}),
	)
	in := text("请问怎么退货")
	allocations := testing.AllocsPerRun(100, func() { set.Match(in) })
	require.Zero(t, allocations)
}

func TestKeysScenesMediaAndPositionsAreFound(t *testing.T) {
	on := []string{"scan"}
	rules := []match.Rule{
		{Name: "poster", Triggers: on, Scenes: []string{"poster-7"}},
		{Name: "posters", Triggers: on, ScenePrefixes: []string{"poster-", "p"}},
		{Name: "short", Triggers: on, ScenePrefixes: []string{"po"}},
		{Name: "key", Triggers: []string{"click"}, EventKeys: []string{"poster-7"}},
		{Name: "pdf", Triggers: []string{"file"}, Media: []string{"file/pdf"}},
		{Name: "file", Triggers: []string{"file"}, Media: []string{"file"}},
		{Name: "near", Triggers: []string{"location"}, Near: true},
		{Name: "anywhere", Triggers: []string{"location"}, Any: true},
	}
	set, err := match.Compile(rules)
	require.NoError(t, err)
	tests := []struct {
		in   match.Input
		want match.Hit
	}{
		{match.Input{Triggers: on, Scene: "poster-7"}, match.Hit{Rule: 0, Class: match.Exact, Matched: "poster-7"}},
		{match.Input{Triggers: on, Scene: "poster-8"}, match.Hit{Rule: 1, Class: match.Prefix, Matched: "poster-"}},
		{match.Input{Triggers: on, Scene: "pot"}, match.Hit{Rule: 2, Class: match.Prefix, Matched: "po"}},
		{match.Input{Triggers: on, Scene: "p"}, match.Hit{Rule: 1, Class: match.Prefix, Matched: "p"}},
		{match.Input{Triggers: []string{"click"}, Keys: []string{"poster-7"}}, match.Hit{Rule: 3, Class: match.Exact, Matched: "poster-7"}},
		{match.Input{Triggers: []string{"file"}, Media: []string{"file", "file/pdf"}}, match.Hit{Rule: 4, Class: match.Exact, Matched: "file/pdf"}},
		{match.Input{Triggers: []string{"file"}, Media: []string{"file", "file/doc"}}, match.Hit{Rule: 5, Class: match.Exact, Matched: "file"}},
		{match.Input{Triggers: []string{"location"}, Position: true}, match.Hit{Rule: 6, Class: match.Near}},
		{match.Input{Triggers: []string{"location"}}, match.Hit{Rule: 7, Class: match.Any}},
	}
	for _, tt := range tests {
		hit, ok := set.Match(tt.in)
		require.True(t, ok, "%+v", tt.in)
		require.Equal(t, tt.want, hit, "%+v", tt.in)
		candidates := match.Of(rules).Explain(tt.in, 5, nil)
		require.Equal(t, tt.want, candidates[0].Hit, "%+v", tt.in)
	}
	_, ok := set.Match(match.Input{Triggers: on, Keys: []string{"poster-7"}})
	require.False(t, ok, "an event key is no scene")
}

func TestAConditionalRuleThatMayNotWinLeavesItToTheNextOne(t *testing.T) {
	on := []string{"text"}
	rules := []match.Rule{
		{Name: "night", Triggers: on, Contains: []string{"退货"}, Conditional: true},
		{Name: "day", Triggers: on, Contains: []string{"退货"}},
		{Name: "late", Triggers: on, Any: true, Priority: 9, Conditional: true},
		{Name: "never", Triggers: on, Any: true},
	}
	set, err := match.Compile(rules)
	require.NoError(t, err)
	in := match.Input{Triggers: on, Text: "我要退货", HasText: true}
	winner := func(allowed ...int) int {
		hit, ok := set.MatchIf(in, func(rule int) bool { return slices.Contains(allowed, rule) })
		require.True(t, ok)
		return hit.Rule
	}
	require.Equal(t, 2, winner(0, 2))
	require.Equal(t, 0, winner(0))
	require.Equal(t, 1, winner())

	candidates := match.Of(rules).Explain(in, 5, func(rule int) string { return map[int]string{2: "closed", 0: "by day"}[rule] })
	require.Equal(t, 1, candidates[0].Hit.Rule)
	require.True(t, candidates[0].Won)
	require.Equal(t, "condition failed: closed", candidates[1].Outcome)
	require.Equal(t, "by day", candidates[2].Failed)
}
