package decision_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/pkg/decision"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

var settings = []setting{
	{name: "passive, customer-service API allowed", kf: true, attempts: 3},
	{name: "passive, no customer-service API", attempts: 3},
	{name: "hand-over to native agents", kf: true, hand: true, attempts: 2},
	{name: "stretch, customer-service API allowed", hold: true, kf: true, attempts: 3},
	{name: "stretch, no customer-service API", hold: true, attempts: 3},
	{name: "stretch, answers early", hold: true, early: true, attempts: 3},
}

// twist breaks the protocol in one way.
type twist struct {
	asyncWhilePending   bool // the table lets ASYNC win over a pending claim
	writesAfterDeadline bool // a gateway writes although it said UNDELIVERABLE
	forgetsOutcomes     bool // a gateway does not remember what it answered to an offer
	nobodyMeansReleased bool // no responders is taken for released by any handler
	offersUnshared      bool // a handler offers again without marking the claim shared
	silenceIsRelease    bool // a time-out of an offer is taken for released
	claimsPerProcess    bool // all connections of a process claim under one name
	processKeepsName    bool // a restarted gateway gets the offers of its predecessor
	noLastRead          bool // success at the deadline without a look at the record
	firstNeverLooks     bool // the same, only when the push was new to the bus
	claimsLate          bool // a wait claims although its deadline is past
	deadlinesOutOfOrder bool // a later attempt may be past its deadline before an earlier one
	retriesDoNotClaim   bool // a retry is served without a claim
	duplicateIsSuccess  bool // a duplicate is answered with success
	ackBeforeStore      bool // success without an acknowledgement of the bus
	senderSendsTwice    bool // the sender is not idempotent
	decidesAgain        bool // a redelivered event is decided afresh
}

// apply is the table, or a broken one.
func (t twist) apply(rec *rulev1.DecisionMade, cmd decision.Command, now time.Time) (*rulev1.DecisionMade, error) {
	if _, ok := cmd.(decision.MoveToAsync); ok && t.asyncWhilePending && decision.AnswerFor(rec, now) != decision.Serve && rec.GetKfAllowed() {
		rec = proto.CloneOf(rec)
		rec.Route = rulev1.Route_ROUTE_ASYNC
		return rec, nil
	}
	return decision.Apply(rec, cmd, now)
}

func TestModelHoldsItsPromise(t *testing.T) {
	for _, s := range settings {
		t.Run(s.name, func(t *testing.T) {
			if testing.Short() || raceEnabled {
				s.attempts = 2
			}
			start := time.Now()
			e, f := explore(newWorld(s, twist{}))
			require.Nil(t, f, "%v", f)
			t.Logf("%d attempts: %d states, %d at rest, %d records, %v", s.attempts, len(e.states), e.rests, len(e.w.records)-1, time.Since(start))
			for _, rec := range e.w.records[1:] {
				requireLawful(t, rec)
			}
		})
	}
}

// requireLawful checks what must be true of every record that anybody ever sees.
func requireLawful(t require.TestingT, rec *rulev1.DecisionMade) {
	require.LessOrEqual(t, len(rec.GetClaims()), decision.MaxClaims)
	for _, c := range rec.GetClaims() {
		if c.GetState() != rulev1.ClaimState_CLAIM_STATE_RELEASED {
			require.NotEqual(t, rulev1.Route_ROUTE_ASYNC, rec.GetRoute(), "async while a claim is %v", c.GetState())
			require.NotEqual(t, rulev1.Route_ROUTE_REFUSED, rec.GetRoute(), "refused while a claim is %v", c.GetState())
		}
	}
}

func TestStatesPackWithoutLoss(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		small := func(name string, most uint8) uint8 { return rapid.Uint8Range(0, most).Draw(t, name) }
		s := state{
			attempt: small("attempt", 3), alive: rapid.Bool().Draw(t, "alive"), acked: rapid.Bool().Draw(t, "acked"), shown: small("shown", 3),
			sent: small("sent", 3), stored: small("stored", 3), spilled: small("spilled", 3), sealed: outcome(small("sealed", 3)),
			handled: rapid.Bool().Draw(t, "handled"), record: rapid.Uint16().Draw(t, "record"),
		}
		for k := range s.waits {
			s.waits[k] = wait{stage(small("stage", uint8(gone))), small("gateway", 1), rapid.Bool().Draw(t, "old")}
		}
		for i := range s.handlers {
			s.handlers[i] = handler{phase(small("phase", uint8(watching))), rapid.Bool().Draw(t, "offer")}
		}
		require.Equal(t, s, unpack(s.pack()))
	})
}

// TestModelCatchesBrokenVariants shows that the model would have noticed: each variant breaks the
// protocol in one way that somebody could think of, and each is caught.
func TestModelCatchesBrokenVariants(t *testing.T) {
	withAPI, without := settings[0], settings[1]
	tests := []struct {
		name    string
		setting setting
		twist   twist
		want    string
	}{
		{"the table lets async win over a pending claim", withAPI, twist{asyncWhilePending: true}, "two copies"},
		{"a gateway writes after it said undeliverable", withAPI, twist{writesAfterDeadline: true}, "two copies"},
		{"a gateway forgets the outcome of an offer", withAPI, twist{forgetsOutcomes: true}, "two copies"},
		{"no responders on a later offer is taken for released", withAPI, twist{nobodyMeansReleased: true}, "two copies"},
		{"a handler offers again without sharing the claim", withAPI, twist{offersUnshared: true}, "two copies"},
		{"a time-out of an offer is taken for released", withAPI, twist{silenceIsRelease: true}, "two copies"},
		{"all connections of a process claim under one name", withAPI, twist{claimsPerProcess: true}, "two copies"},
		{"a restarted gateway gets the offers of its predecessor", withAPI, twist{processKeepsName: true}, "two copies"},
		{"a retry is served without a claim", withAPI, twist{retriesDoNotClaim: true}, "two copies"},
		{"the sender sends twice when it is called twice", withAPI, twist{senderSendsTwice: true}, "two copies"},
		{"a redelivered event is decided afresh", withAPI, twist{decidesAgain: true}, "two copies"},
		{"success at the deadline without a look at the record", without, twist{noLastRead: true}, "silent loss"},
		{"success at the deadline of a new push without a look", without, twist{firstNeverLooks: true}, "silent loss"},
		{"a wait claims after its deadline", without, twist{claimsLate: true}, "silent loss"},
		{"attempts pass their deadlines out of order", without, twist{deadlinesOutOfOrder: true}, "silent loss"},
		{"a duplicate is answered with success", without, twist{duplicateIsSuccess: true}, "silent loss"},
		{"success without an acknowledgement of the bus", without, twist{ackBeforeStore: true}, "silent loss"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			tc.setting.attempts = 2
			start := time.Now()
			e, f := explore(newWorld(tc.setting, tc.twist))
			require.NotNil(t, f, "not caught in %d states", len(e.states))
			require.Contains(t, f.what, tc.want, "%v", f)
			t.Logf("caught after %d states in %v: %v", len(e.states), time.Since(start), f)
		})
	}
}

// TestModelCanAlwaysFinish checks on two attempts that no reachable state is a trap: without
// further faults every push comes to an end.
func TestModelCanAlwaysFinish(t *testing.T) {
	for _, s := range settings {
		t.Run(s.name, func(t *testing.T) {
			s.attempts = 2
			e, f := explore(newWorld(s, twist{}))
			require.Nil(t, f, "%v", f)
			require.Empty(t, e.traps())
		})
	}
}
