package ledger

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/codec"
)

// Outcomes of an attempt.
const (
	OutcomeSuccess   = "success"   // "success" or an empty body
	OutcomeReply     = "reply"     // a valid passive reply
	OutcomeTransfer  = "transfer"  // a valid transfer to the native customer service
	OutcomeMalformed = "malformed" // a 2xx answer that WeChat does not understand
	OutcomeStatus    = "status"    // an answer that is not 2xx
	OutcomeTimeout   = "timeout"   // no answer in time; the connection was closed
	OutcomeFailed    = "failed"    // no connection, or it broke
	OutcomeDropped   = "dropped"   // the fault script cut the connection: WeChat saw no answer
	OutcomeStopped   = "stopped"   // the simulator was stopped in between
)

// Attempt is one try of a push. Its answer counts only when it came before the time-out.
type Attempt struct {
	Number  int       `json:"number"`
	Replica string    `json:"replica"`
	Start   time.Time `json:"start"`
	End     time.Time `json:"end,omitzero"`
	Status  int       `json:"status,omitempty"` // HTTP status, also of a dropped answer
	Outcome string    `json:"outcome,omitempty"`
	Detail  string    `json:"detail,omitempty"`
}

func (a Attempt) acked() bool {
	return a.Status/100 == 2 && a.Outcome != OutcomeDropped && a.Outcome != OutcomeTimeout && a.Outcome != OutcomeFailed
}

// Push is one push of WeChat with everything that became of it.
// A *Push is a handle: only the Ledger reads and writes what is behind it. Copies come from the snapshot.
type Push struct {
	ID         uint64    `json:"id"`
	Account    string    `json:"account"`
	OpenID     string    `json:"openid"`
	Kind       Kind      `json:"kind"`
	EventKey   string    `json:"event_key,omitempty"`
	MsgID      string    `json:"msg_id,omitempty"` // empty for events
	CreateTime int64     `json:"create_time"`
	Number     int       `json:"number,omitempty"` // of the correlation pattern
	Scheduled  time.Time `json:"scheduled"`
	Attempts   []Attempt `json:"attempts"`
	Acked      time.Time `json:"acked,omitzero"`
	Shown      string    `json:"shown,omitempty"` // way by which the fan saw an answer to this very push: passive, notice
	Finished   bool      `json:"finished"`
	// Of a numbered push: how and when its reply came to the fan's screen, and how often.
	ReplyWay  string    `json:"reply_way,omitempty"`
	ReplyAt   time.Time `json:"reply_at,omitzero"`
	ReplySeen int       `json:"reply_seen,omitempty"`

	run    uint64 // of the ledger when the push was opened
	fan    *fan
	ask    *ask
	answer *codec.Content // first valid reply
}

// NewPush describes a push to be opened.
type NewPush struct {
	Account, OpenID string
	Kind            Kind
	EventKey        string
	Text            string        // content of a text message
	JobID           string        // MsgID of a job result: identifies the event instead of its time
	MsgID           string        // of a message; empty: the next free one. Two fans may share one.
	Scheduled       time.Time     // zero: now
	Shown           codec.Content // how the fan's own screen shows the action; zero for pushes the fan does not make
}

// Opened is the answer to Open.
type Opened struct {
	Push   *Push
	Native bool // the message went to the native customer service and is not pushed
	// Identity of the push for its body:
	ID         uint64
	MsgID      string
	CreateTime int64
}

// Open records what a fan did, changes window and follow state, and gives the push its identity.
// It fails with ErrNotFollowing for a message of somebody who does not follow.
func (l *Ledger) Open(n NewPush) (Opened, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, err := l.book(n.Account)
	if err != nil {
		return Opened{}, err
	}
	subscribe := strings.EqualFold(n.Kind.Event, "subscribe")
	f, err := b.fan(n.OpenID, !subscribe, n.Shown.Type == "")
	if err != nil {
		return Opened{}, err
	}
	if !f.reachable() && !subscribe && n.Shown.Type != "" {
		return Opened{}, ErrNotFollowing
	}
	now := l.clock.Now()
	f.act(n.Kind, now)
	out := Opened{Native: f.session.State == SessionActive && !n.Kind.IsEvent()}
	if out.Native {
		f.session.Last = now
		l.totals.native++
	} else {
		p := l.open(f, n, now)
		out = Opened{Push: p, ID: p.ID, MsgID: p.MsgID, CreateTime: p.CreateTime}
	}
	if n.Shown.Type != "" {
		f.add(Entry{At: now, Way: WayPush, Push: out.ID, Content: n.Shown})
	}
	return out, nil
}

func (l *Ledger) open(f *fan, n NewPush, now time.Time) *Push {
	l.nextPush++
	l.totals.pushes++
	p := &Push{ID: l.nextPush, Account: n.Account, OpenID: n.OpenID, Kind: n.Kind, EventKey: n.EventKey,
		CreateTime: now.Unix(), Scheduled: n.Scheduled, run: l.run, fan: f}
	if p.Scheduled.IsZero() {
		p.Scheduled = now
	}
	switch {
	case n.JobID != "":
		p.MsgID = n.JobID
	case n.Kind.IsEvent():
		p.CreateTime = max(p.CreateTime, f.lastEvent+1)
		f.lastEvent = p.CreateTime
	case n.MsgID != "":
		p.MsgID = n.MsgID
	default:
		p.MsgID = strconv.FormatUint(l.firstID+p.ID, 10)
	}
	if number := l.cfg.Ask.Number(n.Text); number > 0 {
		p.Number = number
		f.asked(p)
	}
	l.pushes = append(l.pushes, p)
	l.fold()
	return p
}

// fold keeps the list of pushes within its bound: the oldest finished ones leave.
func (l *Ledger) fold() {
	if len(l.pushes) <= l.cfg.KeepPushes {
		return
	}
	drop := max(1, l.cfg.KeepPushes/8)
	kept := l.pushes[:0]
	for _, p := range l.pushes {
		if drop > 0 && p.Finished {
			drop--
			l.totals.folded++
			if !p.Acked.IsZero() {
				l.totals.foldedAck++
			}
			continue
		}
		kept = append(kept, p)
	}
	clear(l.pushes[len(kept):])
	l.pushes = kept
}

// act changes what the action means for window and following.
func (f *fan) act(k Kind, now time.Time) {
	mini := f.book.account.IsMiniProgram()
	switch strings.ToLower(k.Event) {
	case "subscribe":
		f.following, f.subscribedAt = true, now
	case "unsubscribe":
		f.following, f.grant = false, Grant{}
		f.session = Session{}
	}
	f.grant = f.grant.after(f.book.ledger.cfg.Windows.of(mini, k), now)
}

// StartAttempt records that an attempt begins and returns its number, from 1.
func (l *Ledger) StartAttempt(p *Push, replica string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.Now()
	n := len(p.Attempts) + 1
	p.Attempts = append(p.Attempts, Attempt{Number: n, Replica: replica, Start: now})
	if n == 1 && p.ask != nil {
		p.ask.started = now
	}
	return n
}

// EndAttempt records how an attempt ended. answer is the valid answer of a live attempt, or nil.
// The first valid reply of a push is shown to the fan, every later one is only compared with it.
func (l *Ledger) EndAttempt(p *Push, end Attempt, answer *codec.Answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.Now()
	a := &p.Attempts[end.Number-1]
	a.End, a.Status, a.Outcome, a.Detail = now, end.Status, end.Outcome, end.Detail
	if p.run != l.run {
		return
	}
	l.totals.outcomes[a.Outcome]++
	l.totals.replicas[a.Replica]++
	l.logAttempt(p, *a)
	if a.acked() && p.Acked.IsZero() {
		p.Acked = now
		l.totals.acked++
		l.totals.ack.Record(now.Sub(p.Scheduled))
		if p.ask != nil {
			p.ask.acked = now
			if p.ask.seen == 0 {
				l.totals.unanswered++
			}
		}
	}
	if answer != nil && answer.Kind != codec.AnswerAck {
		l.answered(p, *a, *answer, now)
	}
}

// answered shows the first valid reply of a push.
func (l *Ledger) answered(p *Push, a Attempt, answer codec.Answer, now time.Time) {
	c := answer.Content
	if p.answer != nil {
		if !sameContent(*p.answer, c) {
			l.violate(ClassAnswersDiffer, p.label(), "attempt "+strconv.Itoa(a.Number)+" was answered with another reply", now)
		}
		return
	}
	p.answer = &c
	e := Entry{At: now, Way: WayPassive, Push: p.ID, Attempt: a.Number, Latency: now.Sub(p.Scheduled), Content: c}
	p.Shown = WayPassive
	if answer.Kind == codec.AnswerTransfer {
		e.Way, p.Shown = WayNotice, WayNotice
		p.fan.transfer(c.KfAccount, now)
	} else {
		l.totals.passive++
	}
	p.fan.add(e)
	if answer.Kind == codec.AnswerReply {
		p.fan.saw(c, WayPassive, now)
	}
}

func sameContent(a, b codec.Content) bool {
	return a.Type == b.Type && a.Text == b.Text && a.MediaID == b.MediaID && a.Title == b.Title && a.URL == b.URL &&
		a.KfAccount == b.KfAccount && slices.Equal(a.Articles, b.Articles)
}

// Malformed records an answer that breaks the protocol.
func (l *Ledger) Malformed(p *Push, attempt int, problem *codec.AnswerError) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.run != l.run {
		return
	}
	l.violate(problem.Class, p.label(), "attempt "+strconv.Itoa(attempt)+": "+problem.Detail, l.clock.Now())
}

// Finish closes a push. prompt tells that no attempt brought an answer WeChat could use;
// the fan of a message or a menu click then sees the fault prompt.
func (l *Ledger) Finish(p *Push, prompt bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.Finished = true
	if p.run != l.run {
		return
	}
	l.totals.finished++
	l.totals.attempts[len(p.Attempts)]++
	if !prompt || p.answer != nil || !p.Kind.ShowsFault() {
		return
	}
	now := l.clock.Now()
	p.Shown = WayNotice
	l.totals.prompts++
	p.fan.add(Entry{At: now, Way: WayNotice, Push: p.ID, Latency: now.Sub(p.Scheduled), Content: codec.Content{Type: codec.TypePrompt}})
}

func (p *Push) label() string {
	s := p.Account + "/" + p.OpenID + " push " + strconv.FormatUint(p.ID, 10) + " " + p.Kind.Name()
	if p.Number > 0 {
		s += " number " + strconv.Itoa(p.Number)
	}
	return s
}
