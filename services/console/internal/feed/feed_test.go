package feed_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/console/internal/feed"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func start(t *testing.T, o feed.Options) (*bustest.Env, *feed.Hub) {
	t.Helper()
	e := bustest.Start(t)
	o.JetStream, o.Log, o.Now, o.Meter = e.Conn.JS(), slog.New(slog.DiscardHandler), time.Now, noop.NewMeterProvider()
	h := feed.New(o)
	require.NoError(t, h.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, h.Stop(context.Background())) })
	return e, h
}

func publish(t *testing.T, e *bustest.Env, n uint64, kind string) {
	t.Helper()
	data, err := proto.Marshal(&agentroutingv1.OwnerChanged{Account: "shop", Openid: "fan"})
	require.NoError(t, err)
	subject, err := topology.SubjectConversation("shop", "c")
	require.NoError(t, err)
	_, err = e.Conn.Publish(t.Context(), bus.Msg{Subject: subject, ID: fmt.Sprint(n), Data: data, Header: nats.Header{bus.HeaderType: {kind}}})
	require.NoError(t, err)
}

const ownerChanged = "wxbus.agentrouting.v1.OwnerChanged"

func everything(string) bool                { return true }
func alive(context.Context) error           { return nil }
func joined(h *feed.Hub, n int) func() bool { return func() bool { return h.Clients() == n } }

// watch runs a watch in the background and returns how it ended.
func watch(ctx context.Context, h *feed.Hub, w feed.Watch) <-chan error {
	w.Sees, w.Alive = everything, alive
	ended := make(chan error, 1)
	go func() {
		for {
			err := h.Watch(ctx, w)
			if fault.KindOf(err) != fault.Unavailable || ctx.Err() != nil { // the hub follows by then
				ended <- err
				return
			}
		}
	}()
	return ended
}

func TestAClientThatDoesNotKeepUpIsClosedAndTheOthersAreNot(t *testing.T) {
	e, h := start(t, feed.Options{Buffer: 4})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	release := make(chan struct{})
	slow := watch(ctx, h, feed.Watch{Send: func(m *consolev1.WatchResponse) error {
		if m.GetEvent() != nil {
			<-release
		}
		return nil
	}})
	seen := make(chan uint64, 100)
	quick := watch(ctx, h, feed.Watch{Send: func(m *consolev1.WatchResponse) error {
		if m.GetEvent() != nil {
			seen <- m.GetSeq()
		}
		return nil
	}})
	require.Eventually(t, joined(h, 2), 10*time.Second, 5*time.Millisecond)
	for n := range uint64(20) {
		publish(t, e, n+1, ownerChanged)
		require.Equal(t, n+1, <-seen)
	}
	close(release)
	err := <-slow
	require.Equal(t, fault.Conflict, fault.KindOf(err), "it may resume where it was")
	require.Eventually(t, joined(h, 1), 10*time.Second, 5*time.Millisecond)
	cancel()
	require.ErrorIs(t, <-quick, context.Canceled)
}

func TestFactsOfUnknownTypesArePassedOver(t *testing.T) {
	e, h := start(t, feed.Options{Heartbeat: 20 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan *consolev1.WatchResponse, 100)
	ended := watch(ctx, h, feed.Watch{Send: func(m *consolev1.WatchResponse) error { got <- m; return nil }})
	require.NotNil(t, (<-got).GetCaughtUp())
	publish(t, e, 1, "wxbus.agentrouting.v9.NotYetInvented")
	publish(t, e, 2, ownerChanged)
	for m := range got {
		if m.GetEvent() != nil {
			require.Equal(t, uint64(2), m.GetSeq())
			require.Equal(t, "fan", m.GetEvent().GetOwnerChanged().GetOpenid())
			break
		}
	}
	cancel()
	<-ended
}

func TestClientsAreBounded(t *testing.T) {
	_, h := start(t, feed.Options{MaxClients: 1})
	ctx, cancel := context.WithCancel(t.Context())
	first := watch(ctx, h, feed.Watch{Send: func(*consolev1.WatchResponse) error { return nil }})
	require.Eventually(t, joined(h, 1), 10*time.Second, 5*time.Millisecond)
	err := h.Watch(ctx, feed.Watch{Sees: everything, Alive: alive, Send: func(*consolev1.WatchResponse) error { return nil }})
	require.Equal(t, fault.Exhausted, fault.KindOf(err))
	cancel()
	<-first
}

func TestAWatchEndsWhenItsClientIsGone(t *testing.T) {
	e, h := start(t, feed.Options{})
	gone := errors.New("gone")
	ended := watch(t.Context(), h, feed.Watch{Send: func(m *consolev1.WatchResponse) error {
		if m.GetEvent() != nil {
			return gone
		}
		return nil
	}})
	require.Eventually(t, joined(h, 1), 10*time.Second, 5*time.Millisecond)
	publish(t, e, 1, ownerChanged)
	require.ErrorIs(t, <-ended, gone)
	require.Zero(t, h.Clients())
}
