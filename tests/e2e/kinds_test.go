package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sendJSON sends a message of any kind by the API for business systems.
func (f *fan) sendJSON(t testing.TB, key string, message map[string]any) (int, sent) {
	t.Helper()
	message["touser"] = f.openid
	status, body := f.w.call(t, http.MethodPost, f.w.Console+"/api/v1/accounts/"+f.account+"/messages", http.Header{"Idempotency-Key": {key + f.openid}}, message)
	var out sent
	require.NoError(t, json.Unmarshal(body, &out), "%s", body)
	return status, out
}

// state asks for a message until it has come to that state.
func (f *fan) state(t testing.TB, id, want string) (answer struct {
	State   string `json:"state"`
	Errcode int    `json:"errcode"`
	Reason  string `json:"reason"`
}) {
	t.Helper()
	require.True(t, eventually(t, 60*time.Second, func() bool {
		status, body := f.w.call(t, http.MethodGet, f.w.Console+"/api/v1/accounts/"+f.account+"/messages/"+id, nil, nil)
		require.Equal(t, http.StatusOK, status, "%s", body)
		require.NoError(t, json.Unmarshal(body, &answer))
		return answer.State == want
	}), "state %s wanted: %+v", want, answer)
	return answer
}

func templateMessage(value string) map[string]any {
	return map[string]any{"msgtype": "template", "template": map[string]any{
		"template_id": "T1", "data": map[string]any{"thing1": map[string]any{"value": value}},
	}}
}

var kinds = map[string]func(*testing.T, *world){
	"a template message needs no window and ends with WeChat's event": func(t *testing.T, w *world) {
		f := w.newFan(t, compatJSON)
		status, out := f.sendJSON(t, "template", templateMessage("已发货"))
		require.Equal(t, http.StatusAccepted, status, "%+v", out)
		f.sees(t, "template:thing1: 已发货")
		f.state(t, out.ID, "sent")
	},
	"a subscription message without consent is refused by WeChat with 43101": func(t *testing.T, w *world) {
		f := w.newFan(t, miniApp)
		_, out := f.sendJSON(t, "subscribe", map[string]any{"msgtype": "subscribe", "subscribe": map[string]any{
			"template_id": "S1", "data": map[string]any{"thing1": map[string]any{"value": "x"}},
		}})
		require.Equal(t, 43101, f.state(t, out.ID, "failed").Errcode)
		f.stays(t, 300*time.Millisecond)
	},
	"a long text arrives in parts, in order": func(t *testing.T, w *world) {
		f := w.newFan(t, compatJSON)
		f.opens(t)
		long := strings.Repeat("这是一个句子。", 200) // 4200 bytes: three messages
		status, out := f.sendJSON(t, "long", map[string]any{"msgtype": "text", "text": map[string]any{"content": long}})
		require.Equal(t, http.StatusAccepted, status, "%+v", out)
		f.state(t, out.ID, "sent")
		require.Equal(t, "passive:你好，朋友"+long, strings.ReplaceAll(strings.Join(f.saw(t), ""), "kf:", ""))
	},
	"typing is shown and takes nothing of the window": func(t *testing.T, w *world) {
		f := w.newFan(t, compatJSON)
		f.opens(t)
		_, out := f.sendJSON(t, "typing", map[string]any{"msgtype": "typing", "typing": map[string]any{}})
		f.state(t, out.ID, "sent")
		text, err := w.CLI(t, "quota", "--account", f.account, "--openid", f.openid)
		require.NoError(t, err, text)
		require.Contains(t, text, "5 messages until")
	},
	"a template goes out when the window is closed": func(t *testing.T, w *world) {
		f := w.newFan(t, compatJSON)
		out, err := w.CLI(t, "send", "text", "--account", f.account, "--openid", f.openid, "在吗", "--wait",
			"--fallback", `{"msgtype":"template","template":{"template_id":"T1","data":{"thing1":{"value":"在吗"}}}}`)
		require.NoError(t, err, out)
		require.Contains(t, out, "sent")
		require.Contains(t, out, "before that, custom_send refused: window closed")
		f.sees(t, "template:thing1: 在吗")
		_, err = w.CLI(t, "send", "text", "--account", f.account, "--openid", f.openid, "在吗")
		require.Error(t, err, "without a fallback it is refused")
	},
	"a business system names what to send instead, and reads why": func(t *testing.T, w *world) {
		f := w.newFan(t, compatJSON)
		status, out := f.sendJSON(t, "instead", map[string]any{"msgtype": "text", "text": map[string]any{"content": "在吗"}, "fallback": []any{templateMessage("在吗")}})
		require.Equal(t, http.StatusAccepted, status, "%+v", out)
		f.state(t, out.ID, "sent")
		f.sees(t, "template:thing1: 在吗")
		_, body := w.call(t, http.MethodGet, w.Console+"/api/v1/accounts/"+f.account+"/messages/"+out.ID, nil, nil)
		var message struct {
			Endpoint string `json:"endpoint"`
			Steps    []struct {
				Endpoint string `json:"endpoint"`
				Reason   string `json:"reason"`
			} `json:"steps"`
		}
		require.NoError(t, json.Unmarshal(body, &message))
		require.Equal(t, "template", message.Endpoint, "%s", body)
		require.Len(t, message.Steps, 1, "%s", body)
		require.Equal(t, "custom_send", message.Steps[0].Endpoint)
		require.Contains(t, message.Steps[0].Reason, "window closed")
	},
	"an image is uploaded once and sent": func(t *testing.T, w *world) {
		f := w.newFan(t, compatJSON)
		f.opens(t)
		file := filepath.Join(t.TempDir(), "photo.png")
		require.NoError(t, os.WriteFile(file, []byte("\x89PNG\r\n\x1a\n"+f.openid), 0o600))
		before, _ := w.calls(t, f.account, "/cgi-bin/media/upload")
		for range 2 {
			out, err := w.CLI(t, "send", "image", "--account", f.account, "--openid", f.openid, file, "--wait")
			require.NoError(t, err, out)
		}
		after, _ := w.calls(t, f.account, "/cgi-bin/media/upload")
		require.Equal(t, before+1, after)
		require.Len(t, f.saw(t), 3)
	},
	"what WeChat refuses for its content or its recipient fails with WeChat's code and is not tried again": func(t *testing.T, w *world) {
		for name, tc := range map[string]struct {
			code    int
			openid  string
			message map[string]any
		}{
			"media":     {40007, "", map[string]any{"msgtype": "image", "image": map[string]any{"media_id": "nobody-uploaded-this"}}},
			"agent":     {65401, "", map[string]any{"msgtype": "text", "text": map[string]any{"content": "x"}, "customservice": map[string]any{"kf_account": "nobody@here"}}},
			"recipient": {40003, "oNobodyAtAll", templateMessage("x")},
		} {
			f := w.newFan(t, compatJSON)
			f.opens(t)
			if tc.openid != "" {
				f.openid = tc.openid
			}
			status, out := f.sendJSON(t, name, tc.message)
			require.Equal(t, http.StatusAccepted, status, "%s: %+v", name, out)
			got := f.state(t, out.ID, "failed")
			require.Equal(t, tc.code, got.Errcode, name)
			require.NotEmpty(t, got.Reason, name)
		}
	},
	"an account tells how it stands": func(t *testing.T, w *world) {
		f := w.newFan(t, secureJSON)
		f.opens(t)
		out, err := w.CLI(t, "send", "text", "--account", f.account, "--openid", f.openid, "一", "--wait")
		require.NoError(t, err, out)
		out, err = w.CLI(t, "quota", "--account", f.account)
		require.NoError(t, err, out)
		require.Regexp(t, `custom_send +[1-9]\d* +500000`, out)
		require.Contains(t, out, "WeChat counts anew at")
		require.Contains(t, out, "not today")
	},
}
