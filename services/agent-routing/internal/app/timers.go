package app

import (
	"context"
	"errors"
	"fmt"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

// careBatch bounds one kind of work of one round; what is left waits for the next.
const careBatch = 200

// Care does once what is due: it ends leases, brings back what absent agents had, moves on what time moves on, gives waiting
// fans to agents and does what dead processes left behind. Every replica calls it: whoever locks a fan first does the work, and
// the others find it done.
func (d *Desk) Care(ctx context.Context) error {
	return errors.Join(d.expireLeases(ctx), d.Absent(ctx), d.Fire(ctx), d.dispatchAll(ctx), d.finishLeft(ctx), d.finishErasures(ctx))
}

func (d *Desk) expireLeases(ctx context.Context) error {
	q, err := d.o.Store.Query()
	if err != nil {
		return err
	}
	_, err = q.Expire(ctx, d.now())
	return err
}

func (d *Desk) dispatchAll(ctx context.Context) error {
	q, err := d.o.Store.Query()
	if err != nil {
		return err
	}
	groups, err := q.GroupsWaiting(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, g := range groups {
		errs = append(errs, d.Dispatch(ctx, g))
	}
	return errors.Join(errs...)
}

// finishLeft does what is in the outbox of fans whose process died.
func (d *Desk) finishLeft(ctx context.Context) error {
	q, err := d.o.Store.Query()
	if err != nil {
		return err
	}
	fans, err := q.FansWithItems(ctx, d.now().Add(-leftBehind), careBatch)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range fans {
		errs = append(errs, d.relay.flush(ctx, f.Account, f.OpenID))
	}
	return errors.Join(errs...)
}

// Fire moves on the conversations that are due.
func (d *Desk) Fire(ctx context.Context) error {
	q, err := d.o.Store.Query()
	if err != nil {
		return err
	}
	due, err := q.DueBy(ctx, d.now(), careBatch)
	if err != nil {
		return err
	}
	var errs []error
	for _, ref := range due {
		errs = append(errs, d.fire(ctx, ref))
	}
	return errors.Join(errs...)
}

func (d *Desk) fire(ctx context.Context, ref store.Ref) error {
	at := in{account: ref.Account, openID: ref.OpenID, conversation: ref.ID, actor: actorTimer, skip: true}
	return d.turn(ctx, at, func(ctx context.Context, t *turn) error {
		t.dirty = true // also when it is not due any more: the new time is stored
		if err := t.judge(ctx); err != nil {
			return err
		}
		step, due := t.conv.Due(t.group, d.o.Limits)
		if due.IsZero() || due.After(t.now) {
			return nil
		}
		return t.onTime(ctx, step)
	})
}

// onTime does a step that time brings about, with the words that go with it.
func (t *turn) onTime(ctx context.Context, s domain.Step) error {
	switch s.Change {
	case domain.ToldOfWaiting:
		return t.tellWaiting(ctx)
	case domain.MessageLeft:
		return t.queueOver(ctx, s)
	case domain.Resumed:
		return t.resume(ctx, s.Reason)
	case domain.IdleWarned:
		if err := t.step(ctx, s); err != nil {
			return err
		}
		minutes := max(int(t.group.IdleWarning().Minutes()), 1)
		return t.say(ctx, domain.TextIdleWarning, map[string]string{"minutes": fmt.Sprint(minutes)})
	case domain.Joined:
		if next := t.group.Hours.NextOpen(t.now); next.After(t.now) { // the hours were changed meanwhile
			t.conv.RejoinAt = next
			return nil
		}
		s.Group = &t.group
		t.conv.ToldWaiting = true // they were told when they left the message
		return t.step(ctx, s)
	case domain.ClosedNow:
		if err := t.step(ctx, s); err != nil {
			return err
		}
		return t.goodbye(ctx)
	case domain.SaidGoodbye:
		return t.goodbye(ctx)
	default:
		return t.step(ctx, s)
	}
}

// queueOver does what the group says about a fan who waited too long.
func (t *turn) queueOver(ctx context.Context, s domain.Step) error {
	if t.group.QueueAction == domain.QueueForward && t.group.ForwardGroup != "" && t.group.ForwardGroup != t.group.ID {
		g, err := t.q.Group(ctx, t.group.ForwardGroup)
		if err != nil {
			return err
		}
		return t.step(ctx, domain.Step{Change: domain.Forwarded, Group: &g, Reason: s.Reason})
	}
	if t.group.QueueAction == domain.QueueClose {
		s.Change = domain.ClosedNow
		t.conv.ClosingSaid = true
	}
	if err := t.step(ctx, s); err != nil {
		return err
	}
	return t.say(ctx, domain.TextBusy, nil)
}

// goodbye says the end, once: the survey when an agent served the fan, else a text. A fan who has come back is not told.
func (t *turn) goodbye(ctx context.Context) error {
	if t.conv.ClosingSaid {
		return nil
	}
	if err := t.step(ctx, domain.Step{Change: domain.SaidGoodbye}); err != nil {
		return err
	}
	if open := t.fan.Conversation; (open != "" && open != t.conv.ID) || t.fan.Owner.Kind == domain.Native {
		return nil
	}
	head := t.group.Say(domain.TextSurvey, t.conv.Language, nil)
	if !t.group.Survey || head == "" || t.conv.Accepted.IsZero() || t.conv.Surveyed {
		return t.say(ctx, domain.TextClosed, nil)
	}
	t.conv.Surveyed = true
	return t.sayContent(ctx, domain.TextSurvey, survey(t.conv, head, t.group.Scores()))
}

// survey is a menu message with a line for each score, best first.
func survey(c domain.Conversation, head string, best int) *eventv1.Content {
	menu := &eventv1.MenuContent{Head: head}
	for score := best; score >= 1; score-- {
		menu.Items = append(menu.Items, &eventv1.MenuItem{Id: domain.SurveyItem(c.ID, score), Content: domain.ScoreText(score, best, c.Language)})
	}
	return &eventv1.Content{Body: &eventv1.Content_Menu{Menu: menu}}
}

// Absent brings back what agents had who went offline, as their groups say.
func (d *Desk) Absent(ctx context.Context) error {
	q, err := d.o.Store.Query()
	if err != nil {
		return err
	}
	refs, err := q.Abandoned(ctx, careBatch)
	if err != nil {
		return err
	}
	var errs []error
	for _, ref := range refs {
		errs = append(errs, d.bringBack(ctx, ref))
	}
	return errors.Join(errs...)
}

func (d *Desk) bringBack(ctx context.Context, ref store.Ref) error {
	at := in{account: ref.Account, openID: ref.OpenID, conversation: ref.ID, actor: actorTimer, skip: true}
	return d.turn(ctx, at, func(ctx context.Context, t *turn) error {
		m, ok, err := t.q.Member(ctx, t.conv.Agent)
		if err != nil || !ok || !t.conv.Counts() || m.Presence != domain.Offline || t.conv.StateSince.After(m.PresenceSince) {
			return err
		}
		s := domain.Step{Change: domain.Requeued, Reason: "the agent is offline"}
		switch {
		case t.conv.State == domain.Offered:
		case t.group.OfflineAction == domain.OfflineKeep:
			t.conv.StateSince, t.dirty = t.now, true // looked at: it stays until it falls silent
			return nil
		case t.group.OfflineAction == domain.OfflineForward && t.group.ForwardGroup != "":
			g, err := t.q.Group(ctx, t.group.ForwardGroup)
			if err != nil {
				return err
			}
			s.Change, s.Group = domain.Forwarded, &g
		}
		return t.step(ctx, s)
	})
}
