package clock

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/topology"
)

func TestMain(m *testing.M) { testkit.Main(m) }

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// looked returns a clock whose own shows noon, after servers said how far it is ahead of theirs.
func looked(t testing.TB, said ...time.Duration) *Clock {
	t.Helper()
	c := New(func() time.Time { return noon }, slog.New(slog.DiscardHandler))
	c.ask = func(context.Context) map[string]time.Duration {
		out := map[string]time.Duration{}
		for i, ahead := range said {
			out[fmt.Sprint("nats-", i)] = ahead
		}
		return out
	}
	require.Equal(t, len(said) > 0, c.look(context.Background()))
	return c
}

func TestAClockIsCorrectedByAMajorityOnly(t *testing.T) {
	const off = time.Hour
	for name, tc := range map[string]struct {
		said  []time.Duration
		ahead time.Duration
	}{
		"nobody answers":                      {nil, 0},
		"all agree that it is ahead":          {[]time.Duration{off, off, off}, off},
		"all agree that it is behind":         {[]time.Duration{-off, -off, -off}, -off},
		"two answer and agree":                {[]time.Duration{off, off}, off},
		"one server alone":                    {[]time.Duration{off}, 0},
		"one of three servers is wrong":       {[]time.Duration{0, 0, -off}, 0},
		"two against one and us":              {[]time.Duration{off, off, 0}, 0},
		"everybody says something else":       {[]time.Duration{off, -off, 0}, 0},
		"one server is wrong, we are as well": {[]time.Duration{off, off, -off}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := looked(t, tc.said...)
			require.Equal(t, tc.ahead, c.Ahead())
			require.Equal(t, noon.Add(-tc.ahead), c.Now())
		})
	}
}

func TestASmallDifferenceIsMeasuredAndNotCorrected(t *testing.T) {
	c := looked(t, tolerance, tolerance-time.Millisecond)
	require.Equal(t, tolerance-time.Millisecond, c.Ahead())
	require.Equal(t, noon, c.Now())
}

func TestAClockThatWasSetRightIsItsOwnAgain(t *testing.T) {
	c := looked(t, time.Hour, time.Hour)
	require.Equal(t, noon.Add(-time.Hour), c.Now())
	c.ask = func(context.Context) map[string]time.Duration { return nil }
	require.False(t, c.look(t.Context()), "nobody answers")
	require.Equal(t, noon.Add(-time.Hour), c.Now(), "what is known stays")
	c.ask = func(context.Context) map[string]time.Duration { return map[string]time.Duration{"a": 1, "b": 2} }
	require.True(t, c.look(t.Context()))
	require.Equal(t, noon, c.Now())
}

// TestARightClockIsNeverMadeWrong: as long as not most of the servers are wrong the same way, a right clock stays.
func TestARightClockIsNeverMadeWrong(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		right := rapid.IntRange(1, 5).Draw(r, "right")
		wrong := rapid.IntRange(0, right+1).Draw(r, "wrong")
		var said []time.Duration
		for range right {
			said = append(said, time.Duration(rapid.IntRange(-100, 100).Draw(r, "ms"))*time.Millisecond)
		}
		off := time.Duration(rapid.IntRange(-86400, 86400).Draw(r, "off")) * time.Second
		for range wrong {
			said = append(said, off)
		}
		require.Equal(t, noon, looked(t, said...).Now())
	})
}

// TestAServerOfNATSTellsTheTime: the servers that lead the streams are asked, one after the other.
func TestAServerOfNATSTellsTheTime(t *testing.T) {
	js := bustest.Start(t).JS
	ahead := func() time.Time { return time.Now().Add(time.Hour) }
	var found map[string]time.Duration
	require.Eventually(t, func() bool { // an answer that takes too long is none
		found = Servers(js, ahead, []string{"NONE", topology.StreamInbound}, 3)(t.Context())
		return len(found) == 1
	}, 2*time.Minute, 50*time.Millisecond, "one server, and a stream that nobody has")
	for _, by := range found {
		require.InDelta(t, time.Hour, by, float64(answerTimeout))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Empty(t, Servers(js, ahead, []string{topology.StreamInbound}, 3)(ended))
}

// TestAClockThatIsAnHourAheadGoesByNATS: three servers lead the streams between them.
func TestAClockThatIsAnHourAheadGoesByNATS(t *testing.T) {
	env := bustest.Cluster(t, 3)
	require.Eventually(t, func() bool { // a stream that was just made may be without a leader
		return env.Topology.SpreadLeaders(t.Context(), env.JS) == nil
	}, 2*time.Minute, 100*time.Millisecond)
	var streams []string
	for _, s := range env.Topology.Streams() {
		streams = append(streams, s.Name)
	}
	own := func() time.Time { return time.Now().Add(time.Hour) }
	c := New(own, slog.New(slog.DiscardHandler))
	c.Follow(t.Context(), Servers(env.JS, own, streams, 3))
	defer c.Close()
	require.Eventually(t, func() bool { return time.Until(c.Now()).Abs() < time.Minute }, 2*time.Minute, 50*time.Millisecond, "%s ahead", c.Ahead())
	require.InDelta(t, time.Hour, c.Ahead(), float64(time.Minute))
}

func TestFollowLooksAtOnceAndUntilClose(t *testing.T) {
	c := New(time.Now, slog.New(slog.DiscardHandler))
	looks := make(chan struct{}, 10)
	ctx, cancel := context.WithCancel(t.Context())
	c.Follow(ctx, func(context.Context) map[string]time.Duration {
		looks <- struct{}{}
		return nil
	})
	cancel() // of the start, not of the clock
	for range 2 {
		<-looks // nobody answered, so it asks again soon
	}
	c.Close()
	c.Close()
}
