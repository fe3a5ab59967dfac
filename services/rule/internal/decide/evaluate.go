package decide

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

// maxReason bounds the reason in a record, in bytes.
const maxReason = 200

// verdict is what the rules say about an event, before anybody asks how it can be done.
type verdict struct {
	rule, version, matched string
	// replies in order; a hand-over to WeChat's own agents comes first.
	replies []*eventv1.Content
	queue   string
	tags    []string
	reason  string
}

// evaluate asks the rules. It returns nil for an event that nobody has rules for and nobody waits on.
func (d *Decider) evaluate(ctx context.Context, ev *eventv1.InboundEvent) (*verdict, error) {
	if ev.GetKind() == eventv1.EventKind_EVENT_KIND_MESSAGE {
		if silent, _ := d.Owners.Of(ev.GetAccount(), ev.GetOpenid()); silent != "" {
			return &verdict{reason: silent}, nil
		}
	}
	set := d.Rules.Set()
	start := time.Now()
	rule, hit := set.MatchEvent(ev)
	d.metrics.matchTime.Record(ctx, time.Since(start).Seconds())
	if rule == nil {
		if !keepsUnmatched(ev) {
			return nil, nil
		}
		return &verdict{version: set.Version}, nil
	}
	v := &verdict{rule: rule.Name, version: set.Version, matched: hit.Matched}
	for _, action := range rule.Actions {
		if err := d.act(ctx, action, ev, v); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// keepsUnmatched tells whether an event that no rule matches gets a record all the same: when a
// fan or a gateway may wait for an answer.
func keepsUnmatched(ev *eventv1.InboundEvent) bool {
	switch ev.GetKind() {
	case eventv1.EventKind_EVENT_KIND_LOCATION, eventv1.EventKind_EVENT_KIND_JOB,
		eventv1.EventKind_EVENT_KIND_KF, eventv1.EventKind_EVENT_KIND_EVENT:
		return gatewayWaits(ev)
	default:
		return true
	}
}

// act adds one action of the winning rule to the verdict.
func (d *Decider) act(ctx context.Context, action ruleset.Action, ev *eventv1.InboundEvent, v *verdict) error {
	if action.Webhook != nil {
		return d.callWebhook(ctx, action.Webhook, ev, v)
	}
	return v.take(action)
}

// take adds an action that asks nobody.
func (v *verdict) take(action ruleset.Action) error {
	v.tags = append(v.tags, action.Tags...)
	if action.Queue != "" {
		v.queue = action.Queue
	}
	content, err := action.Content()
	switch {
	case err != nil:
		return err
	case content.GetNativeTransfer() != nil:
		v.replies = append([]*eventv1.Content{content}, v.replies...)
	case content != nil:
		v.replies = append(v.replies, content)
	}
	return nil
}

// callWebhook asks a business system. Its failure is no reply: the reason stays in the record.
func (d *Decider) callWebhook(ctx context.Context, hook *ruleset.Webhook, ev *eventv1.InboundEvent, v *verdict) error {
	replies, err := d.Webhooks.Call(ctx, hook, ev)
	if ctx.Err() != nil {
		return fault.Errorf(fault.Retryable, "call webhook: %w", ctx.Err())
	}
	d.metrics.asked(ctx, err)
	if err != nil {
		v.reason = short("webhook: " + err.Error())
		d.Log.WarnContext(ctx, "webhook failed, no reply", logkey.Account, ev.GetAccount(), logkey.EventID, ev.GetId(),
			logkey.Rule, v.rule, logkey.Error, err)
		return nil
	}
	room := ruleset.MaxReplies - len(v.replies)
	v.replies = append(v.replies, replies[:min(len(replies), max(room, 0))]...)
	return nil
}

// short makes a reason of a text: one line, bounded, cut between characters.
func short(text string) string {
	text = strings.ReplaceAll(text, "\n", "; ")
	if len(text) <= maxReason {
		return text
	}
	cut := maxReason
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}

var errStopping = errors.New("this process stops")
