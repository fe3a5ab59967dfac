// Package grants is the arithmetic of the message window of a fan: what the fan's last actions
// allow to be sent, how many and until when (protocol e.2). It is pure: no clock, no storage.
//
// The model is WeChat's own. An action raises the remaining count and the deadline to the maximum of
// what they are and what the action grants; a message that WeChat accepted takes one. Messages on
// their way hold a reservation, so what may still be accepted is remaining minus reserved. WeChat is
// the truth: its refusals (45015, 45047, 43004 …) correct the record by Close.
//
// Time comes from two clocks: deadlines and the order of actions come from WeChat's CreateTime; which of an
// action and a message was first comes from ours, by the time at which the action reached us. So an action that
// is folded late, after messages that were sent since, grants only what they left of it. The clocks meet in one
// place, arrived: the attempt that reached us may have been WeChat's second or third.
//
// Every function leaves its argument alone and returns the record unchanged (the same pointer) when
// there is nothing to write, so that repeats cost nothing.
package grants

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

// memory is how many folded events and how many settled sends a record remembers by id.
const memory = 16

// unsubscribed is recorded as the errcode that WeChat answers for a fan who left.
const unsubscribed = 43004

// Verdict says whether one more message may be sent, and if not, why.
type Verdict uint8

// Verdicts.
const (
	Open           Verdict = iota // one more message may be sent
	NeverOpened                   // no action of the fan is known
	Expired                       // the window is over
	Exhausted                     // every message of the window is sent or on its way
	ClosedByWeChat                // WeChat refused a message although we thought the window open
	Unsubscribed                  // the fan does not follow the account any more
)

// String returns the reason in a few words; empty for Open.
func (v Verdict) String() string {
	switch v {
	case Open:
		return ""
	case NeverOpened:
		return "window closed: no action of the fan is known"
	case Expired:
		return "window closed: the last action of the fan is too old"
	case Exhausted:
		return "window exhausted: no message left until the fan's next action"
	case ClosedByWeChat:
		return "window closed: WeChat refused the last message"
	case Unsubscribed:
		return "unsubscribed: the fan does not follow the account"
	}
	return "window closed"
}

// Fold adds one action of the fan. Folding the same event again changes nothing, also when newer
// events have been folded in between. now is ours.
func Fold(rec *senderv1.GrantRecord, n Numbers, kind eventv1.AccountKind, ev *senderv1.GrantEvidence, now time.Time) *senderv1.GrantRecord {
	if ev.GetEventId() == "" || slices.Contains(rec.GetFolded(), ev.GetEventId()) {
		return rec
	}
	if ev.GetKind() == eventv1.EventKind_EVENT_KIND_UNSUBSCRIBE {
		return foldUnsubscribe(rec, ev, now)
	}
	rule := n.rule(kind, ev)
	if beforeClose(rec, ev) {
		return rec
	}
	if rule.Messages == 0 {
		return foldFollow(rec, ev, now)
	}
	opened := time.Unix(ev.GetCreateTime(), 0)
	deadline := opened.Add(rule.Window).UnixMilli()
	// An event that is older than everything the full memory holds was folded before, or something
	// that reaches as far was: else it would reach further than the deadline.
	if len(rec.GetFolded()) >= memory && ev.GetCreateTime() < rec.GetNewestCreateTime() && deadline <= rec.GetDeadlineUnixMs() {
		return rec
	}
	next := remember(rec, ev, now)
	granted := max(0, rule.Messages-countedSince(rec, ev))
	if rec.GetDeadlineUnixMs() <= opened.UnixMilli() {
		// What was left of a window that ended before this action is void.
		next.Remaining = granted
	} else {
		next.Remaining = max(next.Remaining, granted)
	}
	next.DeadlineUnixMs = max(next.DeadlineUnixMs, deadline)
	next.ClosedBy = 0
	return next
}

// beforeClose tells whether WeChat knew of the action when it closed the window early.
func beforeClose(rec *senderv1.GrantRecord, ev *senderv1.GrantEvidence) bool {
	return ev.GetCreateTime() < rec.GetClosedCreateTime() ||
		ev.GetReceivedUnixMs() != 0 && ev.GetReceivedUnixMs() < rec.GetClosedUnixMs()
}

const (
	// firstAttempt is how late an action that reached us with WeChat's first attempt may seem: CreateTime is in whole
	// seconds, and clocks differ.
	firstAttempt = 2500 * time.Millisecond
	// lastAttempt is how late it may be with the last one. It bounds what a clock that runs ahead can take away.
	lastAttempt = 15 * time.Second
)

// arrived returns when WeChat's first attempt to tell us of the action was made, by our clock. The window was
// opened then; messages that left between that attempt and the one that was stored count against it.
func arrived(ev *senderv1.GrantEvidence) int64 {
	late := ev.GetReceivedUnixMs() - 1000*ev.GetCreateTime()
	if late <= firstAttempt.Milliseconds() {
		return ev.GetReceivedUnixMs()
	}
	return ev.GetReceivedUnixMs() - min(late, lastAttempt.Milliseconds())
}

// countedSince returns how many messages WeChat counted since the action.
func countedSince(rec *senderv1.GrantRecord, ev *senderv1.GrantEvidence) int32 {
	if ev.GetReceivedUnixMs() == 0 {
		return 0
	}
	n, since := int32(0), arrived(ev)
	for _, at := range rec.GetCountedUnixMs() {
		if at > since {
			n++
		}
	}
	return n
}

// foldUnsubscribe closes the window, unless a newer action shows that the fan came back since.
func foldUnsubscribe(rec *senderv1.GrantRecord, ev *senderv1.GrantEvidence, now time.Time) *senderv1.GrantRecord {
	if ev.GetCreateTime() < rec.GetNewestCreateTime() {
		return rec
	}
	next := remember(rec, ev, now)
	next.Remaining = 0
	next.DeadlineUnixMs = 0
	next.CountedUnixMs = nil
	next.ClosedBy = unsubscribed
	next.ClosedCreateTime = ev.GetCreateTime()
	return next
}

// foldFollow takes back that the fan has left, when to follow opens no window.
func foldFollow(rec *senderv1.GrantRecord, ev *senderv1.GrantEvidence, now time.Time) *senderv1.GrantRecord {
	if ev.GetKind() != eventv1.EventKind_EVENT_KIND_SUBSCRIBE || !left(rec.GetClosedBy()) {
		return rec
	}
	next := remember(rec, ev, now)
	next.ClosedBy = 0
	return next
}

func remember(rec *senderv1.GrantRecord, ev *senderv1.GrantEvidence, now time.Time) *senderv1.GrantRecord {
	next := clone(rec)
	next.Folded = push(next.Folded, ev.GetEventId(), memory)
	next.NewestCreateTime = max(next.NewestCreateTime, ev.GetCreateTime())
	next.FoldedUnixMs = now.UnixMilli()
	return next
}

// push appends to a list that keeps the newest.
func push[T any](list []T, v T, keep int) []T {
	list = append(list, v)
	if extra := len(list) - keep; extra > 0 {
		list = slices.Delete(list, 0, extra)
	}
	return list
}

// Reserve holds one message of the window for each of the ids, or none at all. A second call with the same ids holds
// nothing more, also after they were settled. grace is how long after the deadline a message is still let through, so
// that a clock that runs ahead of WeChat's refuses nobody.
func Reserve(rec *senderv1.GrantRecord, ids []string, now time.Time, grace time.Duration) (*senderv1.GrantRecord, Verdict) {
	var fresh []string
	for _, id := range ids {
		if !slices.Contains(rec.GetReserved(), id) && !slices.Contains(rec.GetSettled(), id) {
			fresh = append(fresh, id)
		}
	}
	if len(fresh) == 0 {
		return rec, Open
	}
	if v := Judge(rec, now, grace); v != Open {
		return rec, v
	}
	if int(Available(rec)) < len(fresh) {
		return rec, Exhausted
	}
	next := clone(rec)
	next.Reserved = append(next.Reserved, fresh...)
	return next, Open
}

// Judge tells whether one more message may be sent now.
func Judge(rec *senderv1.GrantRecord, now time.Time, grace time.Duration) Verdict {
	switch {
	case rec.GetClosedBy() == 45047:
		return Exhausted
	case rec.GetClosedBy() != 0 && left(rec.GetClosedBy()):
		return Unsubscribed
	case rec.GetClosedBy() != 0:
		return ClosedByWeChat
	case rec.GetDeadlineUnixMs() == 0:
		return NeverOpened
	case now.UnixMilli() > rec.GetDeadlineUnixMs()+grace.Milliseconds():
		return Expired
	case Available(rec) == 0:
		return Exhausted
	}
	return Open
}

// Available returns how many messages may still be accepted while the window is open.
func Available(rec *senderv1.GrantRecord) int32 {
	return max(0, rec.GetRemaining()-int32(len(rec.GetReserved())))
}

// Release gives the message of the send id back: WeChat did not count it.
func Release(rec *senderv1.GrantRecord, id string) *senderv1.GrantRecord {
	i := slices.Index(rec.GetReserved(), id)
	if i < 0 {
		return rec
	}
	next := clone(rec)
	next.Reserved = slices.Delete(next.Reserved, i, i+1)
	next.Settled = push(next.Settled, id, memory)
	return next
}

// Consume takes the message of the send id: WeChat counted it, or may have. at is when its answer was stored, by our
// clock. A send without a reservation takes nothing, so that a repeat cannot take twice.
func Consume(rec *senderv1.GrantRecord, id string, at time.Time) *senderv1.GrantRecord {
	next := Release(rec, id)
	if next != rec {
		next.Remaining = max(0, next.Remaining-1)
		next.CountedUnixMs = push(next.CountedUnixMs, at.UnixMilli(), maxMessages)
	}
	return next
}

// Close corrects the record after WeChat refused a message with errcode: 45047 means that the count
// is used up, every other code that nothing may be sent at all. called is when the refused call
// began: an action that was folded since is newer than the refusal and stands.
func Close(rec *senderv1.GrantRecord, errcode int32, called time.Time) *senderv1.GrantRecord {
	if rec.GetFoldedUnixMs() > called.UnixMilli() || rec.GetClosedBy() == errcode {
		return rec
	}
	next := clone(rec)
	next.Remaining = 0
	next.ClosedBy = errcode
	next.ClosedCreateTime = max(next.ClosedCreateTime, next.NewestCreateTime)
	next.ClosedUnixMs = max(next.ClosedUnixMs, called.UnixMilli())
	if errcode != 45047 {
		next.DeadlineUnixMs = 0
	}
	return next
}

// left tells whether the errcode says that the fan does not follow the account.
func left(errcode int32) bool {
	switch errcode {
	case unsubscribed, 43005, 46004, 50005, 40003:
		return true
	}
	return false
}

func clone(rec *senderv1.GrantRecord) *senderv1.GrantRecord {
	if rec == nil {
		return &senderv1.GrantRecord{}
	}
	return proto.CloneOf(rec)
}
