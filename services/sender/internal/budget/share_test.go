package budget_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/sender/internal/budget"
	"github.com/wxbus/wxbus/services/sender/internal/pace"
)

const (
	agent    = senderv1.Lane_LANE_AGENT
	rule     = senderv1.Lane_LANE_RULE
	notify   = senderv1.Lane_LANE_NOTIFY
	campaign = senderv1.Lane_LANE_CAMPAIGN
)

// TestWhatIsReservedIsLeftToMoreUrgentLanes: whatever two replicas ask for in whatever order, every call of a lane is among the
// first of the day that it may use, agents and rules always get theirs, and a share that is used up is told until midnight.
func TestWhatIsReservedIsLeftToMoreUrgentLanes(t *testing.T) {
	env := bustest.Start(t)
	kv, err := env.JS.KeyValue(t.Context(), topology.BucketBudgets)
	require.NoError(t, err)
	var runs atomic.Int64
	rapid.Check(t, func(r *rapid.T) {
		limit := rapid.Int64Range(0, 60).Draw(r, "limit")
		notified := rapid.Int64Range(0, 99).Draw(r, "notify")
		reserve := budget.Reserve{Notify: notified, Campaign: rapid.Int64Range(notified, 99).Draw(r, "campaign")}
		require.NoError(r, reserve.Validate())
		shares := budget.SharesOf(limit, reserve)
		now := noon
		quota := func(pace.Key) (int64, budget.Reserve) { return limit, reserve }
		var replicas []*budget.Budgets
		for range 2 {
			replicas = append(replicas, budget.New(kv, 1e6, 1_000_000, quota, func() time.Time { return now }, time.Now))
		}
		key := pace.Key{Account: fmt.Sprint("shop", runs.Add(1)), Endpoint: "custom_send"}
		used := int64(0)
		for range rapid.IntRange(1, 60).Draw(r, "steps") {
			if rapid.IntRange(0, 19).Draw(r, "a new day") == 0 {
				now, used = budget.Reset(now), 0
			}
			lane := rapid.SampledFrom([]senderv1.Lane{agent, rule, notify, campaign}).Draw(r, "lane")
			want := rapid.IntRange(1, 8).Draw(r, "want")
			grant, err := replicas[rapid.IntRange(0, 1).Draw(r, "replica")].Lease(t.Context(), key, want, lane)
			require.NoError(r, err)
			require.Zero(r, grant.Wait)
			share := shares.Of(lane)
			require.EqualValues(r, max(0, min(int64(want), share-used)), grant.Calls, "%s of %d used, limit %d", lane, used, limit)
			used += int64(grant.Calls)
			if grant.Calls == 0 {
				require.Equal(r, budget.Reset(now), grant.Spent[lane].Until)
				require.NotEmpty(r, grant.Spent[lane].Reason)
			}
			for lane := range grant.Spent {
				require.GreaterOrEqual(r, used, shares.Of(lane), "only a share that is used up is told")
			}
			if used > shares.Campaign {
				require.Contains(r, grant.Spent, campaign)
			}
		}
	})
}

func TestReserves(t *testing.T) {
	shares := budget.SharesOf(1000, budget.DefaultReserve())
	require.EqualValues(t, 800, shares.Campaign)
	require.EqualValues(t, budget.NoShare, shares.Of(notify))
	require.EqualValues(t, budget.NoShare, shares.Of(agent))
	require.EqualValues(t, budget.NoShare, budget.SharesOf(0, budget.DefaultReserve()).Campaign, "no limit, no share")
	require.EqualValues(t, 1, budget.SharesOf(1, budget.DefaultReserve()).Campaign, "no day is without any")

	own := budget.Reserve{Notify: 10, Campaign: 20, CampaignOf: map[string]int64{"shop": 50}}
	require.NoError(t, own.Validate())
	require.EqualValues(t, 50, own.For("shop").Campaign)
	require.EqualValues(t, 20, own.For("other").Campaign)
	for path, bad := range map[string]budget.Reserve{
		"notify:":           {Notify: -1, Campaign: 20},
		"campaign:":         {Notify: 30, Campaign: 20},
		"campaign_of.shop:": {Campaign: 20, CampaignOf: map[string]int64{"shop": 100}},
	} {
		require.ErrorContains(t, bad.Validate(), path)
	}
}
