package content_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/content"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/wechat"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
)

// FuzzFromKfJSON: what is accepted is valid, can be stored, and means the same after a round trip.
func FuzzFromKfJSON(f *testing.F) {
	for _, body := range kfBodies {
		f.Add([]byte(body))
	}
	f.Add([]byte(`{"touser":"o_x","msgtype":"x","customservice":{"kf_account":"a@b"},"x":"\u0022\ud83d\u0000"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		openid, c, kfAccount, err := content.FromKfJSON(body)
		if err != nil {
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			require.Nil(t, c)
			return
		}
		require.NotEmpty(t, openid)
		require.NoError(t, content.ValidateFor(c, content.Target{Route: content.RouteKf}))
		stored, err := proto.Marshal(c)
		require.NoError(t, err)
		var loaded eventv1.Content
		require.NoError(t, proto.Unmarshal(stored, &loaded))

		written, err := content.KfMessage(&loaded, openid, kfAccount)
		require.NoError(t, err)
		require.True(t, json.Valid(written))
		require.Equal(t, string(written), string(wechat.PlainJSON(written)), "no escaped characters")
		openid2, c2, kfAccount2, err := content.FromKfJSON(written)
		if err != nil {
			require.Greater(t, len(written), content.MaxRaw)
			return
		}
		require.Equal(t, openid, openid2)
		require.Equal(t, kfAccount, kfAccount2)
		require.True(t, proto.Equal(c, c2), "%v became %v", c, c2)
	})
}
