package ruleset

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/wxbus/wxbus/services/rule/internal/condition"
	"github.com/wxbus/wxbus/services/rule/internal/match"
)

// Marks of a rule and of an action: which parts follow, and what is true of them.
const (
	ruleAny byte = 1 << iota
	ruleNear
	ruleWhen
	ruleSpecial // the rule needs more than its texts: a position, conditions, expressions or a form
)

const (
	actionReply byte = 1 << iota
	actionTemplated
	actionNone
	actionPlain // the action is written as JSON: what is rare and has many fields
)

// appendRule writes a rule: first what it is found by, with its length, then conditions and actions. Every field of a rule is
// in one of the functions here, or below one that is written as JSON.
func appendRule(b []byte, r *Rule) ([]byte, error) {
	finding, err := appendFinding(nil, r)
	if err != nil {
		return nil, err
	}
	b = appendText(b, string(finding))
	if !r.When.IsZero() {
		if b, err = appendJSON(b, r.When); err != nil {
			return nil, err
		}
	}
	b = binary.AppendUvarint(b, uint64(len(r.Actions)))
	for i := range r.Actions {
		if b, err = appendAction(b, &r.Actions[i]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func appendFinding(b []byte, r *Rule) ([]byte, error) {
	b = appendText(b, r.Name)
	var marks byte
	mark(&marks, ruleAny, r.Match.Any)
	mark(&marks, ruleNear, r.Match.Near != nil)
	mark(&marks, ruleWhen, !r.When.IsZero())
	mark(&marks, ruleSpecial, r.Match.Near != nil || !r.When.IsZero() || len(r.Match.Regex) > 0 || r.Form() != nil)
	b = append(b, marks, byte(r.Match.Fold))
	b = binary.AppendVarint(b, int64(r.Priority))
	for _, list := range r.lists() {
		b = appendList(b, *list)
	}
	if r.Match.Near == nil {
		return b, nil
	}
	return appendJSON(b, r.Match.Near)
}

func mark(marks *byte, one byte, set bool) {
	if set {
		*marks |= one
	}
}

// lists are the lists that a rule is found by.
func (r *Rule) lists() [10]*[]string {
	m := &r.Match
	return [...]*[]string{&r.Accounts, &r.On, &m.Exact, &m.Prefix, &m.Contains, &m.Regex, &m.EventKeys, &m.Scenes, &m.ScenePrefixes, &m.Media}
}

func appendAction(b []byte, a *Action) ([]byte, error) {
	if a.Webhook != nil || a.Chat != nil || a.Form != nil {
		return appendJSON(append(b, actionPlain), a)
	}
	var marks byte
	mark(&marks, actionReply, a.Reply != nil)
	mark(&marks, actionTemplated, a.Templated)
	mark(&marks, actionNone, a.None)
	b = append(b, marks)
	if a.Reply != nil {
		b = appendText(b, string(a.Reply))
	}
	b = binary.AppendVarint(b, int64(a.After))
	return appendList(appendList(appendText(b, a.Queue), a.Tags), a.Untag), nil
}

func appendJSON(b []byte, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("as JSON: %w", err)
	}
	return appendText(b, string(text)), nil
}

// rule is the inverse of appendRule. It uses the room that the rule has.
func (d *decoder) rule(out *Rule) {
	finding := decoder{rest: d.text()}
	marks := finding.finding(out)
	d.bad = d.bad || finding.bad || finding.rest != ""
	out.When = nil
	if marks&ruleWhen != 0 {
		out.When = &condition.When{}
		d.json(out.When)
	}
	out.Actions = out.Actions[:0]
	for range min(d.uvarint(), uint64(len(d.rest))) {
		out.Actions = append(out.Actions, Action{})
		d.action(&out.Actions[len(out.Actions)-1])
	}
}

// finding is the inverse of appendFinding.
func (d *decoder) finding(out *Rule) (marks byte) {
	out.Name = d.text()
	marks = d.byte()
	out.Match.Any, out.Match.Fold = marks&ruleAny != 0, match.Fold(d.byte())
	out.Priority = int32(d.varint())
	for _, list := range out.lists() {
		*list = d.list(*list)
	}
	out.Match.Near = nil
	if marks&ruleNear != 0 {
		out.Match.Near = &Near{}
		d.json(out.Match.Near)
	}
	return marks
}

// action is the inverse of appendAction.
func (d *decoder) action(out *Action) {
	marks := d.byte()
	if marks&actionPlain != 0 {
		d.json(out)
		return
	}
	if marks&actionReply != 0 {
		if text := d.text(); !d.checks {
			out.Reply = []byte(text)
		}
	}
	out.Templated, out.None = marks&actionTemplated != 0, marks&actionNone != 0
	out.After = time.Duration(d.varint())
	out.Queue, out.Tags, out.Untag = d.text(), d.list(nil), d.list(nil)
}

func (d *decoder) json(v any) {
	text := d.text()
	d.bad = d.bad || json.Unmarshal([]byte(text), v) != nil
}
