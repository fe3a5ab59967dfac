package trace

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/process"
	"github.com/wxbus/wxbus/pkg/telemetry/telemetrytest"
	"github.com/wxbus/wxbus/pkg/wechat"
	allinone "github.com/wxbus/wxbus/services/allinone"
)

// Canaries: none of them may show up in a span, a metric label or an info log.
const (
	openID      = "oCanaryFan_5d1f0c77"
	content     = "canary-question-5d1f0c77"
	firstReply  = "canary-first-reply-5d1f0c77"
	secondReply = "canary-second-reply-5d1f0c77"
	pushToken   = "canarypushtoken5d1f0c77"
	aesKey      = "canarykey0canarykey1canarykey2canarykey3abc"
	appSecret   = "canary-app-secret-5d1f0c77"
	accessToken = "canary-access-token-5d1f0c77"
)

const (
	appID      = "wx00000000000a11ce"
	originalID = "gh_shop"
)

var canaries = map[string]string{
	"openid": openID, "content of the push": content, "first reply": firstReply, "second reply": secondReply,
	"token of the account": pushToken, "EncodingAESKey": aesKey, "AppSecret": appSecret, "access token": accessToken,
}

// world is every service in this process, and a fake WeChat.
type world struct {
	tel     *telemetrytest.Telemetry
	weChat  *fakeWeChat
	gateway string
}

// start runs all services except the simulator. replace exchanges services by name; more is added to the
// configuration.
func start(t *testing.T, more string, replace ...process.Module) *world {
	t.Helper()
	w := &world{tel: telemetrytest.New(t), weChat: newFakeWeChat(t)}
	modules, err := allinone.Select(allinone.TargetAll)
	require.NoError(t, err)
	for i, m := range modules {
		for _, r := range replace {
			if r.Name == m.Name {
				modules[i] = r
			}
		}
	}
	p, err := process.Start(t.Context(), process.Spec{
		Name: "wxbus", Modules: modules, Embed: allinone.Embed, Log: io.Discard, Telemetry: w.tel.Telemetry,
		Load: config.LoadOptions{File: "test", Content: []byte(w.config(t) + more)},
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		require.NoError(t, p.Stop(ctx))
	})
	for _, u := range p.URLs() {
		if u.Name == "gateway" {
			w.gateway = u.URL
		}
	}
	require.NotEmpty(t, w.gateway)
	return w
}

func (w *world) config(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	rules := filepath.Join(dir, "rules.yaml")
	require.NoError(t, os.WriteFile(rules, fmt.Appendf(nil,
		"rules:\n  - {name: two, match: {exact: [%s]}, do: [{reply: {text: %s}}, {reply: {text: %s}}]}\n", content, firstReply, secondReply), 0o600))
	key := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))
	return fmt.Sprintf(`
data: %q
master_key: %q
rules_file: %q
nats: {listen: "", sync_always: false}
admin: {listen: "127.0.0.1:0"}
grpc: {listen: "127.0.0.1:0"}
gateway: {listen: "127.0.0.1:0"}
console: {listen: "127.0.0.1:0"}
accounts:
  - {name: shop, appid: %s, original_id: %s, kind: service, format: xml, mode: secure, reply: passive,
     token: %s, encoding_aes_key: %s, app_secret: %s, api_base: %q}
`, dir, key, rules, appID, originalID, pushToken, aesKey, appSecret, w.weChat.URL)
}

// push sends the canary text as WeChat does in secure mode and returns the text of the passive reply.
func (w *world) push(t *testing.T) string {
	t.Helper()
	cipher, err := wechat.NewCipher(aesKey, appID, nil)
	require.NoError(t, err)
	now := time.Now()
	plain := fmt.Sprintf("<xml><ToUserName>%s</ToUserName><FromUserName>%s</FromUserName><CreateTime>%d</CreateTime>"+
		"<MsgType>text</MsgType><Content>%s</Content><MsgId>%d</MsgId></xml>", originalID, openID, now.Unix(), content, now.UnixNano())
	query, sealed, err := cipher.SealPush(wechat.Seal{Format: wechat.XML, Token: pushToken, Timestamp: now.Unix(), Nonce: "nonce"}, originalID, []byte(plain))
	require.NoError(t, err)
	query.OpenID = openID
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.gateway+"/wx/shop?"+query.Encode(), bytes.NewReader(sealed))
	require.NoError(t, err)
	req.Header.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01") // strangers choose no trace of ours
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s", body)
	opened, err := cipher.OpenReply(pushToken, body, wechat.Limits{})
	require.NoError(t, err, "%s", body)
	var reply struct{ Content string }
	require.NoError(t, xml.Unmarshal(opened, &reply))
	return reply.Content
}
