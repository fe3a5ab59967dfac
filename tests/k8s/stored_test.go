//go:build k8s

package k8s

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/tests/readback"
)

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
	readback.TellInbound(t, js, s.Control)
}
