package match_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/wxbus/wxbus/services/rule/internal/match"
)

// common is an alphabet of the size of everyday Chinese.
const common = 3000

func han(r *rand.Rand, n int) string {
	runes := make([]rune, n)
	for i := range runes {
		runes[i] = rune(0x4E00 + r.IntN(common))
	}
	return string(runes)
}

func containsRules(n int) []match.Rule {
	r := rand.New(rand.NewPCG(1, 2))
	rules := make([]match.Rule, n)
	for i := range rules {
		rules[i] = match.Rule{
			Name: fmt.Sprintf("rule-%d", i), Triggers: []string{"text"}, Fold: match.DefaultFold,
			Contains: []string{han(r, 8)},
		}
	}
	return rules
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		rules := containsRules(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := match.Compile(rules); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// mixedRules are rules of 8 characters, a third each exact, prefix and contains.
func mixedRules(n int) []match.Rule {
	rules := containsRules(n)
	for i := range rules {
		switch words := rules[i].Contains; i % 3 {
		case 0:
			rules[i].Exact, rules[i].Contains = words, nil
		case 1:
			rules[i].Prefix, rules[i].Contains = words, nil
		}
	}
	return rules
}

// BenchmarkMixed loads rules of three kinds, and matches texts of 100 characters of which every second one hits.
func BenchmarkMixed(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		rules := mixedRules(n)
		b.Run(fmt.Sprintf("load/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := match.Compile(rules); err != nil {
					b.Fatal(err)
				}
			}
		})
		set, err := match.Compile(rules)
		if err != nil {
			b.Fatal(err)
		}
		texts := append(benchTexts("random", nil), benchTexts("hit", containsRules(n))...)
		r := rand.New(rand.NewPCG(5, 6))
		r.Shuffle(len(texts), func(i, j int) { texts[i], texts[j] = texts[j], texts[i] })
		b.Run(fmt.Sprintf("match/%d", n), func(b *testing.B) {
			in := match.Input{Account: "shop", Triggers: []string{"text", "any_message"}, HasText: true}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				in.Text = texts[i%len(texts)]
				set.Match(in)
			}
		})
	}
}

// BenchmarkMatch reads 1 024 different texts of 100 characters in turn, so that neither branch
// predictor nor cache knows them by heart.
func BenchmarkMatch(b *testing.B) {
	for _, family := range []string{"random", "hit", "near"} {
		for _, n := range []int{1_000, 100_000} {
			rules := containsRules(n)
			set, err := match.Compile(rules)
			if err != nil {
				b.Fatal(err)
			}
			texts := benchTexts(family, rules)
			b.Run(fmt.Sprintf("%s/%d", family, n), func(b *testing.B) {
				in := match.Input{Account: "shop", Triggers: []string{"text", "any_message"}, HasText: true}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					in.Text = texts[i%len(texts)]
					set.Match(in)
				}
			})
		}
	}
}

func benchTexts(family string, rules []match.Rule) []string {
	r := rand.New(rand.NewPCG(3, 4))
	texts := make([]string, 1024)
	for i := range texts {
		switch family {
		case "random":
			texts[i] = han(r, 100)
		case "hit": // one keyword in the middle
			texts[i] = han(r, 46) + rules[r.IntN(len(rules))].Contains[0] + han(r, 46)
		case "near": // nothing but beginnings of keywords
			var b strings.Builder
			for range 20 {
				b.WriteString(string([]rune(rules[r.IntN(len(rules))].Contains[0])[:5]))
			}
			texts[i] = b.String()
		}
	}
	return texts
}
