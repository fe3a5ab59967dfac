package ledger

import (
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/codec"
)

// Error codes of sends that the ledger decides (i).
const (
	codeUnknownFan   = 40003
	codeNotFollowing = 43004
	codeRefused      = 43101
	codeWindow       = 45015
	codeCount        = 45047
)

// SendKf delivers a kf message, or returns the errcode of the refusal (e.2). A refusal for the window,
// the count or a lost follower is also a violation: the sender could have known.
func (l *Ledger) SendKf(account, openID string, c codec.Content) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.find(account, openID)
	if f == nil {
		return codeUnknownFan
	}
	now := l.clock.Now()
	label := account + "/" + openID + " kf " + c.Type
	switch {
	case !f.reachable():
		l.violate(ClassUnfollowed, label, "message/custom/send", now)
		return codeNotFollowing
	case now.After(f.grant.Deadline):
		l.violate(ClassWindow, label, "no window is open", now)
		return codeWindow
	case f.grant.Remaining == 0:
		l.violate(ClassCount, label, "every message of the window is used", now)
		return codeCount
	}
	f.grant.Remaining--
	l.totals.kf++
	f.add(Entry{At: now, Way: WayKf, Content: c, Latency: l.latency(f, c, now)})
	f.saw(c, WayKf, now)
	return 0
}

// latency is the time since the push that a kf text answers, where the correlation pattern tells which.
func (l *Ledger) latency(f *fan, c codec.Content, now time.Time) time.Duration {
	if a := f.asks[l.cfg.Reply.Number(c.Text)]; a != nil {
		return now.Sub(a.scheduled)
	}
	return 0
}

// CanReceive returns the errcode of a template or mass message to a fan, 0 when it would arrive.
func (l *Ledger) CanReceive(account, openID, endpoint string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.find(account, openID)
	switch {
	case f == nil:
		return codeUnknownFan
	case !f.reachable():
		l.violate(ClassUnfollowed, account+"/"+openID, endpoint, l.clock.Now())
		return codeNotFollowing
	}
	return 0
}

// UseConsent takes one permission to send a subscribe message, or returns 43101 (g.2).
func (l *Ledger) UseConsent(account, openID, template string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.find(account, openID)
	switch {
	case f == nil:
		return codeUnknownFan
	case f.consents[template] == 0:
		return codeRefused
	}
	f.consents[template]--
	return 0
}

// Show puts a template, subscribe or mass message on a fan's screen. It reports whether the fan was reachable.
func (l *Ledger) Show(account, openID, way string, c codec.Content) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.find(account, openID)
	if f == nil || !f.reachable() {
		return false
	}
	f.add(Entry{At: l.clock.Now(), Way: way, Content: c})
	return true
}

// CanType returns the errcode of message/custom/typing: 45080 without a contact in the last 30 s.
func (l *Ledger) CanType(account, openID string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.find(account, openID)
	if f == nil {
		return codeUnknownFan
	}
	now := l.clock.Now()
	for i := len(f.timeline) - 1; i >= 0; i-- {
		if now.Sub(f.timeline[i].At) > 30*time.Second {
			break
		}
		if f.timeline[i].Way == WayPush || f.timeline[i].Way == WayKf {
			return 0
		}
	}
	return 45080
}
