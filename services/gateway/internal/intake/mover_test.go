package intake_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/topology"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	"github.com/wxbus/wxbus/services/gateway/internal/intake"
)

// spillEvent stores an event on the spill stream.
func spillEvent(t *testing.T, env *bustest.Env, id string, header nats.Header) *eventv1.InboundEvent {
	t.Helper()
	e := &eventv1.InboundEvent{
		Id: id, Account: "shop", Openid: "o_fan", Kind: eventv1.EventKind_EVENT_KIND_MESSAGE,
		ReceivedUnixMs: time.Now().Add(-10 * time.Second).UnixMilli(),
	}
	subject, err := topology.SubjectSpill(e.GetAccount(), e.GetPartition(), e.GetKind(), e.GetOpenid())
	require.NoError(t, err)
	data, err := proto.Marshal(e)
	require.NoError(t, err)
	_, err = env.Conn.Publish(t.Context(), bus.Msg{Subject: subject, ID: id, Data: data, Header: header})
	require.NoError(t, err)
	return e
}

func homeMessages(t *testing.T, env *bustest.Env) uint64 {
	s, err := env.JS.Stream(t.Context(), topology.StreamInbound)
	require.NoError(t, err)
	info, err := s.Info(t.Context())
	require.NoError(t, err)
	return info.State.Msgs
}

func TestMoverBringsEachPushHomeOnce(t *testing.T) {
	env := bustest.Start(t)
	e := spillEvent(t, env, "0123456789abcdef0123456789abcdef", nil)
	// The home stream had stored it after all, only its answer was lost.
	subject, err := topology.SubjectInbound(e.GetAccount(), e.GetPartition(), e.GetKind(), e.GetOpenid())
	require.NoError(t, err)
	_, err = env.Conn.Publish(t.Context(), bus.Msg{Subject: subject, ID: e.GetId(), Data: []byte("first")})
	require.NoError(t, err)
	spillEvent(t, env, "1123456789abcdef0123456789abcdef", nil)

	moved := make(chan time.Duration, 2)
	bustest.Run(t, intake.NewMover(env.Conn, env.Topology, intake.MoverOptions{}, func(_ context.Context, away time.Duration) { moved <- away }))
	for range 2 {
		require.GreaterOrEqual(t, <-moved, time.Duration(0))
	}
	require.Equal(t, uint64(2), homeMessages(t, env))
}

func TestMoverTakesTheMarksOfARequeueAway(t *testing.T) {
	env := bustest.Start(t)
	spillEvent(t, env, "0123456789abcdef0123456789abcdef", nats.Header{bus.HeaderReplay: {topology.ServiceGateway}, "Kept": {"yes"}})
	bustest.Run(t, intake.NewMover(env.Conn, env.Topology, intake.MoverOptions{}, nil))
	require.Eventually(t, func() bool { return homeMessages(t, env) == 1 }, 30*time.Second, 5*time.Millisecond)
	s, err := env.JS.Stream(t.Context(), topology.StreamInbound)
	require.NoError(t, err)
	msg, err := s.GetMsg(t.Context(), 1)
	require.NoError(t, err)
	require.Empty(t, msg.Header.Get(bus.HeaderReplay), "or the other services would pass it by")
	require.Equal(t, "yes", msg.Header.Get("Kept"))
}

func TestMoverStopsWhileItWaitsForTheHomeStream(t *testing.T) {
	env := bustest.Start(t)
	require.NoError(t, env.JS.DeleteStream(t.Context(), topology.StreamInbound))
	spillEvent(t, env, "0123456789abcdef0123456789abcdef", nil)
	first := intake.NewMover(env.Conn, env.Topology, intake.MoverOptions{}, nil)
	require.NoError(t, first.Start(t.Context()))
	require.Eventually(t, func() bool {
		c, err := env.JS.Consumer(t.Context(), topology.StreamSpill, topology.DurableSpillMover)
		require.NoError(t, err)
		return c.CachedInfo().NumAckPending == 1
	}, 30*time.Second, 5*time.Millisecond)
	start := time.Now()
	require.NoError(t, first.Stop(t.Context()))
	require.Less(t, time.Since(start), 5*time.Second)
	require.NoError(t, first.Stop(t.Context()), "twice is fine")

	require.NoError(t, env.Topology.Ensure(t.Context(), env.JS))
	bustest.Run(t, intake.NewMover(env.Conn, env.Topology, intake.MoverOptions{}, nil))
	require.Eventually(t, func() bool { return homeMessages(t, env) == 1 }, 30*time.Second, 10*time.Millisecond)
}

func TestMoverParksWhatIsNoEvent(t *testing.T) {
	env := bustest.Start(t)
	subject, err := topology.SubjectSpill("shop", 0, eventv1.EventKind_EVENT_KIND_MESSAGE, "o_fan")
	require.NoError(t, err)
	_, err = env.Conn.Publish(t.Context(), bus.Msg{Subject: subject, ID: "x", Data: []byte{0xff, 0xff}})
	require.NoError(t, err)
	bustest.Run(t, intake.NewMover(env.Conn, env.Topology, intake.MoverOptions{}, nil))
	require.Eventually(t, func() bool {
		letters, err := env.Conn.DeadLetters().List(t.Context(), bus.DeadLetterFilter{Service: topology.ServiceGateway}, 1)
		return err == nil && len(letters) == 1
	}, 30*time.Second, 10*time.Millisecond)
}

func TestAttemptNumber(t *testing.T) {
	env := bustest.Start(t)
	e := spillEvent(t, env, "0123456789abcdef0123456789abcdef", nil)
	attempts := intake.NewAttempts(env.JS, 5*time.Second)
	at := intake.Stored{Stream: topology.StreamSpill, Seq: 1, Duplicate: true}
	first := time.UnixMilli(e.GetReceivedUnixMs())
	for elapsed, want := range map[time.Duration]int{
		-time.Second: 1, 0: 1, 2400 * time.Millisecond: 1, 2600 * time.Millisecond: 2, 5 * time.Second: 2,
		7400 * time.Millisecond: 2, 10 * time.Second: 3, 12 * time.Second: 3, 15 * time.Second: 4,
	} {
		got, err := attempts.Number(t.Context(), at, first.Add(elapsed))
		require.NoError(t, err)
		require.Equal(t, want, got, "after %v", elapsed)
	}
	got, err := attempts.Number(t.Context(), intake.Stored{Stream: topology.StreamSpill, Seq: 99}, first)
	require.NoError(t, err)
	require.Equal(t, 1, got, "what is new is the first attempt")
	_, err = attempts.Number(t.Context(), intake.Stored{Stream: topology.StreamSpill, Seq: 99, Duplicate: true}, first)
	require.Error(t, err)
}
