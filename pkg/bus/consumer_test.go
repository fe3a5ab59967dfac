package bus_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

const wait = 60 * time.Second

// ruleConsumer reads one partition of INBOUND as the rule service, with short delays.
func ruleConsumer(change func(*bus.ConsumerConfig)) bus.ConsumerConfig {
	cfg := bus.ConsumerConfig{
		Service: topology.ServiceRule, Stream: topology.StreamInbound, Durables: []string{"rule-00"},
		Backoff: func(uint64) time.Duration { return 20 * time.Millisecond },
	}
	if change != nil {
		change(&cfg)
	}
	return cfg
}

func publish(t testing.TB, c *bus.Conn, openid, id string) bus.Ack {
	t.Helper()
	ack, err := c.Publish(t.Context(), bus.Msg{Subject: inbound(t, 0, openid), ID: id, Data: []byte(id)})
	require.NoError(t, err)
	return ack
}

// record keeps what handlers did, in order.
type record struct {
	mu   sync.Mutex
	done []string
}

func (r *record) add(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = append(r.done, s)
}

func (r *record) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.done...)
}

func (r *record) len() int { return len(r.all()) }

func (r *record) eventually(t testing.TB, want ...string) {
	t.Helper()
	require.Eventually(t, func() bool { return r.len() >= len(want) }, wait, 5*time.Millisecond, "got %v", r.all())
	require.Equal(t, want, r.all())
}

func TestOneFanInOrderManyFansInParallel(t *testing.T) {
	e := bustest.Start(t)
	const fans, each = 8, 5
	var running, most atomic.Int64
	var mu sync.Mutex
	last := make(map[string]int)
	var total atomic.Int64
	together := make(chan struct{})
	c := e.Conn.NewConsumer(ruleConsumer(nil), func(ctx context.Context, d *bus.Delivery) error {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		if most.Load() >= fans {
			select {
			case <-together:
			default:
				close(together)
			}
		}
		select {
		case <-together: // every fan must get here without another one ending
		case <-ctx.Done():
			return ctx.Err()
		}
		var n int
		_, err := fmt.Sscan(string(d.Data), &n)
		mu.Lock()
		defer mu.Unlock()
		key := topology.LaneKey(d.Subject)
		if err != nil || n != last[key]+1 {
			return fault.Errorf(fault.Permanent, "%s: %d after %d", key, n, last[key])
		}
		last[key] = n
		total.Add(1)
		return nil
	})
	for n := range each {
		for f := range fans {
			_, err := e.Conn.Publish(t.Context(), bus.Msg{Subject: inbound(t, 0, fmt.Sprintf("fan%d", f)), Data: fmt.Append(nil, n+1)})
			require.NoError(t, err)
		}
	}
	bustest.Run(t, c)
	require.Eventually(t, func() bool { return total.Load() == fans*each }, wait, 5*time.Millisecond)
	require.EqualValues(t, fans, most.Load())
	require.Eventually(t, func() bool {
		lanes, held := c.Lanes()
		return lanes == 0 && held == 0
	}, wait, 5*time.Millisecond, "lanes must go away")
}

func TestOrderOfAFanSurvivesRandomFailures(t *testing.T) {
	t.Parallel()
	e := bustest.Start(t)
	const fans, each = 10, 15
	rng := rand.New(rand.NewPCG(7, 11))
	var mu sync.Mutex
	first := make(map[string][]uint64) // the first success of each message
	seen := make(map[uint64]bool)
	var failures int
	c := e.Conn.NewConsumer(ruleConsumer(func(cfg *bus.ConsumerConfig) {
		cfg.MaxInFlight = 16 // lanes overflow: some messages wait on the server
		cfg.DeadLetterAfter = 7
	}), func(_ context.Context, d *bus.Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		if d.NumDelivered < 4 && rng.IntN(100) < 30 {
			failures++
			if rng.IntN(4) == 0 {
				panic("defect")
			}
			return fault.After(time.Duration(rng.IntN(60))*time.Millisecond, errors.New("try later"))
		}
		if !seen[d.Seq] {
			seen[d.Seq] = true
			key := topology.LaneKey(d.Subject)
			first[key] = append(first[key], d.Seq)
		}
		return nil
	})
	want := make(map[string][]uint64)
	for range each {
		for f := range fans {
			ack := publish(t, e.Conn, fmt.Sprintf("fan%d", f), "")
			key := fmt.Sprintf("shop.fan%d", f)
			want[key] = append(want[key], ack.Seq)
		}
	}
	bustest.Run(t, c)
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(seen) == fans*each
	}, 30*time.Second, 10*time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, want, first)
	require.Greater(t, failures, fans, "the test must have had failures")
}

func TestAFailingFanStopsNobodyElse(t *testing.T) {
	e := bustest.Start(t)
	var done record
	c := e.Conn.NewConsumer(ruleConsumer(nil), func(_ context.Context, d *bus.Delivery) error {
		if string(d.Data) == "bad" && d.NumDelivered < 3 {
			return fault.After(200*time.Millisecond, errors.New("not yet"))
		}
		done.add(string(d.Data))
		return nil
	})
	publish(t, e.Conn, "a", "bad")
	publish(t, e.Conn, "a", "after bad")
	publish(t, e.Conn, "b", "other")
	bustest.Run(t, c)
	done.eventually(t, "other", "bad", "after bad")
}

func TestABusyFanLeavesRoomForOthers(t *testing.T) {
	e := bustest.Start(t)
	release := make(chan struct{})
	var done record
	c := e.Conn.NewConsumer(ruleConsumer(func(cfg *bus.ConsumerConfig) { cfg.MaxInFlight = 16 }), func(ctx context.Context, d *bus.Delivery) error {
		if topology.LaneKey(d.Subject) == "shop.busy" {
			select {
			case <-release:
			case <-ctx.Done():
				return ctx.Err()
			}
			return nil
		}
		done.add(string(d.Data))
		return nil
	})
	for i := range 40 {
		publish(t, e.Conn, "busy", fmt.Sprintf("busy%d", i))
	}
	publish(t, e.Conn, "calm", "calm")
	bustest.Run(t, c)
	done.eventually(t, "calm")
	close(release)
}

func TestAHandlerHearsThatTheNextMessageOfItsFanWaits(t *testing.T) {
	e := bustest.Start(t, bustest.WithTopology(topology.Options{Partitions: 1}))
	r := &record{}
	bustest.Run(t, e.Conn.NewConsumer(ruleConsumer(nil), func(ctx context.Context, d *bus.Delivery) error {
		if strings.HasPrefix(string(d.Data), "quick") {
			r.add(string(d.Data))
			return nil
		}
		select {
		case <-d.Behind():
			r.add("heard by " + string(d.Data))
		case <-ctx.Done():
		}
		return nil
	}))
	publish(t, e.Conn, "o_fan", "first")
	publish(t, e.Conn, "o_other", "quick 1")
	r.eventually(t, "quick 1")
	publish(t, e.Conn, "o_fan", "second")
	r.eventually(t, "quick 1", "heard by first")
	publish(t, e.Conn, "o_fan", "quick 2")
	r.eventually(t, "quick 1", "heard by first", "heard by second", "quick 2")
}

func TestFansThatWaitDoNotKeepTheirOwnMessagesAway(t *testing.T) {
	e := bustest.Start(t)
	var done atomic.Int64
	c := e.Conn.NewConsumer(ruleConsumer(func(cfg *bus.ConsumerConfig) { cfg.MaxInFlight = 8 }), func(_ context.Context, d *bus.Delivery) error {
		if string(d.Data) == "0" && d.NumDelivered < 3 {
			return fault.After(100*time.Millisecond, errors.New("not yet"))
		}
		done.Add(1)
		return nil
	})
	const fans, each = 12, 3 // what waits is several times the window
	for i := range each {
		for f := range fans {
			_, err := e.Conn.Publish(t.Context(), bus.Msg{Subject: inbound(t, 0, fmt.Sprintf("fan%d", f)), Data: fmt.Append(nil, i)})
			require.NoError(t, err)
		}
	}
	bustest.Run(t, c)
	require.Eventually(t, func() bool { return done.Load() == fans*each }, wait, 5*time.Millisecond)
}

func TestRetryWaitsAsLongAsTheErrorSays(t *testing.T) {
	e := bustest.Start(t)
	times := make(chan time.Time, 2)
	c := e.Conn.NewConsumer(ruleConsumer(nil), func(_ context.Context, d *bus.Delivery) error {
		times <- time.Now()
		if d.NumDelivered == 1 {
			return fault.After(700*time.Millisecond, errors.New("quota"))
		}
		return nil
	})
	publish(t, e.Conn, "a", "1")
	bustest.Run(t, c)
	require.GreaterOrEqual(t, -(<-times).Sub(<-times), 650*time.Millisecond)
}

func TestSlowHandlersAreNotDisturbed(t *testing.T) {
	t.Parallel()
	e := bustest.Start(t, bustest.WithTopology(topology.Options{Partitions: 1, AckWait: 3 * time.Second, PinnedTTL: 2 * time.Second}))
	var calls atomic.Int64
	var done record
	c := e.Conn.NewConsumer(ruleConsumer(nil), func(ctx context.Context, d *bus.Delivery) error {
		calls.Add(1)
		if d.Seq == 1 {
			<-time.After(7 * time.Second) // more than twice the wait of the server
		}
		done.add(string(d.Data))
		return nil
	})
	publish(t, e.Conn, "a", "slow")
	publish(t, e.Conn, "a", "next")
	bustest.Run(t, c)
	done.eventually(t, "slow", "next")
	require.EqualValues(t, 2, calls.Load())
	reader, err := e.JS.Consumer(t.Context(), "INBOUND", "rule-00")
	require.NoError(t, err)
	require.EqualValues(t, 2, reader.CachedInfo().Delivered.Consumer, "each delivery counts towards the server's limit")
}

func TestHandlerIsBoundedInTime(t *testing.T) {
	e := bustest.Start(t)
	got := make(chan error, 1)
	c := e.Conn.NewConsumer(ruleConsumer(func(cfg *bus.ConsumerConfig) { cfg.Timeout = 50 * time.Millisecond }),
		func(ctx context.Context, d *bus.Delivery) error {
			if d.NumDelivered > 1 {
				return nil
			}
			<-ctx.Done()
			got <- ctx.Err()
			return ctx.Err()
		})
	publish(t, e.Conn, "a", "1")
	bustest.Run(t, c)
	require.ErrorIs(t, <-got, context.DeadlineExceeded)
}

func TestConfirmedAckIsTakenWhenTheNextBegins(t *testing.T) {
	e := bustest.Start(t)
	floors := make(chan uint64, 2)
	c := e.Conn.NewConsumer(ruleConsumer(func(cfg *bus.ConsumerConfig) { cfg.Confirm = true }), func(ctx context.Context, _ *bus.Delivery) error {
		reader, err := e.JS.Consumer(ctx, "INBOUND", "rule-00")
		if err != nil {
			return err
		}
		floors <- reader.CachedInfo().AckFloor.Stream
		return nil
	})
	publish(t, e.Conn, "a", "1")
	publish(t, e.Conn, "a", "2")
	bustest.Run(t, c)
	require.EqualValues(t, 0, <-floors)
	require.EqualValues(t, 1, <-floors)
}

func TestStartNamesWhatIsMissing(t *testing.T) {
	e := bustest.Start(t)
	handler := func(context.Context, *bus.Delivery) error { return nil }
	c := e.Conn.NewConsumer(ruleConsumer(func(cfg *bus.ConsumerConfig) { cfg.Durables = []string{"rule-77"} }), handler)
	err := c.Start(t.Context())
	require.Equal(t, fault.Permanent, fault.KindOf(err))
	require.ErrorContains(t, err, "durable rule-77 on INBOUND is missing")
	require.ErrorContains(t, err, "wxbus provision")
	c = e.Conn.NewConsumer(bus.ConsumerConfig{Service: "token", Stream: "INBOUND", Partitions: 1, DeadLetterAfter: 8}, handler)
	err = c.Start(t.Context())
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	require.ErrorContains(t, err, "a durable has no name")
	require.ErrorContains(t, err, "must be less than 8")
	require.NoError(t, c.Stop(t.Context()), "stop without start")
}

func TestMiddlewareOrder(t *testing.T) {
	e := bustest.Start(t)
	var calls record
	step := func(name string) bus.Middleware {
		return func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				calls.add(name)
				return next(ctx, d)
			}
		}
	}
	c := e.Conn.NewConsumer(ruleConsumer(nil), func(ctx context.Context, _ *bus.Delivery) error {
		if _, ok := ctx.Deadline(); !ok {
			return fault.New(fault.Permanent, "the time-out must be around the handler")
		}
		calls.add("handler")
		return nil
	}, step("outer"), step("inner"))
	require.Equal(t, []string{"recover", "trace", "metrics", "log", "dead-letter", "timeout", "recover handler"}, c.StepNames())
	publish(t, e.Conn, "a", "1")
	bustest.Run(t, c)
	calls.eventually(t, "outer", "inner", "handler")
}

func TestReplaysReachOnlyTheServiceThatFailed(t *testing.T) {
	e := bustest.Start(t)
	var rule, sender record
	handler := func(r *record) bus.Handler {
		return func(_ context.Context, d *bus.Delivery) error { r.add(string(d.Data)); return nil }
	}
	bustest.Run(t, e.Conn.NewConsumer(ruleConsumer(nil), handler(&rule)))
	bustest.Run(t, e.Conn.NewConsumer(bus.ConsumerConfig{Service: topology.ServiceSender, Stream: "INBOUND", Partitions: 1}, handler(&sender)))
	_, err := e.Conn.Publish(t.Context(), bus.Msg{Subject: inbound(t, 0, "a"), Data: []byte("again"), Header: map[string][]string{bus.HeaderReplay: {"rule"}}})
	require.NoError(t, err)
	publish(t, e.Conn, "a", "new")
	rule.eventually(t, "again", "new")
	sender.eventually(t, "new")
}

func BenchmarkConsume(b *testing.B) {
	e := bustest.Start(b)
	subjects := make([]string, 64)
	for i := range subjects {
		subjects[i] = inbound(b, 0, fmt.Sprint("fan", i))
	}
	for i := range b.N {
		_, err := e.JS.PublishAsync(subjects[i%len(subjects)], []byte("x"))
		require.NoError(b, err)
	}
	<-e.JS.PublishAsyncComplete()
	var done atomic.Int64
	finished := make(chan struct{})
	c := e.Conn.NewConsumer(ruleConsumer(nil), func(context.Context, *bus.Delivery) error {
		if done.Add(1) == int64(b.N) {
			close(finished)
		}
		return nil
	})
	b.ReportAllocs()
	b.ResetTimer()
	bustest.Run(b, c)
	<-finished
}
