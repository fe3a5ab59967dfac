package domain

import (
	"slices"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
)

// Change is what happens to a conversation. Its name is stored in the log and told to browsers.
type Change string

// The changes.
const (
	Opened        Change = "opened"
	MessageLeft   Change = "left_message"
	Joined        Change = "joined"
	Forwarded     Change = "forwarded"
	OfferMade     Change = "offered"
	Assigned      Change = "assigned"
	Accepted      Change = "accepted"
	Declined      Change = "declined"
	OfferExpired  Change = "offer_expired"
	Requeued      Change = "requeued"
	Taken         Change = "taken"
	TakenOver     Change = "taken_over"
	GivenToGroup  Change = "transferred"
	GivenToAgent  Change = "transferred_to_agent"
	OfferedTo     Change = "transfer_offered"
	Held          Change = "held"
	Resumed       Change = "resumed"
	Renewed       Change = "renewed"
	IdleWarned    Change = "idle_warned"
	ClosedNow     Change = "closed"
	Reopened      Change = "reopened"
	ToldOfWaiting Change = "told_waiting"
	SaidGoodbye   Change = "said_goodbye"
)

// table says which change leads from which state to which. What is not in it is refused.
//
//	                 waiting      offered      active       on hold      left message  closed
//	joined           waiting      waiting      -            -            waiting       -
//	forwarded        waiting      waiting      waiting      waiting      waiting       -
//	offered          offered      -            -            -            -             -
//	assigned         active       -            -            -            -             -
//	accepted         -            active       -            -            -             -
//	declined         -            waiting      -            -            -             -
//	offer_expired    -            waiting      -            -            -             -
//	requeued         -            waiting      waiting      waiting      -             -
//	taken            active       active       -            active       active        -
//	taken_over       active       active       active       active       active        -
//	transferred      waiting      waiting      waiting      waiting      -             -
//	… to_agent       active       active       active       active       -             -
//	transfer_offered offered      offered      offered      offered      -             -
//	held             -            -            on hold      on hold      -             -
//	resumed          -            -            -            active       -             -
//	renewed          -            -            active       -            -             -
//	idle_warned      -            -            active       -            -             -
//	told_waiting     waiting      offered      -            -            -             -
//	left_message     left m.      left m.      -            -            -             -
//	closed           closed       closed       closed       closed       closed        -
//	reopened         -            -            -            -            -             active
//	said_goodbye     -            -            -            -            -             closed
//
// A test prints this table from the code and compares.
var table = map[Change]map[State]State{
	Joined:        {Waiting: Waiting, Offered: Waiting, LeftMessage: Waiting},
	Forwarded:     {Waiting: Waiting, Offered: Waiting, Active: Waiting, OnHold: Waiting, LeftMessage: Waiting},
	OfferMade:     {Waiting: Offered},
	Assigned:      {Waiting: Active},
	Accepted:      {Offered: Active},
	Declined:      {Offered: Waiting},
	OfferExpired:  {Offered: Waiting},
	Requeued:      {Offered: Waiting, Active: Waiting, OnHold: Waiting},
	Taken:         {Waiting: Active, Offered: Active, OnHold: Active, LeftMessage: Active},
	TakenOver:     {Waiting: Active, Offered: Active, Active: Active, OnHold: Active, LeftMessage: Active},
	GivenToGroup:  {Waiting: Waiting, Offered: Waiting, Active: Waiting, OnHold: Waiting},
	GivenToAgent:  {Waiting: Active, Offered: Active, Active: Active, OnHold: Active},
	OfferedTo:     {Waiting: Offered, Offered: Offered, Active: Offered, OnHold: Offered},
	Held:          {Active: OnHold, OnHold: OnHold},
	Resumed:       {OnHold: Active},
	Renewed:       {Active: Active},
	IdleWarned:    {Active: Active},
	ToldOfWaiting: {Waiting: Waiting, Offered: Offered},
	MessageLeft:   {Waiting: LeftMessage, Offered: LeftMessage},
	ClosedNow:     {Waiting: Closed, Offered: Closed, Active: Closed, OnHold: Closed, LeftMessage: Closed},
	Reopened:      {Closed: Active},
	SaidGoodbye:   {Closed: Closed},
}

// Step is one change with what it needs to know.
type Step struct {
	Change Change
	// Agent is the next agent, AgentName the name that fans see.
	Agent, AgentName string
	// Group is the next group; empty keeps it.
	Group  *Group
	Reason string
	// Until is the end of an offer or a hold.
	Until      time.Time
	Assignment *Assignment
}

// Open returns a new conversation in the queue of a group.
func Open(account, openID, id string, g Group, language, reason string, asked, now time.Time) Conversation {
	if asked.IsZero() || asked.After(now) {
		asked = now
	}
	c := Conversation{
		ID: id, Account: account, OpenID: openID, State: Waiting, Group: g.ID, Number: 1, Reason: reason, Language: language,
		Opened: asked, StateSince: now, WaitingSince: asked, LastFan: asked, Skills: slices.Clone(g.Skills),
	}
	c.QueueUntil = g.queueUntil(now)
	c.promise(g, FirstResponse, asked)
	c.promise(g, InTime, asked)
	return c
}

// Apply returns the conversation after a step. It fails with Refused when the table does not allow it.
func (c Conversation) Apply(s Step, now time.Time) (Conversation, error) {
	to, ok := table[s.Change][c.State]
	if !ok {
		return c, fault.Errorf(fault.Refused, "a conversation that is %s cannot be %s", c.State, s.Change)
	}
	if s.Change == Reopened && now.Sub(c.ClosedAt) > ReopenFor {
		return c, fault.Errorf(fault.Refused, "a close can be undone for %s only", ReopenFor)
	}
	from := c.State
	c.Number++
	c.State = to
	if to != from || s.Agent != "" && s.Agent != c.Agent || s.Group != nil {
		c.StateSince = now
	}
	if s.Reason != "" || to != from {
		c.Reason = s.Reason
	}
	if s.Assignment != nil {
		c.Assignment = s.Assignment
	}
	c.enter(from, s, now)
	if s.Group != nil {
		c.promiseHere(*s.Group, now)
	}
	return c, nil
}

// enter sets what the new state needs and drops what the old one had.
func (c *Conversation) enter(from State, s Step, now time.Time) {
	if s.Change == ToldOfWaiting {
		c.ToldWaiting = true
		return
	}
	c.OfferUntil, c.HoldUntil, c.RejoinAt = time.Time{}, time.Time{}, time.Time{}
	switch c.State {
	case Waiting:
		c.enterQueue(from, s, now)
	case Offered:
		c.Agent, c.AgentName, c.OfferUntil = s.Agent, s.AgentName, s.Until
		c.queueAgain(from, now)
	case Active:
		c.enterActive(from, s, now)
	case OnHold:
		c.HoldUntil = s.Until
		if c.HoldUntil.IsZero() {
			c.HoldUntil = now.Add(HoldFor)
		}
	case LeftMessage:
		c.Agent, c.AgentName = "", ""
		c.RejoinAt = s.Until
	case Closed:
		if s.Change == SaidGoodbye {
			c.ClosingSaid = true
		} else {
			c.ClosedAt = now
			c.end()
		}
	}
}

func (c *Conversation) enterQueue(from State, s Step, now time.Time) {
	if s.Change == Declined || s.Change == OfferExpired {
		c.Declined = append(slices.Clone(c.Declined), c.Agent)
	} else {
		c.Declined = nil
		c.queueAgain(from, now)
	}
	c.Agent, c.AgentName = "", ""
	if s.Group != nil {
		c.Group, c.Skills = s.Group.ID, slices.Clone(s.Group.Skills)
		c.QueueUntil = s.Group.queueUntil(now)
	}
}

// queueAgain puts a conversation that somebody served at the place of the time since which the fan has had no answer.
func (c *Conversation) queueAgain(from State, now time.Time) {
	if from == Waiting || from == Offered {
		return
	}
	c.WaitingSince = now
	if c.Unanswered > 0 && c.LastFan.Before(now) {
		c.WaitingSince = c.LastFan
	}
}

func (c *Conversation) enterActive(from State, s Step, now time.Time) {
	if s.Agent != "" {
		c.Agent, c.AgentName = s.Agent, s.AgentName
	}
	c.Declined = nil
	switch s.Change {
	case IdleWarned:
		c.IdleWarned = true
	default:
		c.IdleFrom, c.IdleWarned = now, false
	}
	if c.Accepted.IsZero() {
		c.Accepted = now
	}
	if from == Closed {
		c.ClosedAt = time.Time{}
		c.reopen()
	}
}

// FanWrote returns the conversation after a message of the fan at a time.
func (c Conversation) FanWrote(at time.Time, preview string) Conversation {
	c.Unanswered++
	c.Preview = preview
	if at.After(c.LastFan) {
		c.LastFan = at
	}
	c.stir(at)
	return c
}

// AgentWrote returns the conversation after a message of an agent.
func (c Conversation) AgentWrote(at time.Time, preview string) Conversation {
	c.Unanswered = 0
	c.Preview = preview
	c.LastAgent = at
	if c.FirstReply.IsZero() {
		c.FirstReply = at
	}
	c.stir(at)
	return c
}

func (c *Conversation) stir(at time.Time) {
	if at.After(c.IdleFrom) {
		c.IdleFrom, c.IdleWarned = at, false
	}
}
