package api_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/services/simulator/internal/api"
)

func (w *world) legacy() string {
	w.t.Helper()
	token, _ := w.get("/cgi-bin/token", "grant_type", "client_credential", "appid", "wxshop", "secret", secret)["access_token"].(string)
	require.NotEmpty(w.t, token)
	return token
}

func TestTokenCallsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	get := func(pairs ...string) int { return w.get("/cgi-bin/token", pairs...).code() }
	require.Equal(t, 41002, get("grant_type", "client_credential", "secret", secret))
	require.Equal(t, 41004, get("grant_type", "client_credential", "appid", "wxshop"))
	require.Equal(t, 40002, get("grant_type", "password", "appid", "wxshop", "secret", secret))
	require.Equal(t, 40013, get("grant_type", "client_credential", "appid", "wxnobody", "secret", secret))
	require.Equal(t, 40125, get("grant_type", "client_credential", "appid", "wxshop", "secret", "wrong"))
	require.Equal(t, 47001, w.post("/cgi-bin/stable_token", "", "{").code())
	require.Equal(t, 40125, w.post("/cgi-bin/stable_token", "", `{"grant_type":"client_credential","appid":"wxshop","secret":"wrong"}`).code())
}

func TestTokensThatAreRefused(t *testing.T) {
	w := newWorld(t)
	good := w.legacy()
	require.Zero(t, w.works(good))
	require.Equal(t, 41001, w.works(""))
	require.Equal(t, 40014, w.works("nonsense"))
	require.Equal(t, 40001, w.works(good+"x"), "looks right, is unknown")
	require.Equal(t, 40001, w.works("9_"+good[2:]), "of an account that does not exist")
	w.clock.Advance(7200 * time.Second)
	require.Equal(t, 42001, w.works(good))
}

func TestEveryTokenCallRenewsAndTheOldOneLivesFiveMinutes(t *testing.T) {
	w := newWorld(t)
	first, second := w.legacy(), w.legacy()
	require.NotEqual(t, first, second)
	w.clock.Advance(4*time.Minute + 59*time.Second)
	require.Zero(t, w.works(first))
	w.clock.Advance(time.Second)
	require.Equal(t, 40001, w.works(first))
	require.Zero(t, w.works(second))
}

func TestTokenHas2000CallsADay(t *testing.T) {
	w := newWorld(t, map[string]api.Options{"shop": {Limits: map[string]api.Limit{"/cgi-bin/token": {Daily: 2}}}})
	w.legacy()
	w.legacy()
	require.Equal(t, 45009, w.get("/cgi-bin/token", "grant_type", "client_credential", "appid", "wxshop", "secret", secret).code())
}

func TestStableTokenInNormalMode(t *testing.T) {
	w := newWorld(t)
	first := w.stable("wxshop", false)
	require.EqualValues(t, 7200, first["expires_in"])
	w.clock.Advance(time.Hour)
	again := w.stable("wxshop", false)
	require.Equal(t, first["access_token"], again["access_token"])
	require.EqualValues(t, 3600, again["expires_in"], "what is left")

	w.clock.Advance(55 * time.Minute) // five minutes left
	renewed := w.stable("wxshop", false)
	require.NotEqual(t, first["access_token"], renewed["access_token"])
	require.EqualValues(t, 7200, renewed["expires_in"])
	require.Zero(t, w.works(first["access_token"].(string)), "both are valid for the rest of its time")
	require.Zero(t, w.works(renewed["access_token"].(string)))
	w.clock.Advance(5 * time.Minute)
	require.Equal(t, 42001, w.works(first["access_token"].(string)))
}

func TestForcedRefresh(t *testing.T) {
	w := newWorld(t)
	old := w.token("wxshop")
	forced := w.stable("wxshop", true)
	require.Equal(t, 40001, w.works(old), "the old one dies at once")
	require.Zero(t, w.works(forced["access_token"].(string)))
	require.Equal(t, 45011, w.stable("wxshop", true).code(), "30 s must lie between")
	for range 19 {
		w.clock.Advance(30 * time.Second)
		require.Zero(t, w.stable("wxshop", true).code())
	}
	w.clock.Advance(30 * time.Second)
	require.Equal(t, 45009, w.stable("wxshop", true).code(), "20 a day")
	require.Equal(t, api.TokenState{Minted: 21, Forced: 20}, w.api.Tokens("shop"))
	w.clock.Advance(24 * time.Hour)
	require.Zero(t, w.stable("wxshop", true).code())
}

func TestTheTwoFamiliesDoNotTouchEachOther(t *testing.T) {
	w := newWorld(t)
	stable, legacy := w.token("wxshop"), w.legacy()
	w.stable("wxshop", true)
	require.Equal(t, 40001, w.works(stable))
	require.Zero(t, w.works(legacy))
	w.legacy()
	w.clock.Advance(time.Minute)
	require.Zero(t, w.works(w.token("wxshop")))
}

func TestAnotherSystemRefreshes(t *testing.T) {
	for _, code := range []int{40001, 40014, 42001} {
		w := newWorld(t)
		stable, legacy := w.token("wxshop"), w.legacy()
		require.True(t, w.api.Invalidate("shop", code))
		require.Equal(t, code, w.works(stable))
		require.Equal(t, code, w.works(legacy))
		next := w.token("wxshop")
		require.NotEqual(t, stable, next)
		require.Zero(t, w.works(next), "normal mode answers with the other system's token")
	}
	require.False(t, newWorld(t).api.Invalidate("nobody", 40001))
}

func TestAddressesOutsideTheWhitelist(t *testing.T) {
	w := newWorld(t, map[string]api.Options{"shop": {IPWhitelist: []string{"192.0.2.1"}}, "club": {IPWhitelist: []string{"127.0.0.1"}}})
	a := w.stable("wxshop", false)
	require.Equal(t, 40164, a.code())
	require.Contains(t, a["errmsg"], "invalid ip 127.0.0.1, not in whitelist")
	require.Zero(t, w.works(w.token("wxclub")))
}

func TestTickets(t *testing.T) {
	w := newWorld(t)
	get := func(typ string) answer {
		return w.get("/cgi-bin/ticket/getticket", "access_token", w.token("wxshop"), "type", typ)
	}
	first := get("jsapi")
	require.NotEmpty(t, first["ticket"])
	require.NotEqual(t, first["ticket"], get("wx_card")["ticket"])
	w.clock.Advance(time.Hour)
	require.Equal(t, first["ticket"], get("jsapi")["ticket"])
	require.EqualValues(t, 3600, get("jsapi")["expires_in"])
	w.clock.Advance(time.Hour)
	require.NotEqual(t, first["ticket"], get("jsapi")["ticket"])
	require.Equal(t, 40097, get("x").code())
}

func TestTheSameSeedGivesTheSameTokens(t *testing.T) {
	a, b := newWorld(t), newWorld(t)
	require.Equal(t, a.token("wxshop"), b.token("wxshop"))
	ra, _ := a.do(http.MethodGet, "/cgi-bin/getcallbackip", nil, nil, "")
	rb, _ := b.do(http.MethodGet, "/cgi-bin/getcallbackip", nil, nil, "")
	require.Equal(t, ra, rb, "down to the rid")
}
