// Package domain holds the desk's decisions: where a conversation stands and how that changes, who may talk to a
// fan, which agent gets a conversation and why, hours, texts, search and reports. It is pure: no clock, no bus, no SQL.
package domain

import (
	"slices"
	"time"
)

// Kind is the kind of an owner.
type Kind uint8

// The kinds of owners.
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

// Same tells whether two owners are the same party, whatever the epoch.
func (o Owner) Same(other Owner) bool { return o.Kind == other.Kind && o.Name == other.Name }

// Next returns the owner who follows o.
func (o Owner) Next(kind Kind, name string, now time.Time) Owner {
	return Owner{Kind: kind, Name: name, Epoch: o.Epoch + 1, Since: now}
}

// Fan is what the desk keeps of a fan beside the messages.
type Fan struct {
	Account, OpenID string `json:"-"`
	Owner           Owner  `json:"-"`
	// Conversation is the open one; empty when there is none.
	Conversation string `json:"-"`
	// Seq is the newest entry of the timeline.
	Seq     uint64 `json:"-"`
	UnionID string `json:"-"`

	Remark    string   `json:",omitempty"`
	Tags      []string `json:",omitempty"`
	Language  string   `json:",omitempty"`
	Left      bool     `json:",omitempty"` // has unfollowed
	LastAgent string   `json:",omitempty"`
	// LastConversation is the newest one, also when it is closed.
	LastConversation string    `json:",omitempty"`
	FirstSeen        time.Time `json:",omitzero"`
	// NativeActive is when the session of WeChat's own desk was last heard of.
	NativeActive time.Time `json:",omitzero"`
	// Applied are the newest events that changed nothing or only the owner, so that a late duplicate is known.
	Applied []string `json:",omitempty"`
	// Profiled is when WeChat was last asked about the fan.
	Profiled time.Time `json:",omitzero"`
}

// Name returns the remark, or the friendly name.
func (f Fan) Name() string {
	if f.Remark != "" {
		return f.Remark
	}
	name, _ := Friendly(f.Account, f.OpenID)
	return name
}

// MaxApplied is the number of events that are remembered against late duplicates.
const MaxApplied = 16

// Remember notes an event and tells whether it is new.
func (f *Fan) Remember(event string) bool {
	if slices.Contains(f.Applied, event) {
		return false
	}
	f.Applied = append(f.Applied, event)
	if extra := len(f.Applied) - MaxApplied; extra > 0 {
		f.Applied = slices.Delete(f.Applied, 0, extra)
	}
	return true
}
