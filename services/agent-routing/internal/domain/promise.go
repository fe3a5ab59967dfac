package domain

import (
	"slices"
	"time"
)

// Target is what a group promises its fans. The numbers are those of the proto.
type Target uint8

// The targets.
const (
	// FirstResponse is the first answer of a person, NextResponse the answer to a later message.
	FirstResponse Target = iota + 1
	NextResponse
	// InTime is the end of the conversation.
	InTime
)

// AllTargets are the targets in order.
var AllTargets = []Target{FirstResponse, NextResponse, InTime}

// String returns the name of the target; it is also the value of a metric label.
func (t Target) String() string {
	switch t {
	case FirstResponse:
		return "first_response"
	case NextResponse:
		return "next_response"
	case InTime:
		return "close"
	default:
		return "none"
	}
}

// Targets is a set of targets, as the log of conversations keeps it.
type Targets uint8

// TargetsOf returns a set.
func TargetsOf(list ...Target) Targets {
	var s Targets
	for _, t := range list {
		s |= 1 << t
	}
	return s
}

// Has tells whether a target is in the set.
func (s Targets) Has(t Target) bool { return s&(1<<t) != 0 }

// Promise is an open promise to a fan. Its moments are fixed when it is made.
type Promise struct {
	Target Target
	// Since is when the fan began to wait, Span the target in working time.
	Since time.Time
	Span  time.Duration
	// Warn is when four fifths of the span are over, Due when all of it is.
	Warn, Due time.Time
	// Warned and Broken tell what was told.
	Warned bool `json:",omitempty"`
	Broken bool `json:",omitempty"`
}

// Answered is a promise that messages on their way ended: it opens again when all of them fail.
type Answered struct {
	Promise
	By []uint64
}

// The longest targets: after 48 hours WeChat's window is closed.
const (
	MaxResponse = 48 * time.Hour
	MaxInTime   = 30 * 24 * time.Hour
)

// maxAnswers bounds the messages of an answer that may all fail.
const maxAnswers = 20

// Target returns what the group promises; zero for nothing.
func (g Group) Target(t Target) time.Duration {
	s := map[Target]int{FirstResponse: g.FirstS, NextResponse: g.NextS, InTime: g.CloseS}[t]
	return time.Duration(s) * time.Second
}

// promise makes a promise; none when the group has no such target or works too rarely to keep it within two years.
func (g Group) promise(t Target, since time.Time) (Promise, bool) {
	span := g.Target(t)
	if span <= 0 {
		return Promise{}, false
	}
	p := Promise{Target: t, Since: since, Span: span, Warn: g.Hours.After(since, span*4/5), Due: g.Hours.After(since, span)}
	return p, !p.Due.IsZero()
}

func (c *Conversation) promise(g Group, t Target, since time.Time) {
	if c.promised(t) >= 0 {
		return
	}
	if p, ok := g.promise(t, since); ok {
		c.Promises = append(slices.Clone(c.Promises), p)
	}
}

// promised returns where the open promise of a target is, -1 for none.
func (c Conversation) promised(t Target) int {
	return slices.IndexFunc(c.Promises, func(p Promise) bool { return p.Target == t })
}

// promiseHere makes what a group promises whose conversation this has become. What was promised before stays as it was.
func (c *Conversation) promiseHere(g Group, now time.Time) {
	switch {
	case !c.State.Open():
		return
	case c.FirstReply.IsZero():
		c.promise(g, FirstResponse, now)
	case c.Unanswered > 0 && c.promised(FirstResponse) < 0:
		c.promise(g, NextResponse, now)
	}
	c.promise(g, InTime, now)
}

// Waits returns the conversation with the promise that a message of the fan at a time asks for. While a promise of an answer is open,
// further messages change nothing; until the first answer there is only that one.
func (c Conversation) Waits(g Group, at time.Time) Conversation {
	if c.State.Open() && !c.FirstReply.IsZero() && at.After(c.Opened) && c.promised(FirstResponse) < 0 {
		c.promise(g, NextResponse, at)
	}
	return c
}

// Answers returns the conversation after a message of an agent was taken for sending, and the promises that it keeps.
func (c Conversation) Answers(seq uint64) (Conversation, Targets) {
	var kept Targets
	answered := slices.Clone(c.Answered)
	for i, a := range answered {
		answered[i].By = append(slices.Clone(a.By), seq)
	}
	answered = slices.DeleteFunc(answered, func(a Answered) bool { return len(a.By) > maxAnswers })
	open := []Promise(nil)
	for _, p := range c.Promises {
		if p.Target == InTime {
			open = append(open, p)
			continue
		}
		answered = append(answered, Answered{Promise: p, By: []uint64{seq}})
		if !p.Broken {
			kept |= TargetsOf(p.Target)
		}
	}
	c.Promises, c.Answered = open, answered
	return c, kept
}

// Stands returns the conversation when a message of an agent reached WeChat, or may have: what it answered is answered.
func (c Conversation) Stands(seq uint64) Conversation {
	c.Answered = slices.DeleteFunc(slices.Clone(c.Answered), func(a Answered) bool { return slices.Contains(a.By, seq) })
	return c
}

// Fails returns the conversation when a message of an agent was not sent, and the promises that were kept only by it and are open
// again. When the conversation is over they come back with it.
func (c Conversation) Fails(seq uint64) (Conversation, Targets) {
	var again Targets
	var still []Answered
	for _, a := range c.Answered {
		a.By = slices.DeleteFunc(slices.Clone(a.By), func(s uint64) bool { return s == seq })
		if len(a.By) > 0 {
			still = append(still, a)
			continue
		}
		if !a.Broken {
			again |= TargetsOf(a.Target)
		}
		if c.State.Open() {
			c.Promises = merged(c.Promises, a.Promise)
		} else {
			c.Ended = merged(c.Ended, a.Promise)
		}
	}
	c.Answered = still
	return c, again
}

// merged adds a promise; with one of the same target it becomes one: that of the longer wait, due when the first of them is.
func merged(list []Promise, p Promise) []Promise {
	list = slices.Clone(list)
	i := slices.IndexFunc(list, func(q Promise) bool { return q.Target == p.Target })
	if i < 0 {
		return append(list, p)
	}
	q := &list[i]
	if p.Since.Before(q.Since) {
		q.Since, q.Span = p.Since, p.Span
	}
	q.Warn, q.Due = earlier(q.Warn, p.Warn), earlier(q.Due, p.Due)
	q.Warned, q.Broken = q.Warned || p.Warned, q.Broken || p.Broken
	return list
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// end puts the promises aside with a conversation that is over; reopen brings them back.
func (c *Conversation) end()    { c.Ended, c.Promises = c.Promises, nil }
func (c *Conversation) reopen() { c.Promises, c.Ended = c.Ended, nil }

// KeptByEnd returns which of the promises a close keeps: the end in time of a conversation that an agent had. An answer that a close
// makes needless is neither kept nor broken.
func (c Conversation) KeptByEnd(list []Promise) Targets {
	for _, p := range list {
		if p.Target == InTime && !p.Broken && !c.Accepted.IsZero() {
			return TargetsOf(InTime)
		}
	}
	return 0
}

// NextPromise returns the next moment at which there is something to tell of a promise; zero for never.
func (c Conversation) NextPromise() time.Time {
	next := time.Time{}
	for _, p := range c.Promises {
		at := p.Due
		switch {
		case p.Broken:
			continue
		case !p.Warned:
			at = p.Warn
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next
}

// Judge returns the conversation after one thing that time did to its promises, with the promise and what is to be told of it;
// an empty word when there is nothing. A promise that is broken already is not warned of.
func (c Conversation) Judge(now time.Time) (Conversation, Promise, string) {
	for i, p := range c.Promises {
		what := ""
		switch {
		case p.Broken:
		case !p.Due.After(now):
			what, p.Warned, p.Broken = PromiseBroken, true, true
		case !p.Warned && !p.Warn.After(now):
			what, p.Warned = PromiseWarned, true
		}
		if what != "" {
			c.Promises = slices.Clone(c.Promises)
			c.Promises[i] = p
			return c, p, what
		}
	}
	return c, Promise{}, ""
}

// Wake returns the next moment at which time alone does something to the conversation or its promises; zero for never.
func (c Conversation) Wake(g Group, l Limits) time.Time {
	_, due := c.Due(g, l)
	if p := c.NextPromise(); due.IsZero() || (!p.IsZero() && p.Before(due)) {
		return p
	}
	return due
}
