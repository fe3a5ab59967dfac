package app

import (
	"context"
	"errors"
	"slices"
	"time"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

var (
	errFaster     = fault.New(fault.Conflict, "another agent was faster")
	errAnother    = fault.New(fault.Refused, "another agent talks to the fan")
	errNative     = fault.New(fault.Refused, "the native desk talks to the fan")
	errNotWaiting = fault.New(fault.Refused, "the fan does not wait")
	errOver       = fault.New(fault.Refused, "the conversation is closed")
	errFull       = fault.New(fault.Refused, "the agent has no free place")
)

// Act names who does what to which conversation; an empty Conversation means the fan's open one.
type Act struct {
	Account, OpenID, Conversation string
	Agent                         string
	Reason                        string
}

// act runs fn on the conversation and returns it as it is afterwards.
func (d *Desk) act(ctx context.Context, a Act, fn func(ctx context.Context, t *turn) error) (*View, error) {
	if a.OpenID == "" {
		ref, err := d.find(ctx, a.Account, a.Conversation)
		if err != nil {
			return nil, err
		}
		a.OpenID = ref
	}
	var v *View
	err := d.turn(ctx, in{account: a.Account, openID: a.OpenID, conversation: a.Conversation, actor: a.Agent}, func(ctx context.Context, t *turn) error {
		if err := fn(ctx, t); err != nil {
			return err
		}
		v = &View{Conversation: t.conv, Fan: t.fan, Group: t.group}
		return nil
	})
	switch {
	case v == nil && err != nil:
		return nil, err
	case v == nil: // the fan is unknown
		if a.Conversation != "" {
			return nil, fault.New(fault.NotFound, "conversation: no such conversation")
		}
		return nil, d.absent(ctx, a)
	case err != nil:
		// The change is stored, so trouble with what follows is not theirs: the caretaker repeats it.
		d.warn(ctx, "change of a conversation is not told yet", a.Account, err)
	}
	return d.refresh(ctx, v)
}

// absent says why nobody can do anything for a fan who has no conversation.
func (d *Desk) absent(ctx context.Context, a Act) error {
	owner, _, err := d.o.Owners.Owner(ctx, a.Account, a.OpenID)
	switch {
	case err != nil:
		return err
	case owner.Kind == domain.Native:
		return errNative
	default:
		return errNotWaiting
	}
}

func (d *Desk) find(ctx context.Context, account, conversation string) (openID string, err error) {
	q, err := d.o.Store.Query()
	if err != nil {
		return "", err
	}
	c, ok, err := q.Conversation(ctx, account, conversation)
	if err == nil && !ok {
		err = fault.New(fault.NotFound, "conversation: no such conversation")
	}
	return c.OpenID, err
}

// agent locks an agent, enrolling one who is not known, and returns the name that fans see.
func (t *turn) agent(ctx context.Context, id string) (domain.Member, error) {
	if err := t.q.Enrol(ctx, id); err != nil {
		return domain.Member{}, err
	}
	members, err := t.q.LockAgents(ctx, id)
	if err != nil {
		return domain.Member{}, err
	}
	if len(members) == 0 {
		return domain.Member{}, fault.Errorf(fault.NotFound, "agent: no such agent: %s", id)
	}
	return members[0], nil
}

// place locks an agent who must have a free place.
func (t *turn) place(ctx context.Context, id string) (domain.Member, error) {
	m, err := t.agent(ctx, id)
	if err == nil && m.Load >= m.Places {
		err = errFull
	}
	return m, err
}

// begin makes a locked agent the one who talks to the fan.
func (t *turn) begin(ctx context.Context, m domain.Member, s domain.Step) error {
	s.Agent, s.AgentName = m.ID, m.Name
	if err := t.step(ctx, s); err != nil {
		return err
	}
	if err := t.q.Assigned(ctx, m.ID, t.now); err != nil {
		return err
	}
	if t.conv.ToldAgent == m.ID {
		return nil
	}
	t.conv.ToldAgent = m.ID
	return t.say(ctx, domain.TextAssigned, map[string]string{"agent": m.Name})
}

// Accept makes an agent the one who talks to a fan who waits or was offered to them. It fails with Conflict when another agent was
// faster and with Refused when the fan does not wait or the agent is full.
func (d *Desk) Accept(ctx context.Context, a Act) (*View, error) {
	return d.act(ctx, a, func(ctx context.Context, t *turn) error { return t.accept(ctx, a.Agent) })
}

func (t *turn) accept(ctx context.Context, agent string) error {
	switch c := t.conv; {
	case t.fan.Owner.Kind == domain.Native:
		return errNative
	case !c.State.Open():
		return errNotWaiting
	case c.State == domain.Active && c.Agent == agent:
		return nil
	case c.State == domain.Offered && c.Agent == agent:
		m, err := t.agent(ctx, agent)
		if err != nil {
			return err
		}
		return t.begin(ctx, m, domain.Step{Change: domain.Accepted, Reason: "accepted"})
	case c.State == domain.OnHold && c.Agent == agent:
		return t.resume(ctx, "accepted")
	case c.State == domain.Waiting, c.State == domain.LeftMessage:
		return t.take(ctx, agent)
	default:
		return errFaster
	}
}

func (t *turn) take(ctx context.Context, agent string) error {
	m, err := t.place(ctx, agent)
	if err != nil {
		return err
	}
	return t.begin(ctx, m, domain.Step{Change: domain.Taken, Reason: "accepted", Assignment: domain.ByHand(domain.Picked, "", m, t.now)})
}

// Take picks a conversation that waits or left a message by hand.
func (d *Desk) Take(ctx context.Context, a Act) (*View, error) {
	return d.act(ctx, a, func(ctx context.Context, t *turn) error {
		switch {
		case t.conv.State == domain.Active && t.conv.Agent == a.Agent:
			return nil
		case t.conv.State == domain.Closed:
			return errOver
		default:
			return t.accept(ctx, a.Agent)
		}
	})
}

// TakeOver makes a supervisor the one who talks to the fan, whoever did before. Capacity does not count.
func (d *Desk) TakeOver(ctx context.Context, a Act) (*View, error) {
	return d.act(ctx, a, func(ctx context.Context, t *turn) error {
		if t.fan.Owner.Kind == domain.Native {
			return errNative
		}
		if t.conv.State == domain.Active && t.conv.Agent == a.Agent {
			return nil
		}
		m, err := t.agent(ctx, a.Agent)
		if err != nil {
			return err
		}
		reason := a.Reason
		if reason == "" {
			reason = "taken over"
		}
		return t.begin(ctx, m, domain.Step{Change: domain.TakenOver, Reason: reason, Assignment: domain.ByHand(domain.TookOver, a.Reason, m, t.now)})
	})
}

// Decline gives an offer back.
func (d *Desk) Decline(ctx context.Context, a Act) (*View, error) {
	return d.act(ctx, a, func(ctx context.Context, t *turn) error {
		if t.conv.State == domain.Offered && t.conv.Agent != a.Agent {
			return errFaster
		}
		reason := a.Reason
		if reason == "" {
			reason = "declined"
		}
		return t.step(ctx, domain.Step{Change: domain.Declined, Reason: reason})
	})
}

// mine fails unless the agent has the conversation.
func (t *turn) mine(agent string) error {
	switch {
	case t.fan.Owner.Kind == domain.Native:
		return errNative
	case !t.conv.State.Open():
		return errOver
	case t.conv.State != domain.Active && t.conv.State != domain.OnHold:
		return fault.New(fault.Refused, "nobody talks to the fan yet: accept first")
	case t.conv.Agent != agent:
		return errAnother
	default:
		return nil
	}
}

// Hold puts a conversation aside until a time; zero for the fan's next message.
func (d *Desk) Hold(ctx context.Context, a Act, until time.Time) (*View, error) {
	return d.act(ctx, a, func(ctx context.Context, t *turn) error {
		if err := t.mine(a.Agent); err != nil {
			return err
		}
		if !until.IsZero() && (until.Before(t.now) || until.Sub(t.now) > 30*24*time.Hour) {
			return fault.New(fault.Invalid, "until_unix_ms: must be within the next 30 days")
		}
		return t.step(ctx, domain.Step{Change: domain.Held, Until: until, Reason: a.Reason})
	})
}

// Unhold brings a conversation back.
func (d *Desk) Unhold(ctx context.Context, a Act) (*View, error) {
	return d.act(ctx, a, func(ctx context.Context, t *turn) error {
		if err := t.mine(a.Agent); err != nil || t.conv.State == domain.Active {
			return err
		}
		return t.resume(ctx, "resumed")
	})
}

// resume gives a conversation on hold back to its agent, or to the queue when they are not there or have no free place.
func (t *turn) resume(ctx context.Context, reason string) error {
	m, err := t.agent(ctx, t.conv.Agent)
	if err != nil {
		return err
	}
	there := m.Presence == 0 || m.Works(t.now) // somebody who never logged in picks by hand
	switch {
	case !there:
		return t.step(ctx, domain.Step{Change: domain.Requeued, Reason: reason + ", the agent is offline"})
	case m.Load >= m.Places:
		return t.step(ctx, domain.Step{Change: domain.Requeued, Reason: reason + ", the agent is full"})
	default:
		return t.step(ctx, domain.Step{Change: domain.Resumed, Reason: reason})
	}
}

// Renew starts the idle time again.
func (d *Desk) Renew(ctx context.Context, a Act) (*View, error) {
	return d.act(ctx, a, func(ctx context.Context, t *turn) error {
		if err := t.mine(a.Agent); err != nil {
			return err
		}
		return t.step(ctx, domain.Step{Change: domain.Renewed})
	})
}

// Transfer gives a conversation to an agent or to a group.
func (d *Desk) Transfer(ctx context.Context, a Act, toAgent, toGroup, note string) (*View, error) {
	return d.act(ctx, a, func(ctx context.Context, t *turn) error {
		if t.conv.State != domain.Waiting {
			if err := t.mine(a.Agent); err != nil {
				return err
			}
		}
		if note != "" {
			if _, err := t.note(ctx, agentroutingv1.AuthorKind_AUTHOR_KIND_NOTE, a.Agent, note, ""); err != nil {
				return err
			}
		}
		if toGroup != "" {
			return t.toGroup(ctx, toGroup)
		}
		return t.toAgent(ctx, toAgent)
	})
}

func (t *turn) toGroup(ctx context.Context, id string) error {
	g, err := t.q.Group(ctx, id)
	if err != nil {
		return err
	}
	if g.Implicit {
		return fault.Errorf(fault.NotFound, "to_group: no such group: %s", id)
	}
	return t.step(ctx, domain.Step{Change: domain.GivenToGroup, Group: &g, Reason: "transferred to group " + id})
}

func (t *turn) toAgent(ctx context.Context, id string) error {
	if id == t.conv.Agent && t.conv.State.Open() {
		return fault.New(fault.Invalid, "to_agent: has the conversation already")
	}
	members, err := t.q.LockAgents(ctx, id)
	switch {
	case err != nil:
		return err
	case len(members) == 0:
		return fault.Errorf(fault.NotFound, "to_agent: no such agent: %s", id)
	}
	m := members[0]
	switch {
	case m.Presence != domain.Online || !m.Works(t.now):
		return fault.New(fault.Refused, "to_agent: is not online")
	case m.Load >= m.Places:
		return errFull
	}
	s := domain.Step{Reason: "transferred to " + id, Assignment: domain.ByHand(domain.GivenByAgent, "", m, t.now)}
	if m.AutoAccept {
		s.Change = domain.GivenToAgent
		return t.begin(ctx, m, s)
	}
	s.Change, s.Agent, s.AgentName, s.Until = domain.OfferedTo, m.ID, m.Name, t.now.Add(t.group.OfferTimeout())
	if err := t.step(ctx, s); err != nil {
		return err
	}
	return t.q.Assigned(ctx, m.ID, t.now)
}

// Close ends a conversation. Anybody may close one that nobody has.
func (d *Desk) Close(ctx context.Context, a Act, noSurvey bool) (*View, error) {
	v, err := d.act(ctx, a, func(ctx context.Context, t *turn) error {
		switch c := t.conv; {
		case t.fan.Owner.Kind == domain.Native:
			return errNative
		case !c.State.Open():
			return nil
		case (c.State == domain.Active || c.State == domain.OnHold) && c.Agent != a.Agent:
			return errAnother
		}
		if noSurvey {
			t.conv.Surveyed = true
		}
		reason := a.Reason
		if reason == "" {
			reason = "closed"
		}
		return t.step(ctx, domain.Step{Change: domain.ClosedNow, Reason: reason})
	})
	if errors.Is(err, errNotWaiting) {
		return d.viewOf(ctx, a.Account, a.OpenID) // closing what is closed is fine
	}
	return v, err
}

// Reopen undoes a close.
func (d *Desk) Reopen(ctx context.Context, a Act) (*View, error) {
	return d.act(ctx, a, func(ctx context.Context, t *turn) error {
		switch {
		case t.fan.Owner.Kind == domain.Native:
			return errNative
		case t.conv.State.Open():
			return nil
		case t.fan.Conversation != "":
			return fault.New(fault.Refused, "the fan has a new conversation")
		case t.conv.ClosingSaid:
			return fault.New(fault.Refused, "the fan was told that the conversation has ended")
		}
		m, err := t.place(ctx, a.Agent)
		if err != nil {
			return err
		}
		return t.begin(ctx, m, domain.Step{Change: domain.Reopened, Reason: "reopened", Assignment: domain.ByHand(domain.CloseUndone, "", m, t.now)})
	})
}

// Watch records that a supervisor looks at a conversation.
func (d *Desk) Watch(ctx context.Context, a Act) (*View, error) {
	return d.act(ctx, a, func(ctx context.Context, t *turn) error {
		ev := &agentroutingv1.ConversationEvent{Event: &agentroutingv1.ConversationEvent_ConversationChanged{ConversationChanged: &agentroutingv1.ConversationChanged{
			From: agentroutingv1.ConversationState(t.conv.State), To: agentroutingv1.ConversationState(t.conv.State), Change: "watched",
			Conversation: wire.Conversation(t.conv, t.fan, t.group, t.d.o.Limits),
		}}}
		return t.tell(ctx, ev, domain.Entry{What: "watched"})
	})
}

// Note adds a note or a whisper.
func (d *Desk) Note(ctx context.Context, a Act, kind agentroutingv1.AuthorKind, text, key string) (*agentroutingv1.Message, error) {
	var m *agentroutingv1.Message
	_, err := d.act(ctx, a, func(ctx context.Context, t *turn) error {
		var err error
		m, err = t.note(ctx, kind, a.Agent, text, key)
		return err
	})
	return m, err
}

func (t *turn) note(ctx context.Context, kind agentroutingv1.AuthorKind, author, text, key string) (*agentroutingv1.Message, error) {
	m := &agentroutingv1.Message{Conversation: t.conv.ID, AuthorKind: kind, Author: author, MsgType: "text", Text: domain.Cut(text, 4*domain.MaxTextBytes)}
	if key != "" {
		m.ClientId = sendKey(t.fan.OpenID, author, key)
	}
	added, err := t.add(ctx, m, nil)
	if err != nil {
		return nil, err
	}
	if !added {
		known, _, err := t.q.MessageByClient(ctx, t.fan.Account, t.fan.OpenID, m.GetClientId())
		return known, err
	}
	ev := &agentroutingv1.ConversationEvent{Event: &agentroutingv1.ConversationEvent_NoteAdded{NoteAdded: &agentroutingv1.NoteAdded{Message: m}}}
	return m, t.tell(ctx, ev, domain.Entry{What: "note"})
}

// Reply is a message of an agent to a fan.
type Reply struct {
	Act
	Key     string
	Content *eventv1.Content
	// Expected is the newest entry that the agent has seen; zero for any.
	Expected  uint64
	KfAccount string
}

// Replied is what became of a reply.
type Replied struct {
	View     *View
	Message  *agentroutingv1.Message
	Replayed bool
}

// maxCollision bounds what came in between.
const maxCollision = 20

// Reply sends a message as the one who talks to the fan; it accepts a waiting fan first. The fan stays with the agent when the message
// is refused. A repetition with the same key sends nothing. It fails with a *CollisionError when others wrote meanwhile.
func (d *Desk) Reply(ctx context.Context, r Reply) (Replied, error) {
	var out Replied
	v, err := d.act(ctx, r.Act, func(ctx context.Context, t *turn) error {
		out = Replied{}
		key := sendKey(t.fan.OpenID, r.Agent, r.Key)
		known, ok, err := t.q.MessageByClient(ctx, t.fan.Account, t.fan.OpenID, key)
		if err != nil {
			return err
		}
		if ok {
			out.Message, out.Replayed = known, true
			return nil
		}
		return t.reply(ctx, r, key, &out)
	})
	if err != nil {
		return Replied{}, err
	}
	out.View = v
	return out, d.refusal(ctx, &out)
}

func (t *turn) reply(ctx context.Context, r Reply, key string, out *Replied) error {
	if t.conv.State == domain.Closed {
		return errOver
	}
	if t.conv.State == domain.Active && t.conv.Agent != r.Agent {
		return errAnother
	}
	if err := t.accept(ctx, r.Agent); err != nil {
		return err
	}
	if t.conv.State != domain.Active { // it came back from hold to the queue: the agent is full
		return errFull
	}
	if r.Expected != 0 {
		between, err := t.q.Between(ctx, t.fan.Account, t.fan.OpenID, r.Agent, r.Expected, maxCollision)
		if err != nil {
			return err
		}
		if len(between) > 0 {
			return collision(between, t.fan.Seq)
		}
	}
	m := &agentroutingv1.Message{AuthorKind: agentroutingv1.AuthorKind_AUTHOR_KIND_AGENT, Author: r.Agent, Content: r.Content, ClientId: key}
	if _, err := t.send(ctx, m, key, r.KfAccount); err != nil {
		return err
	}
	t.conv = t.conv.AgentWrote(t.now, previewOf(m))
	t.dirty = true
	out.Message = m
	return t.tell(ctx, messageAdded(m, t.conv), domain.Entry{What: domain.AgentMessage})
}

// refusal reads the message again: the sender may have refused it when it was handed over.
func (d *Desk) refusal(ctx context.Context, out *Replied) error {
	q, err := d.o.Store.Query()
	if err != nil {
		return err
	}
	m, ok, err := q.Message(ctx, out.Message.GetAccount(), out.Message.GetOpenid(), out.Message.GetSeq())
	if err != nil || !ok {
		return err
	}
	out.Message = m
	if m.GetState() == agentroutingv1.MessageState_MESSAGE_STATE_FAILED && m.GetSendId() == "" {
		return fault.New(fault.Refused, m.GetReason())
	}
	return nil
}

// EditFan changes the remark or the tags of a fan.
func (d *Desk) EditFan(ctx context.Context, account, openID, actor, change string, edit func(*domain.Fan) error) (domain.Fan, error) {
	var f domain.Fan
	err := d.turn(ctx, in{account: account, openID: openID, actor: actor, create: true}, func(ctx context.Context, t *turn) error {
		if err := edit(&t.fan); err != nil {
			return err
		}
		f = t.fan
		return t.fanChanged(ctx, change)
	})
	return f, err
}

// fanChanged tells it under the open conversation, or the last one.
func (t *turn) fanChanged(ctx context.Context, change string) error {
	if t.conv.ID == "" && t.fan.LastConversation != "" {
		if err := t.load(ctx, t.fan.LastConversation); err != nil {
			return err
		}
	}
	ev := &agentroutingv1.ConversationEvent{Event: &agentroutingv1.ConversationEvent_FanChanged{FanChanged: &agentroutingv1.FanChanged{
		Fan: wire.Fan(t.fan), Change: change,
	}}}
	return t.tell(ctx, ev, domain.Entry{What: "fan"})
}

// Tag adds and removes tags, each once, in order.
func Tag(f *domain.Fan, add, remove []string) {
	f.Tags = slices.DeleteFunc(f.Tags, func(t string) bool { return slices.Contains(remove, t) })
	for _, t := range add {
		if !slices.Contains(f.Tags, t) {
			f.Tags = append(f.Tags, t)
		}
	}
}
