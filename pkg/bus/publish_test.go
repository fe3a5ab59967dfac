package bus_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/topology"
)

func inbound(t testing.TB, partition uint32, openid string) string {
	t.Helper()
	s, err := topology.SubjectInbound("shop", partition, eventv1.EventKind_EVENT_KIND_MESSAGE, openid)
	require.NoError(t, err)
	return s
}

func TestPublishStoresOnceAndSaysSo(t *testing.T) {
	e := bustest.Start(t)
	m := bus.Msg{Subject: inbound(t, 0, "fan"), ID: "one", Data: []byte("hello")}
	first, err := e.Conn.Publish(t.Context(), m)
	require.NoError(t, err)
	require.Equal(t, bus.Ack{Stream: "INBOUND", Seq: 1}, first)
	again, err := e.Conn.Publish(t.Context(), m)
	require.NoError(t, err)
	require.Equal(t, bus.Ack{Stream: "INBOUND", Seq: 1, Duplicate: true}, again)
}
