package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The pauses of the sender are WeChat's, shortened.
const (
	quotaPause = 3 * time.Second
	ratePause  = 2 * time.Second
)

// answersOfWeChat are answers that an account gets so many times; then WeChat answers as usual.
var answersOfWeChat = map[string]any{"rules": []map[string]any{
	{"on": "api", "account": usedUp, "path": sendPath, "kind": "errcode", "errcode": 45009, "count": 1},
	{"on": "api", "account": tooFast, "path": sendPath, "kind": "errcode", "errcode": 45011, "count": 1},
	{"on": "api", "account": busy, "path": sendPath, "kind": "errcode", "errcode": -1, "count": 2},
	{"on": "api", "account": shut, "path": sendPath, "kind": "errcode", "errcode": 45015, "count": 1},
	{"on": "api", "account": full, "path": sendPath, "kind": "errcode", "errcode": 45047, "count": 1},
}}

// apiCall is one call that the simulated WeChat saw.
type apiCall struct {
	At      time.Time `json:"at"`
	Push    bool      `json:"push"`
	Account string    `json:"account"`
	Name    string    `json:"name"`
	ErrCode int       `json:"errcode"`
}

// saw returns the calls of an account to an API, in order.
func (w *world) saw(t testing.TB, account, path string) []apiCall {
	t.Helper()
	var lines, out []apiCall
	w.sim(t, http.MethodGet, logOf(account, path), nil, &lines)
	for _, l := range lines {
		if !l.Push {
			out = append(out, l)
		}
	}
	return out
}

func codesOf(calls []apiCall) []int {
	out := []int{}
	for _, c := range calls {
		out = append(out, c.ErrCode)
	}
	return out
}

// writes makes a fan who has written, so that messages may be sent.
func (w *world) writes(t testing.TB, account string) *fan {
	t.Helper()
	f := w.newFan(t, account)
	f.opens(t)
	f.sees(t, "passive:你好，朋友")
	return f
}

// accepted sends a text that must be accepted, and returns its id.
func (f *fan) accepted(t testing.TB, text string) string {
	t.Helper()
	status, out := f.send(t, fmt.Sprintf("%x", text)+f.openid, text)
	require.Equal(t, http.StatusAccepted, status, "%+v", out)
	return out.ID
}

var errcodes = map[string]func(*testing.T, *world){
	"45009: the account is parked until the quota is renewed, nobody asks before, and the order is kept": func(t *testing.T, w *world) {
		f := w.writes(t, usedUp)
		var ids []string
		for i := range 4 {
			ids = append(ids, f.accepted(t, fmt.Sprint("第", i)))
		}
		for _, id := range ids {
			f.state(t, id, "sent")
		}
		f.sees(t, "passive:你好，朋友", "kf:第0", "kf:第1", "kf:第2", "kf:第3")
		calls := w.saw(t, usedUp, sendPath)
		require.Equal(t, []int{45009, 0, 0, 0, 0}, codesOf(calls))
		require.GreaterOrEqual(t, calls[1].At.Sub(calls[0].At), quotaPause-50*time.Millisecond)
	},
	"45011: the account waits a moment, also for its other fans, and sends": func(t *testing.T, w *world) {
		a, b := w.writes(t, tooFast), w.writes(t, tooFast)
		first := a.accepted(t, "第一")
		a.state(t, first, "sent")
		b.state(t, b.accepted(t, "第二"), "sent")
		calls := w.saw(t, tooFast, sendPath)
		require.Equal(t, []int{45011, 0, 0}, codesOf(calls))
		require.GreaterOrEqual(t, calls[1].At.Sub(calls[0].At), ratePause-50*time.Millisecond)
		a.sees(t, "passive:你好，朋友", "kf:第一")
		b.sees(t, "passive:你好，朋友", "kf:第二")
	},
	"-1: WeChat is busy, and the message is tried again with a pause": func(t *testing.T, w *world) {
		f := w.writes(t, busy)
		f.state(t, f.accepted(t, "忙"), "sent")
		calls := w.saw(t, busy, sendPath)
		require.Equal(t, []int{-1, -1, 0}, codesOf(calls))
		require.GreaterOrEqual(t, calls[1].At.Sub(calls[0].At), 150*time.Millisecond)
		require.GreaterOrEqual(t, calls[2].At.Sub(calls[1].At), 350*time.Millisecond)
		f.sees(t, "passive:你好，朋友", "kf:忙")
	},
	"45015 and 45047: WeChat closes the window, the next message is refused without a call, and the fan opens it again": func(t *testing.T, w *world) {
		for account, tc := range map[string]struct {
			code          int
			class, reason string
		}{shut: {45015, "closed_by_wechat", "WeChat refused"}, full: {45047, "exhausted", "exhausted"}} {
			f := w.writes(t, account)
			got := f.state(t, f.accepted(t, "关"), "failed")
			require.Equal(t, tc.code, got.Errcode)
			require.Contains(t, got.Reason, "next action")
			require.True(t, eventually(t, 60*time.Second, func() bool { return f.quota(t).Class == tc.class }), "the window is corrected after the message has its end")
			status, refused := f.send(t, "refused-"+f.openid, "再试")
			require.GreaterOrEqual(t, status, 400)
			require.Less(t, status, 500)
			require.Contains(t, refused.Error.Message, tc.reason)
			require.Equal(t, []int{tc.code}, codesOf(w.saw(t, account, sendPath)), "the refusal asked nobody")
			f.says(t, "嘘") // nobody answers, but the window is open
			require.True(t, eventually(t, 60*time.Second, func() bool { return f.quota(t).Remaining == 5 }))
			f.state(t, f.accepted(t, "开"), "sent")
			f.sees(t, "passive:你好，朋友", "kf:开")
		}
	},
	"48001: an account without the permission fails once with the reason, is not asked again, and falls back": func(t *testing.T, w *world) {
		f := w.writes(t, denied)
		got := f.state(t, f.accepted(t, "一"), "failed")
		require.Equal(t, 48001, got.Errcode)
		require.Contains(t, got.Reason, "customer-service API")
		status, refused := f.send(t, "second-"+f.openid, "二")
		require.GreaterOrEqual(t, status, 400)
		require.Less(t, status, 500)
		require.Contains(t, refused.Error.Message, "customer-service API")
		out, err := w.CLI(t, "send", "text", "--account", f.account, "--openid", f.openid, "三", "--wait",
			"--fallback", `{"msgtype":"template","template":{"template_id":"T1","data":{"thing1":{"value":"三"}}}}`)
		require.NoError(t, err, out)
		require.Equal(t, []int{48001}, codesOf(w.saw(t, denied, sendPath)))
		f.sees(t, "passive:你好，朋友", "template:thing1: 三")
	},
	"a fan who is known to have left gets nothing, WeChat is not asked, and a fan who comes back does": func(t *testing.T, w *world) {
		f := w.newFan(t, compatXML)
		f.edit(t, map[string]any{"consents": map[string]int{"S1": 1}})
		f.opens(t)
		f.leaves(t)
		for key, message := range map[string]map[string]any{
			"text": {"msgtype": "text", "text": map[string]any{"content": "在吗"}}, "template": templateMessage("x"), "subscribe": subscribeMessage("S1"),
		} {
			status, out := f.sendJSON(t, key, message)
			require.Equal(t, http.StatusUnprocessableEntity, status, "%s: %+v", key, out)
			require.Contains(t, out.Error.Message, "does not follow", key)
		}
		f.does(t, "subscribe", nil)
		require.True(t, eventually(t, 60*time.Second, func() bool { return f.quota(t).Class == "open" }))
		_, out := f.sendJSON(t, "again", templateMessage("欢迎回来"))
		f.state(t, out.ID, "sent")
		require.True(t, contains(f.saw(t), "template:thing1: 欢迎回来"))
	},
	"43004: a template to somebody who does not follow fails with WeChat's code": func(t *testing.T, w *world) {
		f := w.stranger(t, compatJSON)
		w.expectViolation("send_after_unfollow", f) // WeChat alone knows who follows
		_, out := f.sendJSON(t, "stranger", templateMessage("x"))
		got := f.state(t, out.ID, "failed")
		require.Equal(t, 43004, got.Errcode)
		require.NotEmpty(t, got.Reason)
	},
}

// stranger is somebody who does not follow, and of whom nobody was told.
func (w *world) stranger(t testing.TB, account string) *fan {
	t.Helper()
	f := &fan{w: w, account: account, openid: fmt.Sprintf("oStranger%s%06d", account, w.fans.Add(1))}
	w.sim(t, http.MethodPost, "/sim/v1/accounts/"+account+"/fans", map[string]any{"openid": f.openid, "following": false}, nil)
	return f
}

// edit sets what the fan agreed to, and the fan's tags.
func (f *fan) edit(t testing.TB, what map[string]any) {
	t.Helper()
	f.w.sim(t, http.MethodPut, "/sim/v1/accounts/"+f.account+"/fans/"+f.openid, what, nil)
}

func subscribeMessage(template string) map[string]any {
	return map[string]any{"msgtype": "subscribe", "subscribe": map[string]any{
		"template_id": template, "data": map[string]any{"thing1": map[string]any{"value": "已发货"}},
	}}
}

var consents = map[string]func(*testing.T, *world){
	"a subscription message goes out once for each consent, and ends with WeChat's event": func(t *testing.T, w *world) {
		for _, account := range []string{compatJSON, miniApp} {
			f := w.newFan(t, account)
			f.edit(t, map[string]any{"consents": map[string]int{"S1": 1}})
			_, first := f.sendJSON(t, "first", subscribeMessage("S1"))
			f.state(t, first.ID, "sent")
			_, second := f.sendJSON(t, "second", subscribeMessage("S1"))
			require.Equal(t, 43101, f.state(t, second.ID, "failed").Errcode)
			f.sees(t, "subscribe:thing1: 已发货")
		}
	},
	"a one-time subscription message needs the fan's consent": func(t *testing.T, w *world) {
		f := w.newFan(t, compatJSON)
		message := func() map[string]any {
			return map[string]any{"msgtype": "one_time", "one_time": map[string]any{
				"template_id": "O1", "scene": "1000", "title": "开奖", "data": map[string]any{"content": map[string]any{"value": "您中奖了"}},
			}}
		}
		_, out := f.sendJSON(t, "before", message())
		require.Equal(t, 43101, f.state(t, out.ID, "failed").Errcode)
		f.edit(t, map[string]any{"consents": map[string]int{"O1": 1}})
		_, out = f.sendJSON(t, "after", message())
		f.state(t, out.ID, "sent")
		f.sees(t, "subscribe:content: 您中奖了")
	},
	"the dialogue in which a fan agrees counts as a consent": func(t *testing.T, w *world) {
		f := w.newFan(t, miniApp)
		f.does(t, "subscribe_msg_popup_event", map[string]any{"TemplateId": "S2"})
		_, out := f.sendJSON(t, "agreed", subscribeMessage("S2"))
		f.state(t, out.ID, "sent")
		f.sees(t, "subscribe:thing1: 已发货")
	},
	"a message with a time of its own waits for it": func(t *testing.T, w *world) {
		f := w.writes(t, compatJSON)
		out, err := w.CLI(t, "send", "text", "--account", f.account, "--openid", f.openid, "晚点", "--not-before", "1500ms", "--wait")
		require.NoError(t, err, out)
		f.sees(t, "passive:你好，朋友", "kf:晚点")
		out, err = w.CLI(t, "send", "text", "--account", f.account, "--openid", f.openid, "明天", "--not-before", "24h")
		require.NoError(t, err, out)
		require.Contains(t, out, "parked until")
		_, err = w.CLI(t, "send", "text", "--account", f.account, "--openid", f.openid, "何时", "--not-before", "soon")
		require.Error(t, err)
	},
}
