package domain

import "time"

// State is where a conversation stands.
type State uint8

// The states. The numbers are stored and are those of the proto.
const (
	Waiting State = iota + 1
	Offered
	Active
	OnHold
	LeftMessage
	Closed
)

var stateNames = [...]string{Waiting: "waiting", Offered: "offered", Active: "active", OnHold: "on_hold", LeftMessage: "left_message", Closed: "closed"}

// String returns the lower-case name.
func (s State) String() string {
	if int(s) < len(stateNames) && stateNames[s] != "" {
		return stateNames[s]
	}
	return "none"
}

// Open tells whether the conversation goes on.
func (s State) Open() bool { return s >= Waiting && s < Closed }

// Conversation is one fan served through queue and agents. The zero value is a conversation that does not exist.
type Conversation struct {
	ID, Account, OpenID string
	State               State
	Group, Agent        string
	// Number counts the changes, from 1.
	Number uint64
	Reason string
	// Opened is when the fan asked; StateSince when the state began; WaitingSince orders the queue.
	Opened, StateSince, WaitingSince time.Time
	// QueueUntil is when the queue time is over; zero for never.
	QueueUntil time.Time `json:",omitzero"`
	// OfferUntil is the end of an offer; HoldUntil of a hold.
	OfferUntil time.Time `json:",omitzero"`
	HoldUntil  time.Time `json:",omitzero"`
	// RejoinAt is when a fan who left a message off hours goes into the queue.
	RejoinAt time.Time `json:",omitzero"`
	// IdleFrom is when somebody last wrote or renewed.
	IdleFrom   time.Time `json:",omitzero"`
	IdleWarned bool      `json:",omitempty"`
	// Accepted and FirstReply are the first of their kind, LastFan and LastAgent the last.
	Accepted   time.Time `json:",omitzero"`
	FirstReply time.Time `json:",omitzero"`
	LastFan    time.Time `json:",omitzero"`
	LastAgent  time.Time `json:",omitzero"`
	ClosedAt   time.Time `json:",omitzero"`
	// Unanswered counts the fan's messages since an agent last wrote.
	Unanswered int
	Preview    string `json:",omitempty"`
	// Declined are the agents who gave the present round of offers back.
	Declined []string `json:",omitempty"`
	// Skills that an agent needs, Language that the fan speaks; as they were when it was opened.
	Skills   []string `json:",omitempty"`
	Language string   `json:",omitempty"`
	// Assignment explains the last decision of the router.
	Assignment *Assignment `json:",omitempty"`
	// Filled tells that what the fan said before was read from the stream; ToldWaiting that they know that they wait.
	Filled      bool `json:",omitempty"`
	ToldWaiting bool `json:",omitempty"`
	// Surveyed tells that the survey was sent, Score what came back.
	Surveyed bool `json:",omitempty"`
	Score    int  `json:",omitempty"`
	// ToldAgent is the agent whom the fan was told of; ClosingSaid that the end was said.
	ToldAgent   string `json:",omitempty"`
	ClosingSaid bool   `json:",omitempty"`
	// Promises are open, at most one for each target. Answered were ended by messages on their way, Ended by the close.
	Promises []Promise  `json:",omitempty"`
	Answered []Answered `json:",omitempty"`
	Ended    []Promise  `json:",omitempty"`
	// AgentName is the name that fans see.
	AgentName string `json:",omitempty"`
}

// Owner returns who may talk to the fan while the conversation is in this state.
func (c Conversation) Owner() (Kind, string) {
	switch c.State {
	case Waiting, Offered:
		return Queue, c.Group
	case Active, OnHold:
		return Agent, c.Agent
	default:
		return Bot, ""
	}
}

// Counts tells whether the conversation takes one of the agent's places.
func (c Conversation) Counts() bool { return c.State == Offered || c.State == Active }

// ReopenFor is how long a close can be undone.
const ReopenFor = 10 * time.Second

// HoldFor is how long a hold without an end lasts at most: then WeChat's window is closed anyway.
const HoldFor = 48 * time.Hour
