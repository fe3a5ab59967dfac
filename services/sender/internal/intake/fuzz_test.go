package intake

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/sender/internal/endpoint"
)

// FuzzRequest: a request is refused with Invalid or NotFound, or becomes a message that can be stored
// and sent.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		`{"account":"shop","openid":"o1","idempotencyKey":"k","content":{"text":{"content":"hello"}}}`,
		`{"account":"shop","openid":"o.*> ","idempotencyKey":"k","lane":"LANE_AGENT","content":{"raw":{"msgType":"wxcard","json":"{\"wxcard\":{\"card_id\":\"1\"}}"}}}`,
		`{"account":"shop","openid":"o1","idempotencyKey":"k","content":{"typing":{}},"fallback":[{"template":{"templateId":"T","data":{"thing1":{"value":"x"}}}}],"notBeforeUnixMs":1}`,
		`{"account":"nobody"}`, `{"account":"shop","lane":77}`,
	} {
		req := &senderv1.SendRequest{}
		require.NoError(f, protojson.Unmarshal([]byte(seed), req))
		data, err := proto.Marshal(req)
		require.NoError(f, err)
		f.Add(data)
	}
	accounts, err := account.NewDirectory([]account.Account{{
		Name: "shop", AppID: "wx0000000000000001", OriginalID: "gh_000000000001", Token: secret.New("PushToken"),
		EncodingAESKey: secret.New("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"),
	}})
	require.NoError(f, err)
	topo, err := topology.New(topology.Options{})
	require.NoError(f, err)
	in := New(Deps{Accounts: accounts, Topology: topo, Now: time.Now})
	f.Fuzz(func(t *testing.T, data []byte) {
		req := &senderv1.SendRequest{}
		if proto.Unmarshal(data, req) != nil {
			t.Skip("no request")
		}
		_, m, err := in.message(req)
		if err != nil {
			require.Contains(t, []fault.Kind{fault.Invalid, fault.NotFound}, fault.KindOf(err))
			return
		}
		_, err = topology.SubjectOutbound(m.GetLane(), m.GetAccount(), m.GetPartition(), m.GetOpenid())
		require.NoError(t, err)
		_, err = topology.RecordKey(m.GetAccount(), m.GetId())
		require.NoError(t, err)
		for step := range uint32(len(m.GetFallback()) + 1) {
			_, err = endpoint.Body(m, step, 0)
			require.NoError(t, err)
		}
		one, err := requestHash(m)
		require.NoError(t, err)
		two, err := requestHash(proto.CloneOf(m))
		require.NoError(t, err)
		require.Equal(t, one, two)
	})
}
