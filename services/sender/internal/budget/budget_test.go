package budget_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/sender/internal/budget"
	"github.com/wxbus/wxbus/services/sender/internal/pace"
)

func TestMain(m *testing.M) { testkit.Main(m) }

var noon = time.Date(2026, 11, 28, 4, 0, 0, 0, time.UTC) // 12:00 in Shanghai

// TestAllReplicasTogetherKeepTheRate: whoever asks whenever for however much, no more is leased than burst and rate
// allow, and somebody who waits as long as told gets something.
func TestAllReplicasTogetherKeepTheRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Float64Range(0.5, 500).Draw(t, "rate")
		burst := rapid.IntRange(1, 50).Draw(t, "burst")
		rec, now, total := &senderv1.BudgetRecord{}, noon, 0
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 500_000).Draw(t, "pause")) * time.Microsecond)
			before := proto.CloneOf(rec)
			next, granted, wait := budget.Take(rec, rapid.IntRange(1, 100).Draw(t, "want"), rate, burst, now, now)
			require.True(t, proto.Equal(before, rec))
			if granted == 0 {
				require.Positive(t, wait)
				_, later, _ := budget.Take(rec, 1, rate, burst, now.Add(wait), now.Add(wait))
				require.Equal(t, 1, later)
				continue
			}
			rec, total = next, total+granted
			most := float64(burst) + now.Sub(noon).Seconds()*rate + 2
			require.LessOrEqual(t, float64(total), most)
			require.EqualValues(t, total, rec.GetUsed())
		}
	})
}

func TestTheCountBeginsAnewAtMidnightInShanghai(t *testing.T) {
	late := time.Date(2026, 11, 28, 15, 59, 59, 0, time.UTC)
	rec, granted, _ := budget.Take(&senderv1.BudgetRecord{}, 5, 100, 100, late, late)
	require.Equal(t, 5, granted)
	require.EqualValues(t, 20261128, rec.GetDay())
	rec, _, _ = budget.Take(rec, 1, 100, 100, late.Add(time.Second), late.Add(time.Second))
	require.EqualValues(t, 20261129, rec.GetDay())
	require.EqualValues(t, 1, rec.GetUsed())
	require.Equal(t, late.Add(time.Second), budget.Reset(late).UTC())
	require.Equal(t, late.Add(time.Second+24*time.Hour), budget.Reset(late.Add(time.Second)).UTC())
}

func TestForecast(t *testing.T) {
	rec := &senderv1.BudgetRecord{}
	now := noon
	for range 600 { // ten minutes at one call a second
		next, granted, _ := budget.Take(rec, 1, 100, 100, now, now)
		require.Equal(t, 1, granted)
		rec, now = next, now.Add(time.Second)
	}
	u := budget.Forecast(rec, 4200, now)
	require.EqualValues(t, 600, u.Used)
	require.InDelta(t, 1, u.Rate, 0.02)
	require.WithinDuration(t, now.Add(time.Hour), u.Exhausted, 2*time.Minute)
	require.Zero(t, budget.Forecast(rec, 100_000, now).Exhausted, "it lasts until the reset")
	require.Zero(t, budget.Forecast(rec, 0, now).Exhausted, "no limit is known")
	require.Equal(t, now, budget.Forecast(rec, 600, now).Exhausted)
	quiet := budget.Forecast(rec, 4200, now.Add(time.Hour))
	require.Zero(t, quiet.Rate)
	require.Zero(t, quiet.Exhausted)
	rec.Limit = 1000
	require.EqualValues(t, 1000, budget.Forecast(rec, 4200, now).Limit, "WeChat's number wins")
}

// endless is a day without a limit.
func endless(pace.Key) (int64, budget.Reserve) { return 0, budget.Reserve{} }

// TestReplicasShareOneBudget: two processes on one bucket, both as fast as they can.
func TestReplicasShareOneBudget(t *testing.T) {
	env := bustest.Start(t)
	kv, err := env.JS.KeyValue(t.Context(), topology.BucketBudgets)
	require.NoError(t, err)
	key := pace.Key{Account: "shop", Endpoint: "custom_send"}
	const rate, burst = 200.0, 10
	began := time.Now()
	counts := make(chan int)
	for range 2 {
		go func() {
			b, n := budget.New(kv, rate, burst, endless, time.Now, time.Now), 0
			for time.Since(began) < time.Second {
				grant, err := b.Lease(t.Context(), key, 5, senderv1.Lane_LANE_NOTIFY)
				if err != nil {
					t.Error(err)
					break
				}
				n += grant.Calls
				if grant.Calls == 0 {
					<-time.After(grant.Wait)
				}
			}
			counts <- n
		}()
	}
	total := <-counts + <-counts
	require.LessOrEqual(t, float64(total), burst+rate*time.Since(began).Seconds()+1)
	require.GreaterOrEqual(t, total, burst)
	b := budget.New(kv, rate, burst, endless, time.Now, time.Now)
	use, err := b.Use(t.Context(), key, 1000)
	require.NoError(t, err)
	require.EqualValues(t, total, use.Used)
	require.NoError(t, b.Learn(t.Context(), key, 5000, 42))
	use, err = b.Use(t.Context(), key, 1000)
	require.NoError(t, err)
	require.EqualValues(t, 42, use.Used)
	require.EqualValues(t, 5000, use.Limit)
}
