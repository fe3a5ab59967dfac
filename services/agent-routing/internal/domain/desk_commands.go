package domain

import (
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
)

var (
	errFaster     = fault.New(fault.Conflict, "another agent was faster")
	errAnother    = fault.New(fault.Refused, "another agent talks to the fan")
	errNative     = fault.New(fault.Refused, "the native desk talks to the fan")
	errNotWaiting = fault.New(fault.Refused, "the fan does not wait")
)

// Accept makes the agent the owner of a waiting fan.
type Accept struct {
	repeatable
	Agent string
}

func (c Accept) allowed(r Record) error {
	switch {
	case r.Owner.Kind == Queue, r.ownedBy(c.Agent):
		return nil
	case r.Owner.Kind == Agent:
		return errFaster
	case r.Owner.Kind == Native:
		return errNative
	default:
		return errNotWaiting
	}
}

func (c Accept) apply(r *Record, now time.Time) {
	if r.Owner.Kind == Queue {
		r.move(Owner{Kind: Agent, Name: c.Agent}, r.step("accept", c.Agent), r.Conversation, "accepted", now)
	}
}

// Reply is the right to answer: it accepts a waiting fan and renews the agent's hold.
type Reply struct {
	repeatable
	Agent string
}

func (c Reply) allowed(r Record) error {
	if r.Owner.Kind == Agent && !r.ownedBy(c.Agent) {
		return errAnother
	}
	return Accept{Agent: c.Agent}.allowed(r)
}

func (c Reply) apply(r *Record, now time.Time) {
	if r.ownedBy(c.Agent) {
		r.Active = now
		return
	}
	Accept{Agent: c.Agent}.apply(r, now)
}

// Close gives the fan back to the bot. Anybody may close a waiting fan.
type Close struct {
	repeatable
	Agent string
}

func (c Close) allowed(r Record) error {
	switch {
	case r.Owner.Kind == Native:
		return errNative
	case r.Owner.Kind == Agent && !r.ownedBy(c.Agent):
		return errAnother
	default:
		return nil
	}
}

func (c Close) apply(r *Record, now time.Time) {
	if r.Owner.Kind != Bot {
		r.toBot(r.step("close", c.Agent), "closed", now)
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
	reported
	repeatable
	Limits Limits
}

func (c Expire) apply(r *Record, now time.Time) {
	if reason := c.Limits.Over(r.Owner, r.Active, now); reason != "" {
		r.toBot(r.step("expire", ""), reason, now)
	}
}

// Published drops the facts up to and including an epoch from the outbox.
type Published struct {
	reported
	repeatable
	Epoch uint64
}

func (c Published) apply(r *Record, _ time.Time) {
	n := 0
	for n < len(r.Outbox) && r.Outbox[n].Owner.Epoch <= c.Epoch {
		n++
	}
	r.Outbox = r.Outbox[n:]
}
