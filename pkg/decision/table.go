package decision

import (
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

// routes is a set of routes.
type routes uint16

func routeSet(rs ...rulev1.Route) routes {
	var s routes
	for _, r := range rs {
		s |= 1 << r
	}
	return s
}

// has is false for routes that this code does not know.
func (s routes) has(r rulev1.Route) bool { return r >= 0 && s&(1<<r) != 0 }

// standing summarises the claims of a record. For commands that name a claim it is the state of
// that claim; for commands about the route it is the most binding state of all claims.
type standing uint8

const (
	// none: no such claim, or for the route: no claim at all or every claim released.
	none standing = 1 << iota
	// pending: PENDING; for the route: at least one is PENDING and none DELIVERED.
	pending
	// sharedPending: PENDING and shared. Counts as pending for the route.
	sharedPending
	// delivered: DELIVERED; for the route: at least one is.
	delivered
	// released: the named claim is RELEASED. Never seen by commands about the route.
	released

	anyPending  = pending | sharedPending
	anyStanding = none | pending | sharedPending | delivered | released
)

// guard is a further condition of a line; all that are set must hold.
type guard uint8

const (
	// beforeEnd: now is before passive_until.
	beforeEnd guard = 1 << iota
	// afterEnd: now is not before passive_until.
	afterEnd
	// room: fewer than MaxClaims claims.
	room
	// sendable: the account may use the customer-service API and the first reply is not a
	// hand-over to WeChat's own agents.
	sendable
)

// verdict is what a line says.
type verdict uint8

const (
	forbid verdict = iota
	// repeat: the record says so already; nothing changes.
	repeat
	// allow: the claim gets the state of the line, the route the route of the line.
	allow
)

// line is one line of the table. The first line that matches a command decides.
type line struct {
	verb    Verb
	routes  routes
	claims  standing
	guard   guard
	verdict verdict
	claim   rulev1.ClaimState // new state of the named claim; unspecified leaves it
	route   rulev1.Route      // new route; unspecified leaves it
	why     string
}

var (
	open      = routeSet(rulev1.Route_ROUTE_PASSIVE, rulev1.Route_ROUTE_NATIVE)
	passive   = routeSet(rulev1.Route_ROUTE_PASSIVE)
	native    = routeSet(rulev1.Route_ROUTE_NATIVE)
	async     = routeSet(rulev1.Route_ROUTE_ASYNC)
	ambiguous = routeSet(rulev1.Route_ROUTE_AMBIGUOUS)
	refused   = routeSet(rulev1.Route_ROUTE_REFUSED)
	anyRoute  = ^routes(0)
)

const (
	toPending   = rulev1.ClaimState_CLAIM_STATE_PENDING
	toDelivered = rulev1.ClaimState_CLAIM_STATE_DELIVERED
	toReleased  = rulev1.ClaimState_CLAIM_STATE_RELEASED
)

// table is the whole protocol of the record. It is complete: a test finds a line for every case,
// and a case for every line. Settling what is settled already is a repeat on every route, because
// a settled claim never changes.
var table = []line{
	{verb: VerbClaim, routes: anyRoute, claims: anyPending | delivered, verdict: repeat, why: "this connection has claimed before"},
	{verb: VerbClaim, routes: anyRoute, claims: released, verdict: forbid, why: "a released name is never used again"},
	{verb: VerbClaim, routes: open, claims: none, guard: beforeEnd | room, verdict: allow, claim: toPending, why: "several may write the same body: WeChat shows one answer per push"},
	{verb: VerbClaim, routes: open, claims: none, guard: beforeEnd, verdict: forbid, why: "too many claims"},
	{verb: VerbClaim, routes: open, claims: none, verdict: forbid, why: "the retry span is over"},
	{verb: VerbClaim, routes: anyRoute, claims: none, verdict: forbid, why: "no gateway writes this reply"},

	{verb: VerbShare, routes: anyRoute, claims: sharedPending, verdict: repeat, why: "shared before"},
	{verb: VerbShare, routes: open, claims: pending, verdict: allow, why: "from now on silence about the claim proves nothing"},
	{verb: VerbShare, routes: anyRoute, claims: anyStanding, verdict: forbid, why: "there is no open claim to offer under"},

	{verb: VerbDeliver, routes: anyRoute, claims: delivered, verdict: repeat, why: "settled before"},
	{verb: VerbDeliver, routes: open, claims: anyPending, verdict: allow, claim: toDelivered, why: "the writer wrote in time"},
	{verb: VerbDeliver, routes: anyRoute, claims: anyPending, verdict: forbid, why: "the record was closed before the outcome came"},
	{verb: VerbDeliver, routes: anyRoute, claims: released, verdict: forbid, why: "a released claim never writes"},
	{verb: VerbDeliver, routes: anyRoute, claims: none, verdict: forbid, why: "nothing is written without a claim"},

	{verb: VerbRelease, routes: anyRoute, claims: released, verdict: repeat, why: "settled before"},
	{verb: VerbRelease, routes: open, claims: anyPending, verdict: allow, claim: toReleased, why: "the writer wrote nothing and never will"},
	{verb: VerbRelease, routes: anyRoute, claims: anyPending, verdict: forbid, why: "the record was closed before the outcome came"},
	{verb: VerbRelease, routes: anyRoute, claims: delivered, verdict: forbid, why: "what was written cannot be taken back"},
	{verb: VerbRelease, routes: anyRoute, claims: none, verdict: forbid, why: "there is nothing to release"},

	{verb: VerbAbandon, routes: anyRoute, claims: released, verdict: repeat, why: "settled before"},
	{verb: VerbAbandon, routes: open, claims: pending, verdict: allow, claim: toReleased, why: "the only offer ever made reached nobody"},
	{verb: VerbAbandon, routes: open, claims: sharedPending, verdict: forbid, why: "another handler may have offered before"},
	{verb: VerbAbandon, routes: anyRoute, claims: anyStanding, verdict: forbid, why: "there is no open claim to abandon"},

	{verb: VerbMoveToAsync, routes: async, claims: anyStanding, verdict: repeat, why: "the sender has it"},
	{verb: VerbMoveToAsync, routes: passive, claims: none, guard: sendable, verdict: allow, route: rulev1.Route_ROUTE_ASYNC, why: "no gateway has written or can write"},
	{verb: VerbMoveToAsync, routes: passive, claims: none, verdict: forbid, why: "the account may not use the customer-service API"},
	{verb: VerbMoveToAsync, routes: passive, claims: anyPending, verdict: forbid, why: "a gateway may be writing now"},
	{verb: VerbMoveToAsync, routes: passive, claims: delivered, verdict: forbid, why: "the fan has the reply"},
	{verb: VerbMoveToAsync, routes: native, claims: anyStanding, verdict: forbid, why: "a hand-over exists only as a passive reply"},
	{verb: VerbMoveToAsync, routes: anyRoute, claims: anyStanding, verdict: forbid, why: "the route is final"},

	{verb: VerbRefuse, routes: refused, claims: anyStanding, verdict: repeat, why: "given up before"},
	{verb: VerbRefuse, routes: open, claims: none, guard: afterEnd, verdict: allow, route: rulev1.Route_ROUTE_REFUSED, why: "no attempt is left and no gateway has written"},
	{verb: VerbRefuse, routes: open, claims: none, verdict: forbid, why: "a retry may still serve it"},
	{verb: VerbRefuse, routes: open, claims: anyPending, verdict: forbid, why: "a gateway may have written: ambiguous, not refused"},
	{verb: VerbRefuse, routes: open, claims: delivered, verdict: forbid, why: "the fan has the reply"},
	{verb: VerbRefuse, routes: anyRoute, claims: anyStanding, verdict: forbid, why: "the route is final"},

	{verb: VerbMarkAmbiguous, routes: ambiguous, claims: anyStanding, verdict: repeat, why: "marked before"},
	{verb: VerbMarkAmbiguous, routes: open, claims: anyPending, guard: afterEnd, verdict: allow, route: rulev1.Route_ROUTE_AMBIGUOUS, why: "no attempt is left to tell"},
	{verb: VerbMarkAmbiguous, routes: open, claims: anyPending, verdict: forbid, why: "the outcome may still come"},
	{verb: VerbMarkAmbiguous, routes: open, claims: delivered, verdict: forbid, why: "the fan has the reply"},
	{verb: VerbMarkAmbiguous, routes: open, claims: none, verdict: forbid, why: "nobody can have written"},
	{verb: VerbMarkAmbiguous, routes: anyRoute, claims: anyStanding, verdict: forbid, why: "the route is final"},

	{verb: VerbResend, routes: async, claims: anyStanding, verdict: repeat, why: "the sender has it"},
	{verb: VerbResend, routes: ambiguous, claims: anyStanding, guard: sendable, verdict: allow, route: rulev1.Route_ROUTE_ASYNC, why: "the account prefers a second copy to none"},
	{verb: VerbResend, routes: ambiguous, claims: anyStanding, verdict: forbid, why: "the reply cannot go by the customer-service API"},
	{verb: VerbResend, routes: anyRoute, claims: anyStanding, verdict: forbid, why: "only an ambiguous reply is resent"},
}

// find returns the line that decides about a case.
func find(v Verb, r rulev1.Route, s standing, holds guard) (line, bool) {
	for _, l := range table {
		if l.verb == v && l.routes.has(r) && l.claims&s != 0 && l.guard&^holds == 0 {
			return l, true
		}
	}
	return line{}, false
}
