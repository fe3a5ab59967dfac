// Package judge decides whether wxbus kept its promises while something was broken. It knows only what the
// simulator saw as WeChat and as the fans, and what was read from the streams, to their ends, afterwards.
package judge

import (
	"time"

	"github.com/wxbus/wxbus/tests/readback"
)

// Facts are everything that is known about one trial.
type Facts struct {
	Load     Load
	Report   Report
	Pushes   []Push
	Readings []readback.Reading
	Books    Books
}

// Load is how much of the plan the generator made.
type Load struct {
	Due      int    `json:"due"` // pushes whose time came
	Expected int    `json:"expected"`
	Shed     int    `json:"shed"`
	Failed   int    `json:"failed"`
	Error    string `json:"error,omitempty"`
}

// Report is the simulator's own verdict.
type Report struct {
	Pushes         int                       `json:"pushes"`
	Open           int                       `json:"open"`
	Acked          int                       `json:"acked"`
	NotAcked       int                       `json:"not_acked"`
	Passive        int                       `json:"replies_passive"`
	Kf             int                       `json:"replies_kf"`
	Numbered       int                       `json:"numbered"`
	Answered       int                       `json:"answered"`
	Attempts       map[string]int            `json:"attempts"`
	Outcomes       map[string]int            `json:"outcomes"`
	Replicas       map[string]int            `json:"replicas"`
	Calls          map[string]map[string]int `json:"calls"` // by path and errcode
	Violations     map[string]Incidents      `json:"violations"`
	OrderUnclear   Incidents                 `json:"order_unclear"`
	Ambiguous      []Ambiguous               `json:"ambiguous,omitempty"` // the first thousand
	AmbiguousCount int                       `json:"ambiguous_count"`
	Checker        Checker                   `json:"checker"`
}

// Ambiguous is a call of WeChat's API whose caller cannot know what happened, with what really happened.
type Ambiguous struct {
	Account  string `json:"account"`
	Path     string `json:"path"`
	OpenID   string `json:"openid"`
	Text     string `json:"text"`
	Fault    string `json:"fault"`
	Accepted bool   `json:"accepted"`
}

// Incidents are a class of violations: the exact count and the first ones.
type Incidents struct {
	Count     int        `json:"count"`
	Incidents []Incident `json:"incidents,omitempty"`
}

// Incident is one of them.
type Incident struct {
	ID     string `json:"id"`
	Detail string `json:"detail"`
}

// Checker tells whether the simulator could compare what was acknowledged with what is stored.
type Checker struct {
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	Stored int    `json:"stored"`
}

// Push is one push with everything that WeChat and the fan saw of it.
type Push struct {
	ID         uint64    `json:"id"`
	Account    string    `json:"account"`
	OpenID     string    `json:"openid"`
	MsgID      string    `json:"msg_id"`
	CreateTime int64     `json:"create_time"`
	Number     int       `json:"number"`
	Scheduled  time.Time `json:"scheduled"`
	Acked      time.Time `json:"acked"`
	Attempts   []Attempt `json:"attempts"`
	Finished   bool      `json:"finished"`
	ReplySeen  int       `json:"reply_seen"`
	ReplyAt    time.Time `json:"reply_at"`
	ReplyWay   string    `json:"reply_way"`
}

// Attempt is one try of WeChat at a push.
type Attempt struct {
	Number  int       `json:"number"`
	Replica string    `json:"replica"`
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
	Status  int       `json:"status"`
	Outcome string    `json:"outcome"`
}

// Key is the identity of a push from its body.
type Key struct{ Account, OpenID, MsgID string }

// Books are what wxbus itself has on its streams.
type Books struct {
	Events    map[Key][]string    // ids of the stored events
	Decisions map[string]Decision // by id of the event
	Sends     map[string]Send     // what was settled, by id of the event that it answers
	Dead      map[string]string   // reason of the dead letter, by id of the event
	Spilled   map[Key]bool        // pushes that took the spill stream
}

// Routes of a decision.
const (
	RoutePassive   = "passive"
	RouteNative    = "native"
	RouteAsync     = "async"
	RouteQueue     = "queue"
	RouteNone      = "none"
	RouteAmbiguous = "ambiguous"
	RouteRefused   = "refused"
)

// Decision is the record of a decision as it is at the end.
type Decision struct {
	Route     string
	Delivered bool // a gateway says that it wrote the reply
	Reason    string
}

// States in which a send ends.
const (
	SendSent      = "sent"
	SendFailed    = "failed"
	SendAmbiguous = "ambiguous"
	SendRefused   = "refused"
)

// Send is how a send ended.
type Send struct {
	ID       string
	State    string
	ErrCode  int
	Reason   string
	Attempts int
	// Unknown are the attempts whose outcome nobody can know, NotSent those that certainly did not reach WeChat.
	Unknown, NotSent int
}
