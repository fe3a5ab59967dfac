package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/codec"
)

// States of a fan in WeChat's own customer service (d.1).
const (
	SessionNone    = ""
	SessionWaiting = "waiting" // messages are still pushed
	SessionActive  = "active"  // messages go to the agent and are not pushed
)

// Session is a fan's place in WeChat's own customer service.
type Session struct {
	State     string    `json:"state,omitempty"`
	KfAccount string    `json:"kf_account,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	Last      time.Time `json:"last,omitzero"` // last message
}

// transfer puts the fan into the native queue; a fan who is in a session stays there.
func (f *fan) transfer(kfAccount string, now time.Time) {
	if f.session.State == SessionNone {
		f.session = Session{State: SessionWaiting, KfAccount: kfAccount, Since: now, Last: now}
	}
}

// OpenSession connects a fan with an agent. It returns 65414 when another agent serves the fan.
func (l *Ledger) OpenSession(account, openID, kfAccount string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.find(account, openID)
	if f == nil {
		return codeUnknownFan
	}
	s := f.session
	if s.State == SessionActive && s.KfAccount != kfAccount {
		return 65414
	}
	now := l.clock.Now()
	f.session = Session{State: SessionActive, KfAccount: kfAccount, Since: now, Last: now}
	return 0
}

// CloseSession ends a session of an agent, of any agent for an empty name. It returns 65413 when there is none.
func (l *Ledger) CloseSession(account, openID, kfAccount string) (closed Session, code int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.find(account, openID)
	if f == nil {
		return Session{}, codeUnknownFan
	}
	s := f.session
	if s.State != SessionActive || (kfAccount != "" && s.KfAccount != kfAccount) {
		return Session{}, 65413
	}
	f.session = Session{}
	return s, 0
}

// SayNative shows a message of a native agent. It reports whether the fan is in a session.
func (l *Ledger) SayNative(account, openID string, c codec.Content) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.find(account, openID)
	if f == nil || f.session.State != SessionActive {
		return false
	}
	now := l.clock.Now()
	f.session.Last = now
	c.KfAccount = f.session.KfAccount
	f.add(Entry{At: now, Way: WayNative, Content: c})
	return true
}

// InSession is a fan in WeChat's own customer service.
type InSession struct {
	Account, OpenID string
	Session         Session
}

// Sessions returns the fans of an account in a state, longest first.
func (l *Ledger) Sessions(account, state string) []InSession {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.books[account]
	if b == nil {
		return nil
	}
	var out []InSession
	for _, id := range b.order {
		if s := b.fans[id].session; s.State == state {
			out = append(out, InSession{Account: account, OpenID: id, Session: s})
		}
	}
	slices.SortStableFunc(out, func(a, b InSession) int { return a.Session.Since.Compare(b.Session.Since) })
	return out
}

// ExpireSessions ends the sessions without a message for longer than idle and returns them.
func (l *Ledger) ExpireSessions(idle time.Duration) []InSession {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []InSession
	now := l.clock.Now()
	for name, b := range l.books {
		for id, f := range b.fans {
			if f.session.State == SessionActive && now.Sub(f.session.Last) > idle {
				out = append(out, InSession{Account: name, OpenID: id, Session: f.session})
				f.session = Session{}
			}
		}
	}
	slices.SortFunc(out, func(a, b InSession) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.OpenID, b.OpenID))
	})
	return out
}
