package domain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Assignment explains one decision of the router, or of a person.
type Assignment struct {
	Method, Winner string
	// Why says Reason and its figures in English.
	Why    string
	Reason Reason
	// Choices is among how many free agents the winner was chosen.
	Choices int
	// Remark is what the person who decided wrote.
	Remark              string `json:",omitempty"`
	Candidates          []Candidate
	LoadAfter, Capacity int
	At                  time.Time
}

// Reason is why somebody was given a conversation. The numbers are stored and are those of the proto.
type Reason uint8

// The reasons; zero is a decision from before they were kept.
const (
	NobodyFree Reason = iota + 1
	ByLeastLoad
	WaitedLongest
	TalkedBefore
	Picked
	GivenByAgent
	TookOver
	CloseUndone
)

// Candidate is one agent in a decision.
type Candidate struct {
	Agent          string
	Load, Capacity int
	ExcludedBy     string
	Rank           int
}

// maxCandidates bounds the explanation, not the decision.
const maxCandidates = 100

// Choose returns the agent who gets the conversation, with the explanation; Winner is empty when nobody is free. lastAgent
// is who last talked to the fan. It never chooses an agent without a free place.
func Choose(c Conversation, g Group, members []Member, lastAgent string, now time.Time) (Member, Assignment) {
	a := Assignment{Method: g.Method.String(), At: now}
	var free []Member
	for _, m := range members {
		why := excluded(c, g, m, now)
		if why == "" {
			free = append(free, m)
		}
		a.Candidates = append(a.Candidates, Candidate{Agent: m.ID, Load: m.Load, Capacity: m.Places, ExcludedBy: why})
	}
	if len(free) == 0 {
		free = again(c, g, members, now)
	}
	if len(free) == 0 {
		a.Reason, a.Why = NobodyFree, "nobody is free"
		a.bound()
		return Member{}, a
	}
	rank(free, g.Method, lastAgent)
	for i, m := range free {
		at := slices.IndexFunc(a.Candidates, func(c Candidate) bool { return c.Agent == m.ID })
		a.Candidates[at].Rank, a.Candidates[at].ExcludedBy = i+1, ""
	}
	best := free[0]
	a.Winner, a.LoadAfter, a.Capacity, a.Choices = best.ID, best.Load+1, best.Places, len(free)
	a.Reason = reasonFor(best, g.Method, lastAgent)
	a.Why = a.words()
	a.bound()
	return best, a
}

// again lets those be asked once more who gave an offer back, when there is nobody else.
func again(c Conversation, g Group, members []Member, now time.Time) []Member {
	if len(c.Declined) == 0 {
		return nil
	}
	c.Declined = nil
	var free []Member
	for _, m := range members {
		if excluded(c, g, m, now) == "" {
			free = append(free, m)
		}
	}
	return free
}

func excluded(c Conversation, g Group, m Member, now time.Time) string {
	switch {
	case !m.Works(now):
		return "offline"
	case m.Presence == Away:
		return "away"
	case m.Load >= m.Places:
		return "full"
	case !containsAll(m.Skills, c.Skills):
		return "skill"
	case !speaks(g, m, c.Language):
		return "language"
	case slices.Contains(c.Declined, m.ID):
		return "declined"
	default:
		return ""
	}
}

// speaks compares the first part of a language, "zh" of "zh_CN". A language that the group does not name asks for nobody.
func speaks(g Group, m Member, language string) bool {
	language = primary(language)
	named := func(l string) bool { return primary(l) == language }
	if language == "" || !slices.ContainsFunc(g.Languages, named) {
		return true
	}
	return slices.ContainsFunc(m.Languages, named)
}

func primary(language string) string {
	first, _, _ := strings.Cut(strings.ToLower(strings.ReplaceAll(language, "-", "_")), "_")
	return first
}

func rank(free []Member, method Method, lastAgent string) {
	slices.SortFunc(free, func(a, b Member) int {
		if method == LastAgent && (a.ID == lastAgent) != (b.ID == lastAgent) {
			if a.ID == lastAgent {
				return -1
			}
			return 1
		}
		// a.Load/a.Places against b.Load/b.Places, without fractions.
		share := cmp.Compare(a.Load*b.Places, b.Load*a.Places)
		if method == Rotation {
			share = 0
		}
		return cmp.Or(share, a.LastAssigned.Compare(b.LastAssigned), cmp.Compare(a.ID, b.ID))
	})
}

func reasonFor(m Member, method Method, lastAgent string) Reason {
	switch {
	case method == LastAgent && m.ID == lastAgent:
		return TalkedBefore
	case method == Rotation:
		return WaitedLongest
	default:
		return ByLeastLoad
	}
}

func (a Assignment) words() string {
	load := fmt.Sprintf("online, %d/%d", a.LoadAfter, a.Capacity)
	switch a.Reason {
	case TalkedBefore:
		return "last agent, " + load
	case WaitedLongest:
		return fmt.Sprintf("waited longest of %d, %s", a.Choices, load)
	default:
		return fmt.Sprintf("least load of %d, %s", a.Choices, load)
	}
}

// ByHand explains a decision that a person made; their remark, when there is one, says why in the place of the reason.
func ByHand(r Reason, remark string, m Member, now time.Time) *Assignment {
	words := byHand[r]
	a := &Assignment{Method: words.method, Winner: m.ID, Why: words.why, Reason: r, Remark: remark, LoadAfter: m.Load + 1, Capacity: m.Places, At: now}
	if remark != "" {
		a.Why = remark
	}
	return a
}

var byHand = map[Reason]struct{ method, why string }{
	Picked:       {"manual", "picked by hand"},
	GivenByAgent: {"transfer", "given by another agent"},
	TookOver:     {"take_over", "taken over"},
	CloseUndone:  {"reopen", "close was undone"},
}

// bound keeps the winner and the others in their order.
func (a *Assignment) bound() {
	if len(a.Candidates) <= maxCandidates {
		return
	}
	slices.SortStableFunc(a.Candidates, func(x, y Candidate) int {
		return cmp.Compare(rankOrLast(x), rankOrLast(y))
	})
	a.Candidates = a.Candidates[:maxCandidates]
}

func rankOrLast(c Candidate) int {
	if c.Rank == 0 {
		return 1 << 30
	}
	return c.Rank
}
