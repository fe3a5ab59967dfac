// Package decision is the arbiter of replies: one record per push, and the table of changes that
// the record allows.
//
// A push of WeChat gets at most one copy of its first reply although several processes could send
// it: the gateway that holds the connection, a gateway that serves a retry, and the sender. They
// agree by compare-and-set on one record, rulev1.DecisionMade. Table holds every allowed change,
// Apply evaluates it, Store writes the result, and AnswerFor tells a gateway what it may answer.
//
// The rules behind the table:
//
//   - A gateway writes a reply only under a claim that is in the record (PENDING), or when the
//     record says that the reply was DELIVERED once: WeChat shows one answer per push, so the same
//     body written twice to one push is one copy.
//   - The sender gets the reply (ASYNC) only when every claim was RELEASED, that is, when every
//     gateway that could have written has said that it wrote nothing and never will.
//   - A claim without a known outcome blocks the sender. When no attempt of WeChat can be alive any
//     more it makes the record AMBIGUOUS, which is final unless the account wants it sent again.
//
// The exhaustive model in the tests explores the protocol around this table.
package decision

import (
	"time"

	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

// MaxClaims bounds the claims of one record. WeChat makes three or four attempts at a push.
const MaxClaims = 8

// Attempts is how often WeChat tries to deliver one push.
const Attempts = 3

// PassiveUntil returns the end of the retry span of a push whose first attempt arrived at
// received: no attempt of WeChat is alive after it. attempt is WeChat's time limit of one attempt.
func PassiveUntil(received time.Time, attempt time.Duration) time.Time {
	return received.Add(Attempts*attempt + attempt/5)
}

// Command is one change that somebody wants to make to a record. The set is closed: Claim, Share,
// Deliver, Release, Abandon, MoveToAsync, Refuse, MarkAmbiguous and Resend.
type Command interface {
	verb() Verb
}

// Claim asks for the right to write the first reply. Server is a name that this one connection
// uses and no other ever does; Until is the deadline that the writer sets itself.
type Claim struct {
	Server string
	Until  time.Time
}

// Share announces a second offer of the reply under the claim of Server. Whoever did not create
// the record does it before it offers, because afterwards Abandon is no longer possible.
type Share struct{ Server string }

// Deliver settles the claim of Server: the bytes were written in time.
type Deliver struct{ Server string }

// Release settles the claim of Server: it wrote nothing and never will. Only Server itself knows.
type Release struct{ Server string }

// Abandon settles the claim of Server without hearing from it: the very first offer, made by the
// creator of the record, found no responder, so nobody can have written.
type Abandon struct{ Server string }

// MoveToAsync hands the first reply to the sender.
type MoveToAsync struct{ Reason string }

// Refuse gives the first reply up, because no allowed way is left.
type Refuse struct{ Reason string }

// MarkAmbiguous ends a record with a claim whose outcome nobody will ever know.
type MarkAmbiguous struct{ Reason string }

// Resend sends an ambiguous reply again, for accounts whose policy prefers a second copy to none.
type Resend struct{ Reason string }

// Verb is the kind of a command.
type Verb uint8

// The verbs, in the order of the table.
const (
	VerbClaim Verb = iota + 1
	VerbShare
	VerbDeliver
	VerbRelease
	VerbAbandon
	VerbMoveToAsync
	VerbRefuse
	VerbMarkAmbiguous
	VerbResend
)

var verbNames = [...]string{
	VerbClaim: "claim", VerbShare: "share", VerbDeliver: "deliver", VerbRelease: "release",
	VerbAbandon: "abandon", VerbMoveToAsync: "move to async", VerbRefuse: "refuse",
	VerbMarkAmbiguous: "mark ambiguous", VerbResend: "resend",
}

// String returns the verb in lower case, for errors, metrics and the rendered table.
func (v Verb) String() string {
	if int(v) < len(verbNames) && verbNames[v] != "" {
		return verbNames[v]
	}
	return "unknown"
}

func (Claim) verb() Verb         { return VerbClaim }
func (Share) verb() Verb         { return VerbShare }
func (Deliver) verb() Verb       { return VerbDeliver }
func (Release) verb() Verb       { return VerbRelease }
func (Abandon) verb() Verb       { return VerbAbandon }
func (MoveToAsync) verb() Verb   { return VerbMoveToAsync }
func (Refuse) verb() Verb        { return VerbRefuse }
func (MarkAmbiguous) verb() Verb { return VerbMarkAmbiguous }
func (Resend) verb() Verb        { return VerbResend }

// serverOf returns the name that a command about one claim carries.
func serverOf(c Command) string {
	switch c := c.(type) {
	case Claim:
		return c.Server
	case Share:
		return c.Server
	case Deliver:
		return c.Server
	case Release:
		return c.Server
	case Abandon:
		return c.Server
	default:
		return ""
	}
}

// reasonOf returns the reason that a command about the route carries.
func reasonOf(c Command) string {
	switch c := c.(type) {
	case MoveToAsync:
		return c.Reason
	case Refuse:
		return c.Reason
	case MarkAmbiguous:
		return c.Reason
	case Resend:
		return c.Reason
	default:
		return ""
	}
}

// Final reports whether a route can never change again, except that the policy of an account may
// resend an ambiguous reply.
func Final(r rulev1.Route) bool {
	switch r {
	case rulev1.Route_ROUTE_PASSIVE, rulev1.Route_ROUTE_NATIVE:
		return false
	default:
		return true
	}
}
