//go:build k8s

package k8s

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/pkg/topology"
)

// storedPart is how many pushes go into one request.
const storedPart = 5000

// tellStored reads INBOUND as an operator, from its first to its last message, and tells the simulator.
func (s simulator) tellStored(t *testing.T, c *cluster) {
	t.Helper()
	encoded := c.do(t, "get", "secrets", "-o", `jsonpath={.items[?(@.data.NATS_PASSWORD_OPERATOR)].data.NATS_PASSWORD_OPERATOR}`)
	plain, err := base64.StdEncoding.DecodeString(strings.Fields(encoded)[0])
	require.NoError(t, err)
	nc, err := nats.Connect("nats://"+c.forward(t, "pod/nats-0", 4222),
		nats.UserInfo(topology.UserOperator, string(plain)), nats.Timeout(patience))
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	stream, err := js.Stream(t.Context(), topology.StreamInbound)
	require.NoError(t, err)
	reader, err := stream.OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	require.NoError(t, err)
	messages, err := reader.Messages()
	require.NoError(t, err)
	defer messages.Stop()
	list := []map[string]any{}
	for at := uint64(0); at < stream.CachedInfo().State.LastSeq; {
		m, err := messages.Next(jetstream.NextMaxWait(patience))
		require.NoError(t, err, "after %d of %d", at, stream.CachedInfo().State.LastSeq)
		meta, err := m.Metadata()
		require.NoError(t, err)
		at = meta.Sequence.Stream
		var e eventv1.InboundEvent
		require.NoError(t, proto.Unmarshal(m.Data(), &e))
		list = append(list, map[string]any{"account": e.GetAccount(), "openid": e.GetOpenid(), "msg_id": e.GetMsgId(), "event": e.GetEvent(), "create_time": e.GetCreateTime()})
	}
	for {
		n := min(storedPart, len(list))
		s.call(t, "POST", "/sim/v1/stored", map[string]any{"pushes": list[:n], "complete": n == len(list)}, nil)
		if list = list[n:]; len(list) == 0 {
			return
		}
	}
}
