package app

import (
	"context"
	"fmt"
	"time"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// Join is a decision of the rules that a fan is to wait in a queue.
type Join struct {
	Account, OpenID string
	// Event is the id of the event that asked; it names the conversation.
	Event, Queue, Reason string
	// Asked is when it was decided, Made about when the event was made.
	Asked, Made time.Time
}

// Join puts a fan into a queue. It may be repeated: the second time completes what the first one did not. What the fan said
// around the event is read from the stream afterwards: whoever says something later finds the fan waiting, so no word is missing.
func (d *Desk) Join(ctx context.Context, j Join) error {
	fill := false
	err := d.turn(ctx, in{account: j.Account, openID: j.OpenID, actor: actorRule, create: true}, func(ctx context.Context, t *turn) error {
		known, ok, err := t.q.Conversation(ctx, j.Account, j.Event)
		if err != nil {
			return err
		}
		if ok {
			fill = known.State.Open() && !known.Filled
			return nil
		}
		if err := t.join(ctx, j); err != nil {
			return err
		}
		fill = t.conv.State.Open() && !t.conv.Filled
		return nil
	})
	if err != nil {
		return err
	}
	if fill {
		if err := d.fill(ctx, j.Account, j.OpenID, j.Made); err != nil {
			return err
		}
	}
	return d.tellWaiting(ctx, j.Account, j.OpenID)
}

// join applies the decision to a fan who is locked.
func (t *turn) join(ctx context.Context, j Join) error {
	if t.fan.Owner.Kind == domain.Native || t.conv.State == domain.Active || t.conv.State == domain.OnHold {
		t.fan.Remember("join:" + j.Event) // a queue never takes a fan from an agent or from the native desk
		return nil
	}
	if !t.fan.Remember("join:" + j.Event) {
		return nil
	}
	group, err := t.q.Group(ctx, j.Queue)
	if err != nil {
		return err
	}
	switch {
	case !t.conv.State.Open():
		return t.open(ctx, j, group)
	case t.conv.State == domain.LeftMessage && !group.Hours.Open(t.now):
		return nil
	case t.conv.State == domain.LeftMessage, t.conv.Group != j.Queue:
		return t.step(ctx, domain.Step{Change: domain.Joined, Group: &group, Reason: j.Reason})
	default:
		return nil
	}
}

// open begins a conversation: in the queue, or as a message that is left when nobody works at this hour.
func (t *turn) open(ctx context.Context, j Join, g domain.Group) error {
	t.group, t.after.met = g, t.d.stale(t.fan)
	t.conv = domain.Open(j.Account, j.OpenID, j.Event, g, t.fan.Language, j.Reason, j.Asked.UTC().Truncate(time.Millisecond), t.now)
	t.dirty = true
	t.remember()
	if err := t.changed(ctx, domain.Opened, domain.Conversation{}, nil, ""); err != nil {
		return err
	}
	// Also for a fan who is only to leave a message: the bucket then knows them, so what they say is kept.
	if err := t.own(ctx, domain.Queue, g.ID, j.Reason); err != nil {
		return err
	}
	if !g.Hours.Open(t.now) {
		next := g.Hours.NextOpen(t.now)
		if err := t.step(ctx, domain.Step{Change: domain.MessageLeft, Reason: "outside working hours", Until: next}); err != nil {
			return err
		}
		return t.say(ctx, domain.TextOffHours, map[string]string{"next_open": next.In(g.Hours.Location()).Format("01-02 15:04")})
	}
	t.after.groups[g.ID] = true
	return t.say(ctx, domain.TextWelcome, nil)
}

// fill adds what was said before and since the event that opened the conversation.
func (d *Desk) fill(ctx context.Context, account, openID string, made time.Time) error {
	q, err := d.o.Store.Query()
	if err != nil {
		return err
	}
	f, ok, err := q.Fan(ctx, account, openID)
	if err != nil || !ok || f.Conversation == "" {
		return err
	}
	id := f.Conversation
	before, since, err := d.o.Transcript.Around(ctx, account, openID, id, made)
	if err != nil {
		return err
	}
	return d.turn(ctx, in{account: account, openID: openID, actor: actorFan}, func(ctx context.Context, t *turn) error {
		if t.conv.ID != id || t.conv.Filled {
			return nil
		}
		for _, line := range before {
			if err := t.recall(ctx, line); err != nil {
				return err
			}
		}
		for _, line := range since {
			if err := t.catchUp(ctx, line); err != nil {
				return err
			}
		}
		t.conv.Filled, t.dirty = true, true
		return nil
	})
}

// recall adds what was said before the conversation.
func (t *turn) recall(ctx context.Context, l Line) error {
	if l.Answer == nil {
		m, files := wire.Message(l.Event)
		_, err := t.add(ctx, m, files)
		return err
	}
	_, _, files := wire.Sent(l.Answer.GetContent())
	_, err := t.add(ctx, l.Answer, files)
	return err
}

// catchUp adds what was said since the conversation was asked for.
func (t *turn) catchUp(ctx context.Context, l Line) error {
	if l.Answer != nil {
		return t.answered(ctx, l.Answer)
	}
	return t.hear(ctx, l.Event)
}

// hear adds what the fan said to the open conversation, once.
func (t *turn) hear(ctx context.Context, ev *eventv1.InboundEvent) error {
	m, files := wire.Message(ev)
	m.Conversation = t.conv.ID
	added, err := t.add(ctx, m, files)
	if err != nil || !added {
		return err
	}
	at := wire.Time(m.GetAtUnixMs())
	t.conv = t.conv.FanWrote(at, previewOf(m)).Waits(t.group, at)
	t.dirty = true
	return t.tell(ctx, messageAdded(m, t.conv), domain.Entry{What: domain.FanMessage})
}

func previewOf(m *agentroutingv1.Message) string {
	if m.GetText() == "" {
		return "[" + m.GetMsgType() + "]"
	}
	return domain.Preview(m.GetText())
}

// tellWaiting tells a fan who was not given to an agent at once that they wait, and at which place. When an agent was asked and
// said no meanwhile, the next one may be asked in this moment: then time tells (see Due).
func (d *Desk) tellWaiting(ctx context.Context, account, openID string) error {
	return d.turn(ctx, in{account: account, openID: openID, actor: actorRouter}, func(ctx context.Context, t *turn) error {
		if t.conv.State != domain.Waiting || t.conv.ToldWaiting || len(t.conv.Declined) > 0 {
			return nil
		}
		return t.tellWaiting(ctx)
	})
}

func (t *turn) tellWaiting(ctx context.Context) error {
	members, err := t.q.Members(ctx, t.conv.Group)
	if err != nil {
		return err
	}
	ahead, err := t.q.Ahead(ctx, t.conv)
	if err != nil {
		return err
	}
	t.conv.ToldWaiting, t.dirty = true, true
	for _, m := range members {
		if m.Works(t.now) {
			return t.say(ctx, domain.TextWaiting, map[string]string{"position": fmt.Sprint(ahead + 1)})
		}
	}
	return t.say(ctx, domain.TextNoAgent, nil)
}
