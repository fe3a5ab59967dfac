package owner_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/topology"
	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	"github.com/wxbus/wxbus/services/rule/internal/owner"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func put(t *testing.T, kv jetstream.KeyValue, openid string, kind agentroutingv1.OwnerKind, name string, epoch uint64) {
	t.Helper()
	key, err := topology.FanKey("shop", openid)
	require.NoError(t, err)
	value, err := proto.Marshal(&agentroutingv1.OwnerRecord{
		Account: "shop", Openid: openid, Owner: &agentroutingv1.Owner{Kind: kind, Name: name, Epoch: epoch},
	})
	require.NoError(t, err)
	_, err = kv.Put(t.Context(), key, value)
	require.NoError(t, err)
}

func TestRulesFollowTheOwnerOfAFan(t *testing.T) {
	env := bustest.Start(t)
	kv, err := env.JS.KeyValue(t.Context(), topology.BucketOwners)
	require.NoError(t, err)
	put(t, kv, "before", agentroutingv1.OwnerKind_OWNER_KIND_AGENT, "li", 3)

	r := owner.New(slog.New(slog.DiscardHandler))
	require.NoError(t, r.Start(t.Context(), env.JS))
	defer func() { require.NoError(t, r.Stop(t.Context())) }()

	silent, _ := r.Of("shop", "before")
	require.Equal(t, "owner agent li", silent, "known when Start returns")
	silent, epoch := r.Of("shop", "nobody")
	require.Empty(t, silent)
	require.Zero(t, epoch)

	reason := func(openid string) func() string {
		return func() string { silent, _ := r.Of("shop", openid); return silent }
	}
	put(t, kv, "不是token", agentroutingv1.OwnerKind_OWNER_KIND_QUEUE, "aftersales", 1)
	require.Eventually(t, func() bool { return reason("不是token")() == "owner queue aftersales" }, 30*time.Second, time.Millisecond)
	put(t, kv, "before", agentroutingv1.OwnerKind_OWNER_KIND_BOT, "", 4)
	require.Eventually(t, func() bool {
		silent, epoch := r.Of("shop", "before")
		return silent == "" && epoch == 4
	}, 30*time.Second, time.Millisecond)
	require.NoError(t, kv.Delete(t.Context(), "shop.before"))
	require.Eventually(t, func() bool {
		_, epoch := r.Of("shop", "before")
		return epoch == 0
	}, 30*time.Second, time.Millisecond)
}
