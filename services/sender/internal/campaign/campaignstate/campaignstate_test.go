package campaignstate_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/services/sender/internal/campaign/campaignstate"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func plan(steps ...uint32) *senderv1.CampaignPlan {
	p := &senderv1.CampaignPlan{}
	for _, n := range steps {
		p.Steps = append(p.Steps, &senderv1.CampaignStep{Recipients: n})
	}
	return p
}

// table is the whole table: a change and the state that it leads to, by the state that it is asked in.
var table = []struct {
	name   string
	change campaignstate.Change
	to     map[senderv1.CampaignState]senderv1.CampaignState
}{
	{"freeze", campaignstate.Freeze{Audience: &senderv1.CampaignAudience{Revision: "r", Recipients: 10}}, states{
		campaignstate.Draft: campaignstate.Draft, campaignstate.Counted: campaignstate.Draft}},
	{"count", campaignstate.Count{Revision: "r", Count: &senderv1.CampaignCount{Recipients: 10}}, states{
		campaignstate.Draft: campaignstate.Counted, campaignstate.Counted: campaignstate.Counted}},
	{"start", campaignstate.Start{Plan: plan(1, 10), Recipients: 10}, states{campaignstate.Counted: campaignstate.Scheduled}},
	{"begin", campaignstate.Begin{Epoch: 1}, states{campaignstate.Scheduled: campaignstate.Canary}},
	{"advance", campaignstate.Advance{Epoch: 1}, states{
		campaignstate.Canary: campaignstate.Running, campaignstate.Running: campaignstate.Running}},
	{"advance and wait", campaignstate.Advance{Epoch: 1, Confirm: "look"}, states{
		campaignstate.Canary: campaignstate.Paused, campaignstate.Running: campaignstate.Paused}},
	{"pause", campaignstate.Pause{}, states{
		campaignstate.Scheduled: campaignstate.Paused, campaignstate.Canary: campaignstate.Paused, campaignstate.Running: campaignstate.Paused}},
	{"pause by the gate", campaignstate.Pause{Epoch: 1}, states{
		campaignstate.Canary: campaignstate.Paused, campaignstate.Running: campaignstate.Paused}},
	{"resume", campaignstate.Resume{}, states{campaignstate.Paused: campaignstate.Canary}},
	{"finish", campaignstate.Finish{Epoch: 1}, states{campaignstate.Draining: campaignstate.Finished}},
	{"cancel", campaignstate.Cancel{}, states{
		campaignstate.Draft: campaignstate.Cancelled, campaignstate.Counted: campaignstate.Cancelled,
		campaignstate.Scheduled: campaignstate.Draining, campaignstate.Canary: campaignstate.Draining, campaignstate.Running: campaignstate.Draining,
		campaignstate.Paused: campaignstate.Draining, campaignstate.Draining: campaignstate.Draining}},
	{"replay", campaignstate.Replay{Replay: &senderv1.CampaignReplay{Round: 1}}, states{
		campaignstate.Canary: campaignstate.Canary, campaignstate.Running: campaignstate.Running, campaignstate.Paused: campaignstate.Paused,
		campaignstate.Draining: campaignstate.Running, campaignstate.Finished: campaignstate.Running}},
}

type states = map[senderv1.CampaignState]senderv1.CampaignState

// record is a campaign of two steps, in its first one, in any state.
func record(state senderv1.CampaignState) *senderv1.CampaignRecord {
	return &senderv1.CampaignRecord{
		Id: "c", Account: "shop", State: state, Epoch: 1, ResumeTo: campaignstate.Canary, StartedUnixMs: 1,
		Audience: &senderv1.CampaignAudience{Revision: "r", Recipients: 10}, Count: &senderv1.CampaignCount{Recipients: 10},
		Plan: plan(1, 10), Progress: &senderv1.CampaignProgress{},
	}
}

func TestTheTable(t *testing.T) {
	for _, row := range table {
		for n := range senderv1.CampaignState_name {
			from := senderv1.CampaignState(n)
			rec := record(from)
			next, err := campaignstate.Apply(rec, row.change, now)
			want, allowed := row.to[from]
			if !allowed {
				require.Error(t, err, "%s from %s", row.name, from)
				continue
			}
			require.NoError(t, err, "%s from %s", row.name, from)
			require.Equal(t, want, next.GetState(), "%s from %s", row.name, from)
			require.True(t, proto.Equal(record(from), rec), "the argument stays as it was")
		}
	}
}

func TestDrainNeedsTheLastStep(t *testing.T) {
	rec := record(campaignstate.Canary)
	_, err := campaignstate.Apply(rec, campaignstate.Drain{Epoch: 1}, now)
	require.ErrorIs(t, err, campaignstate.ErrNotAllowed)
	rec.Progress.Step = 1
	rec.State = campaignstate.Running
	next, err := campaignstate.Apply(rec, campaignstate.Drain{Epoch: 1}, now)
	require.NoError(t, err)
	require.Equal(t, campaignstate.Draining, next.GetState())
	_, err = campaignstate.Apply(next, campaignstate.Advance{Epoch: 1}, now)
	require.ErrorIs(t, err, campaignstate.ErrNotAllowed)
}

func TestANewerRunnerFencesTheOlderOne(t *testing.T) {
	rec, err := campaignstate.Apply(record(campaignstate.Scheduled), campaignstate.Claim{Epoch: 2}, now)
	require.NoError(t, err)
	for _, c := range []campaignstate.Change{
		campaignstate.Begin{Epoch: 1}, campaignstate.Advance{Epoch: 1}, campaignstate.Drain{Epoch: 1}, campaignstate.Finish{Epoch: 1},
		campaignstate.Pause{Epoch: 1}, campaignstate.Applied{Epoch: 1, Round: 1}, campaignstate.Claim{Epoch: 1},
		campaignstate.Report{Epoch: 1, Progress: &senderv1.CampaignProgress{}},
	} {
		_, err := campaignstate.Apply(rec, c, now)
		require.ErrorIs(t, err, campaignstate.ErrFenced, "%T", c)
	}
}

func TestAReplayMustBeTakenUpBeforeTheBooksAreClosed(t *testing.T) {
	rec := record(campaignstate.Running)
	rec.Progress.Step = 1
	rec, err := campaignstate.Apply(rec, campaignstate.Replay{Replay: &senderv1.CampaignReplay{Round: 1}}, now)
	require.NoError(t, err)
	_, err = campaignstate.Apply(rec, campaignstate.Drain{Epoch: 1}, now)
	require.ErrorIs(t, err, campaignstate.ErrNotAllowed)
	_, err = campaignstate.Apply(rec, campaignstate.Replay{Replay: &senderv1.CampaignReplay{Round: 2}}, now)
	require.Error(t, err, "one at a time")
	rec, err = campaignstate.Apply(rec, campaignstate.Applied{Epoch: 1, Round: 1}, now)
	require.NoError(t, err)
	_, err = campaignstate.Apply(rec, campaignstate.Replay{Replay: &senderv1.CampaignReplay{Round: 1}}, now)
	require.Error(t, err, "rounds are not used twice")
	_, err = campaignstate.Apply(rec, campaignstate.Drain{Epoch: 1}, now)
	require.NoError(t, err)
}

func TestACountOfAnotherAudienceIsRefused(t *testing.T) {
	_, err := campaignstate.Apply(record(campaignstate.Draft), campaignstate.Count{Revision: "old", Count: &senderv1.CampaignCount{}}, now)
	require.ErrorIs(t, err, campaignstate.ErrNotAllowed)
}

func TestStartNeedsTheNumberThatWasCounted(t *testing.T) {
	_, err := campaignstate.Apply(record(campaignstate.Counted), campaignstate.Start{Plan: plan(10), Recipients: 9}, now)
	require.ErrorContains(t, err, "10 were counted, not 9")
}

// Whatever people, gates, schedules and runners ask for in whatever order: nothing is sent that was not
// counted and started, nothing goes on after a cancellation, an end is an end unless failures are replayed, and
// steps only go forward.
func TestAnyOrderOfChangesKeepsThePromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rec := &senderv1.CampaignRecord{Id: "c", Account: "shop", State: campaignstate.Draft}
		epoch := uint64(0)
		for range rapid.IntRange(1, 60).Draw(t, "changes") {
			c := anyChange(t, rec, &epoch)
			next, err := campaignstate.Apply(rec, c, now)
			if err != nil {
				continue
			}
			checkChange(t, rec, next, c)
			rec = next
		}
	})
}

func anyChange(t *rapid.T, rec *senderv1.CampaignRecord, epoch *uint64) campaignstate.Change {
	mine := *epoch
	if rapid.IntRange(0, 9).Draw(t, "stale") == 0 && mine > 0 {
		mine--
	}
	switch rapid.IntRange(0, 12).Draw(t, "change") {
	case 0:
		return campaignstate.Freeze{Audience: &senderv1.CampaignAudience{Revision: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "revision"), Recipients: 10}}
	case 1:
		return campaignstate.Count{Revision: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "revision"), Count: &senderv1.CampaignCount{Recipients: 10}}
	case 2:
		return campaignstate.Start{Plan: rapid.SampledFrom([]*senderv1.CampaignPlan{plan(10), plan(1, 10), plan(1, 5, 10)}).Draw(t, "plan"), Recipients: 10}
	case 3:
		return campaignstate.Begin{Epoch: mine}
	case 4:
		return campaignstate.Advance{Epoch: mine, Confirm: rapid.SampledFrom([]string{"", "look"}).Draw(t, "confirm")}
	case 5:
		return campaignstate.Pause{Epoch: rapid.SampledFrom([]uint64{0, mine}).Draw(t, "by")}
	case 6:
		return campaignstate.Resume{}
	case 7:
		return campaignstate.Drain{Epoch: mine}
	case 8:
		return campaignstate.Finish{Epoch: mine}
	case 9:
		if rapid.IntRange(0, 3).Draw(t, "mercy") > 0 {
			return campaignstate.Resume{}
		}
		return campaignstate.Cancel{}
	case 10:
		return campaignstate.Replay{Replay: &senderv1.CampaignReplay{Round: uint32(len(rec.GetReplays()) + rapid.IntRange(0, 1).Draw(t, "round"))}}
	case 11:
		return campaignstate.Applied{Epoch: mine, Round: uint32(len(rec.GetReplays()))}
	default:
		if campaignstate.Active(rec.GetState()) {
			*epoch++
		}
		return campaignstate.Claim{Epoch: *epoch}
	}
}

func checkChange(t *rapid.T, before, after *senderv1.CampaignRecord, c campaignstate.Change) {
	if campaignstate.Sends(after.GetState()) {
		require.NotNil(t, after.GetPlan(), "started")
		require.Equal(t, after.GetAudience().GetRecipients(), after.GetCount().GetRecipients(), "counted")
		require.False(t, after.GetCancelled())
	}
	if before.GetCancelled() {
		require.Contains(t, []senderv1.CampaignState{campaignstate.Draining, campaignstate.Cancelled}, after.GetState())
	}
	if before.GetState() == campaignstate.Cancelled {
		require.Equal(t, before.GetState(), after.GetState())
	}
	if before.GetState() == campaignstate.Finished && after.GetState() != campaignstate.Finished {
		require.IsType(t, campaignstate.Replay{}, c)
	}
	if before.GetPlan() != nil {
		require.True(t, proto.Equal(before.GetPlan(), after.GetPlan()), "a plan does not change")
		require.True(t, proto.Equal(before.GetAudience(), after.GetAudience()), "an audience is frozen")
		require.GreaterOrEqual(t, after.GetProgress().GetStep(), before.GetProgress().GetStep())
		require.Less(t, int(after.GetProgress().GetStep()), len(after.GetPlan().GetSteps()))
	}
	if after.GetState() == campaignstate.Paused {
		require.Contains(t, []senderv1.CampaignState{campaignstate.Scheduled, campaignstate.Canary, campaignstate.Running}, after.GetResumeTo())
	} else {
		require.Zero(t, after.GetResumeTo())
	}
	require.GreaterOrEqual(t, after.GetEpoch(), before.GetEpoch())
	require.LessOrEqual(t, len(after.GetHistory()), 50)
	if before.GetState() != after.GetState() {
		last := after.GetHistory()[len(after.GetHistory())-1]
		require.Equal(t, before.GetState(), last.GetFrom())
		require.Equal(t, after.GetState(), last.GetTo())
	}
	if slices.Contains([]senderv1.CampaignState{campaignstate.Finished, campaignstate.Cancelled}, after.GetState()) {
		require.NotZero(t, after.GetEndedUnixMs())
	}
}
