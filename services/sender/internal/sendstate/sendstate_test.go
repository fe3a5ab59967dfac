package sendstate_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/services/sender/internal/sendstate"
)

var now = time.UnixMilli(1_700_000_000_000)

var changes = map[string]sendstate.Change{
	"call":   sendstate.Call{Worker: "w"},
	"resend": sendstate.Call{Worker: "w", Resend: true},
	"hold":   sendstate.Hold{Errcode: -1, Reason: "busy"},
	"park":   sendstate.Park{Errcode: 45009, Until: now.Add(time.Hour)},
	"accept": sendstate.Accept{},
	"reject": sendstate.Reject{Errcode: 40003, Reason: "openid"},
	"lose":   sendstate.Lose{Reason: "timeout"},
	"refuse": sendstate.Refuse{Reason: "closed"},
	"await":  sendstate.Accept{MsgID: "7", Await: true},
	"finish": sendstate.Finish{Delivered: true, Result: &senderv1.SendResult{Status: "success"}},
	"part":   sendstate.Part{},
	"fall":   sendstate.Fall{Errcode: 45015, Reason: "closed", To: senderv1.SendEndpoint_SEND_ENDPOINT_TEMPLATE},
}

func TestTheTable(t *testing.T) {
	table := map[senderv1.SendState]map[string]senderv1.SendState{
		sendstate.Queued: {
			"call": sendstate.Calling, "resend": sendstate.Calling, "park": sendstate.Parked,
			"reject": sendstate.Failed, "refuse": sendstate.Refused, "fall": sendstate.Queued,
		},
		sendstate.Parked: {
			"call": sendstate.Calling, "resend": sendstate.Calling, "park": sendstate.Parked,
			"reject": sendstate.Failed, "refuse": sendstate.Refused, "fall": sendstate.Queued,
		},
		sendstate.Calling: {
			"resend": sendstate.Calling, "hold": sendstate.Queued, "park": sendstate.Parked,
			"accept": sendstate.Sent, "reject": sendstate.Failed, "lose": sendstate.Ambiguous,
			"await": sendstate.Accepted, "part": sendstate.Queued, "fall": sendstate.Queued,
		},
		sendstate.Accepted: {"finish": sendstate.Sent},
		sendstate.Sent:     {}, sendstate.Failed: {}, sendstate.Ambiguous: {}, sendstate.Refused: {},
	}
	for from, row := range table {
		for name, change := range changes {
			rec := &senderv1.SendRecord{Id: "m", State: from, Attempts: 1, NotBeforeUnixMs: 7, Parts: 3}
			before := proto.CloneOf(rec)
			next, err := sendstate.Apply(rec, change, now)
			require.True(t, proto.Equal(before, rec), "%s from %s changes its argument", name, from)
			want, allowed := row[name]
			if !allowed {
				require.ErrorIs(t, err, sendstate.ErrNotAllowed, "%s from %s", name, from)
				continue
			}
			require.NoError(t, err, "%s from %s", name, from)
			require.Equal(t, want, next.GetState(), "%s from %s", name, from)
			require.Equal(t, now.UnixMilli(), next.GetUpdatedUnixMs())
		}
		require.Equal(t, len(row) == 0, sendstate.Final(from))
	}
}

func TestACallCountsTheAttemptAndNamesTheWorker(t *testing.T) {
	next, err := sendstate.Apply(&senderv1.SendRecord{State: sendstate.Queued, Attempts: 2}, sendstate.Call{Worker: "b"}, now)
	require.NoError(t, err)
	require.EqualValues(t, 3, next.GetAttempts())
	require.Equal(t, "b", next.GetWorker())
}

func TestAParkedMessageKnowsWhenItGoesOn(t *testing.T) {
	parked, err := sendstate.Apply(&senderv1.SendRecord{State: sendstate.Queued}, changes["park"], now)
	require.NoError(t, err)
	require.Equal(t, now.Add(time.Hour).UnixMilli(), parked.GetNotBeforeUnixMs())
	calling, err := sendstate.Apply(parked, changes["call"], now)
	require.NoError(t, err)
	require.Zero(t, calling.GetNotBeforeUnixMs())
}

// TestAnyOrderOfChanges: whatever workers try in whatever order, a message is accepted at most once in all of its
// steps, no call follows one that may have reached WeChat unless it is marked as uncertain, steps and parts only
// grow, and nothing follows an end.
func TestAnyOrderOfChanges(t *testing.T) {
	names := []string{"call", "resend", "hold", "park", "accept", "await", "finish", "part", "fall", "reject", "lose", "refuse"}
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SampledFrom([]uint32{0, 2, 3}).Draw(t, "parts")
		rec := &senderv1.SendRecord{Id: "m", State: sendstate.Queued, Parts: parts}
		accepted, resent := 0, false
		for _, name := range rapid.SliceOf(rapid.SampledFrom(names)).Draw(t, "changes") {
			next, err := sendstate.Apply(rec, changes[name], now)
			if err != nil {
				require.ErrorIs(t, err, sendstate.ErrNotAllowed)
				continue
			}
			require.False(t, sendstate.Final(rec.GetState()), "%s after the end", name)
			switch name {
			case "accept", "await":
				accepted++
			case "resend":
				resent = true
				require.True(t, next.GetUncertain())
			case "call":
				require.NotEqual(t, sendstate.Calling, rec.GetState())
			case "fall":
				require.Len(t, next.GetSteps(), int(next.GetStep()))
				require.Zero(t, rec.GetPartsSent(), "the fan has the beginning of the step")
				resent = false
			case "lose":
				require.True(t, rec.GetState() == sendstate.Calling || resent)
			}
			require.GreaterOrEqual(t, next.GetStep(), rec.GetStep())
			require.GreaterOrEqual(t, next.GetPartsSent(), rec.GetPartsSent())
			require.LessOrEqual(t, next.GetPartsSent(), parts)
			require.GreaterOrEqual(t, next.GetAttempts(), rec.GetAttempts())
			rec = next
		}
		require.LessOrEqual(t, accepted, 1)
		if rec.GetState() == sendstate.Sent || rec.GetState() == sendstate.Accepted {
			require.Equal(t, parts, rec.GetPartsSent())
		}
	})
}

func TestWhatASendHolds(t *testing.T) {
	template := senderv1.SendEndpoint_SEND_ENDPOINT_TEMPLATE
	custom := senderv1.SendEndpoint_SEND_ENDPOINT_CUSTOM_SEND
	tests := []struct {
		name string
		rec  *senderv1.SendRecord
		want []sendstate.Reservation
	}{
		{"one message", &senderv1.SendRecord{Id: "m", State: sendstate.Sent, Endpoint: custom}, []sendstate.Reservation{{ID: "m", Counted: true}}},
		{"an older release", &senderv1.SendRecord{Id: "m", State: sendstate.Failed}, []sendstate.Reservation{{ID: "m"}}},
		{"a template", &senderv1.SendRecord{Id: "m", State: sendstate.Sent, Endpoint: template}, nil},
		{"the second of three parts is lost", &senderv1.SendRecord{Id: "m", State: sendstate.Ambiguous, Endpoint: custom, Parts: 3, PartsSent: 1},
			[]sendstate.Reservation{{"m", true}, {"m~0~1", true}, {"m~0~2", false}}},
		{"the second of three parts is refused", &senderv1.SendRecord{Id: "m", State: sendstate.Failed, Endpoint: custom, Parts: 3, PartsSent: 1},
			[]sendstate.Reservation{{"m", true}, {"m~0~1", false}, {"m~0~2", false}}},
		{"fallen to a second message of the window", &senderv1.SendRecord{
			Id: "m", State: sendstate.Sent, Endpoint: custom, Step: 1, Steps: []*senderv1.StepEnd{{Endpoint: custom}},
		}, []sendstate.Reservation{{"m", false}, {"m~1~0", true}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, sendstate.Reservations(tt.rec))
			for _, r := range tt.want {
				require.Equal(t, "m", sendstate.SendOf(r.ID))
			}
		})
	}
}
