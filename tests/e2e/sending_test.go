package e2e

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	sendPath  = "/cgi-bin/message/custom/send"
	tokenPath = "/cgi-bin/stable_token"
)

// sent is the answer of the send API.
type sent struct {
	ID       string `json:"id"`
	State    string `json:"state"`
	Replayed bool   `json:"replayed"`
	Error    struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Field   string `json:"field"`
	} `json:"error"`
}

// send is what a business system does.
func (f *fan) send(t testing.TB, key, text string) (int, sent) {
	t.Helper()
	status, body := f.w.call(t, http.MethodPost, f.w.Console+"/api/v1/accounts/"+f.account+"/messages", http.Header{"Idempotency-Key": {key}},
		map[string]any{"touser": f.openid, "msgtype": "text", "text": map[string]any{"content": text}})
	var out sent
	require.NoError(t, json.Unmarshal(body, &out), "%s", body)
	return status, out
}

// opens makes the fan write, and waits until the sender has learned of the window: a business system that is told of the
// message may be faster than that.
func (f *fan) opens(t testing.TB) {
	t.Helper()
	f.says(t, "你好")
	require.True(t, eventually(t, 60*time.Second, func() bool { return f.quota(t).Remaining >= 3 }), "the window of %s is open", f.openid)
}

// quota is what the API says about the fan's window.
func (f *fan) quota(t testing.TB) (quota struct {
	Remaining int    `json:"remaining"`
	Class     string `json:"class"`
}) {
	t.Helper()
	status, body := f.w.call(t, http.MethodGet, f.w.Console+"/api/v1/accounts/"+f.account+"/fans/"+f.openid+"/quota", nil, nil)
	require.Equal(t, http.StatusOK, status, "%s", body)
	require.NoError(t, json.Unmarshal(body, &quota), "%s", body)
	return quota
}

// leaves makes the fan unfollow, and waits until the sender knows.
func (f *fan) leaves(t testing.TB) {
	t.Helper()
	f.does(t, "unsubscribe", nil)
	require.True(t, eventually(t, 60*time.Second, func() bool { return f.quota(t).Class == "unsubscribed" }), "%s has left", f.openid)
}

var sending = map[string]func(*testing.T, *world){
	"a business system sends, and the same key never sends twice": func(t *testing.T, w *world) {
		f := w.newFan(t, secureXML)
		f.opens(t)
		f.sees(t, "passive:你好，朋友")
		status, first := f.send(t, "order-1-"+f.openid, "您的订单已发货")
		require.Equal(t, http.StatusAccepted, status, "%+v", first)
		status, again := f.send(t, "order-1-"+f.openid, "您的订单已发货")
		require.Less(t, status, 300, "%+v", again)
		require.True(t, again.Replayed)
		require.Equal(t, first.ID, again.ID)
		status, other := f.send(t, "order-1-"+f.openid, "另一条")
		require.Equal(t, http.StatusConflict, status, "%+v", other)
		f.sees(t, "passive:你好，朋友", "kf:您的订单已发货")
		f.stays(t, time.Second, "passive:你好，朋友", "kf:您的订单已发货")
	},
	"a closed window is refused with the reason before WeChat is asked": func(t *testing.T, w *world) {
		f := w.newFan(t, plainJSON)
		before, _ := w.calls(t, plainJSON, sendPath)
		status, answer := f.send(t, "cold-"+f.openid, "在吗")
		require.GreaterOrEqual(t, status, 400)
		require.Less(t, status, 500)
		require.Contains(t, answer.Error.Message, "window")
		f.stays(t, time.Second)
		after, _ := w.calls(t, plainJSON, sendPath)
		require.Equal(t, before, after)
	},
	"a dead token is refreshed once and the message is retried once": func(t *testing.T, w *world) {
		f := w.newFan(t, compatXML) // nobody else sends for this account
		f.opens(t)
		_, first := f.send(t, "warm-"+f.openid, "第一")
		require.NotEmpty(t, first.ID)
		f.sees(t, "passive:你好，朋友", "kf:第一")
		tokens, _ := w.calls(t, compatXML, tokenPath)
		sends, _ := w.calls(t, compatXML, sendPath)
		w.sim(t, http.MethodPost, "/sim/v1/accounts/"+compatXML+"/invalidate", map[string]any{"errcode": 40001}, nil)
		_, second := f.send(t, "dead-"+f.openid, "第二")
		require.NotEmpty(t, second.ID)
		f.sees(t, "passive:你好，朋友", "kf:第一", "kf:第二")
		tokensNow, _ := w.calls(t, compatXML, tokenPath)
		sendsNow, codes := w.calls(t, compatXML, sendPath)
		require.Equal(t, tokens+1, tokensNow, "one refresh")
		require.Equal(t, sends+2, sendsNow, "one retry: %v", codes)
		require.Equal(t, []int{40001, 0}, codes[len(codes)-2:])
	},
}
