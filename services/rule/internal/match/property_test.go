package match_test

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/services/rule/internal/match"
)

// reference is one way in which one rule matches, found without any index.
type reference struct {
	rule     int
	priority int32
	class    match.Class
	length   int
}

// naive returns the winner by trying every pattern of every rule.
func naive(rules []match.Rule, expressions [][]string, in match.Input, allows func(int) bool) (reference, bool) {
	var all []reference
	for i, r := range rules {
		if len(r.Accounts) > 0 && !slices.Contains(r.Accounts, in.Account) {
			continue
		}
		if r.Conditional && !allows(i) {
			continue
		}
		if !slices.ContainsFunc(r.Triggers, func(t string) bool { return slices.Contains(in.Triggers, t) }) {
			continue
		}
		add := func(class match.Class, length int) {
			all = append(all, reference{i, r.Priority, class, length})
		}
		folded := strings.TrimFunc(r.Fold.String(in.Text), unicode.IsSpace)
		if r.Any {
			add(match.Any, 0)
		}
		if folded == "" {
			continue
		}
		for _, p := range r.Exact {
			if strings.TrimSpace(r.Fold.String(p)) == folded {
				add(match.Exact, 0)
			}
		}
		for _, p := range r.Prefix {
			if p = strings.TrimLeftFunc(r.Fold.String(p), unicode.IsSpace); strings.HasPrefix(folded, p) {
				add(match.Prefix, utf8.RuneCountInString(p))
			}
		}
		for _, p := range r.Contains {
			if p = r.Fold.String(p); strings.Contains(folded, p) {
				add(match.Contains, utf8.RuneCountInString(p))
			}
		}
		for _, e := range expressions[i] {
			if r.Fold&match.FoldCase != 0 {
				e = "(?i)" + e
			}
			if regexp.MustCompile(e).MatchString(folded) {
				add(match.RegexClass, 0)
			}
		}
	}
	if len(all) == 0 {
		return reference{}, false
	}
	return slices.MinFunc(all, func(x, y reference) int {
		return cmp.Or(cmp.Compare(y.priority, x.priority), cmp.Compare(x.class, y.class),
			cmp.Compare(y.length, x.length), cmp.Compare(x.rule, y.rule))
	}), true
}

// A small alphabet makes overlaps, shared beginnings and suffix links likely.
func words(least, most int) *rapid.Generator[string] {
	return rapid.StringOfN(rapid.SampledFrom([]rune("aAbＡ 退货貨1")), least, most, -1)
}

func patterns() *rapid.Generator[[]string] {
	return rapid.SliceOfN(words(1, 5).Filter(func(s string) bool { return strings.TrimSpace(s) != "" }), 0, 3)
}

func genRules(t *rapid.T) ([]match.Rule, [][]string) {
	n := rapid.IntRange(0, 12).Draw(t, "rules")
	rules := make([]match.Rule, n)
	expressions := make([][]string, n)
	for i := range rules {
		rules[i] = match.Rule{
			Name:     fmt.Sprint(i),
			Accounts: rapid.SliceOfN(rapid.SampledFrom([]string{"shop", "bank"}), 0, 1).Draw(t, "accounts"),
			Priority: rapid.Int32Range(-1, 1).Draw(t, "priority"),
			Triggers: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"text", "voice", "any_message"}), 1, 3, rapid.ID).Draw(t, "on"),
			Fold:     match.Fold(rapid.IntRange(0, 7).Draw(t, "fold")),
			Any:      rapid.IntRange(0, 5).Draw(t, "any") == 0,
			Exact:    patterns().Draw(t, "exact"),
			Prefix:   patterns().Draw(t, "prefix"),
			Contains: patterns().Draw(t, "contains"),

			Conditional: rapid.Bool().Draw(t, "conditional"),
		}
		expressions[i] = rapid.SliceOfN(rapid.SampledFrom([]string{
			"a+b", "退.", "(?:aa|b1)", "[0-9]{2}", "^b", "货?1", "[ab]{3}", `\d退|a 1`,
		}), 0, 2).Draw(t, "regex")
		for _, e := range expressions[i] {
			re, err := match.ParseRegex(e, rules[i].Fold)
			if err != nil {
				t.Fatal(err)
			}
			rules[i].Regex = append(rules[i].Regex, re)
		}
	}
	return rules, expressions
}

func TestTheIndexAgreesWithTryingEveryRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, expressions := genRules(t)
		set, err := match.Compile(rules)
		if err != nil {
			t.Fatal(err)
		}
		for range 8 {
			in := match.Input{
				Account:  rapid.SampledFrom([]string{"shop", "bank", "cafe"}).Draw(t, "account"),
				Triggers: []string{rapid.SampledFrom([]string{"text", "voice"}).Draw(t, "kind"), "any_message"},
				Text:     words(0, 12).Draw(t, "text"), HasText: true,
			}
			denied := rapid.SliceOfN(rapid.IntRange(0, 11), 0, 6).Draw(t, "denied")
			asked := map[int]int{}
			want, ok := naive(rules, expressions, in, func(rule int) bool { return !slices.Contains(denied, rule) })
			hit, found := set.MatchIf(in, func(rule int) bool {
				asked[rule]++
				return !slices.Contains(denied, rule)
			})
			for rule, times := range asked {
				if times > 1 || !rules[rule].Conditional {
					t.Fatalf("text %q: asked %d times about rule %d, conditional %v", in.Text, times, rule, rules[rule].Conditional)
				}
			}
			if found != ok || found && (hit.Rule != want.rule || hit.Class != want.class) {
				t.Fatalf("text %q: got %v %+v, want %v %+v", in.Text, found, hit, ok, want)
			}
			candidates := match.Of(rules).Explain(in, 20, func(rule int) string {
				if slices.Contains(denied, rule) {
					return "denied"
				}
				return ""
			})
			if found && (len(candidates) == 0 || !candidates[0].Won || candidates[0].Hit != hit) {
				t.Fatalf("text %q: match says %+v, explanation %+v", in.Text, hit, candidates)
			}
		}
	})
}

func FuzzContains(f *testing.F) {
	f.Add("我要退货谢谢", "退货,要退,货谢谢")
	f.Add("aaaaab", "aab,aaa,b")
	f.Add("shers", "he,she,his,hers")
	f.Add("\xff退\x00", "退,\uFFFD")
	f.Fuzz(func(t *testing.T, in, list string) {
		fuzzAgainst(t, in, list, func(patterns []string) []match.Rule {
			return rulesOf(patterns, func(p string) match.Rule { return match.Rule{Contains: []string{p}} })
		}, strings.Contains)
	})
}

func FuzzPrefix(f *testing.F) {
	f.Add("查询订单", "查,查询,查询订单号")
	f.Fuzz(func(t *testing.T, in, list string) {
		fuzzAgainst(t, in, list, func(patterns []string) []match.Rule {
			return rulesOf(patterns, func(p string) match.Rule { return match.Rule{Prefix: []string{p}} })
		}, strings.HasPrefix)
	})
}

func rulesOf(patterns []string, make1 func(string) match.Rule) []match.Rule {
	var rules []match.Rule
	for _, p := range patterns {
		r := make1(p)
		r.Triggers = []string{"text"}
		rules = append(rules, r)
	}
	return rules
}

// fuzzAgainst compares the automaton with a function of the standard library, without folding.
func fuzzAgainst(t *testing.T, in, list string, build func([]string) []match.Rule, has func(string, string) bool) {
	list = strings.ToValidUTF8(list, "\uFFFD")
	var patterns []string
	for p := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(p) != "" && !strings.ContainsRune(p, 0) && utf8.RuneCountInString(p) <= 512 && strings.TrimLeftFunc(p, unicode.IsSpace) == p {
			patterns = append(patterns, p)
		}
	}
	set, err := match.Compile(build(patterns))
	require.NoError(t, err)
	// A byte that is not UTF-8 reads as one U+FFFD.
	trimmed := strings.TrimFunc(string([]rune(in)), unicode.IsSpace)
	best := -1
	for i, p := range patterns {
		if has(trimmed, p) && (best < 0 || utf8.RuneCountInString(p) > utf8.RuneCountInString(patterns[best])) {
			best = i
		}
	}
	hit, ok := set.Match(text(in))
	require.Equal(t, best >= 0, ok)
	if ok {
		require.Equal(t, best, hit.Rule)
		require.Equal(t, patterns[best], string([]rune(hit.Matched)))
	}
}

// FuzzRegex proves that the prefilter never hides a match.
func FuzzRegex(f *testing.F) {
	f.Add(`单号\d{4}`, "我的单号1234")
	f.Add(`(?i)k+ſ`, "KS")
	f.Add(`(ab|c[de])+x?`, "zzcdx")
	f.Fuzz(func(t *testing.T, expression, in string) {
		in = strings.TrimFunc(string([]rune(in)), unicode.IsSpace)
		if in == "" {
			return
		}
		for _, fold := range []match.Fold{0, match.FoldCase} {
			re, err := match.ParseRegex(expression, fold)
			if err != nil {
				return
			}
			flags := ""
			if fold != 0 {
				flags = "(?i)"
			}
			plain, err := regexp.Compile(flags + "(?:" + expression + ")")
			if err != nil {
				return // an expression such as "a)(b" that only the test's group breaks
			}
			set, err := match.Compile([]match.Rule{{Triggers: []string{"text"}, Fold: fold, Regex: []match.Regex{re}}})
			require.NoError(t, err)
			_, ok := set.Match(text(in))
			require.Equal(t, plain.MatchString(fold.String(in)), ok, "%q on %q", expression, in)
		}
	})
}

func FuzzFold(f *testing.F) {
	f.Add("ＨELLO　ſK 後退ｱﾞ")
	f.Fuzz(func(t *testing.T, s string) {
		for fold := match.Fold(0); fold < 8; fold++ {
			once := fold.String(s)
			require.Equal(t, utf8.RuneCountInString(s), utf8.RuneCountInString(once), "folding keeps the number of runes")
			require.Equal(t, once, fold.String(once), "folding twice changes nothing")
		}
		_ = match.DefaultFold
	})
}
