package decision

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/fault"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

// Apply returns the record after a command at the time now. It is pure: rec is never changed.
//
// When the record already says what the command wants, Apply returns rec itself and ErrUnchanged.
// When the table forbids the command, the error is ErrForbidden (kind Conflict) with the reason of
// the table. A command about a claim needs a server; without one the error has the kind Invalid.
func Apply(rec *rulev1.DecisionMade, c Command, now time.Time) (*rulev1.DecisionMade, error) {
	server, own := serverOf(c), -1
	s := standingOf(rec)
	if aboutClaim(c.verb()) {
		if server == "" {
			return nil, fault.Errorf(fault.Invalid, "%s: server is empty", c.verb())
		}
		own = claimIndex(rec, server)
		s = claimStanding(rec, own)
	}
	l, ok := find(c.verb(), rec.GetRoute(), s, guardsOf(rec, now))
	if !ok {
		return nil, fmt.Errorf("%s on route %s: %w: the table has no line", c.verb(), RouteName(rec.GetRoute()), ErrForbidden)
	}
	switch l.verdict {
	case allow:
		return change(rec, c, l, own), nil
	case repeat:
		return rec, ErrUnchanged
	default:
		return nil, fmt.Errorf("%s on route %s: %w: %s", c.verb(), RouteName(rec.GetRoute()), ErrForbidden, l.why)
	}
}

// change makes the changes of a line on a copy of the record.
func change(rec *rulev1.DecisionMade, c Command, l line, own int) *rulev1.DecisionMade {
	out := proto.CloneOf(rec)
	if l.route != rulev1.Route_ROUTE_UNSPECIFIED {
		out.Route = l.route
		out.Reason = reasonOf(c)
	}
	switch c := c.(type) {
	case Claim:
		out.Claims = append(out.Claims, &rulev1.Claim{Server: c.Server, State: l.claim, UntilUnixMs: c.Until.UnixMilli()})
	case Share:
		out.Claims[own].Shared = true
	default:
		if l.claim != rulev1.ClaimState_CLAIM_STATE_UNSPECIFIED {
			out.Claims[own].State = l.claim
		}
	}
	return out
}

// aboutClaim reports whether a command names one claim.
func aboutClaim(v Verb) bool { return v <= VerbAbandon }

func claimIndex(rec *rulev1.DecisionMade, server string) int {
	for i, c := range rec.GetClaims() {
		if c.GetServer() == server {
			return i
		}
	}
	return -1
}

// claimStanding returns the standing of one claim.
func claimStanding(rec *rulev1.DecisionMade, i int) standing {
	if i < 0 {
		return none
	}
	c := rec.GetClaims()[i]
	switch c.GetState() {
	case rulev1.ClaimState_CLAIM_STATE_DELIVERED:
		return delivered
	case rulev1.ClaimState_CLAIM_STATE_RELEASED:
		return released
	default:
		// An unspecified state comes from a writer that is newer than this code. PENDING is the
		// state that lets nobody else send, so it is the safe reading.
		if c.GetShared() {
			return sharedPending
		}
		return pending
	}
}

// standingOf returns the most binding standing of all claims.
func standingOf(rec *rulev1.DecisionMade) standing {
	s := none
	for i := range rec.GetClaims() {
		switch claimStanding(rec, i) {
		case delivered:
			return delivered
		case pending, sharedPending:
			s = pending
		default:
		}
	}
	return s
}

// guardsOf returns every guard that holds for a record now.
func guardsOf(rec *rulev1.DecisionMade, now time.Time) guard {
	g := afterEnd
	if now.UnixMilli() < rec.GetPassiveUntilUnixMs() {
		g = beforeEnd
	}
	if len(rec.GetClaims()) < MaxClaims {
		g |= room
	}
	if rec.GetKfAllowed() && len(rec.GetReplies()) > 0 && rec.GetReplies()[0].GetNativeTransfer() == nil {
		g |= sendable
	}
	return g
}

// Answer is what a gateway may answer to an attempt of WeChat, as far as the record goes.
type Answer uint8

// The answers.
const (
	// Hold: the record is open, yet this gateway cannot claim. It says neither the reply nor
	// success, because a writer whose attempt is dead may have been the only one.
	Hold Answer = iota
	// Success: no gateway will ever write a reply to this push, so success loses nothing.
	Success
	// Serve: a gateway has written the reply in time. Writing it again is still one copy.
	Serve
	// ClaimFirst: the reply may be written under a claim of this connection.
	ClaimFirst
)

// String returns the lower-case name.
func (a Answer) String() string {
	return [...]string{Hold: "hold", Success: "success", Serve: "serve", ClaimFirst: "claim"}[a]
}

// AnswerFor returns what a gateway may answer, given the record of a push at the time now.
// Without a record nothing may be concluded: see the waits of the gateway.
func AnswerFor(rec *rulev1.DecisionMade, now time.Time) Answer {
	if Final(rec.GetRoute()) {
		return Success
	}
	if standingOf(rec) == delivered {
		return Serve
	}
	if g := guardsOf(rec, now); g&beforeEnd != 0 && g&room != 0 {
		return ClaimFirst
	}
	return Hold
}
