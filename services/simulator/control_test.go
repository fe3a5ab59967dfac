package simulator_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/secret"

	"github.com/wxbus/wxbus/services/simulator"
)

func TestControlAPI(t *testing.T) {
	w := newWorld(t)
	status, out := w.do(http.MethodPost, "/sim/v1/push", map[string]any{"account": "shop", "openid": fan, "type": "text", "fields": map[string]any{"Content": "k0001"}, "copies": 2})
	require.Equal(t, http.StatusOK, status)
	require.Len(t, out["push"].(map[string]any)["attempts"], 2)
	status, out = w.do(http.MethodPost, "/sim/v1/push", map[string]any{"account": "nobody", "openid": fan, "type": "text"})
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, out["error"], "nobody")
	status, _ = w.do(http.MethodPost, "/sim/v1/push", map[string]any{"unknown": 1})
	require.Equal(t, http.StatusBadRequest, status)
	status, _ = w.do(http.MethodPost, "/sim/v1/push", map[string]any{"account": "shop", "openid": fan, "type": "CLICK", "async": true})
	require.Equal(t, http.StatusOK, status)
	require.Eventually(t, func() bool { return len(w.gateway.Log()) == 3 }, 30*time.Second, time.Millisecond)

	_, list, _ := w.raw(http.MethodGet, "/sim/v1/accounts", nil)
	require.Contains(t, list, `"name":"shop"`)
	require.NotContains(t, list, "shop-secret")
	require.NotContains(t, list, "shoptoken")
	status, out = w.do(http.MethodPost, "/sim/v1/accounts/shop/fans", map[string]any{"following": true})
	require.Equal(t, http.StatusOK, status)
	require.NotEmpty(t, out["name"])
	_, out = w.do(http.MethodGet, "/sim/v1/accounts/shop/fans", nil)
	require.EqualValues(t, 5, out["total"], "three demo fans, one by a push, one by hand")
	_, out = w.do(http.MethodGet, "/sim/v1/accounts/shop/fans/"+fan, nil)
	require.NotEmpty(t, out["timeline"])
	status, _ = w.do(http.MethodGet, "/sim/v1/accounts/shop/fans/oNobody", nil)
	require.Equal(t, http.StatusNotFound, status)
	status, out = w.do(http.MethodPut, "/sim/v1/accounts/shop/fans/"+fan, map[string]any{"consents": map[string]int{"T1": 2}, "tags": []int{100}})
	require.Equal(t, http.StatusOK, status)
	require.EqualValues(t, 2, out["consents"].(map[string]any)["T1"])
	_, out = w.do(http.MethodPut, "/sim/v1/accounts/shop/fans/"+fan, map[string]any{"consents": map[string]int{"T2": 1}})
	require.Len(t, out["consents"], 2, "what is left out stays")
	require.EqualValues(t, []any{100.0}, out["tags"])
	_, out = w.do(http.MethodPut, "/sim/v1/accounts/shop/fans/"+fan, map[string]any{"tags": []int{}})
	require.Empty(t, out["tags"])
	for openid, body := range map[string]any{"oNobody": map[string]any{}, fan: map[string]any{"consents": map[string]int{"T1": -1}}} {
		status, _ = w.do(http.MethodPut, "/sim/v1/accounts/shop/fans/"+openid, body)
		require.Contains(t, []int{http.StatusNotFound, http.StatusBadRequest}, status)
	}
	status, _ = w.do(http.MethodPost, "/sim/v1/accounts/shop/verify", nil)
	require.Equal(t, http.StatusOK, status)
	_, out = w.do(http.MethodPost, "/sim/v1/accounts/shop/native", map[string]any{"do": "accept", "openid": fan})
	require.EqualValues(t, 0, out["errcode"])
	status, _ = w.do(http.MethodPut, "/sim/v1/accounts/shop/limit", map[string]any{"path": "/cgi-bin/message/custom/send", "daily": 1})
	require.Equal(t, http.StatusOK, status)
	status, _ = w.do(http.MethodPost, "/sim/v1/accounts/shop/invalidate", map[string]any{"errcode": 42001})
	require.Equal(t, http.StatusOK, status)
	status, _ = w.do(http.MethodPost, "/sim/v1/accounts/shop/invalidate", map[string]any{"errcode": 1})
	require.Equal(t, http.StatusBadRequest, status)

	status, out = w.do(http.MethodPut, "/sim/v1/faults", map[string]any{"rules": []any{map[string]any{"on": "api", "kind": "shout"}}})
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, out["error"], "rules[0].kind")
	status, _ = w.do(http.MethodPut, "/sim/v1/faults", map[string]any{"rules": []any{map[string]any{"on": "api", "kind": "hang"}}})
	require.Equal(t, http.StatusOK, status)
	_, out = w.do(http.MethodDelete, "/sim/v1/faults", nil)
	require.Empty(t, out["rules"])

	before := w.Now()
	status, _ = w.do(http.MethodPost, "/sim/v1/clock", map[string]any{"advance": "48h"})
	require.Equal(t, http.StatusOK, status)
	require.GreaterOrEqual(t, w.Now().Sub(before), 48*time.Hour)

	status, _ = w.do(http.MethodPost, "/sim/v1/reset", nil)
	require.Equal(t, http.StatusOK, status)
	require.Empty(t, w.Pushes())
}

func TestEveryPushIsReadPageByPage(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		status, _ := w.do(http.MethodPost, "/sim/v1/push", map[string]any{"account": "shop", "openid": fan, "type": "text", "fields": map[string]any{"Content": "hello"}})
		require.Equal(t, http.StatusOK, status)
	}
	page := func(after uint64) (ids []uint64) {
		status, text, _ := w.raw(http.MethodGet, fmt.Sprintf("/sim/v1/pushes?after=%d", after), nil)
		require.Equal(t, http.StatusOK, status)
		var pushes []simulator.PushRecord
		require.NoError(t, json.Unmarshal([]byte(text), &pushes))
		for _, p := range pushes {
			ids = append(ids, p.ID)
		}
		return ids
	}
	all := page(0)
	require.Len(t, all, 3)
	require.Equal(t, all[1:], page(all[0]))
	require.Empty(t, page(all[2]))
	status, out := w.do(http.MethodGet, "/sim/v1/pushes?after=first", nil)
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, out["error"], "after")
}

func TestLoadAndReportByHTTP(t *testing.T) {
	w := newWorld(t)
	status, _ := w.do(http.MethodPost, "/sim/v1/load", map[string]any{"rate": 0})
	require.Equal(t, http.StatusBadRequest, status)
	status, _ = w.do(http.MethodPost, "/sim/v1/load", map[string]any{"rate": 1000, "count": 50, "fans": 10})
	require.Equal(t, http.StatusOK, status)
	require.Eventually(t, func() bool {
		_, out := w.do(http.MethodGet, "/sim/v1/load", nil)
		return out["running"] == false
	}, 30*time.Second, 5*time.Millisecond)
	_, out := w.do(http.MethodGet, "/sim/v1/report", nil)
	require.Equal(t, "incomplete", out["checker"].(map[string]any)["state"])

	stored := w.gateway.Stored()
	half := len(stored.Pushes) / 2
	status, _ = w.do(http.MethodPost, "/sim/v1/stored", map[string]any{"pushes": stored.Pushes[:half]})
	require.Equal(t, http.StatusOK, status)
	_, text, _ := w.raw(http.MethodGet, "/sim/v1/report.txt", nil)
	require.Contains(t, text, "CHECKER INCOMPLETE: the reader did not read to the end")
	status, _ = w.do(http.MethodPost, "/sim/v1/stored", map[string]any{"pushes": stored.Pushes[half:], "complete": true})
	require.Equal(t, http.StatusOK, status)
	_, out = w.do(http.MethodGet, "/sim/v1/report", nil)
	require.Equal(t, "complete", out["checker"].(map[string]any)["state"])
	require.Empty(t, out["violations"])
	_, page, header := w.raw(http.MethodGet, "/sim/v1/report.html", nil)
	require.Contains(t, page, "Clean")
	require.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'")
	_, rules, _ := w.raw(http.MethodGet, "/sim/v1/rules.yaml?count=2", nil)
	require.Contains(t, rules, `match: {exact: ["k0002"]}`)
	status, _, _ = w.raw(http.MethodGet, "/sim/v1/rules.yaml", nil)
	require.Equal(t, http.StatusBadRequest, status)
}

func TestEventsStreamWhatTheFanSees(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/sim/v1/events?fan=shop/"+fan, nil)
	require.NoError(t, err)
	resp, err := w.client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	_, err = w.Push(t.Context(), simulator.Push{Account: "shop", OpenID: fan, Type: "text", Fields: map[string]any{"Content": "k0001"}})
	require.NoError(t, err)
	seen := map[string]bool{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() && len(seen) < 4 {
		for _, part := range []string{`"text":"k0001"`, `"text":"re:k0001"`, "event: line", `"remaining":5`} {
			if strings.Contains(lines.Text(), part) {
				seen[part] = true
			}
		}
	}
	require.Len(t, seen, 4)
}

func TestEventStreamsEndWhenTheServerShutsDown(t *testing.T) {
	w := newWorld(t)
	server := &http.Server{Handler: w.Handler(), ReadHeaderTimeout: time.Minute}
	front := httptest.NewUnstartedServer(nil)
	front.Config = server
	front.Start()
	defer front.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, front.URL+"/sim/v1/events", nil)
	require.NoError(t, err)
	resp, err := w.client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.NoError(t, server.Shutdown(t.Context()))
	_, err = io.ReadAll(resp.Body)
	require.NoError(t, err, "an orderly end")
}

func TestThePhoneIsServed(t *testing.T) {
	w := newWorld(t)
	status, page, header := w.raw(http.MethodGet, "/", nil)
	require.Equal(t, http.StatusOK, status, "redirected to the phone")
	require.Contains(t, page, "/phone/app.js")
	require.NotContains(t, page, "<script>")
	policy := header.Get("Content-Security-Policy")
	require.Contains(t, policy, "default-src 'none'")
	require.NotContains(t, policy, "unsafe")
	for _, file := range []string{"app.js", "dom.js", "content.js", "faults.js", "words.js", "phone.css"} {
		status, text, _ := w.raw(http.MethodGet, "/phone/"+file, nil)
		require.Equal(t, http.StatusOK, status, file)
		require.NotContains(t, text, "innerHTML", "texts of others only become text nodes")
	}
}

func TestPicturesOfFansAreServedSafely(t *testing.T) {
	w := newWorld(t)
	status, text, _ := w.raw(http.MethodPost, "/sim/v1/accounts/shop/media?type=image", []byte("<svg onload=alert(1)>"))
	require.Equal(t, http.StatusOK, status)
	var media map[string]string
	require.NoError(t, json.Unmarshal([]byte(text), &media))
	status, _, header := w.raw(http.MethodGet, "/sim/v1/media/"+media["media_id"], nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "application/octet-stream", header.Get("Content-Type"))
	require.Equal(t, "nosniff", header.Get("X-Content-Type-Options"))
	status, _, _ = w.raw(http.MethodGet, "/sim/v1/media/nothing", nil)
	require.Equal(t, http.StatusNotFound, status)
}

func TestOtherOriginsAreRefused(t *testing.T) {
	w := newWorld(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/sim/v1/reset", nil)
	require.NoError(t, err)
	req.Header.Set("Origin", "https://evil.example")
	resp, err := w.client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
}

func FuzzControl(f *testing.F) {
	cfg := simulator.DefaultConfig()
	cfg.Targets = nil
	s, err := simulator.New(cfg, simulator.Deps{Accounts: []account.Account{shop}})
	require.NoError(f, err)
	paths := []string{"push", "faults", "clock", "stored", "load", "accounts/shop/fans", "accounts/shop/native", "accounts/shop/limit", "accounts/shop/invalidate"}
	f.Add(uint8(0), []byte(`{"account":"shop","openid":"o","type":"text","fields":{"Content":"x"}}`))
	f.Add(uint8(4), []byte(`{"rate":1,"count":1}`))
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		for _, method := range []string{http.MethodPost, http.MethodPut} {
			rec := httptest.NewRecorder()
			s.Handler().ServeHTTP(rec, httptest.NewRequest(method, "/sim/v1/"+paths[int(which)%len(paths)], bytes.NewReader(body)))
			if rec.Code == http.StatusInternalServerError {
				t.Fatalf("internal error: %s", rec.Body)
			}
		}
	})
}

func TestKeysChangeInTheConsole(t *testing.T) {
	w := newWorld(t)
	push := func() string {
		_, out := w.do(http.MethodPost, "/sim/v1/push", map[string]any{"account": "shop", "openid": fan, "type": "text", "fields": map[string]any{"Content": "k0001"}})
		return fmt.Sprint(out["push"].(map[string]any)["shown"])
	}
	before := push()
	status, _ := w.do(http.MethodPut, "/sim/v1/accounts/shop/keys", map[string]any{"token": "anothertoken"})
	require.Equal(t, http.StatusOK, status)
	require.NotEqual(t, before, push(), "a gateway with the old token refuses")
	status, _ = w.do(http.MethodPut, "/sim/v1/accounts/shop/keys", map[string]any{"encoding_aes_key": "short"})
	require.Equal(t, http.StatusBadRequest, status)
	status, _ = w.do(http.MethodPut, "/sim/v1/accounts/nobody/keys", map[string]any{"token": "x"})
	require.Equal(t, http.StatusNotFound, status)
}

func TestExtraAccountsExistAtWeChatOnly(t *testing.T) {
	extra := shop
	extra.Name, extra.AppID, extra.OriginalID = "later", "wx00000000000000ee", "gh_later"
	w := newWorld(t, func(c *simulator.Config) { c.ExtraAccounts = []account.Account{extra} })
	_, list, _ := w.raw(http.MethodGet, "/sim/v1/accounts", nil)
	require.Contains(t, list, `"name":"later"`)
	cfg := simulator.DefaultConfig()
	extra.Token = secret.Value{}
	cfg.ExtraAccounts = []account.Account{extra}
	_, err := simulator.New(cfg, simulator.Deps{})
	require.ErrorContains(t, err, "extra_accounts[0].token")
}
