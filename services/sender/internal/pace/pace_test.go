package pace_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/testkit"

	"github.com/wxbus/wxbus/services/sender/internal/pace"
)

func TestMain(m *testing.M) { testkit.Main(m) }

var shop = pace.Key{Account: "shop", Endpoint: "custom_send"}

func config() pace.Config {
	c := pace.DefaultConfig()
	c.Rate, c.Burst, c.InFlight = 1000, 1000, 2
	return c
}

// line records in which order callers got their turn.
type line struct {
	mu    sync.Mutex
	order []string
}

func (l *line) add(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.order = append(l.order, name)
}

func (l *line) got() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.order...)
}

// fifth lends without a pace; from the fifth call on campaigns have used their share.
type fifth struct {
	mu    sync.Mutex
	calls int
	until time.Time
}

func (f *fifth) Lease(_ context.Context, _ pace.Key, want int, lane senderv1.Lane) (pace.Grant, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	spent := map[senderv1.Lane]pace.Pause{senderv1.Lane_LANE_CAMPAIGN: {Until: f.until, Reason: "share"}}
	if lane == senderv1.Lane_LANE_CAMPAIGN {
		if want = min(want, 4-f.calls); want <= 0 {
			return pace.Grant{Spent: spent}, nil
		}
	}
	if f.calls += want; f.calls <= 4 {
		spent = nil
	}
	return pace.Grant{Calls: want, Spent: spent}, nil
}

func TestALaneThatHasUsedItsShareLeavesTheRestToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config()
		c.InFlight = 1
		lender := &fifth{until: time.Now().Add(time.Hour)}
		gates := pace.New(c, lender, time.Now, nil)
		defer gates.Close()
		var campaigns, agents, told int
		var all sync.WaitGroup
		var mu sync.Mutex // guards the counts
		for range 12 {
			all.Go(func() {
				pass, err := gates.Enter(t.Context(), shop, senderv1.Lane_LANE_CAMPAIGN)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					var paused *pace.PausedError
					assert.ErrorAs(t, err, &paused)
					assert.Equal(t, lender.until, paused.Pause.Until)
					told++
					return
				}
				campaigns++
				pass.Leave(pace.Well)
			})
		}
		all.Wait()
		require.Equal(t, 4, campaigns)
		require.Equal(t, 8, told)
		for range 20 {
			pass, err := gates.Enter(t.Context(), shop, senderv1.Lane_LANE_AGENT)
			require.NoError(t, err)
			pass.Leave(pace.Well)
			agents++
		}
		_, spent := gates.Spent(shop, senderv1.Lane_LANE_CAMPAIGN)
		require.True(t, spent)
		_, spent = gates.Spent(shop, senderv1.Lane_LANE_AGENT)
		require.False(t, spent)

		<-time.After(time.Hour) // the next day
		lender.mu.Lock()
		lender.calls = 0
		lender.mu.Unlock()
		pass, err := gates.Enter(t.Context(), shop, senderv1.Lane_LANE_CAMPAIGN)
		require.NoError(t, err)
		pass.Leave(pace.Well)
	})
}

func TestTheMostUrgentLaneGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config()
		c.InFlight = 1
		gates := pace.New(c, pace.NewAlone(c), time.Now, nil)
		defer gates.Close()
		first, err := gates.Enter(t.Context(), shop, senderv1.Lane_LANE_CAMPAIGN)
		require.NoError(t, err)
		var turns line
		for _, lane := range []senderv1.Lane{
			senderv1.Lane_LANE_CAMPAIGN, senderv1.Lane_LANE_NOTIFY, senderv1.Lane_LANE_AGENT, senderv1.Lane_LANE_RULE, senderv1.Lane_LANE_AGENT,
		} {
			go func() {
				pass, err := gates.Enter(t.Context(), shop, lane)
				if err == nil {
					turns.add(lane.String())
					pass.Leave(pace.Well)
				}
			}()
			synctest.Wait()
		}
		first.Leave(pace.Well)
		first.Leave(pace.Well)
		synctest.Wait()
		require.Equal(t, []string{"LANE_AGENT", "LANE_AGENT", "LANE_RULE", "LANE_NOTIFY", "LANE_CAMPAIGN"}, turns.got())
	})
}

func TestCallsUnderWayAreBoundedPerAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gates := pace.New(config(), pace.NewAlone(config()), time.Now, nil)
		defer gates.Close()
		for range 2 {
			_, err := gates.Enter(t.Context(), shop, senderv1.Lane_LANE_RULE)
			require.NoError(t, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := gates.Enter(ctx, shop, senderv1.Lane_LANE_RULE)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = gates.Enter(t.Context(), pace.Key{Account: "other", Endpoint: "custom_send"}, senderv1.Lane_LANE_RULE)
		require.NoError(t, err, "another account is not affected")
	})
}

func TestTheRateIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config()
		c.Rate, c.Burst = 10, 5
		gates := pace.New(c, pace.NewAlone(c), time.Now, nil)
		defer gates.Close()
		began := time.Now()
		for range 25 {
			pass, err := gates.Enter(t.Context(), shop, senderv1.Lane_LANE_RULE)
			require.NoError(t, err)
			pass.Leave(pace.Well)
		}
		require.InDelta(t, 2.0, time.Since(began).Seconds(), 0.1)
	})
}

func TestAShortPauseIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gates := pace.New(config(), pace.NewAlone(config()), time.Now, nil)
		defer gates.Close()
		began := time.Now()
		gates.Pause(shop, pace.Pause{Until: began.Add(time.Minute), Errcode: 45011})
		gates.Pause(shop, pace.Pause{Until: began.Add(time.Second), Errcode: 45011})
		pass, err := gates.Enter(t.Context(), shop, senderv1.Lane_LANE_RULE)
		require.NoError(t, err)
		pass.Leave(pace.Well)
		require.Equal(t, time.Minute, time.Since(began).Round(10*time.Millisecond))
	})
}

func TestALongPauseSendsEverybodyAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config()
		c.InFlight = 1
		gates := pace.New(c, pace.NewAlone(c), time.Now, nil)
		defer gates.Close()
		pass, err := gates.Enter(t.Context(), shop, senderv1.Lane_LANE_RULE)
		require.NoError(t, err)
		waiting := make(chan error, 1)
		go func() {
			_, err := gates.Enter(t.Context(), shop, senderv1.Lane_LANE_RULE)
			waiting <- err
		}()
		synctest.Wait()
		until := time.Now().Add(5 * time.Hour)
		gates.Pause(shop, pace.Pause{Until: until, Errcode: 45009, Reason: "daily quota"})
		var paused *pace.PausedError
		require.ErrorAs(t, <-waiting, &paused)
		require.Equal(t, until, paused.Pause.Until)
		pass.Leave(pace.Well)
		_, err = gates.Enter(t.Context(), shop, senderv1.Lane_LANE_AGENT)
		require.ErrorAs(t, err, &paused)
		<-time.After(5*time.Hour - 30*time.Second)
		pass, err = gates.Enter(t.Context(), shop, senderv1.Lane_LANE_AGENT)
		require.NoError(t, err, "the rest of the pause is short enough to wait")
		require.False(t, time.Now().Before(until))
		pass.Leave(pace.Well)
	})
}

func TestARefusingPauseNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gates := pace.New(config(), pace.NewAlone(config()), time.Now, nil)
		defer gates.Close()
		gates.Pause(shop, pace.Pause{Until: time.Now().Add(time.Second), Errcode: 48001, Refuse: true})
		var paused *pace.PausedError
		_, err := gates.Enter(t.Context(), shop, senderv1.Lane_LANE_RULE)
		require.ErrorAs(t, err, &paused)
		require.True(t, paused.Pause.Refuse)
		_, ok := gates.Paused(shop)
		require.True(t, ok)
		<-time.After(2 * time.Second)
		_, ok = gates.Paused(shop)
		require.False(t, ok)
	})
}

func TestASickAPIIsAskedOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var states line
		gates := pace.New(config(), pace.NewAlone(config()), time.Now, func(_ pace.Key, state string) { states.add(state) })
		defer gates.Close()
		for range 5 {
			pass, err := gates.Enter(t.Context(), shop, senderv1.Lane_LANE_RULE)
			require.NoError(t, err)
			pass.Leave(pace.Sick)
		}
		require.Equal(t, []string{"open"}, states.got())

		began := time.Now()
		probe, err := gates.Enter(t.Context(), shop, senderv1.Lane_LANE_RULE)
		require.NoError(t, err)
		require.GreaterOrEqual(t, time.Since(began), 10*time.Second)
		second := make(chan time.Time, 1)
		go func() {
			pass, err := gates.Enter(t.Context(), shop, senderv1.Lane_LANE_RULE)
			if err == nil {
				second <- time.Now()
				pass.Leave(pace.Well)
			}
		}()
		<-time.After(3 * time.Second)
		answered := time.Now()
		probe.Leave(pace.Well)
		require.False(t, (<-second).Before(answered), "only one call probes")
		require.Equal(t, []string{"open", "half-open", "closed"}, states.got())
	})
}

func TestATurnWithoutACallSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var states line
		gates := pace.New(config(), pace.NewAlone(config()), time.Now, func(_ pace.Key, state string) { states.add(state) })
		defer gates.Close()
		for i := range 20 {
			pass, err := gates.Enter(t.Context(), shop, senderv1.Lane_LANE_RULE)
			require.NoError(t, err)
			if i%5 == 4 {
				pass.Leave(pace.Well)
			} else {
				pass.Leave(pace.Unknown)
			}
		}
		require.Empty(t, states.got())
	})
}

func TestTheWaitingLineIsBoundedInLengthAndTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config()
		c.InFlight, c.Waiting, c.Hold = 1, 3, 20*time.Second
		gates := pace.New(c, pace.NewAlone(c), time.Now, nil)
		defer gates.Close()
		_, err := gates.Enter(t.Context(), shop, senderv1.Lane_LANE_RULE)
		require.NoError(t, err)
		results := make(chan error, 4)
		for range 3 {
			go func() {
				_, err := gates.Enter(t.Context(), shop, senderv1.Lane_LANE_RULE)
				results <- err
			}()
		}
		synctest.Wait()
		_, err = gates.Enter(t.Context(), shop, senderv1.Lane_LANE_RULE)
		require.ErrorIs(t, err, pace.ErrBusy)
		began := time.Now()
		for range 3 {
			require.ErrorIs(t, <-results, pace.ErrBusy)
		}
		require.Equal(t, 20*time.Second, time.Since(began))
		go func() {
			_, err := gates.Enter(t.Context(), shop, senderv1.Lane_LANE_RULE)
			results <- err
		}()
		synctest.Wait()
		gates.Close()
		require.ErrorIs(t, <-results, pace.ErrClosed)
		_, err = gates.Enter(t.Context(), shop, senderv1.Lane_LANE_RULE)
		require.ErrorIs(t, err, pace.ErrClosed)
	})
}

// TestAFloodInOneLaneKeepsNoOtherOut: there is room for an agent, and the agent is first.
func TestAFloodInOneLaneKeepsNoOtherOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config()
		c.InFlight, c.Waiting = 1, 3
		gates := pace.New(c, pace.NewAlone(c), time.Now, nil)
		defer gates.Close()
		first, err := gates.Enter(t.Context(), shop, senderv1.Lane_LANE_NOTIFY)
		require.NoError(t, err)
		var turns line
		enter := func(name string, lane senderv1.Lane) {
			go func() {
				if pass, err := gates.Enter(t.Context(), shop, lane); err == nil {
					turns.add(name)
					pass.Leave(pace.Well)
				}
			}()
			synctest.Wait()
		}
		for range 5 {
			enter("notify", senderv1.Lane_LANE_NOTIFY)
		}
		enter("agent", senderv1.Lane_LANE_AGENT)
		first.Leave(pace.Well)
		synctest.Wait()
		require.Equal(t, []string{"agent", "notify", "notify", "notify"}, turns.got())
	})
}

func TestConfigIsChecked(t *testing.T) {
	require.NoError(t, pace.DefaultConfig().Validate())
	err := pace.Config{}.Validate()
	require.ErrorContains(t, err, "rate:")
	require.ErrorContains(t, err, "hold:")
}

// TestANoisyAccountStarvesNobody: ten accounts send as much as their quota allows and one wants fifty times as much.
// Everybody gets the same, within a tenth.
func TestANoisyAccountStarvesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config()
		c.Rate, c.Burst, c.InFlight, c.Waiting = 50, 5, 16, 128
		gates := pace.New(c, pace.NewAlone(c), time.Now, nil)
		var mu sync.Mutex
		calls := map[string]int{}
		var senders sync.WaitGroup
		stop := time.Now().Add(20 * time.Second)
		flow := func(account string, callers int) {
			for range callers {
				senders.Go(func() {
					for time.Now().Before(stop) {
						pass, err := gates.Enter(t.Context(), pace.Key{Account: account, Endpoint: "custom_send"}, senderv1.Lane_LANE_NOTIFY)
						if err != nil {
							<-time.After(100 * time.Millisecond)
							continue
						}
						<-time.After(20 * time.Millisecond) // the call
						pass.Leave(pace.Well)
						mu.Lock()
						if time.Now().Before(stop) {
							calls[account]++
						}
						mu.Unlock()
					}
				})
			}
		}
		for n := range 10 {
			flow(string(rune('a'+n)), 4)
		}
		flow("noisy", 200)
		senders.Wait()
		gates.Close()
		want := c.Rate * 20
		for account, n := range calls {
			require.InDelta(t, want, n, want/10, "account %s", account)
		}
		require.Len(t, calls, 11)
	})
}
