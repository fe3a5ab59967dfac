// Package domain holds who may talk to a fan and how that changes. It is pure: no clock, no bus.
package domain

import (
	"slices"
	"time"
)

// Bounds of one record. They keep a chatty fan or a dead stream from growing it.
const (
	// MaxMessages is the number of messages of the fan that a record keeps.
	MaxMessages = 20
	// MaxTextBytes is the number of bytes of one kept text; longer ones are cut between runes.
	MaxTextBytes = 4096
	// MaxApplied is the number of changes whose ids are remembered against late duplicates.
	MaxApplied = 16
	// MaxOutbox is the number of facts that may wait for the stream before changes are refused.
	MaxOutbox = 16
)

// Kind is the kind of an owner.
type Kind uint8

// The kinds of owners. The zero value is never the owner of a record made by this package.
const (
	Bot Kind = iota + 1
	Queue
	Agent
	Native
)

// String returns the lower-case name of the kind; it is also the value of a metric label.
func (k Kind) String() string {
	switch k {
	case Bot:
		return "bot"
	case Queue:
		return "queue"
	case Agent:
		return "agent"
	case Native:
		return "native"
	default:
		return "unspecified"
	}
}

// Owner is who may talk to a fan. Epoch grows by one with every change and never goes back.
type Owner struct {
	Kind  Kind
	Name  string
	Epoch uint64
	Since time.Time
}

// Message is one thing that a fan said. Text is hostile.
type Message struct {
	EventID string
	MsgType string
	Text    string
	At      time.Time
}

// Fact says that the owner changed.
type Fact struct {
	Conversation string
	Owner        Owner
	Reason       string
}

// Record is all that is known about the ownership of one fan.
type Record struct {
	Account      string
	OpenID       string
	Owner        Owner
	Conversation string
	Messages     []Message
	ChangedBy    string
	Applied      []string
	Outbox       []Fact
	Active       time.Time
}

// New returns the record of a fan about whom nothing is kept: the bot may talk, epoch zero.
func New(account, openID string) Record {
	return Record{Account: account, OpenID: openID, Owner: Owner{Kind: Bot}}
}

// unknown tells that nothing was ever kept about the fan. What the table ignores on such a record
// is not remembered: an account loses fans every day who never spoke to anybody.
func (r Record) unknown() bool { return r.Owner.Epoch == 0 && len(r.Applied) == 0 }

// Clone returns a copy that shares no memory with r.
func (r Record) Clone() Record {
	r.Messages = slices.Clone(r.Messages)
	r.Applied = slices.Clone(r.Applied)
	r.Outbox = slices.Clone(r.Outbox)
	return r
}

// remember notes an id, also of a command that the table ignored, so that a duplicate that arrives
// after the next change is still known.
func (r *Record) remember(id string) {
	r.ChangedBy = id
	r.Applied = append(r.Applied, id)
	if extra := len(r.Applied) - MaxApplied; extra > 0 {
		r.Applied = slices.Delete(r.Applied, 0, extra)
	}
}

// keep adds messages that are not known yet, in the order of their time, newest MaxMessages only.
func (r *Record) keep(messages ...Message) {
	for _, m := range messages {
		if slices.ContainsFunc(r.Messages, func(k Message) bool { return k.EventID == m.EventID }) {
			continue
		}
		m.Text = cut(m.Text, MaxTextBytes)
		r.Messages = append(r.Messages, m)
		if m.At.After(r.Active) {
			r.Active = m.At
		}
	}
	slices.SortStableFunc(r.Messages, func(a, b Message) int { return a.At.Compare(b.At) })
	if extra := len(r.Messages) - MaxMessages; extra > 0 {
		r.Messages = slices.Delete(r.Messages, 0, extra)
	}
}
