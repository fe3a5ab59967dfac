package decide

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/wxbus/wxbus/pkg/content"
	"github.com/wxbus/wxbus/pkg/fault"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/match"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

const (
	reasonOwner  = "somebody else talks to the fan by now"
	reasonSurvey = "the fan answers the desk's survey"
)

var errStopping = errors.New("this process stops")

// evaluate asks the rules. It returns nil for an event that nobody has rules for and nobody waits on.
func (d *Decider) evaluate(ctx context.Context, ev *eventv1.InboundEvent) (*verdict, error) {
	silent, epoch := d.Owners.Of(ev.GetAccount(), ev.GetOpenid())
	if silent != "" && isMessage(ev) {
		return &verdict{reason: silent, epoch: epoch}, nil
	}
	if strings.HasPrefix(ev.GetText().GetBizMsgMenuId(), content.SurveyMenuPrefix) {
		return &verdict{reason: reasonSurvey, epoch: epoch}, nil
	}
	e := d.begin(ev, epoch)
	matched, err := e.decide(ctx)
	switch {
	case err != nil:
		return nil, err
	case !matched && e.v.fan == nil && !keepsUnmatched(ev):
		return nil, nil
	}
	if e.asked {
		// It took time: an answer for a fan whom somebody else has taken since must not be said.
		if now, at := d.Owners.Of(ev.GetAccount(), ev.GetOpenid()); now != silent || at != epoch {
			e.v.silence(reasonOwner)
		}
	}
	return &e.v, nil
}

func isMessage(ev *eventv1.InboundEvent) bool {
	return ev.GetKind() == eventv1.EventKind_EVENT_KIND_MESSAGE
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

// evaluation is one event on its way through the rules.
type evaluation struct {
	*Decider
	outside outside

	ev  *eventv1.InboundEvent
	set *ruleset.Set
	in  match.Input
	now time.Time

	fan    *rulev1.FanRecord // read when it is needed
	fanErr error

	found ruleset.Found
	form  map[string]string // answers of a form that is done
	vars  map[string]string // of the last webhook
	asked bool              // whether somebody outside was asked, which takes time
	// preview gives variables of those who are not asked their name as a sample.
	preview bool
	v       verdict
}

// begin prepares for the rules that are live now.
func (d *Decider) begin(ev *eventv1.InboundEvent, epoch uint64) *evaluation {
	e := &evaluation{Decider: d, ev: ev, set: d.Rules.Set(), in: ruleset.InputOf(ev), now: time.UnixMilli(ev.GetReceivedUnixMs())}
	e.outside = live{e}
	e.v = verdict{version: e.set.Version, epoch: epoch}
	switch ev.GetKind() {
	case eventv1.EventKind_EVENT_KIND_SUBSCRIBE:
		e.v.change().SubscribedUnixS = ev.GetCreateTime()
	case eventv1.EventKind_EVENT_KIND_UNSUBSCRIBE:
		e.v.change().Unsubscribed = true
	default:
	}
	return e
}

// decide lets the form that the fan is in, or else the rule that wins, do what it does. It returns false when there
// is neither.
func (e *evaluation) decide(ctx context.Context) (bool, error) {
	if isMessage(e.ev) && e.set.HasForms() {
		state, err := e.Fans.Form(ctx, e.ev.GetAccount(), e.ev.GetOpenid())
		if err != nil {
			return false, err
		}
		if state != nil {
			if taken, err := e.continueForm(ctx, state); taken || err != nil {
				return true, err
			}
		}
	}
	start := time.Now()
	found, ok := e.set.Find(e.in, ruleset.Facts{Now: e.now, Fan: func() *rulev1.FanRecord { return e.fanRecord(ctx) }})
	e.metrics.matchTime.Record(ctx, time.Since(start).Seconds())
	if !ok || e.fanErr != nil {
		return false, e.fanErr
	}
	e.win(found)
	return true, e.do(ctx, found.Rule.Actions)
}

// win notes which rule won.
func (e *evaluation) win(found ruleset.Found) {
	e.found = found
	e.v.rule, e.v.matched = found.Rule.Name, found.Matched
	if !found.SilentUntil.IsZero() {
		e.v.change().Cooldown, e.v.fan.CooldownUntilUnixMs = found.Rule.Name, found.SilentUntil.UnixMilli()
	}
}

// fanRecord reads what is known about the fan, once. It returns nil when that failed; the event is tried again then.
func (e *evaluation) fanRecord(ctx context.Context) *rulev1.FanRecord {
	if e.fan == nil && e.fanErr == nil {
		e.fan, e.fanErr = e.Fans.Get(ctx, e.ev.GetAccount(), e.ev.GetOpenid())
		if e.fanErr != nil {
			e.fan = nil
		}
	}
	return e.fan
}

// do carries out actions in order.
func (e *evaluation) do(ctx context.Context, actions []ruleset.Action) error {
	for _, action := range actions {
		if err := e.act(ctx, action); err != nil {
			return err
		}
	}
	return e.fanErr
}

func (e *evaluation) act(ctx context.Context, action ruleset.Action) error {
	switch {
	case action.Reply != nil:
		return e.reply(ctx, action)
	case action.Webhook != nil:
		return e.askWebhook(ctx, action.Webhook)
	case action.Chat != nil:
		return e.askModel(ctx, action.Chat)
	case action.Form != nil:
		e.beginForm(ctx, action.Form)
	case action.Queue != "":
		e.v.queue = action.Queue
	}
	e.v.tags = append(e.v.tags, action.Tags...)
	e.v.untag = append(e.v.untag, action.Untag...)
	return nil
}

func (e *evaluation) reply(ctx context.Context, action ruleset.Action) error {
	content, err := action.Content()
	switch {
	case err != nil:
		return err
	case content.GetNativeTransfer() != nil:
		e.v.handOver(content)
	case action.Templated:
		e.v.say(ruleset.Fill(content, e.values(ctx), e.v.room()), action.After)
	default:
		e.v.say([]*eventv1.Content{content}, action.After)
	}
	return nil
}

// apply changes what is kept about the fan as the record says. What cannot be stored for a reason that another try
// would not change is given up: the fan is answered all the same.
func (w *work) apply(ctx context.Context) error {
	if len(w.rec.GetTags())+len(w.rec.GetClearTags()) == 0 && w.rec.GetFan() == nil {
		return nil
	}
	err := w.Fans.Apply(ctx, w.rec, w.Now())
	switch {
	case err == nil:
		w.metrics.changed(ctx, "ok")
		return nil
	case fault.Dispose(err) == fault.Retry && fault.KindOf(err) != fault.Exhausted:
		w.metrics.changed(ctx, "unavailable")
		return err
	default:
		w.metrics.changed(ctx, "failed")
		w.Log.ErrorContext(ctx, "what changed about a fan is not kept", logkeyOf(w.ev, err)...)
		return nil
	}
}
