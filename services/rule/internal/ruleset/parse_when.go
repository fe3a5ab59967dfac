package ruleset

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/wxbus/wxbus/services/rule/internal/condition"
)

const (
	maxAge      = 20 * 366 * condition.Day
	maxCooldown = 366 * condition.Day
)

// defaultKinds returns the kinds of a rule that names none: those that what it matches comes with.
func defaultKinds(matching *at) []string {
	if matching == nil || !isMapping(*matching) {
		return []string{"text"}
	}
	keys := map[string]bool{}
	for i := 0; i+1 < len(matching.node.Content); i += 2 {
		keys[matching.node.Content[i].Value] = true
	}
	switch {
	case len(keys) != 1:
		return []string{"text"}
	case keys["scene"]:
		return []string{"subscribe", "scan"}
	case keys["near"]:
		return []string{"location"}
	case keys["media"]:
		return []string{anyMessage}
	default:
		return []string{"text"}
	}
}

func isMapping(a at) bool { return a.node.Kind == yaml.MappingNode }

// when reads the conditions of a rule.
func (f *fileReader) when(a at) *condition.When {
	w := &condition.When{}
	before := f.mistakes()
	f.fields(a, map[string]func(at){
		"timezone":   func(a at) { w.Zone = f.zone(a) },
		"hours":      func(a at) { w.Hours = f.hours(a) },
		"weekdays":   func(a at) { w.Weekdays = f.weekdays(a) },
		"calendar":   func(a at) { f.calendar(a, w) },
		"tags":       func(a at) { f.tagsOf(a, w) },
		"subscribed": func(a at) { f.subscribed(a, w) },
		"language":   func(a at) { w.Languages = f.words(a) },
		"cooldown":   func(a at) { w.Cooldown = f.span(a, maxCooldown) },
		"once_per":   func(a at) { w.OncePer = condition.Period(f.oneOf(a, condition.Periods())) },
		"expr":       func(a at) { w.Expr = f.expression(a) },
	})
	if w.IsZero() && f.mistakes() == before {
		f.refuse(a, "has no condition; leave it out")
	}
	return w
}

// mistakes counts what was refused so far.
func (f *fileReader) mistakes() int { return len(f.problems) + f.more }

// calendar reads a name, which means within, or names under within, outside and holidays_of.
func (f *fileReader) calendar(a at, w *condition.When) {
	name := func(into *string) func(at) {
		return func(a at) {
			text, ok := f.text(a)
			if ok && f.clocks[text] == nil {
				f.refuse(a, "there is no calendar %q under calendars at the top of the file", text)
			}
			*into = text
		}
	}
	if !isMapping(a) {
		name(&w.Within)(a)
		return
	}
	f.fields(a, map[string]func(at){"within": name(&w.Within), "outside": name(&w.Outside), "holidays_of": name(&w.HolidayOf)})
}

// tagsOf reads a list of tags that the fan must have, or lists under has and has_not.
func (f *fileReader) tagsOf(a at, w *condition.When) {
	if !isMapping(a) {
		w.HasTags = f.words(a)
		return
	}
	f.fields(a, map[string]func(at){
		"has":     func(a at) { w.HasTags = f.words(a) },
		"has_not": func(a at) { w.NotTags = f.words(a) },
	})
}

func (f *fileReader) subscribed(a at, w *condition.When) {
	f.fields(a, map[string]func(at){
		"longer_than":  func(a at) { w.OlderThan = f.span(a, maxAge) },
		"shorter_than": func(a at) { w.YoungerThan = f.span(a, maxAge) },
	})
	if w.YoungerThan > 0 && w.OlderThan >= w.YoungerThan {
		f.refuse(a, "can never hold: longer_than must be less than shorter_than")
	}
}

// words reads a short list of names, or one.
func (f *fileReader) words(a at) []string {
	if a.node.Kind == yaml.ScalarNode {
		return []string{f.word(a)}
	}
	var words []string
	f.items(a, 20, func(item at) { words = append(words, f.word(item)) })
	if len(words) == 0 && a.node.Kind == yaml.SequenceNode {
		f.refuse(a, "must name at least one")
	}
	return words
}

// span reads a time like 90s, 6h or 30d.
func (f *fileReader) span(a at, most time.Duration) time.Duration {
	text, ok := f.text(a)
	d, err := time.ParseDuration(text)
	if days, found := strings.CutSuffix(text, "d"); found {
		var n int
		n, err = strconv.Atoi(days)
		if d = time.Duration(n) * condition.Day; n > int(most/condition.Day) {
			d = most + 1
		}
	}
	if ok && (err != nil || d <= 0 || d > most) {
		f.refuse(a, "must be a time above zero and at most %s, for example 30m, 6h or 7d", days(most))
	}
	return d
}

// days writes a time as people say it.
func days(d time.Duration) string {
	if d >= condition.Day && d%condition.Day == 0 {
		return strconv.Itoa(int(d/condition.Day)) + "d"
	}
	return d.String()
}

func (f *fileReader) oneOf(a at, allowed []string) string {
	text, ok := f.text(a)
	if ok && !slices.Contains(allowed, text) {
		f.refuse(a, "must be one of %s", strings.Join(allowed, ", "))
	}
	return text
}

func (f *fileReader) expression(a at) string {
	text, ok := f.text(a)
	if !ok {
		return ""
	}
	if strings.TrimSpace(text) == "" {
		f.refuse(a, "must not be blank")
		return ""
	}
	if _, err := condition.ParseExpression(text); err != nil {
		f.refuse(a, "%v", err)
	}
	return text
}
