//go:build bench

package bench

import (
	"crypto/rand"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/wechat"
)

const (
	token  = "benchtoken"
	aesKey = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	appid  = "wx00000000000000be"
	toUser = "gh_bench"
)

func benchConfig() map[string]any {
	return map[string]any{"admin": map[string]any{"pprof": true}, "accounts": []map[string]any{{
		"name": "shop", "appid": appid, "original_id": toUser, "kind": "service", "format": "xml", "mode": "secure",
		"token": token, "encoding_aes_key": aesKey, "app_secret": "bench-secret", "reply": "ack",
	}}}
}

type push struct {
	path string
	body []byte
}

// securePushes prepares encrypted text pushes, each of its own fan and with its own id.
func securePushes(t *testing.T, account string, n, round int) []push {
	t.Helper()
	cipher, err := wechat.NewCipher(aesKey, appid, rand.Reader)
	require.NoError(t, err)
	out := make([]push, n)
	now := time.Now().Unix() // a timestamp far from the gateway's clock is counted, which costs
	for i := range out {
		id := round*n + i
		plain := fmt.Sprintf("<xml><ToUserName><![CDATA[%s]]></ToUserName><FromUserName><![CDATA[oBench%022d]]></FromUserName>"+
			"<CreateTime>%d</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[请问我的订单什么时候发货？订单号 %d]]></Content><MsgId>%d</MsgId></xml>",
			toUser, id%5000, now, id, 24_000_000_000_000_000+id)
		encrypted, err := cipher.Encrypt([]byte(plain))
		require.NoError(t, err)
		ts, nonce := fmt.Sprint(now), fmt.Sprint(100_000+i)
		q := url.Values{
			"timestamp": {ts}, "nonce": {nonce}, "openid": {"oBench"}, "encrypt_type": {"aes"},
			"signature": {wechat.Sign(token, ts, nonce)}, "msg_signature": {wechat.Sign(token, ts, nonce, encrypted)},
		}
		out[i] = push{
			path: "/wx/" + account + "?" + q.Encode(),
			body: fmt.Appendf(nil, "<xml><ToUserName><![CDATA[%s]]></ToUserName><Encrypt><![CDATA[%s]]></Encrypt></xml>", toUser, encrypted),
		}
	}
	return out
}
