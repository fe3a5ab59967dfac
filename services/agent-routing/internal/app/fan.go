package app

import (
	"context"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// known tells from the bucket whether a fan has or had a conversation, so that the traffic of all others never reaches the
// database.
func (d *Desk) known(ctx context.Context, account, openID string) (bool, error) {
	_, known, err := d.o.Owners.Owner(ctx, account, openID)
	return known, err
}

// Said keeps a message of a fan who has or had a conversation.
func (d *Desk) Said(ctx context.Context, ev *eventv1.InboundEvent) error {
	account, openID := ev.GetAccount(), ev.GetOpenid()
	if known, err := d.known(ctx, account, openID); err != nil || !known {
		return err
	}
	fill := false
	err := d.turn(ctx, in{account: account, openID: openID, actor: actorFan}, func(ctx context.Context, t *turn) error {
		fill = t.conv.State.Open() && !t.conv.Filled
		if fill {
			return nil // it is in the stream, so filling adds it in its place
		}
		return t.said(ctx, ev)
	})
	if err != nil || !fill {
		return err
	}
	if err := d.fill(ctx, account, openID, wire.Time(ev.GetReceivedUnixMs())); err != nil {
		return err
	}
	return d.turn(ctx, in{account: account, openID: openID, actor: actorFan}, func(ctx context.Context, t *turn) error { return t.said(ctx, ev) })
}

func (t *turn) said(ctx context.Context, ev *eventv1.InboundEvent) error {
	if t.fan.Owner.Kind == domain.Native {
		// While the fan is in a session of WeChat's own desk their messages are not pushed to us, so one that arrives long after the
		// session was last heard of proves that it is over, even if the event that closed it never came.
		at := wire.Time(ev.GetReceivedUnixMs())
		if limit := t.d.o.NativeIdle; limit > 0 && at.Sub(t.fan.NativeActive) > limit {
			return t.own(ctx, domain.Bot, "", "native session is silent")
		}
		return nil
	}
	if done, err := t.scored(ctx, ev); done || err != nil {
		return err
	}
	if !t.conv.State.Open() {
		m, files := wire.Message(ev)
		_, err := t.add(ctx, m, files)
		return err
	}
	if err := t.hear(ctx, ev); err != nil {
		return err
	}
	if t.conv.State == domain.OnHold {
		return t.resume(ctx, "the fan wrote")
	}
	return nil
}

// scored takes a tap on an item of the survey. It tells whether the event was one.
func (t *turn) scored(ctx context.Context, ev *eventv1.InboundEvent) (bool, error) {
	id, score, ok := domain.SurveyAnswer(ev.GetText().GetBizMsgMenuId())
	if !ok {
		return false, nil
	}
	if !t.fan.Remember("survey:" + ev.GetId()) {
		return true, nil
	}
	c, ok, err := t.q.Conversation(ctx, t.fan.Account, id)
	if err != nil || !ok || c.OpenID != t.fan.OpenID || !c.Surveyed || c.Score != 0 {
		return true, err // not ours, or answered before
	}
	open := t.conv
	if open.State.Open() && open.ID != id {
		return true, t.scoreOld(ctx, c, score)
	}
	t.conv = c
	if t.group, err = t.q.Group(ctx, c.Group); err != nil {
		return true, err
	}
	if err := t.score(ctx, score); err != nil {
		return true, err
	}
	return true, t.say(ctx, domain.TextSurveyThanks, nil)
}

func (t *turn) score(ctx context.Context, score int) error {
	t.conv.Score = score
	t.conv.Number++
	t.dirty = true
	ev := &agentroutingv1.ConversationEvent{Event: &agentroutingv1.ConversationEvent_ConversationChanged{ConversationChanged: &agentroutingv1.ConversationChanged{
		From: agentroutingv1.ConversationState(t.conv.State), To: agentroutingv1.ConversationState(t.conv.State), Change: "surveyed",
		Conversation: wire.Conversation(t.conv, t.fan, t.group, t.d.o.Limits),
	}}}
	return t.publish(ctx, ev, domain.Entry{What: domain.SurveyGiven, Score: score})
}

// scoreOld keeps the score of an older conversation while a new one is open.
func (t *turn) scoreOld(ctx context.Context, old domain.Conversation, score int) error {
	conv, group, dirty := t.conv, t.group, t.dirty
	t.conv = old
	err := t.score(ctx, score)
	if err == nil {
		err = t.q.SaveConversation(ctx, t.conv, old.ClosedAt)
	}
	t.conv, t.group, t.dirty = conv, group, dirty
	return err
}

// Unfollowed ends the conversation of a fan who left, and erases their data if that is the policy.
func (d *Desk) Unfollowed(ctx context.Context, account, openID string) error {
	if known, err := d.known(ctx, account, openID); err != nil || !known {
		return err
	}
	err := d.turn(ctx, in{account: account, openID: openID, actor: actorWeChat}, func(ctx context.Context, t *turn) error {
		t.fan.Left = true
		return t.end(ctx, domain.Bot, "", "unsubscribe")
	})
	if err != nil || !d.o.EraseOnLeave {
		return err
	}
	return d.EraseWhoLeft(ctx, account, openID)
}

// Followed notes that a fan is back.
func (d *Desk) Followed(ctx context.Context, account, openID string) error {
	if known, err := d.known(ctx, account, openID); err != nil || !known {
		return err
	}
	return d.turn(ctx, in{account: account, openID: openID, actor: actorWeChat}, func(_ context.Context, t *turn) error {
		t.fan.Left = false
		return nil
	})
}

// NativeTook says that WeChat's own desk talks to the fan now, or that another of its agents does. It is a fact about
// WeChat, so it wins over our own queue and agents.
func (d *Desk) NativeTook(ctx context.Context, account, openID, event, kfAccount, reason string) error {
	return d.turn(ctx, in{account: account, openID: openID, actor: actorWeChat, create: true}, func(ctx context.Context, t *turn) error {
		if !t.fan.Remember("kf:" + event) {
			return nil
		}
		t.fan.NativeActive = t.now
		if t.conv.ID == "" {
			t.conv.ID = event // the fact needs a conversation to be told under
		}
		return t.end(ctx, domain.Native, kfAccount, reason)
	})
}

// NativeLeft says that WeChat's own desk has let the fan go.
func (d *Desk) NativeLeft(ctx context.Context, account, openID, event, reason string) error {
	if known, err := d.known(ctx, account, openID); err != nil || !known {
		return err
	}
	return d.turn(ctx, in{account: account, openID: openID, actor: actorWeChat}, func(ctx context.Context, t *turn) error {
		if !t.fan.Remember("kf:"+event) || t.fan.Owner.Kind != domain.Native {
			return nil
		}
		if t.conv.ID == "" {
			t.conv.ID = event
		}
		return t.own(ctx, domain.Bot, "", reason)
	})
}

// end closes the open conversation without a word and gives the fan to somebody.
func (t *turn) end(ctx context.Context, kind domain.Kind, name, reason string) error {
	if !t.conv.State.Open() {
		return t.own(ctx, kind, name, reason)
	}
	t.conv.ClosingSaid = true
	return t.stepTo(ctx, domain.Step{Change: domain.ClosedNow, Reason: reason}, kind, name)
}
