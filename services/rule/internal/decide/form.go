package decide

import (
	"context"
	"strings"

	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/form"
	"github.com/wxbus/wxbus/services/rule/internal/match"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

// beginForm asks the first question.
func (e *evaluation) beginForm(ctx context.Context, f *ruleset.Form) {
	e.take(ctx, f.Begin(e.found.Rule.Name, e.ev.GetId(), e.now))
}

// take says what a step of a form says and keeps its state.
func (e *evaluation) take(ctx context.Context, step form.Step) {
	if step.State != nil {
		e.form = step.State.GetAnswers()
	}
	e.v.say(e.text(ctx, strings.Join(step.Say, "\n")), 0)
	if step.Outcome == form.Asked {
		e.v.change().Form = step.State
		return
	}
	e.v.change().FormEnded = true
}

// continueForm takes a message as the answer to a question. It returns false when the message is none, so that the
// rules decide about it.
func (e *evaluation) continueForm(ctx context.Context, state *rulev1.FormState) (bool, error) {
	rule := e.set.RuleWithForm(state.GetRule())
	if rule == nil {
		e.v.change().FormEnded = true // the rule is gone
		return false, nil
	}
	spec := rule.Form()
	step := spec.Answer(state, form.Message{
		Kind: e.ev.GetMsgType(), Text: e.in.Text, MediaID: e.ev.GetMedia().GetMediaId(), Label: e.ev.GetLocation().GetLabel(), ID: e.ev.GetId(),
	}, e.now)
	if step.Outcome == form.Left || step.Outcome == form.Expired {
		e.v.change().FormEnded = true
		return false, nil
	}
	e.win(ruleset.Found{Rule: rule, Hit: match.Hit{Class: match.Any}})
	e.form = state.GetAnswers()
	e.take(ctx, step)
	if step.Outcome != form.Done {
		return true, e.fanErr
	}
	return true, e.do(ctx, spec.Done)
}
