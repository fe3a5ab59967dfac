package webhook

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
	"github.com/wxbus/wxbus/services/rule/internal/template"
)

// Answer is what a business system says.
type Answer struct {
	// Replies take the place of the action.
	Replies []*eventv1.Content
	// Vars are the variables {{webhook.NAME}} of the actions after it.
	Vars map[string]string
	// Tags to set and to clear.
	Tags, Untag []string
	// Language of the fan; empty when it is not told.
	Language string
}

// Bounds of an answer beside its size.
const (
	maxVars     = 50
	maxVarBytes = 2047
	maxTags     = 20
	maxTagRunes = 64
)

// envelope is the answer beside its replies, which ruleset reads.
type envelope struct {
	Replies  json.RawMessage            `json:"replies"`
	Vars     map[string]json.RawMessage `json:"vars"`
	Tags     struct{ Set, Clear []string }
	Language string `json:"language"`
}

// ParseAnswer reads the body of an answer:
//
//	{"replies": [{"text": "…"}], "vars": {"price": "9.90"}, "tags": {"set": ["vip"], "clear": []}, "language": "en"}
//
// Each key may be left out, but not all of them; unknown keys are ignored. The values of vars are texts, numbers or
// true and false.
func ParseAnswer(body []byte) (Answer, error) {
	replies, err := ruleset.ParseReplies(body)
	if err != nil {
		return Answer{}, err
	}
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return Answer{}, fmt.Errorf("not JSON of this schema: %w", err)
	}
	if e.Replies == nil && e.Vars == nil && e.Tags.Set == nil && e.Tags.Clear == nil && e.Language == "" {
		return Answer{}, fmt.Errorf("replies: is required, or vars, tags or language")
	}
	a := Answer{Replies: replies, Tags: e.Tags.Set, Untag: e.Tags.Clear, Language: e.Language}
	if err := a.check(); err != nil {
		return Answer{}, err
	}
	a.Vars, err = variables(e.Vars)
	return a, err
}

func (a *Answer) check() error {
	if len(a.Language) > 16 {
		return fmt.Errorf("language: at most 16 bytes are allowed")
	}
	for name, tags := range map[string][]string{"tags.set": a.Tags, "tags.clear": a.Untag} {
		if len(tags) > maxTags {
			return fmt.Errorf("%s: has %d tags, at most %d are allowed", name, len(tags), maxTags)
		}
		for _, tag := range tags {
			if tag == "" || utf8.RuneCountInString(tag) > maxTagRunes {
				return fmt.Errorf("%s: a tag has 1 to %d characters", name, maxTagRunes)
			}
		}
	}
	return nil
}

func variables(raw map[string]json.RawMessage) (map[string]string, error) {
	if len(raw) > maxVars {
		return nil, fmt.Errorf("vars: has %d variables, at most %d are allowed", len(raw), maxVars)
	}
	vars := make(map[string]string, len(raw))
	for name, value := range raw {
		if !template.IsName(name) {
			return nil, fmt.Errorf("vars: a name has letters, digits, _ and - only")
		}
		text, err := scalar(value)
		if err != nil || len(text) > maxVarBytes {
			return nil, fmt.Errorf("vars.%s: must be a text of at most %d bytes, a number, or true or false", name, maxVarBytes)
		}
		vars[name] = text
	}
	return vars, nil
}

// scalar writes a JSON value that is no list and no object as a text.
func scalar(raw json.RawMessage) (string, error) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text, nil
	}
	var number json.Number
	if json.Unmarshal(raw, &number) == nil {
		return number.String(), nil
	}
	var yes bool
	if err := json.Unmarshal(raw, &yes); err != nil {
		return "", fmt.Errorf("no scalar: %w", err)
	}
	return strconv.FormatBool(yes), nil
}
