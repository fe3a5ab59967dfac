package reply_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/pkg/testkit"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	gatewayv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/gateway/v1"
	"github.com/wxbus/wxbus/services/gateway/internal/reply"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const (
	delivered     = gatewayv1.OfferOutcome_OFFER_OUTCOME_DELIVERED
	undeliverable = gatewayv1.OfferOutcome_OFFER_OUTCOME_UNDELIVERABLE
	unknown       = gatewayv1.OfferOutcome_OFFER_OUTCOME_UNKNOWN
)

func hello() *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: "hello"}}}
}

func newRegistry(waits, outcomes int) (*reply.Registry, *testkit.Clock) {
	clock := testkit.NewClock(time.UnixMilli(1_700_000_000_000))
	return reply.NewRegistry(waits, outcomes, clock.Now), clock
}

// soon is a deadline that is not past.
func soon(c *testkit.Clock) time.Time { return c.Now().Add(time.Second) }

// open registers an attempt whose event was stored.
func open(t require.TestingT, r *reply.Registry, id string) *reply.Wait {
	w, ok := r.Open(id)
	require.True(t, ok)
	w.Confirm(true)
	return w
}

// offerIn offers on another goroutine and yields the outcome.
func offerIn(t *testing.T, r *reply.Registry, id string, deadline time.Time) <-chan gatewayv1.OfferOutcome {
	out := make(chan gatewayv1.OfferOutcome, 1)
	go func() {
		outcome, _ := r.Offer(t.Context(), id, reply.Offer{Content: hello(), Deadline: deadline})
		out <- outcome
	}()
	return out
}

func offer(t *testing.T, r *reply.Registry, id string, deadline time.Time) gatewayv1.OfferOutcome {
	return <-offerIn(t, r, id, deadline)
}

func TestOfferGoesToTheNewestAttempt(t *testing.T) {
	r, clock := newRegistry(10, 10)
	first, second := open(t, r, "event"), open(t, r, "event")
	outcome := offerIn(t, r, "event", soon(clock))
	<-second.Offers()
	second.Settle(delivered, "")
	require.Equal(t, delivered, <-outcome)
	_, got := first.Close()
	require.False(t, got, "an event takes one offer")
}

func TestOutcomeIsRememberedAfterTheWait(t *testing.T) {
	r, clock := newRegistry(10, 10)
	for _, outcome := range []gatewayv1.OfferOutcome{delivered, undeliverable, unknown} {
		id := outcome.String()
		w := open(t, r, id)
		answer := offerIn(t, r, id, soon(clock))
		<-w.Offers()
		w.Settle(outcome, "why")
		require.Equal(t, outcome, <-answer)
		w.End()
		require.Equal(t, outcome, offer(t, r, id, soon(clock)))
	}
	require.Zero(t, r.Waiting())
}

// TestUndeliverableStaysSo: what was told once binds, even when a retry could be served now.
func TestUndeliverableStaysSo(t *testing.T) {
	r, clock := newRegistry(10, 10)
	require.Equal(t, undeliverable, offer(t, r, "event", soon(clock)))
	w := open(t, r, "event")
	require.Equal(t, undeliverable, offer(t, r, "event", soon(clock)))
	_, got := w.Close()
	require.False(t, got)
}

func TestOfferPastItsDeadlineIsNotHandedOver(t *testing.T) {
	r, clock := newRegistry(10, 10)
	w := open(t, r, "event")
	require.Equal(t, undeliverable, offer(t, r, "event", clock.Now()))
	_, got := w.Close()
	require.False(t, got)
}

func TestForgottenOutcomesAreUnknown(t *testing.T) {
	t.Run("by age", func(t *testing.T) {
		r, clock := newRegistry(10, 10)
		deadline := clock.Now()
		clock.Advance(31 * time.Second)
		require.Equal(t, unknown, offer(t, r, "event", deadline))
	})
	t.Run("for lack of room", func(t *testing.T) {
		r, clock := newRegistry(10, 2)
		for i := range 3 {
			require.Equal(t, undeliverable, offer(t, r, fmt.Sprint(i), soon(clock)))
		}
		require.Equal(t, unknown, offer(t, r, "0", soon(clock)), "it may have been delivered for all we know")
		require.Equal(t, undeliverable, offer(t, r, "2", soon(clock)))
		clock.Advance(time.Minute)
		require.Equal(t, undeliverable, offer(t, r, "fresh", soon(clock)), "later it can be sure again")
	})
}

func TestOfferThatComesInTheLastMomentIsReturnedByClose(t *testing.T) {
	r, clock := newRegistry(10, 10)
	w := open(t, r, "event")
	outcome := offerIn(t, r, "event", soon(clock))
	require.Eventually(t, func() bool { return len(w.Offers()) == 1 }, 30*time.Second, time.Millisecond)
	o, ok := w.Close()
	require.True(t, ok)
	require.NotNil(t, o.Content)
	w.Settle(undeliverable, "too late")
	require.Equal(t, undeliverable, <-outcome)
}

func TestOwnerThatDiesLeavesAnUnknownOutcome(t *testing.T) {
	r, clock := newRegistry(10, 10)
	w := open(t, r, "event")
	outcome := offerIn(t, r, "event", soon(clock))
	<-w.Offers()
	w.End()
	require.Equal(t, unknown, <-outcome)
}

func TestOfferEndsWithItsContext(t *testing.T) {
	r, clock := newRegistry(10, 10)
	w := open(t, r, "event")
	defer w.End()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	outcome, _ := r.Offer(ctx, "event", reply.Offer{Content: hello(), Deadline: soon(clock)})
	require.Equal(t, unknown, outcome)
}

func TestOfferWaitsUntilTheEventIsAcknowledged(t *testing.T) {
	t.Run("stored", func(t *testing.T) {
		r, clock := newRegistry(10, 10)
		w, _ := r.Open("event")
		outcome := offerIn(t, r, "event", soon(clock))
		require.Never(t, func() bool { return len(w.Offers()) > 0 }, 10*time.Millisecond, time.Millisecond)
		w.Confirm(true)
		<-w.Offers()
		w.Settle(delivered, "")
		require.Equal(t, delivered, <-outcome)
	})
	t.Run("not stored", func(t *testing.T) {
		r, clock := newRegistry(10, 10)
		w, _ := r.Open("event")
		outcome := offerIn(t, r, "event", soon(clock))
		w.End()
		require.Equal(t, undeliverable, <-outcome)
	})
	t.Run("while an outcome may have been forgotten", func(t *testing.T) {
		r, clock := newRegistry(10, 1)
		for _, id := range []string{"event", "other"} {
			require.Equal(t, undeliverable, offer(t, r, id, soon(clock)))
		}
		w, _ := r.Open("event")
		w.Confirm(false)
		require.Equal(t, unknown, offer(t, r, "event", soon(clock)), "it was called undeliverable before")
		w.End()
	})
}

func TestDismissalReachesEveryAttempt(t *testing.T) {
	r, clock := newRegistry(10, 10)
	first, second := open(t, r, "event"), open(t, r, "event")
	require.True(t, r.Dismiss("event"))
	require.Nil(t, (<-first.Offers()).Content)
	require.Nil(t, (<-second.Offers()).Content)
	require.False(t, r.Dismiss("event"))
	require.Zero(t, r.Waiting())
	require.Equal(t, undeliverable, offer(t, r, "event", soon(clock)))
}

func TestWaitsAreBounded(t *testing.T) {
	r, _ := newRegistry(2, 10)
	a, _ := r.Open("a")
	_, ok := r.Open("b")
	require.True(t, ok)
	_, ok = r.Open("c")
	require.False(t, ok)
	a.End()
	a.End()
	_, ok = r.Open("c")
	require.True(t, ok)
}

// TestRegistryNeverContradictsItself runs random histories: whatever it told about an event, it
// tells again, unless it says that it forgot; and it calls nothing undeliverable that was written.
func TestRegistryNeverContradictsItself(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r, clock := newRegistry(4, rapid.IntRange(1, 3).Draw(rt, "memory"))
		ids := rapid.SampledFrom([]string{"a", "b", "c"})
		told := map[string]gatewayv1.OfferOutcome{}
		waits := map[string][]*reply.Wait{}
		deadline := clock.Now().Add(5 * time.Second)
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			id := ids.Draw(rt, "id")
			switch rapid.SampledFrom([]string{"open", "close", "offer", "time"}).Draw(rt, "step") {
			case "open":
				if w, ok := r.Open(id); ok {
					w.Confirm(false) // this event may have been here before
					waits[id] = append(waits[id], w)
				}
			case "close":
				for _, w := range waits[id] {
					w.End()
				}
				waits[id] = nil
			case "time":
				clock.Advance(time.Duration(rapid.IntRange(1, 20).Draw(rt, "seconds")) * time.Second)
			case "offer":
				outcome := offerAndWrite(t, r, id, deadline, waits[id])
				if before, ok := told[id]; ok && outcome != before {
					require.Equal(rt, unknown, outcome, "told %v before", before)
				}
				if _, ok := told[id]; !ok && outcome != unknown { // unknown binds nobody
					told[id] = outcome
				}
			}
		}
	})
}

// offerAndWrite offers; an attempt that gets the offer writes it.
func offerAndWrite(t *testing.T, r *reply.Registry, id string, deadline time.Time, waits []*reply.Wait) gatewayv1.OfferOutcome {
	answer := offerIn(t, r, id, deadline)
	for {
		select {
		case outcome := <-answer:
			return outcome
		default:
		}
		for _, w := range waits {
			select {
			case <-w.Offers():
				w.Settle(delivered, "")
			default:
			}
		}
	}
}

// TestManyOffersOneWrite offers from many sides while attempts come and go.
func TestManyOffersOneWrite(t *testing.T) {
	r := reply.NewRegistry(1000, 1000, time.Now)
	for round := range 50 {
		id := fmt.Sprint(round)
		var written atomic.Int32
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				w, ok := r.Open(id)
				if !ok {
					t.Error("refused")
					return
				}
				defer w.End()
				w.Confirm(true)
				select {
				case <-w.Offers():
					written.Add(1)
					w.Settle(delivered, "")
				case <-time.After(time.Millisecond):
					if _, ok := w.Close(); ok {
						w.Settle(undeliverable, "late")
					}
				}
			})
		}
		outcomes := make([]gatewayv1.OfferOutcome, 4)
		for i := range outcomes {
			wg.Go(func() {
				outcomes[i], _ = r.Offer(t.Context(), id, reply.Offer{Content: hello(), Deadline: time.Now().Add(time.Minute)})
			})
		}
		wg.Wait()
		for _, o := range outcomes {
			require.Equal(t, outcomes[0], o)
		}
		require.Equal(t, outcomes[0] == delivered, written.Load() == 1)
	}
}
