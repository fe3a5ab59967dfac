package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/wechat"
)

const (
	lateAppID  = "wx00000000000e2e0b"
	freshToken = "freshtoken"
	freshKey   = "FreshFreshFresh0123456789ABCDEFGHIJKLMNOPQR"
)

// operatorAddsAccount takes one account through its life while everything runs; nothing is restarted.
func operatorAddsAccount(t *testing.T, w *world) {
	f := w.newFan(t, late)
	require.Equal(t, http.StatusForbidden, f.says(t, "你好").Attempts[0].Status, "nobody knows the account yet")

	out, err := w.CLI(t, "accounts", "create", late, "--appid", lateAppID, "--original-id", "gh_"+late, "--reply", "passive", "--api-base", w.Simulator,
		"--token", w.secretFile(t, "token"+late), "--aes-key", w.secretFile(t, key), "--app-secret", w.secretFile(t, "secret-of-"+late))
	require.NoError(t, err, out)
	w.everyGatewayKnows(t, "token"+late)
	f = w.newFan(t, late)
	for range w.Gateways {
		f.says(t, "你好")
	}
	f.sees(t, "passive:你好，朋友", "passive:你好，朋友", "passive:你好，朋友")
	_, sent := f.send(t, "late-1", "您的订单已发货")
	require.NotEmpty(t, sent.ID)
	require.True(t, eventually(t, 60*time.Second, func() bool { return contains(f.saw(t), "kf:您的订单已发货") }), "%v", f.saw(t))

	t.Run("rotated keys refuse no push", func(t *testing.T) { rotateUnderTraffic(t, w) })
	t.Run("another system that refreshes raises the alarm", func(t *testing.T) { outsideRefresh(t, w, f) })
	t.Run("a disabled account is refused on every way", func(t *testing.T) { disable(t, w, f) })

	out, err = w.CLI(t, "accounts", "delete", late)
	require.NoError(t, err, out)
	out, err = w.CLI(t, "accounts", "list")
	require.NoError(t, err, out)
	require.Contains(t, out, secureXML)
	require.NotContains(t, out, lateAppID)
	out, err = w.CLI(t, "accounts", "disable", secureXML)
	require.Error(t, err)
	require.Contains(t, out, "configuration file")
}

// secretFile keeps a secret out of the arguments.
func (w *world) secretFile(t *testing.T, secret string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte(secret+"\n"), 0o600))
	return "file:" + path
}

// everyGatewayKnows waits until each replica verifies the URL of the account with the token.
func (w *world) everyGatewayKnows(t *testing.T, token string) {
	t.Helper()
	for _, gw := range w.Gateways {
		require.True(t, eventually(t, 60*time.Second, func() bool {
			stamp := fmt.Sprint(time.Now().Unix())
			q := url.Values{"timestamp": {stamp}, "nonce": {"n"}, "echostr": {"echo"}, "signature": {wechat.Sign(token, stamp, "n")}}
			status, body := w.call(t, http.MethodGet, gw.URL+"/wx/"+late+"?"+q.Encode(), nil, nil)
			return status == http.StatusOK && string(body) == "echo"
		}), "%s does not know the token", gw.Name)
	}
}

// rotateUnderTraffic changes both keys here and then in WeChat's console, while fans write all the time.
func rotateUnderTraffic(t *testing.T, w *world) {
	ctx, stop := context.WithCancel(t.Context())
	var traffic sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for i := range 3 {
		fan := w.newFan(t, late)
		traffic.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				for _, a := range fan.says(t, fmt.Sprintf("订单 %d-%d", i, n)).Attempts {
					mu.Lock()
					statuses[a.Status]++
					mu.Unlock()
				}
			}
		})
	}
	pushed := func(more int) {
		mu.Lock()
		want := statuses[http.StatusOK] + more
		mu.Unlock()
		require.True(t, eventually(t, 30*time.Second, func() bool { mu.Lock(); defer mu.Unlock(); return statuses[http.StatusOK] >= want }))
	}
	pushed(5)
	out, err := w.CLI(t, "accounts", "rotate-keys", late, "--token", w.secretFile(t, freshToken), "--aes-key", w.secretFile(t, freshKey), "--overlap", "10m")
	require.NoError(t, err, out)
	require.Contains(t, out, "WeChat's console now")
	w.everyGatewayKnows(t, freshToken)
	pushed(5)
	w.sim(t, http.MethodPut, "/sim/v1/accounts/"+late+"/keys", map[string]any{"token": freshToken, "encoding_aes_key": freshKey}, nil)
	pushed(10)
	stop()
	traffic.Wait()
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, statuses, 1, "refused: %v", statuses)
}

// outsideRefresh plays a second system with the same AppSecret.
func outsideRefresh(t *testing.T, w *world, f *fan) {
	admin, ops := w.logIn(t), newReceiver(t)
	hook := admin.must(t, "console.v1.WebhookService/CreateWebhook", map[string]any{
		"name": "ops", "url": ops.url, "kinds": []string{"account.alarm"}, "accounts": []string{late},
	})
	t.Cleanup(func() {
		admin.must(t, "console.v1.WebhookService/DeleteWebhook", map[string]any{"id": hook["webhook"].(map[string]any)["id"]})
	})
	f.says(t, "你好")
	w.sim(t, http.MethodPost, "/sim/v1/accounts/"+late+"/invalidate", map[string]any{"errcode": 40001}, nil)
	_, sent := f.send(t, "late-2", "第二条")
	require.NotEmpty(t, sent.ID)
	require.True(t, eventually(t, 60*time.Second, func() bool { return contains(f.saw(t), "kf:第二条") }), "%v", f.saw(t))
	out, err := w.CLI(t, "accounts", "status", late, "--json")
	require.Error(t, err, "exit code 3")
	var status struct {
		Token struct {
			Generation string `json:"generation"`
		} `json:"token"`
		Alarm   bool `json:"outside_alarm"`
		Outside []struct {
			Generation string `json:"generation"`
			Errcode    int    `json:"errcode"`
			Replaced   bool   `json:"replaced"`
		} `json:"outside"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &status), out)
	require.True(t, status.Alarm)
	require.Equal(t, "2", status.Token.Generation)
	require.Len(t, status.Outside, 1)
	require.Equal(t, "1", status.Outside[0].Generation)
	require.Equal(t, 40001, status.Outside[0].Errcode)
	require.True(t, status.Outside[0].Replaced)
	require.True(t, eventually(t, 60*time.Second, func() bool {
		return ops.has(func(e outEvent) bool {
			return e.Kind == "account.alarm" && e.Account == late && e.Data.Kind == "ACCOUNT_ALARM_KIND_OUTSIDE_REFRESH" &&
				e.Data.Outside.Generation == "1" && e.Data.Outside.Replaced && e.signedBy(hook["secret"].(string))
		})
	}), "the alarm goes out, signed, with its evidence")

	out, err = w.CLI(t, "doctor", "--account", late, "--lang", "en")
	require.Error(t, err, "exit code 3")
	require.Contains(t, out, "another system refreshes")
	require.Regexp(t, `ok\s+late credentials`, out)
	require.Regexp(t, `ok\s+late clock`, out)
	require.NotContains(t, out, "secret-of-"+late)
	require.NotContains(t, out, freshKey)
}

func disable(t *testing.T, w *world, f *fan) {
	out, err := w.CLI(t, "accounts", "disable", late, "--reason", "moved elsewhere")
	require.NoError(t, err, out)
	refused := 0
	require.True(t, eventually(t, 60*time.Second, func() bool {
		if f.says(t, "你好").Attempts[0].Status == http.StatusForbidden {
			refused++
		} else {
			refused = 0
		}
		return refused == len(w.Gateways)
	}), "every replica refuses")
	status, answer := f.send(t, "late-3", "第三条")
	require.GreaterOrEqual(t, status, 400, "%+v", answer)
	require.Less(t, status, 500, "%+v", answer)
	require.Contains(t, answer.Error.Message, "moved elsewhere")
}
