package ledger

import "time"

// Classes of violations besides those of package codec.
const (
	ClassDuplicate     = "reply_seen_twice"
	ClassOrder         = "out_of_order"
	ClassAnswersDiffer = "answers_differ"      // two attempts of one push were answered with different replies
	ClassWindow        = "kf_outside_window"   // refused with 45015
	ClassCount         = "kf_over_count"       // refused with 45047
	ClassUnfollowed    = "send_after_unfollow" // refused with 43004
)

const keepIncidents = 1000 // per class; the count goes on

// Incident is one violation.
type Incident struct {
	ID     string    `json:"id"`
	Detail string    `json:"detail"`
	At     time.Time `json:"at"`
}

// Violation is a class of violations: the exact count and the first incidents.
type Violation struct {
	Count     uint64     `json:"count"`
	Incidents []Incident `json:"incidents,omitempty"`
}

func (v *Violation) add(i Incident) {
	v.Count++
	if len(v.Incidents) < keepIncidents {
		v.Incidents = append(v.Incidents, i)
	}
}

func (l *Ledger) violate(class, id, detail string, at time.Time) {
	v := l.totals.violations[class]
	if v == nil {
		v = &Violation{}
		l.totals.violations[class] = v
	}
	v.add(Incident{ID: id, Detail: detail, At: at})
}

// Ambiguous is an API call whose caller cannot know what happened, with what really happened.
type Ambiguous struct {
	At       time.Time `json:"at"`
	Account  string    `json:"account,omitempty"`
	Path     string    `json:"path"`
	OpenID   string    `json:"openid,omitempty"`
	Fault    string    `json:"fault"`
	Accepted bool      `json:"accepted"` // the call was carried out
	ErrCode  int       `json:"errcode,omitempty"`
	Text     string    `json:"text,omitempty"` // of a kf text, for correlation
}

// Ambiguous records such a call.
func (l *Ledger) Ambiguous(a Ambiguous) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.At = l.clock.Now()
	l.totals.ambiguousCount++
	if len(l.totals.ambiguous) < keepIncidents {
		l.totals.ambiguous = append(l.totals.ambiguous, a)
	}
}
