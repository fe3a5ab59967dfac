package decision_test

import (
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/decision"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

// This file and its neighbours model_*_test.go are an exhaustive model of the reply protocol. The
// world holds one push; explore visits every state that WeChat, two gateways, two replicas of the
// rule service and the sender can reach, with crashes, lost and late messages at every step. The
// table is the real one: every change of the record goes through decision.Apply, every answer of a
// gateway through decision.AnswerFor.
//
// Time has almost no meaning here, so the result does not depend on clocks or configured delays:
// an attempt may die at any moment, the retry span may end at any moment, a gateway's clock may be
// behind. One thing about time is assumed, because every gateway gives every attempt the same time:
// when a later attempt is past its deadline, an earlier one takes no offer and claims nothing any
// more. A broken variant shows that this is needed.

// stage is where the wait of one attempt is.
type stage uint8

const (
	idle       stage = iota // WeChat has not made the attempt
	publishing              // the gateway has the body and no acknowledgement
	offerable               // acknowledged as new; an offer may come
	offered                 // an offer was taken; the body is about to be written
	reading                 // a duplicate before its deadline: may claim the reply
	looking                 // past the deadline: goes by the record, claims nothing any more
	claimed                 // holds a claim of its own; the body is about to be written
	delivering              // the body was written; the claim is to be settled
	succeeding              // found no record at the deadline; about to answer success
	writing                 // about to write without any right; broken variants only
	gone                    // answered, aborted or crashed
)

// phase is where one handler of the rule service is.
type phase uint8

const (
	resting  phase = iota // not handling the event
	created               // created the record; about to make the very first offer
	awaiting              // an offer is out
	watching              // waits for the record to settle
)

// outcome is what a gateway process remembers about offers of the event.
type outcome uint8

const (
	unsealed outcome = iota
	sealedDelivered
	sealedUndeliverable
	sealedUnknown
)

type wait struct {
	stage stage
	gw    uint8 // 0 or 1
	old   bool  // the process that had the connection has crashed since
}

type handler struct {
	phase phase
	offer bool // an offer of this handler, or of its crashed predecessor, is on its way
}

// state is one state of the world. It packs into 64 bits: the explorer keeps millions.
type state struct {
	attempt      uint8 // attempts made so far
	alive, acked bool  // the current attempt may be answered; WeChat has an answer
	shown        uint8 // copies of the reply that the fan saw as a passive reply
	sent         uint8 // copies that the sender sent
	waits        [decision.Attempts]wait
	stored       uint8 // attempt whose event is in the home stream, 1-based
	spilled      uint8 // attempt whose event is in the spill stream, 1-based
	record       uint16
	sealed       outcome // memory of the process that the event names
	handlers     [2]handler
	handled      bool // the event is acknowledged by the rule service
}

// setting is one account and rule.
type setting struct {
	name string
	kf   bool // the account may use the customer-service API
	hand bool // the reply is a hand-over to WeChat's own agents
	hold bool // stretch mode: nobody is offered, only the last attempt answers
	// early: in stretch mode every attempt may be answered with the reply.
	early bool
	// attempts that WeChat makes, at most decision.Attempts.
	attempts uint8
}

var (
	spanEnd = time.UnixMilli(1_700_000_015_000)
	before  = spanEnd.Add(-time.Second)
	after   = spanEnd.Add(time.Second)
)

// world is a setting, a twist and the records that were seen so far.
type world struct {
	setting
	twist twist

	records []*rulev1.DecisionMade
	index   map[string]uint16
	memo    map[memoKey]memoValue
}

type memoKey struct {
	record uint16
	cmd    decision.Command
	now    time.Time
}

type memoValue struct {
	record uint16
	ok     bool
}

func newWorld(s setting, t twist) *world {
	return &world{
		setting: s, twist: t,
		records: []*rulev1.DecisionMade{nil},
		index:   map[string]uint16{},
		memo:    map[memoKey]memoValue{},
	}
}

// intern returns the number of a record.
func (w *world) intern(rec *rulev1.DecisionMade) uint16 {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(rec)
	if err != nil {
		panic(err)
	}
	if i, ok := w.index[string(b)]; ok {
		return i
	}
	i := uint16(len(w.records))
	w.records = append(w.records, rec)
	w.index[string(b)] = i
	return i
}

// fresh returns a record as the rule service creates it.
func (w *world) fresh(route rulev1.Route, claims ...string) uint16 {
	reply := &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: "hi"}}}
	if w.hand {
		reply = &eventv1.Content{Body: &eventv1.Content_NativeTransfer{NativeTransfer: &eventv1.NativeTransfer{}}}
	}
	rec := &rulev1.DecisionMade{
		Id: "push", Route: route, KfAllowed: w.kf, PassiveUntilUnixMs: spanEnd.UnixMilli(),
		Replies: []*eventv1.Content{reply},
	}
	for _, c := range claims {
		rec.Claims = append(rec.Claims, &rulev1.Claim{Server: c, State: rulev1.ClaimState_CLAIM_STATE_PENDING})
	}
	return w.intern(rec)
}

func (w *world) openRoute() rulev1.Route {
	if w.hand {
		return rulev1.Route_ROUTE_NATIVE
	}
	return rulev1.Route_ROUTE_PASSIVE
}

// lateRoute is the route of a record that is created when nobody can be reached passively.
func (w *world) lateRoute() rulev1.Route {
	if w.kf && !w.hand {
		return rulev1.Route_ROUTE_ASYNC
	}
	return rulev1.Route_ROUTE_REFUSED
}

// apply is decision.Apply on numbered records; a repeat counts as done.
func (w *world) apply(record uint16, cmd decision.Command, now time.Time) (uint16, bool) {
	k := memoKey{record, cmd, now}
	if v, ok := w.memo[k]; ok {
		return v.record, v.ok
	}
	rec, err := w.twist.apply(w.records[record], cmd, now)
	v := memoValue{record: record, ok: err == nil || errors.Is(err, decision.ErrUnchanged)}
	if err == nil {
		v.record = w.intern(rec)
	}
	w.memo[k] = v
	return v.record, v.ok
}

// claimOf returns the state of one claim of a record.
func (w *world) claimOf(record uint16, server string) rulev1.ClaimState {
	for _, c := range w.records[record].GetClaims() {
		if c.GetServer() == server {
			return c.GetState()
		}
	}
	return rulev1.ClaimState_CLAIM_STATE_UNSPECIFIED
}

// eventServer is the name under which the rule service claims for the gateway of the event.
func (w *world) eventServer(s state) string {
	if w.twist.claimsPerProcess {
		return processName(s.waits[s.stored-1])
	}
	return "event"
}

// ownServer is the name under which the wait of attempt k claims.
func (w *world) ownServer(s state, k uint8) string {
	if w.twist.claimsPerProcess {
		return processName(s.waits[k])
	}
	return [decision.Attempts]string{"first", "second", "third"}[k]
}

func processName(wt wait) string { return [2]string{"one", "two"}[wt.gw] }
