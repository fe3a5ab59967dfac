package ruleset

import (
	"regexp"
	"slices"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/wxbus/wxbus/services/rule/internal/form"
	"github.com/wxbus/wxbus/services/rule/internal/template"
)

// form reads a form: questions, what ends it, and what happens with the answers.
func (f *fileReader) form(a at) Action {
	result := &Form{Spec: form.Spec{
		Expires: form.DefaultExpiry, Tries: form.DefaultTries, Cancel: form.DefaultCancel, Cancelled: form.DefaultCancelled,
		GivenUp: form.DefaultGivenUp, Yes: form.DefaultYes, No: form.DefaultNo,
	}}
	var questions, confirm, done, cancelled, givenUp *at
	keep := func(where **at) func(at) { return func(a at) { *where = &a } }
	f.fields(a, map[string]func(at){
		"questions": keep(&questions), "confirm": keep(&confirm), "done": keep(&done), "cancelled": keep(&cancelled), "given_up": keep(&givenUp),
		"expires": func(a at) { result.Expires = f.span(a, form.MaxExpiry) },
		"tries":   func(a at) { result.Tries = f.number(a, 1, form.MaxTries) },
		"cancel":  func(a at) { result.Cancel = f.words(a) },
		"leave":   func(a at) { result.Leave = f.words(a) },
		"yes":     func(a at) { result.Yes = f.words(a) },
		"no":      func(a at) { result.No = f.words(a) },
	})
	outer := f.scope
	defer func() { f.scope = outer }()
	if questions == nil {
		f.needs(a, "questions", "")
		return Action{Form: result}
	}
	f.scope.form = questionNames(*questions)
	f.items(*questions, form.MaxQuestions, func(a at) { result.Questions = append(result.Questions, f.question(a, result.Questions)) })
	if len(result.Questions) == 0 && questions.node.Kind == yaml.SequenceNode {
		f.refuse(*questions, "must hold at least one question")
	}
	for _, text := range []struct {
		at   *at
		into *string
	}{{confirm, &result.Confirm}, {cancelled, &result.Cancelled}, {givenUp, &result.GivenUp}} {
		if text.at != nil {
			f.said(text.into)(*text.at)
		}
	}
	f.done(a, done, result)
	return Action{Form: result}
}

// questionNames returns the names of questions, which are variables from the first one on.
func questionNames(a at) []string {
	names := []string{}
	for _, question := range a.node.Content {
		for i := 0; i+1 < len(question.Content); i += 2 {
			if question.Content[i].Value == "name" {
				names = append(names, question.Content[i+1].Value)
			}
		}
	}
	return names
}

// done reads what happens with the answers.
func (f *fileReader) done(a at, done *at, result *Form) {
	if done == nil {
		f.needs(a, "done", "")
		return
	}
	f.scope.webhook = false
	actions, nodes := f.list(*done)
	for i, action := range actions {
		switch kind := kindOfAction(action); kind {
		case "form", "chat", "none":
			f.refuse(nodes[i], "%s cannot be what follows a form", kind)
		}
	}
	// A form answers messages, whatever the rule began with.
	f.counted(actions, nodes, &Rule{On: []string{anyMessage}})
	if len(actions) == 0 && done.node.Kind == yaml.SequenceNode && len(done.node.Content) == 0 {
		f.refuse(*done, "must have at least one action")
	}
	result.Done = actions
}

func (f *fileReader) question(a at, before []form.Question) form.Question {
	q := form.Question{}
	f.fields(a, map[string]func(at){
		"name": f.into(&q.Name, 64), "ask": f.said(&q.Ask), "error": f.said(&q.Error),
		"kind":    func(a at) { q.Kind = form.Kind(f.oneOf(a, form.Kinds())) },
		"regex":   func(a at) { q.Regex = f.pattern(a) },
		"choices": func(a at) { q.Choices = f.choices(a) },
	})
	if a.node.Kind != yaml.MappingNode {
		return q
	}
	f.needs(a, "ask", q.Ask)
	switch {
	case !template.IsName(q.Name):
		f.refuse(a.child("name", a.node), "must be a name of letters, digits, _ and -: it is the variable {{form.NAME}}")
	case slices.ContainsFunc(before, func(other form.Question) bool { return other.Name == q.Name }):
		f.refuse(a.child("name", a.node), "%q is the name of an earlier question too", q.Name)
	}
	f.completeKind(a, &q)
	if text := q.Text(); !template.Is(text) && len(text) > MaxTextBytes {
		f.refuse(a, "is %d bytes long with its choices, WeChat shows at most %d", len(text), MaxTextBytes)
	}
	return q
}

// completeKind finds out what a question asks for when that is not written, and refuses contradictions.
func (f *fileReader) completeKind(a at, q *form.Question) {
	switch {
	case q.Kind == "" && len(q.Choices) > 0:
		q.Kind = form.Choice
	case q.Kind == "":
		q.Kind = form.Text
	}
	if (q.Kind == form.Choice) != (len(q.Choices) > 0) {
		f.refuse(a.child("choices", a.node), "belongs to kind choice, and that needs it")
	}
	if q.Regex != "" && (q.Kind == form.Image || q.Kind == form.Location || q.Kind == form.Choice) {
		f.refuse(a.child("regex", a.node), "cannot be used with kind %s", q.Kind)
	}
}

func (f *fileReader) pattern(a at) string {
	var text string
	f.into(&text, 256)(a)
	if _, err := regexp.Compile(text); err != nil || text == "" {
		f.refuse(a, "must be an expression of RE2 that the whole answer matches, for example [A-Z]{2}\\d{6}")
		return ""
	}
	return text
}

func (f *fileReader) choices(a at) []string {
	choices := f.texts(a, form.MaxChoices)
	if len(choices) < 2 {
		f.refuse(a, "must hold at least two choices")
	}
	for _, choice := range choices {
		if choice == "" || utf8.RuneCountInString(choice) > maxWordRunes || template.Is(choice) {
			f.refuse(a, "a choice has 1 to %d characters and no variables", maxWordRunes)
		}
	}
	return choices
}
