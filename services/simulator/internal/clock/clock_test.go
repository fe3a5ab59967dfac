package clock_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wxbus/wxbus/services/simulator/internal/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)

func TestVirtualClockWakesSleepersInTime(t *testing.T) {
	c := clock.Virtual(start)
	woken := make(chan error, 1)
	go func() { woken <- c.Sleep(t.Context(), time.Minute) }()
	require.Eventually(t, func() bool { return c.Waiters() == 1 }, 30*time.Second, time.Millisecond)

	c.Advance(59 * time.Second)
	require.Empty(t, woken)
	c.Advance(time.Second)
	require.NoError(t, <-woken)
	require.Equal(t, start.Add(time.Minute), c.Now())
	require.Zero(t, c.Waiters())
}

func TestWallClockCanBeMovedForwardOverASleep(t *testing.T) {
	c := clock.Wall()
	woken := make(chan error, 1)
	go func() { woken <- c.Sleep(t.Context(), 48*time.Hour) }()
	require.Eventually(t, func() bool { return c.Waiters() == 1 }, 30*time.Second, time.Millisecond)
	before := c.Now()
	c.Advance(49 * time.Hour)
	require.NoError(t, <-woken)
	require.GreaterOrEqual(t, c.Now().Sub(before), 49*time.Hour)
}

func TestSleepEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, clock.Virtual(start).Sleep(ctx, time.Hour), context.Canceled)
	require.ErrorIs(t, clock.Wall().Sleep(ctx, time.Hour), context.Canceled)
}

func TestVirtualTimeoutFiresOnAdvance(t *testing.T) {
	c := clock.Virtual(start)
	ctx, cancel := c.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	require.NoError(t, ctx.Err())
	c.Advance(5 * time.Second)
	<-ctx.Done()
	require.ErrorIs(t, context.Cause(ctx), context.DeadlineExceeded)
}

func TestDiceRepeatUnderASeed(t *testing.T) {
	a, b, other := clock.NewDice(7), clock.NewDice(7), clock.NewDice(8)
	require.Equal(t, a.Text(136, "token", 1), b.Text(136, "token", 1))
	require.NotEqual(t, a.Text(136, "token", 1), a.Text(136, "token", 2))
	require.NotEqual(t, a.Uint64("nonce", 1), other.Uint64("nonce", 1))
	require.Len(t, a.Text(136, "x"), 136)
	f := a.Float("rate", 3)
	require.GreaterOrEqual(t, f, 0.0)
	require.Less(t, f, 1.0)
}
