package bus_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/topology"
)

func stop(t testing.TB, c *bus.Consumer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	require.NoError(t, c.Stop(ctx))
}

func TestStopWaitsForHandlersAndGivesTheRestBack(t *testing.T) {
	e := bustest.Start(t, bustest.WithTopology(topology.Options{Partitions: 2, AckWait: 2 * time.Minute, PinnedTTL: 2 * time.Minute}))
	begun, release := make(chan struct{}), make(chan struct{})
	var done, later record
	c := e.Conn.NewConsumer(ruleConsumer(nil), func(_ context.Context, d *bus.Delivery) error {
		close(begun)
		<-release
		done.add(string(d.Data))
		return nil
	})
	for i := range 5 {
		publish(t, e.Conn, "a", fmt.Sprint(i))
	}
	require.NoError(t, c.Start(t.Context()))
	<-begun
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop(t, c)
	}()
	select {
	case <-stopped:
		t.Fatal("stop did not wait for the handler")
	case <-time.After(200 * time.Millisecond):
	}
	close(release)
	<-stopped
	require.Equal(t, []string{"0"}, done.all())
	require.NoError(t, c.Stop(t.Context()), "stop twice")

	next := e.NewConn(t, "next").NewConsumer(ruleConsumer(nil), func(_ context.Context, d *bus.Delivery) error {
		later.add(string(d.Data))
		return nil
	})
	start := time.Now()
	publish(t, e.Conn, "a", "5")
	bustest.Run(t, next)
	later.eventually(t, "1", "2", "3", "4", "5")
	require.Less(t, time.Since(start), time.Minute, "what was given back must not wait for AckWait or the pin")
}

func TestStopCutsHandlersOffAtItsDeadline(t *testing.T) {
	e := bustest.Start(t)
	begun := make(chan struct{})
	var again record
	c := e.Conn.NewConsumer(ruleConsumer(nil), func(ctx context.Context, _ *bus.Delivery) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	})
	publish(t, e.Conn, "a", "1")
	require.NoError(t, c.Start(t.Context()))
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, c.Stop(ctx), context.DeadlineExceeded)
	bustest.Run(t, e.Conn.NewConsumer(ruleConsumer(nil), func(_ context.Context, d *bus.Delivery) error {
		again.add(string(d.Data))
		return nil
	}))
	again.eventually(t, "1")
}

func TestStandbyTakesOverAtOnceWhenAReaderStops(t *testing.T) {
	e := bustest.Start(t, bustest.WithTopology(topology.Options{Partitions: 1, PinnedTTL: time.Minute}))
	var one, two record
	reader := func(r *record) bus.Handler {
		return func(_ context.Context, d *bus.Delivery) error { r.add(string(d.Data)); return nil }
	}
	first := e.NewConn(t, "one").NewConsumer(ruleConsumer(nil), reader(&one))
	require.NoError(t, first.Start(t.Context()))
	publish(t, e.Conn, "a", "1")
	one.eventually(t, "1")
	bustest.Run(t, e.NewConn(t, "two").NewConsumer(ruleConsumer(nil), reader(&two)))
	publish(t, e.Conn, "a", "2")
	one.eventually(t, "1", "2")
	stop(t, first)
	publish(t, e.Conn, "a", "3")
	require.Eventually(t, func() bool { return two.len() == 1 }, 30*time.Second, 5*time.Millisecond, "the pin would last a minute")
	require.Equal(t, []string{"3"}, two.all())
}

// TestCrashKeepsTheOrderOfEachFan kills a reader in the middle of a message. The server delivers that
// message again only after AckWait, and newer ones of the same fan before. They must wait; other fans
// must not.
func TestCrashKeepsTheOrderOfEachFan(t *testing.T) {
	t.Parallel()
	e := bustest.Start(t, bustest.WithTopology(topology.Options{Partitions: 1, PinnedTTL: 2 * time.Second, AckWait: 4 * time.Second}))
	conn := e.NewConn(t, "doomed")
	begun := make(chan struct{})
	c := conn.NewConsumer(ruleConsumer(nil), func(ctx context.Context, d *bus.Delivery) error {
		if topology.LaneKey(d.Subject) != "shop.a" {
			return nil
		}
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	})
	require.NoError(t, c.Start(t.Context()))
	publish(t, e.Conn, "c", "done before")
	publish(t, e.Conn, "a", "a1")
	publish(t, e.Conn, "c", "done between")
	<-begun
	reader, err := e.JS.Consumer(t.Context(), "INBOUND", "rule-00")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		info, err := reader.Info(t.Context())
		return err == nil && info.NumAckPending == 1 && info.Delivered.Stream == 3
	}, wait, 5*time.Millisecond)
	var done record
	bustest.Run(t, e.NewConn(t, "standby").NewConsumer(ruleConsumer(nil), func(_ context.Context, d *bus.Delivery) error {
		done.add(string(d.Data))
		return nil
	}))
	conn.NC().Close()
	publish(t, e.Conn, "a", "a2")
	publish(t, e.Conn, "b", "b1")
	done.eventually(t, "b1", "a1", "a2")
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.Error(t, c.Stop(ctx))
}

func TestLanesInDoubtGoOnWhenNothingElseIsPending(t *testing.T) {
	e := bustest.Start(t, bustest.WithTopology(topology.Options{Partitions: 1, PinnedTTL: 2 * time.Second, AckWait: 5 * time.Second}))
	conn := e.NewConn(t, "doomed")
	var before record
	blocked := make(chan struct{})
	c := conn.NewConsumer(ruleConsumer(nil), func(ctx context.Context, d *bus.Delivery) error {
		if string(d.Data) == "stuck" {
			close(blocked)
			<-ctx.Done()
			return ctx.Err()
		}
		before.add(string(d.Data))
		return nil
	})
	require.NoError(t, c.Start(t.Context()))
	publish(t, e.Conn, "x", "stuck")
	publish(t, e.Conn, "a", "a1") // acknowledged, but above the ack floor: in doubt for the next reader
	before.eventually(t, "a1")
	<-blocked
	conn.NC().Close()
	var done record
	again, release := make(chan struct{}), make(chan struct{})
	bustest.Run(t, e.NewConn(t, "standby").NewConsumer(ruleConsumer(nil), func(ctx context.Context, d *bus.Delivery) error {
		if string(d.Data) == "stuck" {
			close(again)
			select { // in our hands now, so nobody else's message is in doubt
			case <-release:
			case <-ctx.Done():
			}
		}
		done.add(string(d.Data))
		return nil
	}))
	publish(t, e.Conn, "b", "b1")
	done.eventually(t, "b1")
	publish(t, e.Conn, "a", "a2")
	<-again
	require.Eventually(t, func() bool { return done.len() == 2 }, 9*time.Second, 5*time.Millisecond,
		"the lane must not wait until its time is over, which it is 15 s after the standby began")
	require.Equal(t, []string{"b1", "a2"}, done.all())
	close(release)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.Error(t, c.Stop(ctx))
}

func TestAFullPartitionKeepsItsPin(t *testing.T) {
	t.Parallel()
	e := bustest.Start(t, bustest.WithTopology(topology.Options{Partitions: 1, PinnedTTL: 4 * time.Second}))
	release := make(chan struct{})
	var handled, stolen atomic.Int64
	cfg := ruleConsumer(func(cfg *bus.ConsumerConfig) { cfg.MaxInFlight = 2 })
	c := e.NewConn(t, "full").NewConsumer(cfg, func(ctx context.Context, _ *bus.Delivery) error {
		select {
		case <-release:
		case <-ctx.Done():
		}
		handled.Add(1)
		return nil
	})
	bustest.Run(t, c)
	for i := range 12 {
		publish(t, e.Conn, fmt.Sprintf("fan%d", i), fmt.Sprint(i))
	}
	require.Eventually(t, func() bool { _, held := c.Lanes(); return held >= 2 }, wait, 5*time.Millisecond)
	bustest.Run(t, e.NewConn(t, "standby").NewConsumer(cfg, func(context.Context, *bus.Delivery) error {
		stolen.Add(1)
		return nil
	}))
	<-time.After(10 * time.Second) // two and a half times the life of a silent pin
	close(release)
	require.Eventually(t, func() bool { return handled.Load() == 12 }, wait, 5*time.Millisecond)
	require.Zero(t, stolen.Load())
}

// TestAReaderThatLostItsPartitionPassesOnWhatItHas moves the pin away from a reader that lives. What it has not begun
// must not wait until it has time for it, nor until AckWait is over: the new reader's lanes wait for it.
func TestAReaderThatLostItsPartitionPassesOnWhatItHas(t *testing.T) {
	e := bustest.Start(t, bustest.WithTopology(topology.Options{Partitions: 1, PinnedTTL: 5 * time.Second, AckWait: 5 * time.Minute}))
	release := make(chan struct{})
	var former, next, done record
	full := ruleConsumer(func(cfg *bus.ConsumerConfig) { cfg.MaxInFlight = 3 })
	c := e.NewConn(t, "former").NewConsumer(full, func(ctx context.Context, d *bus.Delivery) error {
		former.add(string(d.Data))
		select {
		case <-release:
		case <-ctx.Done():
		}
		done.add(string(d.Data))
		return nil
	})
	bustest.Run(t, c)
	for i := range 3 {
		publish(t, e.Conn, "a", fmt.Sprint("a", i+1))
	}
	require.Eventually(t, func() bool { _, held := c.Lanes(); return held == 3 }, wait, 5*time.Millisecond) // it asks for no more
	bustest.Run(t, e.NewConn(t, "next").NewConsumer(ruleConsumer(nil), func(_ context.Context, d *bus.Delivery) error {
		next.add(string(d.Data))
		done.add(string(d.Data))
		return nil
	}))
	stream, err := e.JS.Stream(t.Context(), "INBOUND")
	require.NoError(t, err)
	for n := 1; next.len() == 0; n++ { // again, should the former one have asked for a message more at this very moment
		require.NoError(t, stream.UnpinConsumer(t.Context(), "rule-00", topology.PriorityGroup))
		publish(t, e.Conn, fmt.Sprint("b", n), fmt.Sprint("b", n))
		require.Eventually(t, func() bool { return next.len() > 0 || former.len() > n }, wait, 5*time.Millisecond)
	}
	require.Eventually(t, func() bool { _, held := c.Lanes(); return held == former.len() }, wait, 5*time.Millisecond, "it gives back what waits")
	close(release)
	fans := func() []string { return slices.DeleteFunc(done.all(), func(s string) bool { return s[0] == 'b' }) }
	require.Eventually(t, func() bool { return len(fans()) == 3 }, wait, 5*time.Millisecond)
	require.Equal(t, []string{"a1", "a2", "a3"}, fans())
}

func TestConsumerSurvivesALostConnection(t *testing.T) {
	e := bustest.Start(t, bustest.WithListen())
	conn, err := bus.Connect(t.Context(), bus.Options{Name: "flaky", URLs: []string{e.URL}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	var done record
	bustest.Run(t, conn.NewConsumer(ruleConsumer(nil), func(_ context.Context, d *bus.Delivery) error {
		done.add(string(d.Data))
		return nil
	}))
	publish(t, e.Conn, "a", "1")
	done.eventually(t, "1")
	require.NoError(t, conn.NC().ForceReconnect())
	publish(t, e.Conn, "a", "2")
	done.eventually(t, "1", "2")
	require.NoError(t, conn.Healthy())
}

func TestHandlersErrorsOfStopAreNoTries(t *testing.T) {
	e := bustest.Start(t)
	var tries atomic.Int64
	for range 6 { // more restarts than tries
		begun := make(chan struct{})
		c := e.Conn.NewConsumer(ruleConsumer(nil), func(ctx context.Context, d *bus.Delivery) error {
			if tries.Add(1) > 6 {
				return errors.New("must not happen")
			}
			close(begun)
			<-ctx.Done()
			return ctx.Err()
		})
		if tries.Load() == 0 {
			publish(t, e.Conn, "a", "1")
		}
		require.NoError(t, c.Start(t.Context()))
		<-begun
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		require.Error(t, c.Stop(ctx))
		cancel()
	}
	letters, err := e.Conn.DeadLetters().List(t.Context(), bus.DeadLetterFilter{}, 10)
	require.NoError(t, err)
	require.Empty(t, letters)
}

// TestOrderSurvivesCrashes kills readers in the middle of their work, again and again, while fans go on
// writing. What counts is the first success of each message.
func TestOrderSurvivesCrashes(t *testing.T) {
	t.Parallel()
	e := bustest.Start(t, bustest.WithTopology(topology.Options{Partitions: 1, PinnedTTL: 2 * time.Second, AckWait: 2 * time.Second}))
	const fans, crashes = 12, 3
	rng := rand.New(rand.NewPCG(3, 5))
	var mu sync.Mutex // guards rng and the maps
	first, seen := make(map[string][]uint64), make(map[uint64]bool)
	handler := func(dead *atomic.Bool) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			mu.Lock()
			pause, fails := time.Duration(rng.IntN(4000))*time.Microsecond, rng.IntN(100) < 5 && d.NumDelivered < 3
			mu.Unlock()
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return ctx.Err()
			}
			mu.Lock()
			defer mu.Unlock()
			if dead.Load() { // a dead process has no effects
				return errors.New("dead")
			}
			if fails {
				return errors.New("try later")
			}
			if !seen[d.Seq] {
				seen[d.Seq] = true
				first[topology.LaneKey(d.Subject)] = append(first[topology.LaneKey(d.Subject)], d.Seq)
			}
			return nil
		}
	}
	want := make(map[string][]uint64)
	total := 0
	say := func() {
		for range 30 {
			mu.Lock()
			fan := rng.IntN(fans)
			mu.Unlock()
			ack := publish(t, e.Conn, fmt.Sprintf("fan%d", fan), "")
			key := fmt.Sprintf("shop.fan%d", fan)
			want[key] = append(want[key], ack.Seq)
			total++
		}
	}
	done := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(seen)
	}
	for i := range crashes {
		conn, dead := e.NewConn(t, fmt.Sprint("doomed", i)), &atomic.Bool{}
		c := conn.NewConsumer(ruleConsumer(nil), handler(dead))
		require.NoError(t, c.Start(t.Context()))
		before := done()
		say()
		require.Eventually(t, func() bool { return done() >= min(before+10, total) }, 30*time.Second, time.Millisecond)
		mu.Lock()
		dead.Store(true)
		conn.NC().Close()
		mu.Unlock()
		say()
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), wait)
			defer cancel()
			_ = c.Stop(ctx)
		})
	}
	bustest.Run(t, e.NewConn(t, "survivor").NewConsumer(ruleConsumer(nil), handler(&atomic.Bool{})))
	say()
	require.Eventually(t, func() bool { return done() == total }, 30*time.Second, 10*time.Millisecond)
	require.Equal(t, want, first)
}
