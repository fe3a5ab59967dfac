package bus_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/topology"
)

// silent deletes a stream and leaves somebody on its subjects who never answers, like a leader that died with
// what was sent to it.
func silent(t *testing.T, e *bustest.Env, stream, subjects string) {
	t.Helper()
	require.NoError(t, e.JS.DeleteStream(t.Context(), stream))
	sub, err := e.Conn.NC().Subscribe(subjects, func(*nats.Msg) {})
	require.NoError(t, err)
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	require.NoError(t, e.Conn.NC().Flush())
}

// patient is the context of a handler that has long to live.
func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	t.Cleanup(cancel)
	return ctx
}

// TestAnAnswerThatGotLostIsNotWaitedForUntilTheHandlerEnds: without its own bound each of these waits for an hour.
func TestAnAnswerThatGotLostIsNotWaitedForUntilTheHandlerEnds(t *testing.T) {
	t.Run("publish", func(t *testing.T) {
		t.Parallel()
		eachPublisher(t, func(t *testing.T, e *bustest.Env, p publisher) {
			silent(t, e, topology.StreamInbound, "wx.in.>")
			_, err := p.Publish(patient(t), bus.Msg{Subject: inbound(t, 0, "fan"), ID: "one", Data: []byte("lost")})
			require.ErrorIs(t, err, bus.ErrTimeout)
		})
	})
	t.Run("bucket", func(t *testing.T) {
		t.Parallel()
		e := bustest.Start(t)
		kv, err := e.Conn.JS().KeyValue(t.Context(), topology.BucketSends)
		require.NoError(t, err)
		silent(t, e, "KV_"+topology.BucketSends, "$KV."+topology.BucketSends+".>")
		_, err = kv.Put(patient(t), "shop.one", []byte("lost"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = kv.Create(patient(t), "shop.two", []byte("lost"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = kv.Update(patient(t), "shop.two", []byte("lost"), 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}
