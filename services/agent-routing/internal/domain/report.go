package domain

import (
	"slices"
	"time"
)

// Entry is one line of the log of conversations, as reports read it.
type Entry struct {
	Account, Conversation string
	Number                uint64
	At                    time.Time
	// What is a Change, or one of the entries that are none.
	What         string
	Group, Agent string
	FromAgent    string
	Score        int
	// Asked is when the fan asked, on the entry "opened".
	Asked time.Time
	// Promises are those that the entry keeps; with a failed message and with "reopened" those that were not kept after all, with
	// "promise_warned" and "promise_broken" the one that it is about.
	Promises Targets
}

// The entries that are no changes of state.
const (
	FanMessage    = "fan_message"
	AgentMessage  = "agent_message"
	RuleMessage   = "rule_message"
	SystemMessage = "system_message"
	// MessageState is what became of a message to the fan.
	MessageState  = "message_state"
	Noted         = "note"
	FanEdited     = "fan"
	FileKept      = "media"
	SurveyGiven   = "survey"
	PromiseWarned = "promise_warned"
	PromiseBroken = "promise_broken"
	Watched       = "watched"
)

// NoChange are the entries that do not tell of the conversation itself: messages and what became of them, notes, files, the fan.
var NoChange = []string{FanMessage, AgentMessage, RuleMessage, SystemMessage, MessageState, Noted, FanEdited, FileKept}

// By is what the rows of a report are. The numbers are those of the proto.
type By uint8

// The kinds of rows.
const (
	ByDay By = iota + 1
	ByGroup
	ByAgent
	ByTotal
)

// Measures are the numbers of one row.
type Measures struct {
	Key                                                     string
	Opened, Served, Closed, Abandoned, LeftMessages         int64
	Transferred, FanMessages, AgentMessages, Offers, Missed int64
	Backlog, Surveys                                        int64
	ScoreSum                                                int64
	Waiting, FirstResponse, Handling                        []time.Duration
	// Kept and Broken count promises by Target.
	Kept, Broken [InTime + 1]int64
}

// told is what the fold knows of one conversation.
type told struct {
	asked, accepted, firstReply time.Time
	held                        time.Time
	pause                       time.Duration
	segment                     time.Time // begin of the present agent's handling
	open                        bool
	group, agent                string
	// kept are the rows on which kept promises were counted, the newest last.
	kept [InTime + 1][]*Measures
}

// Report folds a log into rows. Feed it every entry of each conversation from its beginning, all in the order of time
// and number.
type Report struct {
	// Group and Agent restrict what is counted; empty for all.
	Group, Agent string

	by       By
	from, to time.Time
	zone     *time.Location
	rows     map[string]*Measures
	known    map[string]*told
	open     int64
}

// NewReport returns an empty report of the span from (inclusive) to to (exclusive).
func NewReport(by By, from, to time.Time, zone *time.Location) *Report {
	return &Report{by: by, from: from, to: to, zone: zone, rows: map[string]*Measures{}, known: map[string]*told{}}
}

// Fold counts one entry. An entry before the span only builds up what later ones refer to.
func (r *Report) Fold(e Entry) { //nolint:cyclop,funlen // one case for each kind of entry
	if !e.At.Before(r.to) {
		return
	}
	id := e.Account + "\x00" + e.Conversation
	t := r.known[id]
	if t == nil {
		t = &told{}
		r.known[id] = t
	}
	previous := t.agent
	t.group, t.agent = e.Group, e.Agent
	count := func(who string, f func(*Measures)) {
		if !e.At.Before(r.from) {
			f(r.row(e.At, e.Group, who))
		}
	}
	switch e.What {
	case string(Opened):
		t.asked = e.Asked
		r.opened(t, 1)
		count(e.Agent, func(m *Measures) { m.Opened++ })
	case string(MessageLeft):
		count(e.Agent, func(m *Measures) { m.LeftMessages++ })
	case string(OfferMade), string(OfferedTo):
		r.released(t, e, previous)
		count(e.Agent, func(m *Measures) { m.Offers++ })
		if e.What == string(OfferedTo) {
			count(previous, func(m *Measures) { m.Transferred++ })
		}
	case string(Declined), string(OfferExpired):
		count(e.FromAgent, func(m *Measures) { m.Missed++ })
	case string(GivenToGroup), string(GivenToAgent):
		r.released(t, e, previous)
		count(previous, func(m *Measures) { m.Transferred++ })
		if e.What == string(GivenToAgent) {
			r.accepted(t, e, count)
		}
	case string(Requeued), string(Forwarded):
		r.released(t, e, previous)
	case string(Assigned), string(Accepted), string(Taken):
		r.accepted(t, e, count)
	case string(TakenOver):
		r.released(t, e, previous)
		r.accepted(t, e, count)
	case string(Held):
		if t.held.IsZero() {
			t.held = e.At
		}
	case string(Resumed):
		t.resume(e.At)
	case FanMessage:
		count(e.Agent, func(m *Measures) { m.FanMessages++ })
	case AgentMessage:
		r.replied(t, e, count)
		r.kept(t, e)
	case MessageState:
		t.unkept(e)
	case PromiseBroken:
		count(e.Agent, func(m *Measures) { each(e.Promises, func(p Target) { m.Broken[p]++ }) })
	case string(ClosedNow):
		r.closed(t, e, count)
		r.kept(t, e)
	case string(Reopened):
		t.unkept(e)
		t.segment = e.At
		r.opened(t, 1)
	case SurveyGiven:
		count(e.Agent, func(m *Measures) { m.Surveys++; m.ScoreSum += int64(e.Score) })
	}
	if r.by == ByDay && !e.At.Before(r.from) {
		r.row(e.At, e.Group, e.Agent).Backlog = r.open // the last entry of the day has the last word
	}
}

func (r *Report) opened(t *told, by int64) {
	if t.open != (by > 0) {
		t.open = by > 0
		r.open += by
	}
}

func (t *told) resume(at time.Time) {
	if !t.held.IsZero() {
		t.pause += at.Sub(t.held)
		t.held = time.Time{}
	}
}

type counter func(who string, f func(*Measures))

func (r *Report) accepted(t *told, e Entry, count counter) {
	t.resume(e.At)
	t.segment, t.pause = e.At, 0
	if t.accepted.IsZero() {
		t.accepted = e.At
		count(e.Agent, func(m *Measures) {
			m.Served++
			m.Waiting = append(m.Waiting, e.At.Sub(t.asked))
		})
	}
}

func (r *Report) replied(t *told, e Entry, count counter) {
	first := t.firstReply.IsZero()
	if first {
		t.firstReply = e.At
	}
	count(e.Agent, func(m *Measures) {
		m.AgentMessages++
		if first && !t.asked.IsZero() {
			m.FirstResponse = append(m.FirstResponse, e.At.Sub(t.asked))
		}
	})
}

// kept counts the promises that an entry keeps, and remembers where.
func (r *Report) kept(t *told, e Entry) {
	row := new(Measures) // before the span: counted for nobody
	if !e.At.Before(r.from) {
		row = r.row(e.At, e.Group, e.Agent)
	}
	each(e.Promises, func(p Target) {
		row.Kept[p]++
		t.kept[p] = append(t.kept[p], row)
	})
}

// unkept takes back what was counted of promises that were not kept after all.
func (t *told) unkept(e Entry) {
	each(e.Promises, func(p Target) {
		if n := len(t.kept[p]); n > 0 {
			t.kept[p][n-1].Kept[p]--
			t.kept[p] = t.kept[p][:n-1]
		}
	})
}

func each(s Targets, f func(Target)) {
	for _, t := range AllTargets {
		if s.Has(t) {
			f(t)
		}
	}
}

// released ends the handling of an agent who no longer has the conversation.
func (r *Report) released(t *told, e Entry, agent string) {
	t.resume(e.At)
	if t.segment.IsZero() {
		return
	}
	span := e.At.Sub(t.segment) - t.pause
	t.segment, t.pause = time.Time{}, 0
	if !e.At.Before(r.from) {
		m := r.row(e.At, e.Group, agent)
		m.Handling = append(m.Handling, span)
	}
}

func (r *Report) closed(t *told, e Entry, count counter) {
	r.released(t, e, e.Agent)
	r.opened(t, -1)
	count(e.Agent, func(m *Measures) {
		m.Closed++
		if t.accepted.IsZero() {
			m.Abandoned++
		}
	})
}

func (r *Report) row(at time.Time, group, agent string) *Measures {
	if (r.Group != "" && r.Group != group) || (r.Agent != "" && r.Agent != agent) {
		return new(Measures) // counted for nobody
	}
	key := "total"
	switch r.by {
	case ByDay:
		key = at.In(r.zone).Format(time.DateOnly)
	case ByGroup:
		key = group
	case ByAgent:
		key = agent
	case ByTotal:
	}
	m := r.rows[key]
	if m == nil {
		m = &Measures{Key: key}
		r.rows[key] = m
	}
	return m
}

// Rows returns the rows by key, once, at the end. Backlog is what was open at the end of the span or the day, on the row of
// the group or agent who had it.
func (r *Report) Rows() []Measures {
	for _, t := range r.known {
		if t.open && r.by != ByDay {
			r.row(r.to, t.group, t.agent).Backlog++
		}
	}
	var out []Measures
	for _, m := range r.rows {
		if r.by == ByAgent && m.Key == "" {
			continue // nobody's: before an agent had the conversation
		}
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b Measures) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	})
	return out
}

// Spread sums up spans.
type Spread struct{ Count, Average, Median, P90, Max int64 }

// SpreadOf returns the summary of spans in milliseconds; percentiles are nearest ranks, so they are values that occurred.
func SpreadOf(spans []time.Duration) Spread {
	if len(spans) == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(spans))
	var sum time.Duration
	for _, s := range sorted {
		sum += s
	}
	n := len(sorted)
	rank := func(percent int) int64 { return sorted[max((n*percent+99)/100, 1)-1].Milliseconds() }
	return Spread{Count: int64(n), Average: (sum / time.Duration(n)).Milliseconds(), Median: rank(50), P90: rank(90), Max: sorted[n-1].Milliseconds()}
}
