package decision_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/testkit"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

const (
	pendingState   = rulev1.ClaimState_CLAIM_STATE_PENDING
	deliveredState = rulev1.ClaimState_CLAIM_STATE_DELIVERED
	releasedState  = rulev1.ClaimState_CLAIM_STATE_RELEASED
)

func text(s string) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: s}}}
}

func record(route rulev1.Route, claims ...*rulev1.Claim) *rulev1.DecisionMade {
	return &rulev1.DecisionMade{
		Id: "0123456789abcdef0123456789abcdef", Account: "shop", Openid: "o_fan", Route: route, Claims: claims,
		Replies: []*eventv1.Content{text("hi")}, KfAllowed: true, PassiveUntilUnixMs: spanEnd.UnixMilli(),
	}
}

func claimBy(server string, state rulev1.ClaimState) *rulev1.Claim {
	return &rulev1.Claim{Server: server, State: state}
}

func TestApply(t *testing.T) {
	shared := claimBy("gw", pendingState)
	shared.Shared = true
	noAPI := record(rulev1.Route_ROUTE_PASSIVE)
	noAPI.KfAllowed = false
	handOver := record(rulev1.Route_ROUTE_AMBIGUOUS)
	handOver.Replies = []*eventv1.Content{{Body: &eventv1.Content_NativeTransfer{NativeTransfer: &eventv1.NativeTransfer{}}}}
	tests := []struct {
		name  string
		rec   *rulev1.DecisionMade
		cmd   decision.Command
		now   time.Time
		want  func(*rulev1.DecisionMade) // what changes
		fails string                     // part of the reason
	}{
		{
			name: "a gateway claims an open reply", rec: record(rulev1.Route_ROUTE_PASSIVE), now: before,
			cmd: decision.Claim{Server: "gw", Until: before},
			want: func(r *rulev1.DecisionMade) {
				r.Claims = []*rulev1.Claim{{Server: "gw", State: pendingState, UntilUnixMs: before.UnixMilli()}}
			},
		},
		{
			name: "a second gateway claims the same reply", rec: record(rulev1.Route_ROUTE_NATIVE, claimBy("gw", pendingState)), now: before,
			cmd: decision.Claim{Server: "other", Until: before},
			want: func(r *rulev1.DecisionMade) {
				r.Claims = append(r.Claims, &rulev1.Claim{Server: "other", State: pendingState, UntilUnixMs: before.UnixMilli()})
			},
		},
		{name: "a claim after the retry span", rec: record(rulev1.Route_ROUTE_PASSIVE), cmd: decision.Claim{Server: "gw"}, now: after, fails: "the retry span is over"},
		{name: "a claim at the very end of the retry span", rec: record(rulev1.Route_ROUTE_PASSIVE), cmd: decision.Claim{Server: "gw"}, now: spanEnd, fails: "the retry span is over"},
		{name: "a claim of a reply that the sender has", rec: record(rulev1.Route_ROUTE_ASYNC), cmd: decision.Claim{Server: "gw"}, now: before, fails: "no gateway writes this reply"},
		{name: "a claim by a name that was released", rec: record(rulev1.Route_ROUTE_PASSIVE, claimBy("gw", releasedState)), cmd: decision.Claim{Server: "gw"}, now: before, fails: "never used again"},
		{name: "one claim too many", rec: record(rulev1.Route_ROUTE_PASSIVE, manyClaims()...), cmd: decision.Claim{Server: "gw"}, now: before, fails: "too many claims"},
		{
			name: "a writer settles its claim", rec: record(rulev1.Route_ROUTE_PASSIVE, claimBy("gw", pendingState)), cmd: decision.Deliver{Server: "gw"}, now: after,
			want: func(r *rulev1.DecisionMade) { r.Claims[0].State = deliveredState },
		},
		{name: "delivered without a claim", rec: record(rulev1.Route_ROUTE_PASSIVE), cmd: decision.Deliver{Server: "gw"}, now: before, fails: "without a claim"},
		{name: "released after delivered", rec: record(rulev1.Route_ROUTE_PASSIVE, claimBy("gw", deliveredState)), cmd: decision.Release{Server: "gw"}, now: before, fails: "cannot be taken back"},
		{name: "delivered after the record was closed", rec: record(rulev1.Route_ROUTE_AMBIGUOUS, claimBy("gw", pendingState)), cmd: decision.Deliver{Server: "gw"}, now: after, fails: "closed before"},
		{
			name: "the first offer reached nobody", rec: record(rulev1.Route_ROUTE_PASSIVE, claimBy("gw", pendingState)), cmd: decision.Abandon{Server: "gw"}, now: before,
			want: func(r *rulev1.DecisionMade) { r.Claims[0].State = releasedState },
		},
		{name: "an offer reached nobody after others may have offered", rec: record(rulev1.Route_ROUTE_PASSIVE, shared), cmd: decision.Abandon{Server: "gw"}, now: before, fails: "another handler"},
		{
			name: "a second handler takes part", rec: record(rulev1.Route_ROUTE_PASSIVE, claimBy("gw", pendingState)), cmd: decision.Share{Server: "gw"}, now: before,
			want: func(r *rulev1.DecisionMade) { r.Claims[0].Shared = true },
		},
		{name: "sharing a settled claim", rec: record(rulev1.Route_ROUTE_PASSIVE, claimBy("gw", releasedState)), cmd: decision.Share{Server: "gw"}, now: before, fails: "no open claim"},
		{
			name: "undeliverable goes to the sender", rec: record(rulev1.Route_ROUTE_PASSIVE, claimBy("gw", releasedState)), cmd: decision.MoveToAsync{Reason: "too late"}, now: before,
			want: func(r *rulev1.DecisionMade) { r.Route, r.Reason = rulev1.Route_ROUTE_ASYNC, "too late" },
		},
		{name: "async while a claim is pending", rec: record(rulev1.Route_ROUTE_PASSIVE, claimBy("a", releasedState), claimBy("b", pendingState)), cmd: decision.MoveToAsync{}, now: after, fails: "may be writing"},
		{name: "async after delivered", rec: record(rulev1.Route_ROUTE_PASSIVE, claimBy("a", deliveredState), claimBy("b", pendingState)), cmd: decision.MoveToAsync{}, now: after, fails: "the fan has the reply"},
		{name: "async without the customer-service API", rec: noAPI, cmd: decision.MoveToAsync{}, now: after, fails: "may not use"},
		{name: "async for a hand-over", rec: record(rulev1.Route_ROUTE_NATIVE), cmd: decision.MoveToAsync{}, now: after, fails: "only as a passive reply"},
		{
			name: "nobody came within the retry span", rec: noAPI, cmd: decision.Refuse{Reason: "missed"}, now: after,
			want: func(r *rulev1.DecisionMade) { r.Route, r.Reason = rulev1.Route_ROUTE_REFUSED, "missed" },
		},
		{name: "refused while a retry may come", rec: noAPI, cmd: decision.Refuse{}, now: before, fails: "a retry may still serve it"},
		{
			name: "nobody knows what became of it", rec: record(rulev1.Route_ROUTE_PASSIVE, claimBy("gw", pendingState)), cmd: decision.MarkAmbiguous{Reason: "no answer"}, now: after,
			want: func(r *rulev1.DecisionMade) { r.Route, r.Reason = rulev1.Route_ROUTE_AMBIGUOUS, "no answer" },
		},
		{name: "ambiguous although delivered", rec: record(rulev1.Route_ROUTE_PASSIVE, claimBy("a", pendingState), claimBy("b", deliveredState)), cmd: decision.MarkAmbiguous{}, now: after, fails: "the fan has the reply"},
		{
			name: "the account wants it again", rec: record(rulev1.Route_ROUTE_AMBIGUOUS, claimBy("gw", pendingState)), cmd: decision.Resend{Reason: "policy"}, now: after,
			want: func(r *rulev1.DecisionMade) { r.Route, r.Reason = rulev1.Route_ROUTE_ASYNC, "policy" },
		},
		{name: "a hand-over is not resent", rec: handOver, cmd: decision.Resend{}, now: after, fails: "cannot go by"},
		{name: "resending what is settled", rec: record(rulev1.Route_ROUTE_REFUSED), cmd: decision.Resend{}, now: after, fails: "only an ambiguous"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			kept := proto.CloneOf(tc.rec)
			got, err := decision.Apply(tc.rec, tc.cmd, tc.now)
			require.True(t, proto.Equal(kept, tc.rec), "Apply changed its argument")
			if tc.fails != "" {
				require.ErrorIs(t, err, decision.ErrForbidden)
				require.ErrorContains(t, err, tc.fails)
				require.Equal(t, fault.Conflict, fault.KindOf(err))
				return
			}
			require.NoError(t, err)
			tc.want(kept)
			require.True(t, proto.Equal(kept, got), "want %v\ngot  %v", kept, got)
		})
	}
}

func manyClaims() []*rulev1.Claim {
	var claims []*rulev1.Claim
	for i := range decision.MaxClaims {
		claims = append(claims, claimBy(string(rune('a'+i)), releasedState))
	}
	return claims
}

func TestApplyNeedsAServer(t *testing.T) {
	_, err := decision.Apply(record(rulev1.Route_ROUTE_PASSIVE), decision.Claim{}, before)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

func TestApplyOnARouteOfANewerVersion(t *testing.T) {
	for _, route := range []rulev1.Route{-1, 9, 77} {
		_, err := decision.Apply(record(route), decision.Claim{Server: "gw"}, before)
		require.ErrorIs(t, err, decision.ErrForbidden)
	}
}

func TestTableIsCompleteAndHasNoDeadLines(t *testing.T) {
	cases, lines := decision.Uncovered()
	require.Empty(t, cases, "no line decides")
	require.Empty(t, lines, "never decide anything")
}

func TestMarkdown(t *testing.T) {
	testkit.Golden(t, "table.md", decision.Markdown())
}

func TestAnswerFor(t *testing.T) {
	tests := []struct {
		name string
		rec  *rulev1.DecisionMade
		now  time.Time
		want decision.Answer
	}{
		{"open", record(rulev1.Route_ROUTE_PASSIVE), before, decision.ClaimFirst},
		{"open and offered to another gateway", record(rulev1.Route_ROUTE_NATIVE, claimBy("gw", pendingState)), before, decision.ClaimFirst},
		{"written before", record(rulev1.Route_ROUTE_PASSIVE, claimBy("gw", deliveredState)), after, decision.Serve},
		{"retry span over, outcome open", record(rulev1.Route_ROUTE_PASSIVE, claimBy("gw", pendingState)), after, decision.Hold},
		{"claimed too often", record(rulev1.Route_ROUTE_PASSIVE, manyClaims()...), before, decision.Hold},
		{"the sender has it", record(rulev1.Route_ROUTE_ASYNC), before, decision.Success},
		{"a waiting list", record(rulev1.Route_ROUTE_QUEUE), before, decision.Success},
		{"nothing to say", record(rulev1.Route_ROUTE_NONE), before, decision.Success},
		{"given up", record(rulev1.Route_ROUTE_REFUSED), after, decision.Success},
		{"ambiguous", record(rulev1.Route_ROUTE_AMBIGUOUS, claimBy("gw", pendingState)), after, decision.Success},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) { require.Equal(t, tc.want, decision.AnswerFor(tc.rec, tc.now)) })
	}
}

// TestApplyInvariants runs random histories of one record and checks what must never be.
func TestApplyInvariants(t *testing.T) {
	servers := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"})
	commands := rapid.Custom(func(t *rapid.T) decision.Command {
		server := servers.Draw(t, "server")
		return rapid.SampledFrom([]decision.Command{
			decision.Claim{Server: server, Until: before}, decision.Share{Server: server}, decision.Deliver{Server: server},
			decision.Release{Server: server}, decision.Abandon{Server: server}, decision.MoveToAsync{Reason: "r"},
			decision.Refuse{Reason: "r"}, decision.MarkAmbiguous{Reason: "r"}, decision.Resend{Reason: "r"},
		}).Draw(t, "command")
	})
	rapid.Check(t, func(t *rapid.T) {
		rec := record(rapid.SampledFrom([]rulev1.Route{rulev1.Route_ROUTE_PASSIVE, rulev1.Route_ROUTE_NATIVE}).Draw(t, "route"))
		rec.KfAllowed = rapid.Bool().Draw(t, "kf")
		now, resent := before, false
		for range rapid.IntRange(1, 40).Draw(t, "length") {
			if rapid.IntRange(0, 9).Draw(t, "late") == 0 {
				now = after
			}
			cmd := commands.Draw(t, "cmd")
			next, err := decision.Apply(rec, cmd, now)
			if err != nil {
				continue
			}
			_, isResend := cmd.(decision.Resend)
			requireStep(t, rec, next, isResend)
			resent = resent || isResend
			if !resent {
				requireLawful(t, next)
			}
			again, err := decision.Apply(next, cmd, now)
			require.ErrorIs(t, err, decision.ErrUnchanged, "%T twice", cmd)
			require.Same(t, next, again)
			rec = next
		}
	})
}

// requireStep checks one change of a record: final routes stay, settled claims stay, replies stay.
func requireStep(t require.TestingT, old, next *rulev1.DecisionMade, resend bool) {
	if decision.Final(old.GetRoute()) && !resend {
		require.Equal(t, old.GetRoute(), next.GetRoute(), "a final route changed")
	}
	for i, c := range old.GetClaims() {
		require.Equal(t, c.GetServer(), next.GetClaims()[i].GetServer(), "claims keep their places")
		if c.GetState() != pendingState {
			require.Equal(t, c.GetState(), next.GetClaims()[i].GetState(), "a settled claim changed")
		}
	}
	require.True(t, proto.Equal(old.GetReplies()[0], next.GetReplies()[0]))
}
