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
}

func TestTheTable(t *testing.T) {
	table := map[senderv1.SendState]map[string]senderv1.SendState{
		sendstate.Queued: {
			"call": sendstate.Calling, "resend": sendstate.Calling, "park": sendstate.Parked,
			"reject": sendstate.Failed, "refuse": sendstate.Refused,
		},
		sendstate.Parked: {
			"call": sendstate.Calling, "resend": sendstate.Calling, "park": sendstate.Parked,
			"reject": sendstate.Failed, "refuse": sendstate.Refused,
		},
		sendstate.Calling: {
			"resend": sendstate.Calling, "hold": sendstate.Queued, "park": sendstate.Parked,
			"accept": sendstate.Sent, "reject": sendstate.Failed, "lose": sendstate.Ambiguous,
		},
		sendstate.Sent: {}, sendstate.Failed: {}, sendstate.Ambiguous: {}, sendstate.Refused: {},
	}
	for from, row := range table {
		for name, change := range changes {
			rec := &senderv1.SendRecord{Id: "m", State: from, Attempts: 1, NotBeforeUnixMs: 7}
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

// TestAtMostOneAttemptIsAccepted: whatever workers try in whatever order, a message is accepted at
// most once, and without the policy to resend no call follows one that may have reached WeChat.
func TestAtMostOneAttemptIsAccepted(t *testing.T) {
	names := []string{"call", "hold", "park", "accept", "reject", "lose", "refuse"}
	rapid.Check(t, func(t *rapid.T) {
		rec := &senderv1.SendRecord{State: sendstate.Queued}
		accepted, unknown := 0, false
		for _, name := range rapid.SliceOf(rapid.SampledFrom(names)).Draw(t, "changes") {
			next, err := sendstate.Apply(rec, changes[name], now)
			if err != nil {
				continue
			}
			require.False(t, unknown, "%s after an unknown outcome", name)
			switch name {
			case "accept":
				accepted++
			case "lose":
				unknown = true
			}
			rec = next
		}
		require.LessOrEqual(t, accepted, 1)
	})
}
