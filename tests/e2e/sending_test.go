package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
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

// answers is what a business system does that answers an event at once; status is zero when there was no answer.
func (w *world) answers(ctx context.Context, e outEvent) (status int, body string) {
	text, err := json.Marshal(map[string]any{"touser": e.Data.OpenID, "msgtype": "text", "text": map[string]any{"content": "马上回复"}})
	if err != nil {
		return 0, err.Error()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.Console+"/api/v1/accounts/"+e.Account+"/messages", bytes.NewReader(text))
	if err != nil {
		return 0, err.Error()
	}
	req.Header.Set("Idempotency-Key", "at-once-"+e.Data.ID)
	resp, err := (&http.Client{Timeout: time.Minute}).Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	said, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(said)
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
	"a business system that answers an event at once is never refused": func(t *testing.T, w *world) {
		fans := map[string]*fan{}
		for range 20 {
			f := w.newFan(t, secureXML)
			fans[f.openid] = f
		}
		type answer struct {
			openid, text string
			status       int
		}
		answers := make(chan answer, 10*len(fans))
		crm := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			var e outEvent
			if json.NewDecoder(req.Body).Decode(&e) == nil && fans[e.Data.OpenID] != nil {
				status, text := w.answers(req.Context(), e)
				answers <- answer{e.Data.OpenID, text, status}
				if status != http.StatusAccepted {
					rw.WriteHeader(http.StatusServiceUnavailable) // it is told again, and answers under the same key
					return
				}
			}
			rw.WriteHeader(http.StatusNoContent)
		}))
		t.Cleanup(crm.Close)
		status, body := w.call(t, http.MethodPost, w.Console+"/api/v1/webhooks", http.Header{"Idempotency-Key": {"at-once"}}, map[string]any{
			"name": "at once", "url": crm.URL, "kinds": []string{"message.received"}, "accounts": []string{secureXML}})
		require.Equal(t, http.StatusCreated, status, "%s", body)
		var made struct {
			Webhook struct {
				ID string `json:"id"`
			} `json:"webhook"`
		}
		require.NoError(t, json.Unmarshal(body, &made), "%s", body)
		t.Cleanup(func() {
			status, body := w.call(t, http.MethodDelete, w.Console+"/api/v1/webhooks/"+made.Webhook.ID, nil, nil)
			require.Equal(t, http.StatusOK, status, "%s", body)
		})

		for _, f := range fans {
			f.says(t, "你好")
		}
		limit := time.After(60 * time.Second)
		answered := map[string]bool{}
		for len(answered) < len(fans) {
			select {
			case a := <-answers:
				require.Contains(t, []int{http.StatusAccepted, http.StatusServiceUnavailable, 0}, a.status, a.text)
				if a.status == http.StatusAccepted {
					answered[a.openid] = true
				}
			case <-limit:
				require.Len(t, answered, len(fans), "everybody is answered")
			}
		}
		for _, f := range fans {
			require.True(t, eventually(t, 60*time.Second, func() bool { return slices.Contains(f.saw(t), "kf:马上回复") }), "%s", f.openid)
		}
	},
	"a closed window is refused with the reason before WeChat is asked": func(t *testing.T, w *world) {
		f := w.newFan(t, cold)
		status, answer := f.send(t, "cold-"+f.openid, "在吗")
		require.GreaterOrEqual(t, status, 400)
		require.Less(t, status, 500)
		require.Contains(t, answer.Error.Message, "window")
		f.stays(t, time.Second)
		asked, _ := w.calls(t, cold, sendPath)
		require.Zero(t, asked)
	},
	"a dead token is refreshed once and the message is retried once": func(t *testing.T, w *world) {
		f := w.newFan(t, stale)
		f.opens(t)
		_, first := f.send(t, "warm-"+f.openid, "第一")
		require.NotEmpty(t, first.ID)
		f.sees(t, "passive:你好，朋友", "kf:第一")
		tokens, _ := w.calls(t, stale, tokenPath)
		sends, _ := w.calls(t, stale, sendPath)
		w.sim(t, http.MethodPost, "/sim/v1/accounts/"+stale+"/invalidate", map[string]any{"errcode": 40001}, nil)
		_, second := f.send(t, "dead-"+f.openid, "第二")
		require.NotEmpty(t, second.ID)
		f.sees(t, "passive:你好，朋友", "kf:第一", "kf:第二")
		tokensNow, _ := w.calls(t, stale, tokenPath)
		sendsNow, codes := w.calls(t, stale, sendPath)
		require.Equal(t, tokens+1, tokensNow, "one refresh")
		require.Equal(t, sends+2, sendsNow, "one retry: %v", codes)
		require.Equal(t, []int{40001, 0}, codes[len(codes)-2:])
	},
}
