package intake_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/topology"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	"github.com/wxbus/wxbus/services/gateway/internal/intake"
)

const message = eventv1.EventKind_EVENT_KIND_MESSAGE

// subjectsOf returns the subjects of a fan on both streams.
func subjectsOf(t require.TestingT, fan string) (home, spill string) {
	home, err := topology.SubjectInbound("shop", 1, message, fan)
	require.NoError(t, err)
	spill, err = topology.SubjectSpill("shop", 1, eventv1.EventKind_EVENT_KIND_CLICK, fan)
	require.NoError(t, err)
	return home, spill
}

func TestAFanIsAwayUntilItsLastPushIsHome(t *testing.T) {
	a := intake.NewAway(10)
	home, spill := subjectsOf(t, "o_1")
	other, _ := subjectsOf(t, "o_2")
	require.NoError(t, a.Held(home, "1"), "nothing is known against it")
	require.True(t, a.Leave(spill, "1"))
	require.False(t, a.Leave(spill, "1"), "heard on another connection")
	require.True(t, a.Leave(spill, "2"))
	require.ErrorIs(t, a.Held(home, "3"), intake.ErrAway)
	require.NoError(t, a.Held(other, "4"), "nobody else waits for it")
	require.Equal(t, 1, a.Fans())
	a.Home("1")
	require.ErrorIs(t, a.Held(home, "3"), intake.ErrAway)
	a.Home("2")
	require.NoError(t, a.Held(home, "3"))
	require.False(t, a.Leave(spill, "2"), "what comes late from a slow connection changes nothing")
	require.False(t, a.Busy())
}

func TestAnEarlierPushIsNotHeldByALaterOne(t *testing.T) {
	a := intake.NewAway(10)
	home, spill := subjectsOf(t, "o_1")
	a.Leave(spill, "1")
	a.Leave(spill, "2")
	require.False(t, a.Strict(home, "1"), "it may go home by itself when the spill stream does not take it")
	require.ErrorIs(t, a.Held(home, "1"), intake.ErrAway, "and is asked for at the spill stream first, where its earlier attempt may be")
	require.True(t, a.Strict(home, "2"))
	a.Forget("1")
	require.False(t, a.Strict(home, "2"))
}

func TestALostNoticeIsLearnedFromTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := intake.NewAway(10)
		home, spill := subjectsOf(t, "o_1")
		a.Leave(spill, "own")
		a.Stored("own", 7)
		a.Leave(spill, "heard")
		a.Learn(time.Now(), 8, 6, 2)
		require.True(t, a.Strict(home, "next"))
		a.Learn(time.Now(), 8, 7, 1)
		require.False(t, a.Strict(home, "heard"), "7 is home")
		a.Learn(time.Now(), 8, 8, 0)
		require.ErrorIs(t, a.Held(home, "next"), intake.ErrAway, "what was heard in this moment may be stored in the next")
		<-time.After(intake.SettleTime + time.Second)
		a.Learn(time.Now(), 9, 8, 1)
		require.ErrorIs(t, a.Held(home, "next"), intake.ErrAway, "it can be 9")
		a.Learn(time.Now(), 11, 9, 2)
		require.NoError(t, a.Held(home, "next"), "it was 9 at most")
	})
}

func TestABlindGatewaySpillsUntilWhatWasThereIsHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := intake.NewAway(10)
		home, _ := subjectsOf(t, "o_1")
		a.Blind()
		require.ErrorIs(t, a.Held(home, "1"), intake.ErrBlind)
		require.False(t, a.Strict(home, "1"), "nothing is known to be away: a refusal of the spill stream is no refusal of the push")
		a.Learn(time.Now(), 5, 3, 2)
		require.True(t, a.Strict(home, "1"))
		<-time.After(time.Second)
		a.Learn(time.Now(), 9, 4, 5)
		require.ErrorIs(t, a.Held(home, "1"), intake.ErrBlind)
		a.Learn(time.Now(), 9, 5, 4)
		require.NoError(t, a.Held(home, "1"), "what comes later was heard")
		require.Equal(t, time.Second, a.Dark())

		a.Blind()
		a.Learn(time.Now(), 9, 9, 0)
		require.NoError(t, a.Held(home, "1"), "with nothing on the way it sees at once")
	})
}

func TestAfterASilenceWhatIsAwayMayBeAnybodys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := intake.NewAway(10)
		home, _ := subjectsOf(t, "o_1")
		a.LearnAfterSilence(time.Now(), 5, 5, 0)
		require.NoError(t, a.Held(home, "1"), "nothing is there that could have been missed")
		a.LearnAfterSilence(time.Now(), 7, 5, 2)
		require.ErrorIs(t, a.Held(home, "1"), intake.ErrBlind)
		a.Learn(time.Now(), 9, 7, 2)
		require.NoError(t, a.Held(home, "1"))
	})
}

func TestNobodyWaitsForEverForAServerThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := intake.NewAway(10)
		home, _ := subjectsOf(t, "o_1")
		a.Blind()
		<-time.After(intake.BlindPatience - time.Second)
		require.ErrorIs(t, a.Held(home, "1"), intake.ErrBlind)
		<-time.After(time.Second)
		require.NoError(t, a.Held(home, "1"))
		a.Learn(time.Now(), 5, 3, 2)
		require.ErrorIs(t, a.Held(home, "1"), intake.ErrBlind, "once it answers it counts")
		a.Learn(time.Now(), 5, 3, 0)
		require.ErrorIs(t, a.Held(home, "1"), intake.ErrBlind, "a replica that lags behind can say so")
		<-time.After(intake.SettleTime)
		a.Learn(time.Now(), 5, 3, 0)
		require.NoError(t, a.Held(home, "1"))
	})
}

func TestTooManyToKnowIsBlind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := intake.NewAway(2)
		home, _ := subjectsOf(t, "o_any")
		for _, fan := range []string{"o_1", "o_2", "o_3"} {
			_, spill := subjectsOf(t, fan)
			a.Leave(spill, fan)
		}
		require.True(t, a.Strict(home, "1"), "it may be anybody")
		a.Home("o_1")
		a.Home("o_2")
		require.True(t, a.Strict(home, "1"))
		<-time.After(time.Millisecond)
		a.Learn(time.Now(), 3, 2, 1)
		require.True(t, a.Strict(home, "1"))
		a.Learn(time.Now(), 4, 3, 1)
		require.NoError(t, a.Held(home, "1"))
	})
}

// What an away fan sends is refused when the spill stream does not take it, however long its fan has been away: WeChat's
// next attempt is the buffer. Only after the last one there is none.
func TestOrderIsWorthARefusalUntilTheLastAttempt(t *testing.T) {
	times := intake.Times{Primary: 800 * time.Millisecond, Total: 4 * time.Second}
	for _, tc := range []struct {
		name string
		away time.Duration // how long the fan is
		late time.Duration // of the attempt
		home bool
	}{
		{"first attempt", 0, 0, false},
		{"second attempt", 0, 6 * time.Second, false},
		{"first attempt, away for long", intake.OrderPatience - 10*time.Second, 0, false},
		{"last attempt", 0, 10 * time.Second, true},
		{"away for so long that something else is wrong", intake.OrderPatience, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := intake.NewAway(10)
				_, spill := subjectsOf(t, "o_1")
				a.Leave(spill, "before")
				<-time.After(tc.away)
				s := &script{home: []any{bus.Ack{Stream: "INBOUND", Seq: 1}}, spill: repeat(bus.ErrStreamFull, 1000)}
				event := &eventv1.InboundEvent{Id: "id", Account: "shop", Openid: "o_1", Kind: message,
					CreateTime: time.Now().Add(-tc.late).Unix(), ReceivedUnixMs: time.Now().UnixMilli()}
				got, err := intake.NewPublisher(intake.Ways{Home: s, Single: s, Away: a}, times).Publish(t.Context(), event)
				if tc.home {
					require.NoError(t, err)
					require.Equal(t, intake.Stored{Stream: "INBOUND", Seq: 1}, got)
					return
				}
				require.ErrorIs(t, err, bus.ErrStreamFull)
				require.NotContains(t, s.calls, "home")
			})
		})
	}
}

func TestTheLastAttemptGoesHomeWithItsLastTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := intake.NewAway(10)
		_, spill := subjectsOf(t, "o_1")
		a.Leave(spill, "before")
		s := &script{spill: []any{time.Hour, time.Hour, bus.Ack{Stream: "INBOUND_SPILL", Seq: 2}}}
		event := &eventv1.InboundEvent{Id: "id", Account: "shop", Openid: "o_1", Kind: message,
			CreateTime: time.Now().Add(-10 * time.Second).Unix(), ReceivedUnixMs: time.Now().UnixMilli()}
		got, err := intake.NewPublisher(intake.Ways{Home: s, Single: s, Away: a}, intake.Times{Primary: 800 * time.Millisecond, Total: 4 * time.Second}).Publish(t.Context(), event)
		require.NoError(t, err)
		require.True(t, got.Spilled, "a connection that hangs is no reason to overtake anybody")
		require.Equal(t, "spill spill spill", strings.Join(s.calls, " "))
	})
}

func TestAPushThatIsHomeAfterAllHoldsNobody(t *testing.T) {
	event := &eventv1.InboundEvent{Id: "id", Account: "shop", Openid: "o_1", Kind: message}
	times := intake.Times{Primary: 800 * time.Millisecond, Total: 4 * time.Second}
	home, _ := subjectsOf(t, "o_1")
	for _, tc := range []struct {
		name        string
		home, spill []any
		calls       string
		away        error
	}{
		{"home", []any{bus.ErrNoStream, bus.Ack{Seq: 1}}, []any{bus.ErrTimeout}, "home spill home", nil},
		{"nowhere", repeat(bus.ErrNoStream, 1000), repeat(bus.ErrStreamFull, 1000), "", nil},
		{"perhaps on the spill stream", repeat(bus.ErrNoStream, 1000), repeat(bus.ErrTimeout, 1000), "", intake.ErrAway},
		{"on the spill stream", []any{bus.ErrNoStream}, []any{bus.Ack{Seq: 1}}, "home spill", intake.ErrAway},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := intake.NewAway(10)
				s := &script{home: tc.home, spill: tc.spill}
				_, err := intake.NewPublisher(intake.Ways{Home: s, Single: s, Away: a}, times).Publish(t.Context(), event)
				if tc.calls != "" {
					require.NoError(t, err)
					require.Equal(t, tc.calls, strings.Join(s.calls, " "))
				}
				require.ErrorIs(t, a.Held(home, "next"), tc.away)
			})
		})
	}
}

// BenchmarkTheOrdinaryPush is what each push pays for the order of those that spill.
func BenchmarkTheOrdinaryPush(b *testing.B) {
	a := intake.NewAway(10)
	home, spill := subjectsOf(b, "o_1")
	b.Run("nobody is away", func(b *testing.B) {
		for b.Loop() {
			if a.Held(home, "1") != nil {
				b.Fatal("held")
			}
		}
	})
	a.Leave(spill, "2")
	other, _ := subjectsOf(b, "o_2")
	b.Run("somebody else is away", func(b *testing.B) {
		for b.Loop() {
			if a.Held(other, "1") != nil {
				b.Fatal("held")
			}
		}
	})
}
