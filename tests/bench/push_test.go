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
	for i := range out {
		id := round*n + i
		out[i] = textPush(t, cipher, account, fmt.Sprintf("oBench%022d", id%5000), fmt.Sprintf("请问我的订单什么时候发货？订单号 %d", id), id)
	}
	return out
}

// textPush is an encrypted text push of a fan, with the time of now: a timestamp far from the gateway's clock is counted, which costs.
func textPush(t *testing.T, cipher *wechat.Cipher, account, fan, text string, id int) push {
	t.Helper()
	now := time.Now().Unix()
	plain := fmt.Sprintf("<xml><ToUserName><![CDATA[%s]]></ToUserName><FromUserName><![CDATA[%s]]></FromUserName>"+
		"<CreateTime>%d</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[%s]]></Content><MsgId>%d</MsgId></xml>",
		toUser, fan, now, text, 24_000_000_000_000_000+id)
	encrypted, err := cipher.Encrypt([]byte(plain))
	require.NoError(t, err)
	ts, nonce := fmt.Sprint(now), fmt.Sprint(100_000+id)
	q := url.Values{
		"timestamp": {ts}, "nonce": {nonce}, "openid": {"oBench"}, "encrypt_type": {"aes"},
		"signature": {wechat.Sign(token, ts, nonce)}, "msg_signature": {wechat.Sign(token, ts, nonce, encrypted)},
	}
	return push{
		path: "/wx/" + account + "?" + q.Encode(),
		body: fmt.Appendf(nil, "<xml><ToUserName><![CDATA[%s]]></ToUserName><Encrypt><![CDATA[%s]]></Encrypt></xml>", toUser, encrypted),
	}
}
