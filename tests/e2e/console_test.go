package e2e

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// firstPassword is that of the console's first administrator in these tests.
const firstPassword = "first password of e2e"

// receiver is a business system that takes events.
type receiver struct {
	url string

	mu     sync.Mutex // guards events
	events []outEvent
}

type outEvent struct {
	Kind    string `json:"kind"`
	Account string `json:"account"`
	Data    struct {
		ID     string `json:"id"`
		OpenID string `json:"openid"`
		State  string `json:"state"`
		// Of an alarm.
		Kind    string `json:"kind"`
		Outside struct {
			Generation string `json:"generation"`
			Replaced   bool   `json:"replaced"`
		} `json:"outside"`
	} `json:"data"`
	header http.Header
	body   []byte
}

// signedBy is how the developer's guide checks a signature.
func (e outEvent) signedBy(secret string) bool {
	h, body := e.header, e.body
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(h.Get("Webhook-Id") + "." + h.Get("Webhook-Timestamp") + "."))
	mac.Write(body)
	ok := slices.Contains(strings.Fields(h.Get("Webhook-Signature")), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return ok
}

func newReceiver(t testing.TB) *receiver {
	t.Helper()
	r := &receiver{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // a call that was cut is made again
		}
		e := outEvent{header: req.Header, body: body}
		if json.Unmarshal(body, &e) == nil {
			r.mu.Lock()
			r.events = append(r.events, e)
			r.mu.Unlock()
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *receiver) has(match func(outEvent) bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if match(e) {
			return true
		}
	}
	return false
}

// person is a browser in which somebody is logged in.
type person struct {
	w    *world
	http *http.Client
}

func (p *person) calls(t testing.TB, method string, in map[string]any) (int, map[string]any) {
	t.Helper()
	b, err := json.Marshal(in)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 60*time.Second) // also for clean-up
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.w.Console+"/api/wxbus."+method, strings.NewReader(string(b)))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.http.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	out := map[string]any{}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&out))
	return resp.StatusCode, out
}

func (p *person) must(t testing.TB, method string, in map[string]any) map[string]any {
	t.Helper()
	status, out := p.calls(t, method, in)
	require.Equal(t, http.StatusOK, status, "%s: %v", method, out)
	return out
}

func (w *world) logIn(t testing.TB) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	p := &person{w: w, http: &http.Client{Jar: jar, Timeout: 60 * time.Second}}
	require.True(t, eventually(t, 30*time.Second, func() bool {
		status, _ := p.calls(t, "console.v1.SessionService/LogIn", map[string]any{"name": "admin", "password": firstPassword})
		return status == http.StatusOK
	}), "the first administrator is made soon after the start")
	return p
}

var desk = map[string]func(*testing.T, *world){
	"the command line tells what happened to a message, from both ends": func(t *testing.T, w *world) {
		f := w.newFan(t, secureXML)
		f.says(t, "两条")
		f.sees(t, "passive:第一条", "kf:第二条", "kf:第三条")
		var told struct {
			Steps []struct {
				Kind    string `json:"kind"`
				Outcome string `json:"outcome"`
				ID      string `json:"id"`
			} `json:"steps"`
		}
		kinds := func(args ...string) map[string]int {
			out, err := w.CLI(t, append([]string{"trace", "--json", "--account", f.account}, args...)...)
			require.NoError(t, err, out)
			require.NoError(t, json.Unmarshal([]byte(out), &told), out)
			n := map[string]int{}
			for _, step := range told.Steps {
				n[strings.TrimPrefix(step.Kind, "TIMELINE_KIND_")]++
			}
			return n
		}
		whole := map[string]int{"RECEIVED": 1, "STORED": 1, "DECIDED": 1, "CLAIMED": 1, "ACCEPTED": 2, "ATTEMPTED": 2, "SETTLED": 2}
		var got map[string]int
		require.True(t, eventually(t, 60*time.Second, func() bool { got = kinds("--openid", f.openid); return got["SETTLED"] == 2 }), "%v", got)
		require.Equal(t, whole, got, "the newest push of the fan")
		push, send := told.Steps[0].ID, told.Steps[len(told.Steps)-1].ID
		require.Equal(t, whole, kinds("--openid", f.openid, "--event", push), "the push by its id")
		require.Equal(t, 1, kinds("--send", send)["DECIDED"], "a send leads to the push that it answered")
		out, err := w.CLI(t, "trace", "--account", f.account, "--openid", f.openid)
		require.NoError(t, err, out)
		require.Contains(t, out, "passive reply")
		require.Regexp(t, `trace [0-9a-f]{32}`, out)
		require.NotContains(t, out, "第一条", "no texts")
	},
	"from log-in to a key, to a message, to the event that says what became of it": func(t *testing.T, w *world) {
		admin, crm := w.logIn(t), newReceiver(t)
		made := admin.must(t, "console.v1.ApiKeyService/CreateApiKey", map[string]any{"name": "crm", "scopes": []string{"messages:write"}, "accounts": []string{secureXML}})
		hook := admin.must(t, "console.v1.WebhookService/CreateWebhook", map[string]any{
			"name": "crm", "url": crm.url, "kinds": []string{"message.received", "delivery.settled"}, "accounts": []string{secureXML},
		})
		t.Cleanup(func() {
			admin.must(t, "console.v1.WebhookService/DeleteWebhook", map[string]any{"id": hook["webhook"].(map[string]any)["id"]})
		})
		f := w.newFan(t, secureXML)
		f.opens(t)
		require.True(t, eventually(t, 30*time.Second, func() bool {
			return crm.has(func(e outEvent) bool {
				return e.Kind == "message.received" && e.Data.OpenID == f.openid && e.signedBy(hook["secret"].(string))
			})
		}), "what the fan said goes out")

		bearer := http.Header{"Idempotency-Key": {"e2e-" + f.openid}, "Authorization": {"Bearer " + made["secret"].(string)}}
		message := map[string]any{"touser": f.openid, "msgtype": "text", "text": map[string]any{"content": "您的订单已发货"}}
		status, body := w.call(t, http.MethodPost, w.Console+"/api/v1/accounts/"+secureXML+"/messages", bearer, message)
		require.Equal(t, http.StatusAccepted, status, "%s", body)
		var accepted sent
		require.NoError(t, json.Unmarshal(body, &accepted))
		require.True(t, eventually(t, 30*time.Second, func() bool {
			return crm.has(func(e outEvent) bool {
				return e.Kind == "delivery.settled" && e.Data.ID == accepted.ID && e.Data.State == "SEND_STATE_SENT"
			})
		}), "what became of the message goes out")
		status, body = w.call(t, http.MethodPost, w.Console+"/api/v1/accounts/"+plainXML+"/messages", bearer, message)
		require.Equal(t, http.StatusNotFound, status, "the key is for one account: %s", body)

		timeline := admin.must(t, "console.v1.TraceService/GetTimeline", map[string]any{"account": secureXML, "sendId": accepted.ID})
		kinds := []string{}
		for _, step := range timeline["steps"].([]any) {
			kinds = append(kinds, step.(map[string]any)["kind"].(string))
		}
		require.Equal(t, []string{"TIMELINE_KIND_ACCEPTED", "TIMELINE_KIND_ATTEMPTED", "TIMELINE_KIND_SETTLED"}, kinds)
		audit := admin.must(t, "console.v1.AuditService/CheckAudit", map[string]any{})
		require.Equal(t, true, audit["intact"])
	},
}
