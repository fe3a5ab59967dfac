package domain

import (
	"slices"
	"time"
)

// Method is how a group finds an agent. The numbers are those of the proto.
type Method uint8

// The methods.
const (
	LeastLoad Method = iota + 1
	Rotation
	LastAgent
	Manual
)

// String returns the name that explanations use.
func (m Method) String() string {
	switch m {
	case Rotation:
		return "rotation"
	case LastAgent:
		return "last_agent"
	case Manual:
		return "manual"
	default:
		return "least_load"
	}
}

// QueueAction is what happens when the queue time is over. The numbers are those of the proto.
type QueueAction uint8

// The queue actions.
const (
	QueueLeaveMessage QueueAction = iota + 1
	QueueClose
	QueueForward
)

// OfflineAction is what happens to conversations of an agent who goes offline. The numbers are those of the proto.
type OfflineAction uint8

// The offline actions.
const (
	OfflineRequeue OfflineAction = iota + 1
	OfflineForward
	OfflineKeep
)

// The defaults of a group.
const (
	DefaultOffer    = 30 * time.Second
	DefaultQueue    = 10 * time.Minute
	DefaultWarning  = 5 * time.Minute
	DefaultCapacity = 5
	DefaultScores   = 5
)

// Group is a team with a queue. Zero settings mean the defaults.
type Group struct {
	ID, Name          string
	Skills, Languages []string
	Hours             Hours
	Texts             []Text
	Method            Method
	// Seconds; -1 means never.
	OfferS, QueueS, IdleS, WarnS int
	QueueAction                  QueueAction
	OfflineAction                OfflineAction
	ForwardGroup                 string
	Capacity                     int
	Survey                       bool
	SurveyMax                    int
	// Seconds of working hours that the group promises its fans at most: until the first answer, each later one, and the end; zero for
	// no promise.
	FirstS, NextS, CloseS int `json:",omitempty"`
	Revision              int64
	// Implicit is a queue that a rule names and nobody configured: agents pick by hand and the desk says nothing.
	Implicit bool `json:"-"`
}

// ImplicitGroup is what an unconfigured queue gets.
func ImplicitGroup(id string) Group {
	return Group{ID: id, Name: id, Method: Manual, QueueS: -1, WarnS: -1, Implicit: true}
}

func seconds(s int, otherwise time.Duration) time.Duration {
	switch {
	case s < 0:
		return 0
	case s == 0:
		return otherwise
	default:
		return time.Duration(s) * time.Second
	}
}

// OfferTimeout is how long an agent may think.
func (g Group) OfferTimeout() time.Duration { return seconds(g.OfferS, DefaultOffer) }

// IdleTimeout is how long an active conversation may be silent; zero for ever.
func (g Group) IdleTimeout(l Limits) time.Duration { return seconds(g.IdleS, l.Serving) }

// IdleWarning is how long before that the fan is warned; zero for no warning.
func (g Group) IdleWarning() time.Duration { return seconds(g.WarnS, DefaultWarning) }

func (g Group) queueUntil(now time.Time) time.Time {
	if d := seconds(g.QueueS, DefaultQueue); d > 0 {
		return now.Add(d)
	}
	return time.Time{}
}

// Places is the capacity of agents who have none of their own.
func (g Group) Places() int {
	if g.Capacity > 0 {
		return g.Capacity
	}
	return DefaultCapacity
}

// Scores is the best score of the survey.
func (g Group) Scores() int {
	if g.SurveyMax >= 2 {
		return g.SurveyMax
	}
	return DefaultScores
}

// Presence is whether an agent works. The numbers are those of the proto; zero means never seen.
type Presence uint8

// The presences.
const (
	Online Presence = iota + 1
	Away
	Offline
)

// Member is one agent as the router sees them.
type Member struct {
	ID, Name          string
	Groups            []string `json:",omitempty"`
	Skills, Languages []string `json:",omitempty"`
	// Capacity of the agent; zero means that of the groups.
	Capacity   int  `json:",omitempty"`
	AutoAccept bool `json:",omitempty"`

	Presence      Presence  `json:"-"`
	PresenceSince time.Time `json:"-"`
	LeaseUntil    time.Time `json:"-"`
	LastAssigned  time.Time `json:"-"`
	// Load is the number of conversations that are offered or active.
	Load   int `json:"-"`
	Active int `json:"-"`
	Held   int `json:"-"`
	// Places is the capacity that counts.
	Places int `json:"-"`
}

// Works tells whether the agent is there: online or away, with a lease that has not run out.
func (m Member) Works(now time.Time) bool {
	return (m.Presence == Online || m.Presence == Away) && now.Before(m.LeaseUntil)
}

// CapacityIn returns the number of places of an agent, given the groups they are in.
func (m Member) CapacityIn(groups map[string]Group) int {
	if m.Capacity > 0 {
		return m.Capacity
	}
	places := 0
	for _, id := range m.Groups {
		if g, ok := groups[id]; ok {
			places = max(places, g.Places())
		}
	}
	if places == 0 {
		return DefaultCapacity
	}
	return places
}

func containsAll(have, want []string) bool {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return false
		}
	}
	return true
}

// Count adds conversations of a state to the agent's load.
func (m *Member) Count(s State, n int) {
	switch s {
	case Offered:
		m.Load += n
	case Active:
		m.Load += n
		m.Active += n
	case OnHold:
		m.Held += n
	case Waiting, LeftMessage, Closed:
	}
}
