package sender_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/services/sender"
)

func standing(t testing.TB, s *sender.Service, account string) *senderv1.GetSendingStatusResponse {
	t.Helper()
	resp, err := s.GetSendingStatus(t.Context(), &senderv1.GetSendingStatusRequest{Account: account})
	require.NoError(t, err)
	return resp
}

func endpointOf(resp *senderv1.GetSendingStatusResponse, e senderv1.SendEndpoint) *senderv1.EndpointStatus {
	for _, one := range resp.GetEndpoints() {
		if one.GetEndpoint() == e {
			return one
		}
	}
	return nil
}

// TestACampaignLeavesTheReservedCallsOfTheDay: what it may not use waits until WeChat counts anew, with the reason, and agents send.
func TestACampaignLeavesTheReservedCallsOfTheDay(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.openWindows(t, "shop", 8)
	f.cfg.Daily = map[string]int64{"custom_send": 10}
	f.cfg.Reserve.CampaignOf = map[string]int64{"shop": 50}
	shanghai := time.FixedZone("Asia/Shanghai", 8*60*60)
	now := f.clock.Now().In(shanghai)
	midnight := time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, shanghai)
	f.clock.freeze(midnight.Add(-5 * time.Second))
	s := f.replica(t, "a")
	c := f.newCampaign(t, s, 8, "hello")
	count := c.count(t)
	require.EqualValues(t, 5, count.GetBudgetLeft(), "its share of the day")
	require.EqualValues(t, 2, count.GetDays())
	c.start(t, nil)
	require.Eventually(t, func() bool { return standing(t, s, "shop").GetLanes()[3].GetParked() == 3 }, time.Minute, 20*time.Millisecond)
	require.Eventually(t, func() bool { return len(f.wechat.of(customSend)) == 5 }, time.Minute, 20*time.Millisecond)
	f.clock.freeze(midnight.Add(-3 * time.Second)) // time for a report
	require.Eventually(t, func() bool { return strings.Contains(c.get(t).GetProgress().GetWaiting(), "share of the day") }, time.Minute, 20*time.Millisecond,
		"it says what it waits for")

	custom := endpointOf(standing(t, s, "shop"), senderv1.SendEndpoint_SEND_ENDPOINT_CUSTOM_SEND)
	require.EqualValues(t, 5, custom.GetShares()[0].GetLimit())
	require.Equal(t, senderv1.Lane_LANE_CAMPAIGN, custom.GetShares()[0].GetLane())
	require.Zero(t, custom.GetPausedUntilUnixMs(), "only campaigns wait")
	for n := range 5 {
		ends(t, s, "shop", send(t, s, f.request("writer", fmt.Sprint("k", n), "hello")).GetId(), sent)
	}

	f.clock.freeze(time.Time{})
	f.clock.advance(midnight.Sub(f.clock.Now()))
	rec := c.becomes(t, finished)
	require.EqualValues(t, 8, rec.GetProgress().GetSent())
}

// TestParkedMessagesKeepNobodyWaiting: they are not in the queue any more, so they hold no place among the unacknowledged
// messages of their partitions, other accounts send, and order is kept when they come back.
func TestParkedMessagesKeepNobodyWaiting(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.cfg.Pace.Hold, f.cfg.Pace.InFlight = 500*time.Millisecond, 1
	shanghai := time.FixedZone("Asia/Shanghai", 8*60*60)
	now := f.clock.Now().In(shanghai)
	midnight := time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, shanghai)
	f.clock.freeze(midnight.Add(-3 * time.Second))
	s := f.replica(t, "a")
	quotas := `,"quota":{"daily_limit":1000,"used":1000,"remain":0}`
	f.wechat.answer(func(c call, _ int) answer {
		if c.Path == "/cgi-bin/openapi/quota/get" {
			return answer{more: quotas}
		}
		if c.Path == customSend {
			return answer{errcode: 45009}
		}
		return answer{}
	})
	const fans, each = 8, 3
	var ids []string
	for n := range fans * each {
		openid := fmt.Sprint("fan-", n%fans)
		ids = append(ids, send(t, s, f.request(openid, fmt.Sprint("k", n), fmt.Sprint("message ", n/fans))).GetId())
	}
	require.Eventually(t, func() bool { return f.queued(t) == 0 }, 30*time.Second, 10*time.Millisecond, "parked messages leave the queue")
	for _, id := range ids {
		require.Equal(t, parked, state(t, s, "shop", id).GetState())
	}
	require.Len(t, f.wechat.of(customSend), 1)

	status := standing(t, s, "shop")
	custom := endpointOf(status, senderv1.SendEndpoint_SEND_ENDPOINT_CUSTOM_SEND)
	require.Equal(t, midnight.UnixMilli(), custom.GetPausedUntilUnixMs())
	require.EqualValues(t, 45009, custom.GetPauseErrcode())
	require.EqualValues(t, 1000, custom.GetLimit())
	require.True(t, custom.GetLimitFromWechat(), "it asked WeChat when the quota was used up")
	require.EqualValues(t, 1000, custom.GetUsed())
	require.EqualValues(t, fans*each, status.GetLanes()[1].GetParked())
	require.Equal(t, midnight.UnixMilli(), status.GetResetsUnixMs())

	f.wechat.answer(nil)
	other := f.request("fan-other", "other", "hello")
	other.Account = "other"
	ends(t, s, "other", send(t, s, other).GetId(), sent)

	f.clock.freeze(midnight)
	for fan := range fans { // while the parked ones come back, newer ones stay behind them
		ids = append(ids, send(t, s, f.request(fmt.Sprint("fan-", fan), fmt.Sprint("new", fan), "message 3")).GetId())
	}
	for _, id := range ids {
		ends(t, s, "shop", id, sent)
	}
	for fan := range fans {
		texts := f.wechat.texts(fmt.Sprint("fan-", fan))
		require.Equal(t, []string{"message 0", "message 1", "message 2", "message 3"}, texts[len(texts)-4:], "fan-%d", fan)
	}
	require.Eventually(t, func() bool { return standing(t, s, "shop").GetLanes()[1].GetParked() == 0 }, 30*time.Second, 20*time.Millisecond)
}

// TestAFloodIsParkedAndArrives: more than the line takes; nothing is lost, and another account is not delayed.
func TestAFloodIsParkedAndArrives(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.cfg.Pace.Waiting, f.cfg.Pace.Rate, f.cfg.Pace.Burst = 5, 12, 1
	s := f.replica(t, "a")
	const flood = 60
	var ids []string
	for n := range flood {
		req := f.request(fmt.Sprint("fan-", n%20), fmt.Sprint("k", n), fmt.Sprint("message ", n/20))
		req.Lane = senderv1.Lane_LANE_NOTIFY
		ids = append(ids, send(t, s, req).GetId())
	}
	require.Eventually(t, func() bool { return standing(t, s, "shop").GetLanes()[2].GetParked() > 0 }, 30*time.Second, 10*time.Millisecond)
	other := f.request("fan-other", "other", "hello")
	other.Account = "other"
	ends(t, s, "other", send(t, s, other).GetId(), sent)
	require.Less(t, len(f.wechat.of(customSend)), flood, "another account does not wait for the flood")
	agent := f.request("fan-x", "agent", "an agent answers")
	agent.Lane = senderv1.Lane_LANE_AGENT
	agentID := send(t, s, agent).GetId()
	ends(t, s, "shop", agentID, sent)
	require.Less(t, len(f.wechat.of(customSend)), flood, "the agent does not wait for the flood")
	for _, id := range ids {
		ends(t, s, "shop", id, sent)
	}
	for n := range 20 {
		require.Equal(t, []string{"message 0", "message 1", "message 2"}, f.wechat.texts(fmt.Sprint("fan-", n)))
	}
}

func TestTwoReplicasKeepTheRateTogether(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.cfg.Pace.Rate, f.cfg.Pace.Burst = 20, 1
	replicas := []*sender.Service{f.replica(t, "a"), f.replica(t, "b")}
	var ids []string
	for n := range 40 {
		ids = append(ids, send(t, replicas[n%2], f.request(fmt.Sprint("fan-", n), fmt.Sprint("k", n), "hello")).GetId())
	}
	for _, id := range ids {
		ends(t, replicas[0], "shop", id, sent)
	}
	calls := f.wechat.of(customSend)
	took := calls[len(calls)-1].At.Sub(calls[0].At)
	require.GreaterOrEqual(t, took, 1800*time.Millisecond, "39 calls after the first, 20 a second")
	custom := endpointOf(standing(t, replicas[1], "shop"), senderv1.SendEndpoint_SEND_ENDPOINT_CUSTOM_SEND)
	require.EqualValues(t, 500_000, custom.GetLimit())
	require.False(t, custom.GetLimitFromWechat())
	require.EqualValues(t, 20, custom.GetRateLimit())
	require.Equal(t, "closed", custom.GetBreaker())
}

func TestAnAccountHasTheEndpointsOfItsKind(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	require.Len(t, standing(t, s, "shop").GetEndpoints(), 6)
	require.Len(t, standing(t, s, "mini").GetEndpoints(), 3)
	req := bare("shop", "fan", "k", text("x"))
	req.Evidence, req.NotBeforeUnixMs = f.said("s"), f.clock.Now().Add(time.Hour).UnixMilli()
	send(t, s, req)
	require.EqualValues(t, 1, standing(t, s, "shop").GetLanes()[2].GetLater())
}
