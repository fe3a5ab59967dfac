package replay_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/allinone/internal/replay"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const openid = "oFan"

func id(n int) string { return fmt.Sprintf("%032x", n) }

func store(t *testing.T, e *bustest.Env, account string, n int) {
	t.Helper()
	partition := e.Topology.Partition(account, openid)
	data, err := proto.Marshal(&eventv1.InboundEvent{Id: id(n), Account: account, Openid: openid, Partition: partition})
	require.NoError(t, err)
	subject, err := topology.SubjectInbound(account, partition, eventv1.EventKind_EVENT_KIND_MESSAGE, openid)
	require.NoError(t, err)
	_, err = e.Conn.Publish(t.Context(), bus.Msg{Subject: subject, ID: id(n), Data: data})
	require.NoError(t, err)
}

func decide(t *testing.T, e *bustest.Env, n int) {
	t.Helper()
	_, err := decision.NewStore(e.Conn, e.Topology).Create(t.Context(), &rulev1.DecisionMade{
		Id: id(n), Account: "shop", Openid: openid, Route: rulev1.Route_ROUTE_NONE,
	})
	require.NoError(t, err)
}

func hour() replay.Span { return replay.Span{Account: "shop", From: time.Now().Add(-time.Hour)} }

func run(t *testing.T, e *bustest.Env, s replay.Span, really bool) replay.Count {
	t.Helper()
	c, err := replay.Run(t.Context(), s, replay.Options{Conn: e.Conn, Topology: e.Topology, Really: really, Rate: 1000})
	require.NoError(t, err)
	return c
}

// replays returns the ids of the copies on the stream.
func replays(t *testing.T, e *bustest.Env) []string {
	t.Helper()
	stream, err := e.JS.Stream(t.Context(), topology.StreamInbound)
	require.NoError(t, err)
	var out []string
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		require.NoError(t, err)
		if m.Header.Get(bus.HeaderReplay) == topology.ServiceRule {
			out = append(out, m.Header.Get(jetstream.MsgIDHeader))
		}
	}
	return out
}

func TestOnlyWhatHasNoDecisionIsReplayedAndOnlyOnce(t *testing.T) {
	e := bustest.Start(t)
	for n := range 5 {
		store(t, e, "shop", n)
	}
	store(t, e, "club", 5)
	for _, n := range []int{0, 2, 3} {
		decide(t, e, n)
	}
	require.Equal(t, replay.Count{Events: 5, Decided: 3, Undecided: 2}, run(t, e, hour(), false))
	require.Empty(t, replays(t, e), "a count changes nothing")

	require.Equal(t, replay.Count{Events: 5, Decided: 3, Undecided: 2, Replayed: 2}, run(t, e, hour(), true))
	require.Equal(t, []string{id(1) + ":replay", id(4) + ":replay"}, replays(t, e), "in the order in which they came")
	require.Equal(t, replay.Count{Events: 5, Decided: 3, Undecided: 2, Repeated: 2}, run(t, e, hour(), true), "copies are no events")
	require.Len(t, replays(t, e), 2)

	decide(t, e, 1)
	decide(t, e, 4)
	require.Equal(t, replay.Count{Events: 5, Decided: 5}, run(t, e, hour(), true))
	require.Len(t, replays(t, e), 2)
}

func TestTheSpanBoundsWhatIsRead(t *testing.T) {
	e := bustest.Start(t)
	store(t, e, "shop", 1)
	before := replay.Span{Account: "shop", From: time.Now().Add(-2 * time.Hour), To: time.Now().Add(-time.Hour)}
	require.Equal(t, replay.Count{}, run(t, e, before, true))
	after := replay.Span{Account: "shop", From: time.Now().Add(time.Hour), To: time.Now().Add(2 * time.Hour)}
	require.Equal(t, replay.Count{}, run(t, e, after, true))

	_, err := replay.Run(t.Context(), replay.Span{Account: "shop", From: time.Now(), To: time.Now().Add(-time.Hour)}, replay.Options{Conn: e.Conn, Topology: e.Topology})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	_, err = replay.Run(t.Context(), replay.Span{Account: "*", From: time.Now().Add(-time.Hour)}, replay.Options{Conn: e.Conn, Topology: e.Topology})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

func TestAReplayEndsWithItsContext(t *testing.T) {
	e := bustest.Start(t)
	for n := range 3 {
		store(t, e, "shop", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var c replay.Count
	ended := make(chan error, 1)
	go func() {
		var err error
		c, err = replay.Run(ctx, hour(), replay.Options{Conn: e.Conn, Topology: e.Topology, Really: true, Rate: 0.001})
		ended <- err
	}()
	cancel() // a rate of one in a quarter of an hour: it waits
	require.Error(t, <-ended)
	require.Zero(t, c.Replayed)
	require.Empty(t, replays(t, e))
}
