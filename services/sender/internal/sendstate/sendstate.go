// Package sendstate is the table of what may happen to one message (reliability 2.3). It is pure;
// every change is applied to the bucket sends by compare-and-set, so two workers cannot both win.
//
//	from \ change   Call      Hold    Park    Accept  Reject  Lose       Refuse
//	QUEUED          CALLING   ·       PARKED  ·       FAILED  ·          REFUSED
//	PARKED          CALLING   ·       PARKED  ·       FAILED  ·          REFUSED
//	CALLING         (resend)  QUEUED  PARKED  SENT    FAILED  AMBIGUOUS  ·
//
// SENT, FAILED, AMBIGUOUS and REFUSED are final. A message in CALLING may have reached WeChat; when
// the worker that made the call is gone, nobody can know (Lose), unless the account prefers two
// copies to none: then it is called again (Call with Resend).
package sendstate

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"
)

// States by their short names, for readers of the table.
const (
	Queued    = senderv1.SendState_SEND_STATE_QUEUED
	Calling   = senderv1.SendState_SEND_STATE_CALLING
	Sent      = senderv1.SendState_SEND_STATE_SENT
	Failed    = senderv1.SendState_SEND_STATE_FAILED
	Ambiguous = senderv1.SendState_SEND_STATE_AMBIGUOUS
	Refused   = senderv1.SendState_SEND_STATE_REFUSED
	Parked    = senderv1.SendState_SEND_STATE_PARKED
)

// ErrNotAllowed is returned for a change that the table forbids: somebody else was first.
var ErrNotAllowed = fault.New(fault.Conflict, "the state of the send has changed")

// Change is one column of the table.
type Change interface {
	apply(rec *senderv1.SendRecord) []senderv1.SendState // changes the copy; returns the allowed from-states
}

// Call begins an attempt. Resend allows it although an earlier attempt may have reached WeChat.
type Call struct {
	Worker string
	Resend bool
}

// Hold ends an attempt that certainly did not send; the message waits for the next one.
type Hold struct {
	Errcode int32
	Reason  string
}

// Park lets the message wait for a quota to reset.
type Park struct {
	Errcode int32
	Reason  string
	Until   time.Time
}

// Accept is the end: WeChat took the message.
type Accept struct{}

// Reject is the end: WeChat refused the message, or we gave up before it could be sent.
type Reject struct {
	Errcode int32
	Reason  string
}

// Lose is the end: a request left and nobody knows what came of it.
type Lose struct{ Reason string }

// Refuse is the end: we refused the message before WeChat was asked.
type Refuse struct{ Reason string }

func (c Call) apply(rec *senderv1.SendRecord) []senderv1.SendState {
	from := []senderv1.SendState{Queued, Parked}
	if c.Resend {
		from = append(from, Calling)
	}
	set(rec, Calling, rec.GetErrcode(), "")
	rec.Attempts++
	rec.Worker = c.Worker
	return from
}

func (c Hold) apply(rec *senderv1.SendRecord) []senderv1.SendState {
	set(rec, Queued, c.Errcode, c.Reason)
	return []senderv1.SendState{Calling}
}

func (c Park) apply(rec *senderv1.SendRecord) []senderv1.SendState {
	set(rec, Parked, c.Errcode, c.Reason)
	rec.NotBeforeUnixMs = c.Until.UnixMilli()
	return []senderv1.SendState{Queued, Calling, Parked}
}

func (Accept) apply(rec *senderv1.SendRecord) []senderv1.SendState {
	set(rec, Sent, 0, "")
	return []senderv1.SendState{Calling}
}

func (c Reject) apply(rec *senderv1.SendRecord) []senderv1.SendState {
	set(rec, Failed, c.Errcode, c.Reason)
	return []senderv1.SendState{Queued, Calling, Parked}
}

func (c Lose) apply(rec *senderv1.SendRecord) []senderv1.SendState {
	set(rec, Ambiguous, 0, c.Reason)
	return []senderv1.SendState{Calling}
}

func (c Refuse) apply(rec *senderv1.SendRecord) []senderv1.SendState {
	set(rec, Refused, 0, c.Reason)
	return []senderv1.SendState{Queued, Parked}
}

func set(rec *senderv1.SendRecord, to senderv1.SendState, errcode int32, reason string) {
	rec.State = to
	rec.Errcode = errcode
	rec.Reason = reason
	rec.NotBeforeUnixMs = 0
}

// Apply returns the record after the change and leaves rec alone. It fails with ErrNotAllowed when
// the table forbids the change.
func Apply(rec *senderv1.SendRecord, c Change, now time.Time) (*senderv1.SendRecord, error) {
	next := proto.CloneOf(rec)
	if !slices.Contains(c.apply(next), rec.GetState()) {
		return nil, ErrNotAllowed
	}
	next.UpdatedUnixMs = now.UnixMilli()
	return next, nil
}

// Final tells whether nothing can happen to a message in this state any more.
func Final(s senderv1.SendState) bool {
	switch s {
	case Sent, Failed, Ambiguous, Refused:
		return true
	default:
		return false
	}
}

// Counted tells whether WeChat counted a message in this final state against the fan's window, or may have.
func Counted(s senderv1.SendState) bool { return s == Sent || s == Ambiguous }
