package ruleset

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wxbus/wxbus/services/rule/internal/match"
)

// maxPatterns bounds each list of patterns of a rule.
const maxPatterns = 100_000

var matchKeys = []string{"exact", "prefix", "contains", "regex", "event_key", "scene", "media", "near"}

// match reads what a rule wants.
func (f *fileReader) match(a at, rule *Rule) {
	if a.node.Kind == yaml.ScalarNode {
		if a.node.Value != "any" {
			f.refuse(a, "must be any, or a mapping with lists under %s", strings.Join(matchKeys, ", "))
		}
		rule.Match.Any = true
		return
	}
	m := &rule.Match
	var texts, keys, others []at
	list := func(into *[]string, of *[]at, check func(text string) error) func(at) {
		return func(a at) {
			*into = f.texts(a, maxPatterns)
			*of = append(*of, a)
			f.each(a, *into, check)
		}
	}
	f.fields(a, map[string]func(at){
		"any":       func(a at) { f.boolean(a, func(on bool) { m.Any = on }) },
		"exact":     list(&m.Exact, &texts, checkPattern),
		"prefix":    list(&m.Prefix, &texts, checkPattern),
		"contains":  list(&m.Contains, &texts, checkPattern),
		"regex":     list(&m.Regex, &texts, checkRegex),
		"event_key": list(&m.EventKeys, &keys, checkPattern),
		"scene":     func(a at) { others = append(others, a); f.scenes(a, rule) },
		"media":     func(a at) { others = append(others, a); f.mediaKinds(a, rule) },
		"near":      func(a at) { others = append(others, a); f.near(a, rule) },
		"fold":      func(a at) { m.Fold = f.readFold(a, m.Fold) },
	})
	if a.node.Kind != yaml.MappingNode {
		return
	}
	if !m.Any && len(texts)+len(keys)+len(others) == 0 {
		f.refuse(a, "matches nothing: want any, or lists under %s", strings.Join(matchKeys, ", "))
	}
	f.carried(rule, texts, hasText, "text")
	f.carried(rule, keys, hasKey, "event_key")
}

// carried refuses lists that no kind of the rule can ever match.
func (f *fileReader) carried(rule *Rule, lists []at, has func(kind string) bool, what string) {
	for _, kind := range rule.On {
		if has(kind) || !isKind(kind) {
			continue
		}
		for _, list := range lists {
			f.refuse(list, "%s has no %s to match; put it into a rule of its own with match: any", kind, what)
		}
	}
}

// each checks the texts of a list, or the one text that stands for it.
func (f *fileReader) each(a at, texts []string, check func(string) error) {
	if len(texts) == 0 && a.node.Kind == yaml.SequenceNode {
		f.refuse(a, "must not be empty")
	}
	for i, text := range texts {
		if err := check(text); err != nil {
			item := a.node
			if a.node.Kind == yaml.SequenceNode && i < len(a.node.Content) {
				item = a.node.Content[i]
			}
			f.refuse(a.item(i, item), "%v", err)
		}
	}
}

// checkPattern refuses texts that would match nothing or everything.
func checkPattern(text string) error {
	if strings.TrimSpace(text) == "" || !match.Usable(text) {
		return fmt.Errorf("must have 1 to %d characters that are not all blank", match.MaxPatternRunes)
	}
	return nil
}

func checkRegex(expression string) error {
	_, err := match.ParseRegex(expression, match.DefaultFold)
	return err
}
