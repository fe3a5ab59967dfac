// Package sendstate is the table of what may happen to one message (reliability 2.3). It is pure;
// every change is applied to the bucket sends by compare-and-set, so two workers cannot both win.
//
//	from \ change  Call      Hold    Park    Part    Accept         Finish       Reject  Fall    Lose       Refuse
//	QUEUED         CALLING   ·       PARKED  ·       ·              ·            FAILED  QUEUED  uncertain  REFUSED
//	PARKED         CALLING   ·       PARKED  ·       ·              ·            FAILED  QUEUED  uncertain  REFUSED
//	CALLING        resend    QUEUED  PARKED  QUEUED  SENT/ACCEPTED  ·            FAILED  QUEUED  AMBIGUOUS  ·
//	ACCEPTED       ·         ·       ·       ·       ·              SENT/FAILED  ·       ·       ·          ·
//
// SENT, FAILED, AMBIGUOUS and REFUSED are final. A message in CALLING may have reached WeChat; when
// the worker that made the call is gone, nobody can know (Lose), unless the account prefers two
// copies to none, or the message has an id by which WeChat knows a repetition: then it is called again
// (Call with Resend) and is uncertain from then on. ACCEPTED waits for WeChat's event with the result.
//
// A message is a chain of steps: Fall goes on with the next one and writes down how the last one ended.
// A long text has parts: Part counts one that WeChat took.
package sendstate

import (
	"fmt"
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
	Accepted  = senderv1.SendState_SEND_STATE_ACCEPTED
)

// ErrNotAllowed is returned for a change that the table forbids: somebody else was first.
var ErrNotAllowed = fault.New(fault.Conflict, "the state of the send has changed")

// Change is one column of the table.
type Change interface {
	apply(rec *senderv1.SendRecord, now time.Time) []senderv1.SendState // changes the copy; returns the allowed from-states
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

// Part ends an attempt: WeChat took one part of a text, and there are more.
type Part struct{}

// Accept ends an attempt: WeChat took the message. With Await the end comes by an event of WeChat.
type Accept struct {
	MsgID string
	Await bool
}

// Finish is the end of an accepted message.
type Finish struct {
	Delivered bool
	Reason    string
	Result    *senderv1.SendResult
}

// Reject is the end: WeChat refused the message, or we gave up before it could be sent.
type Reject struct {
	Errcode int32
	Reason  string
}

// Fall ends a step and goes on with the next one, whose endpoint is To. Refused tells that WeChat was
// not asked.
type Fall struct {
	Errcode int32
	Reason  string
	Refused bool
	To      senderv1.SendEndpoint
}

// Lose is the end: a request left and nobody knows what came of it.
type Lose struct{ Reason string }

// Refuse is the end: we refused the message before WeChat was asked.
type Refuse struct{ Reason string }

func (c Call) apply(rec *senderv1.SendRecord, now time.Time) []senderv1.SendState {
	from := []senderv1.SendState{Queued, Parked}
	if c.Resend {
		from = append(from, Calling)
		rec.Uncertain = true
	}
	set(rec, Calling, rec.GetErrcode(), "")
	rec.Attempts++
	rec.Worker = c.Worker
	if rec.GetFirstCallUnixMs() == 0 {
		rec.FirstCallUnixMs = now.UnixMilli()
	}
	return from
}

func (c Hold) apply(rec *senderv1.SendRecord, _ time.Time) []senderv1.SendState {
	set(rec, Queued, c.Errcode, c.Reason)
	notSent(rec)
	return []senderv1.SendState{Calling}
}

func (c Park) apply(rec *senderv1.SendRecord, _ time.Time) []senderv1.SendState {
	set(rec, Parked, c.Errcode, c.Reason)
	rec.NotBeforeUnixMs = c.Until.UnixMilli()
	notSent(rec)
	return []senderv1.SendState{Queued, Calling, Parked}
}

func (Part) apply(rec *senderv1.SendRecord, _ time.Time) []senderv1.SendState {
	set(rec, Queued, 0, "")
	rec.PartsSent++
	rec.FirstCallUnixMs = 0
	if rec.GetPartsSent() >= rec.GetParts() {
		return nil // the last part is the end of the message: Accept
	}
	return []senderv1.SendState{Calling}
}

func (c Accept) apply(rec *senderv1.SendRecord, _ time.Time) []senderv1.SendState {
	set(rec, Sent, 0, "")
	if c.Await {
		rec.State = Accepted
	}
	rec.MsgId = c.MsgID
	if rec.GetParts() > 0 {
		rec.PartsSent = rec.GetParts()
	}
	return []senderv1.SendState{Calling}
}

func (c Finish) apply(rec *senderv1.SendRecord, _ time.Time) []senderv1.SendState {
	set(rec, Failed, 0, c.Reason)
	if c.Delivered {
		rec.State = Sent
	}
	rec.Result = c.Result
	return []senderv1.SendState{Accepted}
}

func (c Reject) apply(rec *senderv1.SendRecord, _ time.Time) []senderv1.SendState {
	set(rec, Failed, c.Errcode, c.Reason)
	return []senderv1.SendState{Queued, Calling, Parked}
}

func (c Fall) apply(rec *senderv1.SendRecord, now time.Time) []senderv1.SendState {
	end := &senderv1.StepEnd{
		Step: rec.GetStep(), Endpoint: rec.GetEndpoint(), State: Failed, Errcode: c.Errcode, Reason: c.Reason, AtUnixMs: now.UnixMilli(),
	}
	if c.Refused {
		end.State = Refused
	}
	set(rec, Queued, 0, "")
	rec.Steps = append(rec.Steps, end)
	rec.Step++
	rec.Endpoint = c.To
	rec.FirstCallUnixMs, rec.Uncertain = 0, false
	if rec.GetPartsSent() > 0 {
		return nil // the fan has the beginning of this step: another one would repeat it
	}
	return []senderv1.SendState{Queued, Calling, Parked}
}

func (c Lose) apply(rec *senderv1.SendRecord, _ time.Time) []senderv1.SendState {
	set(rec, Ambiguous, 0, c.Reason)
	if rec.GetUncertain() {
		return []senderv1.SendState{Queued, Calling, Parked}
	}
	return []senderv1.SendState{Calling}
}

func (c Refuse) apply(rec *senderv1.SendRecord, _ time.Time) []senderv1.SendState {
	set(rec, Refused, 0, c.Reason)
	return []senderv1.SendState{Queued, Parked}
}

func set(rec *senderv1.SendRecord, to senderv1.SendState, errcode int32, reason string) {
	rec.State = to
	rec.Errcode = errcode
	rec.Reason = reason
	rec.NotBeforeUnixMs = 0
}

// notSent forgets a call that certainly did not send, unless an earlier one may have.
func notSent(rec *senderv1.SendRecord) {
	if !rec.GetUncertain() {
		rec.FirstCallUnixMs = 0
	}
}

// Apply returns the record after the change and leaves rec alone. It fails with ErrNotAllowed when
// the table forbids the change.
func Apply(rec *senderv1.SendRecord, c Change, now time.Time) (*senderv1.SendRecord, error) {
	next := proto.CloneOf(rec)
	if !slices.Contains(c.apply(next, now), rec.GetState()) {
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

// Reservation is one message of the fan's window that a send holds.
type Reservation struct {
	ID string
	// Counted tells whether WeChat counted it, or may have; meaningful when the send is final.
	Counted bool
}

// separator is between the id of a send and what makes the id of a reservation; no id has it.
const separator = "~"

// ReservationID names what a send holds for one part of one step.
func ReservationID(id string, step, part uint32) string {
	if step == 0 && part == 0 {
		return id
	}
	return fmt.Sprintf("%s%s%d%s%d", id, separator, step, separator, part)
}

// SendOf returns the id of the send that holds a reservation.
func SendOf(reservation string) string {
	for i := range len(reservation) {
		if reservation[i] == separator[0] {
			return reservation[:i]
		}
	}
	return reservation
}

// Reservations returns everything that a send may hold of the fan's window: the steps that go by
// message/custom/send, with all parts.
func Reservations(rec *senderv1.SendRecord) []Reservation {
	var out []Reservation
	for _, end := range rec.GetSteps() {
		if takesWindow(end.GetEndpoint()) {
			out = append(out, ofStep(rec, end.GetStep(), false)...)
		}
	}
	if takesWindow(rec.GetEndpoint()) {
		out = append(out, ofStep(rec, rec.GetStep(), true)...)
	}
	return out
}

func ofStep(rec *senderv1.SendRecord, step uint32, current bool) []Reservation {
	parts := uint32(1)
	if step == 0 {
		parts = max(1, rec.GetParts())
	}
	out := make([]Reservation, parts)
	for part := range parts {
		out[part].ID = ReservationID(rec.GetId(), step, part)
		if current {
			out[part].Counted = part < rec.GetPartsSent() || (part == rec.GetPartsSent() && Counted(rec.GetState()))
		}
	}
	return out
}

// takesWindow tells whether an endpoint needs a message of the window. Records of older releases have no
// endpoint: there was only one.
func takesWindow(e senderv1.SendEndpoint) bool {
	return e == senderv1.SendEndpoint_SEND_ENDPOINT_CUSTOM_SEND || e == senderv1.SendEndpoint_SEND_ENDPOINT_UNSPECIFIED
}
