package runner

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

func TestMinutesAddUpToTheResults(t *testing.T) {
	at := time.Date(2026, 11, 29, 9, 0, 30, 0, time.UTC)
	p := &senderv1.CampaignProgress{}
	for _, step := range []struct {
		after        time.Duration
		sent, failed uint32
	}{{0, 3, 0}, {20 * time.Second, 5, 1}, {40 * time.Second, 5, 1}, {50 * time.Second, 9, 1}, {5 * time.Minute, 10, 2}} {
		next := &senderv1.CampaignProgress{Sent: step.sent, Failed: step.failed}
		next.Minutes = minutes(p, next, at.Add(step.after))
		p = next
	}
	var got [][2]int64
	for _, m := range p.GetMinutes() {
		got = append(got, [2]int64{m.GetBeginUnixMs()/60_000 - at.UnixMilli()/60_000, int64(m.GetResults())})
	}
	require.Equal(t, [][2]int64{{0, 6}, {1, 4}, {5, 2}}, got, "minutes without a result have no entry")
}

func TestAReplayTakesNoResultsBackAndOldMinutesGo(t *testing.T) {
	at := time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)
	before := &senderv1.CampaignProgress{Sent: 5, Failed: 5, Minutes: []*senderv1.CampaignMinute{{BeginUnixMs: at.UnixMilli(), Results: 10}}}
	replayed := &senderv1.CampaignProgress{Sent: 5, Pending: 5}
	replayed.Minutes = minutes(before, replayed, at.Add(time.Minute))
	require.Equal(t, before.GetMinutes(), replayed.GetMinutes())
	p := replayed
	for i := range 2 * keptMinutes {
		next := &senderv1.CampaignProgress{Sent: p.GetSent() + 1}
		next.Minutes = minutes(p, next, at.Add(time.Duration(i+2)*time.Minute))
		p = next
	}
	require.Len(t, p.GetMinutes(), keptMinutes)
	require.Equal(t, at.Add((2*keptMinutes+1)*time.Minute).UnixMilli(), p.GetMinutes()[keptMinutes-1].GetBeginUnixMs())
}
