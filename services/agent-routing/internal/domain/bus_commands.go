package domain

import "time"

// Join puts the fan into a waiting list. Event is the id of the event that asked for it, which
// also names the conversation; At is when it was decided.
type Join struct {
	reported
	Event  string
	Queue  string
	Reason string
	At     time.Time
}

func (c Join) id() string { return "join:" + c.Event }

func (c Join) apply(r *Record, now time.Time) {
	waits := r.Owner.Kind == Queue
	if r.Owner.Kind != Bot && (!waits || r.Owner.Name == c.Queue) {
		return
	}
	conversation := c.Event
	if waits {
		conversation = r.Conversation
	}
	since := c.At
	if since.IsZero() || since.After(now) {
		since = now
	}
	r.move(Owner{Kind: Queue, Name: c.Queue, Since: since}, c.id(), conversation, c.Reason, now)
}

// Opened says that WeChat's own desk talks to the fan now, or that another of its agents does.
// It is a fact about WeChat, so it wins over our own queue and agents.
type Opened struct {
	reported
	Event     string
	KfAccount string
	Reason    string
}

func (c Opened) id() string { return "kf:" + c.Event }

func (c Opened) apply(r *Record, now time.Time) {
	if r.Owner.Kind == Native && r.Owner.Name == c.KfAccount {
		r.Active = now
		return
	}
	conversation := r.Conversation
	if conversation == "" {
		conversation = c.Event
	}
	r.move(Owner{Kind: Native, Name: c.KfAccount}, c.id(), conversation, c.Reason, now)
}

// Closed says that WeChat's own desk has let the fan go.
type Closed struct {
	reported
	Event  string
	Reason string
}

func (c Closed) id() string { return "kf:" + c.Event }

func (c Closed) apply(r *Record, now time.Time) {
	if r.Owner.Kind == Native {
		r.toBot(c.id(), c.Reason, now)
	}
}

// Left says that the fan unfollowed: what they said is erased and nobody talks to them.
type Left struct {
	reported
	Event string
}

func (c Left) id() string { return "left:" + c.Event }

func (c Left) apply(r *Record, now time.Time) {
	if r.Owner.Kind != Bot {
		r.toBot(c.id(), "unsubscribe", now)
	}
}

// Say is a message of the fan as pushed to us. While the fan is in a session of WeChat's own desk
// their messages are not pushed, so one that arrives NativeIdle after the session was last heard
// of proves that the session is over, even if the event that closed it never came.
type Say struct {
	reported
	repeatable
	Message    Message
	NativeIdle time.Duration
}

func (c Say) apply(r *Record, now time.Time) {
	switch r.Owner.Kind {
	case Queue, Agent:
		r.keep(c.Message)
	case Native:
		if c.NativeIdle > 0 && c.Message.At.Sub(r.Active) > c.NativeIdle {
			r.toBot(r.step("native-idle", ""), "native session is silent", now)
		}
	case Bot: // the rules answer; nothing is kept
	}
}

// Fill adds what the fan said since the conversation began; it is ignored when the conversation
// is over.
type Fill struct {
	reported
	repeatable
	Conversation string
	Messages     []Message
}

func (c Fill) apply(r *Record, _ time.Time) {
	serving := r.Owner.Kind == Queue || r.Owner.Kind == Agent
	if serving && r.Conversation == c.Conversation {
		r.keep(c.Messages...)
	}
}
