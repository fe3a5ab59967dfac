package ruleset

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	"github.com/wxbus/wxbus/services/rule/internal/template"
)

// variables are those that every rule has.
var variables = map[string][]string{
	"fan":     {"openid", "tags", "language", "subscribed_days"},
	"account": {"name", "kind"},
	"event":   {"text", "kind", "key", "scene", "label", "latitude", "longitude", "date", "time"},
	"match":   {"text", "rule"},
}

// scope is the variables that the rule in hand has beside those, where it stands.
type scope struct {
	place   []string // nil: no place
	form    []string // nil: no form
	webhook bool     // whether a webhook was asked before
	literal bool     // answers of business systems have no variables
}

// scopeOf returns the variables that a rule has from its triggers.
func (f *fileReader) scopeOf(rule *Rule) scope {
	var s scope
	if rule.Match.Near == nil {
		return s
	}
	s.place = slices.Clone(placeFields)
	for _, p := range f.result.Places[rule.Match.Near.Places] {
		for key := range p.Fields {
			if !slices.Contains(s.place, key) {
				s.place = append(s.place, key)
			}
		}
	}
	return s
}

// refusal returns why a variable is not there, or "".
func (s scope) refusal(name template.Name) string {
	known, ok := variables[name.Root]
	switch name.Root {
	case "place":
		if known, ok = s.place, s.place != nil; !ok {
			return "is there only for rules with match.near"
		}
	case "form":
		if known, ok = s.form, s.form != nil; !ok {
			return "is there only within a form"
		}
	case "webhook":
		if !s.webhook {
			return "is there only after a webhook of the same list"
		}
		return ""
	}
	switch {
	case !ok:
		return "is not known; variables begin with account, event, fan, form, match, place or webhook"
	case !slices.Contains(known, name.Key):
		slices.Sort(known)
		return fmt.Sprintf("is not known; %s has %s", name.Root, strings.Join(known, ", "))
	default:
		return ""
	}
}

// checkTemplate refuses a text with variables that could not be filled in, or whose fixed part is too long.
func (f *fileReader) checkTemplate(a at, text string, field template.Field, most int) {
	if f.scope.literal || !template.Is(text) {
		return
	}
	t, err := template.Parse(text, field)
	if err != nil {
		f.refuse(a, "%v", err)
		return
	}
	for _, name := range t.Variables() {
		if why := f.scope.refusal(name); why != "" {
			f.refuse(a, "{{%s}} %s", name, why)
		}
	}
	if fixed := t.FixedBytes(); fixed > most {
		f.refuse(a, "has %d bytes without the variables, WeChat shows at most %d; split it into several replies", fixed, most)
	}
}

// said reads a text that is said to the fan: a template.
func (f *fileReader) said(into *string) func(at) {
	return func(a at) {
		f.into(into, 2*MaxTextBytes)(a)
		f.checkTemplate(a, *into, template.Text, MaxTextBytes)
		if !template.Is(*into) && len(*into) > MaxTextBytes {
			f.refuse(a, "is %d bytes long, WeChat shows at most %d", len(*into), MaxTextBytes)
		}
	}
}

// templated checks the variables of a content and tells whether it has any. It returns the content with sample
// values, to be checked like one without variables.
func (f *fileReader) templated(a at, c *eventv1.Content) (sample *eventv1.Content, has bool) {
	if f.scope.literal {
		return c, false
	}
	texts(c, func(name string, field template.Field, text *string, most int) {
		if template.Is(*text) {
			has = true
			f.checkTemplate(at{a.node, a.path + "." + name}, *text, field, most)
		}
	})
	if !has {
		if encoded, err := protojson.Marshal(c); err == nil && template.Is(string(encoded)) {
			f.refuse(a, "variables are for texts, titles and addresses only")
		}
		return c, false
	}
	if filled := Fill(c, sampleValue, 1); len(filled) > 0 {
		return filled[0], true
	}
	return c, true
}

// sampleValue stands for every variable when the content around it is checked.
func sampleValue(template.Name) (string, bool) { return "https://example.com/x", true }
