package rule_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

func TestAFanIsNamedToBeRead(t *testing.T) {
	r := newRig(t)
	api := r.api(r.replica("rule-a", ""))
	for _, bad := range []*rulev1.EraseFanMemoryRequest{{}, {Account: "shop"}, {Openid: "o"}, {Account: "sh op", Openid: "o"}} {
		_, err := api.EraseFanMemory(t.Context(), bad)
		require.Equal(t, codes.InvalidArgument, status.Code(err), "%v", bad)
		_, err = api.GetFanMemory(t.Context(), &rulev1.GetFanMemoryRequest{Account: bad.GetAccount(), Openid: bad.GetOpenid()})
		require.Equal(t, codes.InvalidArgument, status.Code(err), "%v", bad)
	}
	got, err := api.EraseFanMemory(t.Context(), &rulev1.EraseFanMemoryRequest{Account: "shop", Openid: "o_nobody"})
	require.NoError(t, err)
	require.Len(t, got.GetItems(), 3)
}
