package domain

import (
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
)

// Accept makes the agent the owner of a waiting fan.
type Accept struct {
	Agent string
}

func (Accept) id() string { return "" }

func (c Accept) apply(r *Record, now time.Time) (bool, error) {
	switch {
	case r.ownedBy(c.Agent):
		return false, nil
	case r.Owner.Kind == Queue:
		r.move(Owner{Kind: Agent, Name: c.Agent}, r.step("accept", c.Agent), r.Conversation, "accepted", now)
		return true, nil
	case r.Owner.Kind == Agent:
		return false, fault.New(fault.Conflict, "another agent was faster")
	case r.Owner.Kind == Native:
		return false, fault.New(fault.Refused, "the native desk talks to the fan")
	default:
		return false, fault.New(fault.Refused, "the fan does not wait")
	}
}

// Reply is the right to answer: it accepts a waiting fan and renews the agent's hold.
type Reply struct {
	Agent string
}

func (Reply) id() string { return "" }

func (c Reply) apply(r *Record, now time.Time) (bool, error) {
	switch {
	case r.ownedBy(c.Agent):
		r.Active = now
		return true, nil
	case r.Owner.Kind == Agent:
		return false, fault.New(fault.Refused, "another agent talks to the fan")
	default:
		return Accept(c).apply(r, now)
	}
}

// Close gives the fan back to the bot. Anybody may close a waiting fan.
type Close struct {
	Agent string
}

func (Close) id() string { return "" }

func (c Close) apply(r *Record, now time.Time) (bool, error) {
	switch {
	case r.Owner.Kind == Bot:
		return false, nil
	case r.Owner.Kind == Queue, r.ownedBy(c.Agent):
		r.toBot(r.step("close", c.Agent), "closed", now)
		return true, nil
	case r.Owner.Kind == Native:
		return false, fault.New(fault.Refused, "the native desk talks to the fan")
	default:
		return false, fault.New(fault.Refused, "another agent talks to the fan")
	}
}

// Limits say how long a fan may be kept from the bot while nothing happens; zero means for ever.
type Limits struct {
	// Waiting is counted from when the fan joined the queue.
	Waiting time.Duration
	// Serving is counted from the last message of the fan or the agent.
	Serving time.Duration
}

// Over returns why the hold on the fan is over, or an empty text.
func (l Limits) Over(o Owner, active, now time.Time) string {
	switch {
	case o.Kind == Queue && l.Waiting > 0 && now.Sub(o.Since) > l.Waiting:
		return "nobody answered in time"
	case o.Kind == Agent && l.Serving > 0 && now.Sub(active) > l.Serving:
		return "conversation is silent"
	default:
		return ""
	}
}

// Expire gives the fan back to the bot when a limit has passed. However many replicas run, the
// change happens once, because the limits are judged again on the record that is replaced.
type Expire struct {
	Limits Limits
}

func (Expire) id() string { return "" }

func (c Expire) apply(r *Record, now time.Time) (bool, error) {
	reason := c.Limits.Over(r.Owner, r.Active, now)
	if reason == "" {
		return false, nil
	}
	r.toBot(r.step("expire", ""), reason, now)
	return true, nil
}

// Published drops the facts up to and including an epoch from the outbox.
type Published struct {
	Epoch uint64
}

func (Published) id() string { return "" }

func (c Published) apply(r *Record, _ time.Time) (bool, error) {
	n := 0
	for n < len(r.Outbox) && r.Outbox[n].Owner.Epoch <= c.Epoch {
		n++
	}
	r.Outbox = r.Outbox[n:]
	return n > 0, nil
}
