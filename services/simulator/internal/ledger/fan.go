package ledger

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/codec"
)

// Ways by which a fan comes to see something.
const (
	WayPush      = "push"    // the fan's own message or action
	WayPassive   = "passive" // in the answer to a push
	WayKf        = "kf"      // by message/custom/send
	WayNative    = "native"  // WeChat's own customer service
	WayTemplate  = "template"
	WaySubscribe = "subscribe"
	WayMass      = "mass"
	WayNotice    = "notice" // by WeChat itself: fault prompt, transfer, follow
)

// Entry is one line of a fan's screen, the fan's own messages included.
type Entry struct {
	Seq     uint64        `json:"seq"`
	At      time.Time     `json:"at"`
	Way     string        `json:"way"`
	Push    uint64        `json:"push,omitempty"`
	Attempt int           `json:"attempt,omitempty"`
	Latency time.Duration `json:"latency_ns,omitempty"` // from the scheduled time of the push
	Content codec.Content `json:"content"`
}

// Reply is one reply of the correlation pattern that a fan saw.
type Reply struct {
	Number int       `json:"number"`
	Way    string    `json:"way"`
	At     time.Time `json:"at"`
}

type fan struct {
	book         *book
	openID       string
	hidden       bool // only named by events of WeChat itself so far, so nobody's phone
	following    bool
	subscribedAt time.Time
	remark       string
	tags         map[int]bool
	consents     map[string]int
	grant        Grant
	session      Session
	lastEvent    int64 // CreateTime of the last event, so that two events never look the same
	timeline     []Entry
	asks         map[int]*ask
	replies      []Reply
}

// FanView is a copy of what is known about a fan.
type FanView struct {
	Account      string         `json:"account"`
	OpenID       string         `json:"openid"`
	Following    bool           `json:"following"`
	SubscribedAt time.Time      `json:"subscribed_at,omitzero"`
	Remark       string         `json:"remark,omitempty"`
	Tags         []int          `json:"tags,omitempty"`
	Consents     map[string]int `json:"consents,omitempty"`
	Grant        Grant          `json:"grant"`
	Session      Session        `json:"session"`
	Timeline     []Entry        `json:"timeline,omitempty"`
	Replies      []Reply        `json:"replies,omitempty"`
}

// ErrUnknownFan says that the account has no fan with this openid.
var ErrUnknownFan = errors.New("no such fan")

// ErrNotFollowing says that the fan does not follow the account, so there is no chat to write in.
var ErrNotFollowing = errors.New("the fan does not follow the account")

// fan returns a fan and adds it when it is new. hidden is for openids that only an event of WeChat itself names.
func (b *book) fan(openID string, following, hidden bool) (*fan, error) {
	if f := b.fans[openID]; f != nil {
		if f.hidden && !hidden {
			f.hidden, f.following = false, following
		}
		return f, nil
	}
	if len(b.order) >= b.ledger.cfg.MaxFans {
		return nil, fmt.Errorf("account %s has %d fans already, the most that simulator.max_fans allows", b.account.Name, len(b.order))
	}
	f := &fan{book: b, openID: openID, hidden: hidden, following: following && !hidden, tags: map[int]bool{}, consents: map[string]int{}, asks: map[int]*ask{}}
	if f.following {
		f.subscribedAt = b.ledger.clock.Now()
	}
	b.fans[openID] = f
	b.order = append(b.order, openID)
	return f, nil
}

// AddFan adds a fan. A fan that exists already stays as it is.
func (l *Ledger) AddFan(account, openID string, following bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, err := l.book(account)
	if err != nil {
		return err
	}
	_, err = b.fan(openID, following, false)
	return err
}

// Fan returns a copy of a fan with timeline and replies.
func (l *Ledger) Fan(account, openID string) (FanView, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.find(account, openID)
	if f == nil {
		return FanView{}, false
	}
	v := f.view()
	v.Timeline, v.Replies = slices.Clone(f.timeline), slices.Clone(f.replies)
	return v, true
}

// Fans returns every fan of an account in the order of arrival, without timelines and replies.
func (l *Ledger) Fans(account string) []FanView {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.books[account]
	if b == nil {
		return nil
	}
	out := make([]FanView, 0, len(b.order))
	for _, id := range b.order {
		if f := b.fans[id]; !f.hidden {
			out = append(out, f.view())
		}
	}
	return out
}

// Entries returns the entries of a fan's timeline after a sequence number.
func (l *Ledger) Entries(account, openID string, after uint64) []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.find(account, openID)
	if f == nil {
		return nil
	}
	at, _ := slices.BinarySearchFunc(f.timeline, after+1, func(e Entry, seq uint64) int { return cmp.Compare(e.Seq, seq) })
	return slices.Clone(f.timeline[at:])
}

// EditFan changes remark, tags or consents of a fan under the ledger's lock.
func (l *Ledger) EditFan(account, openID string, edit func(*FanEdit)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.find(account, openID)
	if f == nil {
		return ErrUnknownFan
	}
	edit(&FanEdit{Remark: &f.remark, Tags: f.tags, Consents: f.consents})
	return nil
}

// FanEdit is the part of a fan that the API changes. It is valid only inside EditFan.
type FanEdit struct {
	Remark   *string
	Tags     map[int]bool
	Consents map[string]int // how often each template may still be sent
}

func (l *Ledger) find(account, openID string) *fan {
	b := l.books[account]
	if b == nil {
		return nil
	}
	return b.fans[openID]
}

func (f *fan) view() FanView {
	v := FanView{Account: f.book.account.Name, OpenID: f.openID, Following: f.following, SubscribedAt: f.subscribedAt,
		Remark: f.remark, Grant: f.grant, Session: f.session, Consents: map[string]int{}}
	for t := range f.tags {
		v.Tags = append(v.Tags, t)
	}
	slices.Sort(v.Tags)
	for k, n := range f.consents {
		v.Consents[k] = n
	}
	return v
}

// add appends to the fan's screen, bounded, and wakes who watches.
func (f *fan) add(e Entry) {
	l := f.book.ledger
	l.seq++
	e.Seq = l.seq
	if len(f.timeline) >= l.cfg.KeepPerFan {
		f.timeline = slices.Delete(f.timeline, 0, max(1, l.cfg.KeepPerFan/4))
	}
	f.timeline = append(f.timeline, e)
	l.touch()
}

// reachable tells whether the account can send to the fan at all.
func (f *fan) reachable() bool { return f.following || f.book.account.IsMiniProgram() }
