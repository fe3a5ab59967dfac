package api_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/services/simulator/internal/api"
	"github.com/wxbus/wxbus/services/simulator/internal/clock"
	"github.com/wxbus/wxbus/services/simulator/internal/faults"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
)

func FuzzBodies(f *testing.F) {
	paths := []string{"/cgi-bin/stable_token", "/cgi-bin/message/custom/send", "/cgi-bin/message/template/send", "/cgi-bin/message/mass/send",
		"/cgi-bin/message/mass/sendall", "/cgi-bin/menu/create", "/cgi-bin/tags/members/batchtagging", "/cgi-bin/media/upload", "/cgi-bin/qrcode/create",
		"/customservice/kfaccount/add", "/cgi-bin/message/mass/get", "/cgi-bin/user/info/batchget"}
	for i := range paths {
		f.Add(uint8(i), []byte(kfText), "multipart/form-data; boundary=x")
	}
	f.Add(uint8(7), []byte("--x\r\nContent-Disposition: form-data; name=\"media\"; filename=\"a\"\r\n\r\nhi\r\n--x--"), "multipart/form-data; boundary=x")
	c := clock.Virtual(start)
	l := ledger.New(ledger.Config{KeepPushes: 10, KeepPerFan: 10, MaxFans: 10}, c, accounts)
	require.NoError(f, l.AddFan("shop", fan, true))
	server := api.New(api.Config{}, api.Deps{Clock: c, Dice: clock.NewDice(1), Ledger: l, Faults: faults.NewEngine(c, clock.NewDice(1)), Accounts: accounts,
		Later: func(time.Duration, string, string, string, map[string]any) bool { return true }, After: func(time.Duration, func()) bool { return true }})
	rec := httptest.NewRecorder()
	server.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/cgi-bin/token?grant_type=client_credential&appid=wxshop&secret="+secret, nil))
	var token struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(f, json.Unmarshal(rec.Body.Bytes(), &token))
	f.Fuzz(func(t *testing.T, which uint8, body []byte, contentType string) {
		req := httptest.NewRequest(http.MethodPost, paths[int(which)%len(paths)]+"?type=image&access_token="+token.AccessToken, bytes.NewReader(body))
		req.Header.Set("Content-Type", contentType)
		rec := httptest.NewRecorder()
		server.ServeHTTP(rec, req)
		if rec.Code != http.StatusOK && rec.Code != http.StatusRequestEntityTooLarge {
			t.Fatalf("status %d", rec.Code)
		}
		if rec.Code == http.StatusOK && !json.Valid(rec.Body.Bytes()) {
			t.Fatalf("answer is not JSON: %q", rec.Body)
		}
	})
}
