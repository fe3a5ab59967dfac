package app

import (
	"context"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// Outcome is what became of promises to fans of one group.
type Outcome struct {
	Group  string
	Target domain.Target
	Broken bool
}

// otherGroups stands for queues that nobody configured, so that what is counted by group stays bounded.
const otherGroups = "other"

// became notes what became of promises, for the counters: they count what is committed.
func (t *turn) became(s domain.Targets, broken bool) {
	group := t.conv.Group
	if t.group.Implicit {
		group = otherGroups
	}
	for _, target := range domain.AllTargets {
		if s.Has(target) {
			t.after.promises = append(t.after.promises, Outcome{Group: group, Target: target, Broken: broken})
		}
	}
}

// judge tells of the promises that are nearly or wholly over. Whoever is about to answer or to close judges first: an answer that comes
// a moment after the due time, and before the timer, is late all the same.
func (t *turn) judge(ctx context.Context) error {
	for {
		next, p, what := t.conv.Judge(t.now)
		if what == "" {
			return nil
		}
		t.conv = next
		t.conv.Number++
		t.dirty = true
		changed := &agentroutingv1.ConversationChanged{
			From: agentroutingv1.ConversationState(t.conv.State), To: agentroutingv1.ConversationState(t.conv.State), Change: what,
			FromAgent: t.conv.Agent, FromGroup: t.conv.Group, Promise: wire.Promise(p),
			Conversation: wire.Conversation(t.conv, t.fan, t.group, t.d.o.Limits),
		}
		targets := domain.TargetsOf(p.Target)
		if what == domain.PromiseBroken {
			changed.LateMs = t.group.Hours.Between(p.Due, t.now).Milliseconds()
			t.became(targets, true)
		}
		ev := &agentroutingv1.ConversationEvent{Event: &agentroutingv1.ConversationEvent_ConversationChanged{ConversationChanged: changed}}
		if err := t.publish(ctx, ev, domain.Entry{What: what, FromAgent: t.conv.Agent, Promises: targets}); err != nil {
			return err
		}
	}
}
