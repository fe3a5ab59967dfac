package decide

import (
	"context"
	"errors"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/chat"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
	"github.com/wxbus/wxbus/services/rule/internal/template"
	"github.com/wxbus/wxbus/services/rule/internal/webhook"
)

// outside is whoever is asked beyond the rules: the real ones, or samples for a preview.
type outside interface {
	webhook(ctx context.Context, q webhook.Question) (webhook.Answer, error)
	model(ctx context.Context, q chat.Question) (string, error)
}

// errBusy is the outcome of a slow action when too many are under way.
var errBusy = errors.New("too many slow actions are under way")

// live asks the real ones, and never more than SlowActions at a time: a system that hangs must not take all the
// places of the partition. Waiting for a place would hold the event just as well, so there is no waiting.
type live struct{ *evaluation }

func (l live) webhook(ctx context.Context, q webhook.Question) (answer webhook.Answer, err error) {
	err = l.within(func() error {
		answer, err = l.Webhooks.Call(ctx, q)
		return err
	})
	l.metrics.asked(ctx, l.metrics.webhooks, err)
	return answer, err
}

func (l live) model(ctx context.Context, q chat.Question) (answer string, err error) {
	err = l.within(func() error {
		answer, err = l.Models.Ask(ctx, q)
		return err
	})
	l.metrics.asked(ctx, l.metrics.models, err)
	return answer, err
}

func (l live) within(call func() error) error {
	l.asked = true
	select {
	case l.slow <- struct{}{}:
		defer func() { <-l.slow }()
		return call()
	default:
		return errBusy
	}
}

// askWebhook asks a business system. Its failure is what the rule says for that case, or nothing; the reason stays in
// the record.
func (e *evaluation) askWebhook(ctx context.Context, hook *ruleset.Webhook) error {
	answer, err := e.outside.webhook(ctx, webhook.Question{
		Hook: hook, Event: e.ev, Rule: e.found.Rule.Name, Matched: e.found.Matched, Form: e.form,
	})
	if ctx.Err() != nil {
		return fault.Errorf(fault.Retryable, "call webhook: %w", ctx.Err())
	}
	if err != nil {
		e.failed(ctx, "webhook", err, hook.Fallback)
		return nil
	}
	e.vars = answer.Vars
	e.v.tags, e.v.untag = append(e.v.tags, answer.Tags...), append(e.v.untag, answer.Untag...)
	if answer.Language != "" {
		e.v.change().Language = answer.Language
	}
	e.v.say(answer.Replies, 0)
	return nil
}

// askModel asks a chat model and keeps the turn for the next question.
func (e *evaluation) askModel(ctx context.Context, c *ruleset.Chat) error {
	rule := e.found.Rule.Name
	history, err := e.Fans.History(ctx, e.ev.GetAccount(), e.ev.GetOpenid(), rule, e.now.Add(-c.Remember), c.Turns)
	if err != nil {
		return err
	}
	answer, err := e.outside.model(ctx, chat.Question{
		Provider: c.Provider, Model: c.Model, System: template.Expand(c.System, template.Plain, e.values(ctx)),
		History: history, Text: e.in.Text, Timeout: c.Timeout, MaxTokens: c.MaxTokens,
	})
	if ctx.Err() != nil {
		return fault.Errorf(fault.Retryable, "ask model: %w", ctx.Err())
	}
	if err != nil {
		e.failed(ctx, "chat", err, c.Fallback)
		return nil
	}
	e.v.say(ruleset.Texts(answer, e.v.room()), 0)
	if c.Turns > 0 {
		e.v.change().Turn = &rulev1.ChatTurn{
			Rule: rule, Question: chat.Clip(e.in.Text), Answer: answer, AtUnixMs: e.now.UnixMilli(), EventId: e.ev.GetId(),
		}
	}
	return nil
}

// failed says what the rule says when somebody outside does not answer.
func (e *evaluation) failed(ctx context.Context, who string, err error, fallback string) {
	e.v.reason = short(who + ": " + err.Error())
	e.Log.WarnContext(ctx, who+" failed", append(logkeyOf(e.ev, err), logkey.Rule, e.v.rule)...)
	e.v.say(e.text(ctx, fallback), 0)
}

// text returns a text of a rule as contents, with its variables filled in; nothing for "".
func (e *evaluation) text(ctx context.Context, text string) []*eventv1.Content {
	return ruleset.Texts(template.Expand(text, template.Text, e.values(ctx)), e.v.room())
}

// logkeyOf returns the attributes of a log line about an event.
func logkeyOf(ev *eventv1.InboundEvent, err error) []any {
	return []any{logkey.Account, ev.GetAccount(), logkey.EventID, ev.GetId(), logkey.Error, err}
}

// delay waits until a reply may leave: its delay after the one before it. It waits no longer than until the fan's next
// push is here, which must not wait for a pause in what we say (ADR 0020), and not at all while too many events wait.
// A handler that takes over counts from the decision, so that a delay ends also when its process does.
func (w *work) delay(ctx context.Context, i int) error {
	if i == 0 || i >= len(w.rec.GetDelaysMs()) || w.rec.GetDelaysMs()[i] == 0 {
		return nil
	}
	left := w.dueIn(i)
	if left <= 0 {
		return nil
	}
	select {
	case w.delayed <- struct{}{}:
		defer func() { <-w.delayed }()
	default:
		w.metrics.waited(ctx, "skipped")
		return nil
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		w.metrics.waited(ctx, "waited")
	case <-w.behind:
		w.metrics.waited(ctx, "cut_short")
	case <-w.Life.Done():
		return fault.Wrap(fault.Retryable, errStopping)
	case <-ctx.Done():
		return fault.Wrap(fault.Retryable, ctx.Err())
	}
	return nil
}

// dueIn returns how long a reply has to wait.
func (w *work) dueIn(i int) time.Duration {
	delays := w.rec.GetDelaysMs()
	if !w.sentAt.IsZero() || w.creator && i == 1 {
		// The one before it left just now.
		return time.Duration(delays[i]) * time.Millisecond
	}
	due := time.UnixMilli(w.rec.GetDecidedUnixMs())
	for _, ms := range delays[:i+1] {
		due = due.Add(time.Duration(ms) * time.Millisecond)
	}
	return due.Sub(w.Now())
}
