package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/services/simulator/internal/api"
)

func TestMenus(t *testing.T) {
	w := newWorld(t, map[string]api.Options{"shop": {NoMenu: true}})
	token := w.token("wxshop")
	require.Equal(t, 46003, w.get("/cgi-bin/menu/get", "access_token", token).code())
	create := func(body string) int { return w.post("/cgi-bin/menu/create", token, body).code() }
	tests := []struct {
		name, body string
		code       int
	}{
		{"no button", `{"button":[]}`, 40016},
		{"four buttons", `{"button":[{},{},{},{}]}`, 40016},
		{"long name", `{"button":[{"type":"click","name":"六个汉字的名字","key":"k"}]}`, 40018},
		{"no key", `{"button":[{"type":"click","name":"a"}]}`, 40019},
		{"no url", `{"button":[{"type":"view","name":"a"}]}`, 40020},
		{"unknown type", `{"button":[{"type":"shout","name":"a"}]}`, 40017},
		{"six in a sub-menu", `{"button":[{"name":"a","sub_button":[{"type":"click","name":"a","key":"k"},{},{},{},{},{}]}]}`, 40023},
		{"good", `{"button":[{"type":"click","name":"今日","key":"k"},{"name":"更多","sub_button":[{"type":"view","name":"site","url":"https://example.com/"}]}]}`, 0},
	}
	for _, tc := range tests {
		require.Equal(t, tc.code, create(tc.body), tc.name)
	}
	menu, _ := w.get("/cgi-bin/menu/get", "access_token", token)["menu"].(map[string]any)
	require.Len(t, menu["button"], 2)
	require.NotNil(t, w.api.Menu("shop"))
	require.Zero(t, w.get("/cgi-bin/menu/delete", "access_token", token).code())
	require.Nil(t, w.api.Menu("shop"))
	require.EqualValues(t, 1, w.get("/cgi-bin/get_current_selfmenu_info", "access_token", w.token("wxclub"))["is_menu_open"])
}

func TestUsersAndTags(t *testing.T) {
	w := newWorld(t)
	token := w.token("wxshop")
	require.EqualValues(t, 1, w.get("/cgi-bin/user/info", "access_token", token, "openid", fan)["subscribe"])
	require.Equal(t, 40003, w.get("/cgi-bin/user/info", "access_token", token, "openid", "oNobody").code())
	require.NoError(t, w.ledger.AddFan("shop", "oGone", false))
	require.Equal(t, answer{"subscribe": 0.0, "openid": "oGone"}, w.get("/cgi-bin/user/info", "access_token", token, "openid", "oGone"))
	list := w.get("/cgi-bin/user/get", "access_token", token)
	require.EqualValues(t, 2, list["total"])
	require.Equal(t, "oFan2", list["next_openid"])
	require.EqualValues(t, 0, w.get("/cgi-bin/user/get", "access_token", token, "next_openid", "oFan2")["count"])
	require.Zero(t, w.post("/cgi-bin/user/info/updateremark", token, `{"openid":"oFan1","remark":"vip"}`).code())
	batch := w.post("/cgi-bin/user/info/batchget", token, `{"user_list":[{"openid":"oFan1"}]}`)
	require.Contains(t, batch["user_info_list"].([]any)[0], "unionid")

	tag, _ := w.post("/cgi-bin/tags/create", token, `{"tag":{"name":"gold"}}`)["tag"].(map[string]any)
	require.EqualValues(t, 100, tag["id"])
	require.Equal(t, 45157, w.post("/cgi-bin/tags/create", token, `{"tag":{"name":"gold"}}`).code())
	require.Equal(t, 45158, w.post("/cgi-bin/tags/create", token, `{"tag":{"name":"`+strings.Repeat("x", 31)+`"}}`).code())
	require.Equal(t, 45159, w.post("/cgi-bin/tags/members/batchtagging", token, `{"openid_list":["oFan1"],"tagid":7}`).code())
	require.Zero(t, w.post("/cgi-bin/tags/members/batchtagging", token, `{"openid_list":["oFan1"],"tagid":100}`).code())
	require.Equal(t, []any{100.0}, w.post("/cgi-bin/tags/getidlist", token, `{"openid":"oFan1"}`)["tagid_list"])
	require.EqualValues(t, 1, w.post("/cgi-bin/user/tag/get", token, `{"tagid":100}`)["count"])
	require.Equal(t, 45058, w.post("/cgi-bin/tags/delete", token, `{"tag":{"id":2}}`).code())
	require.Zero(t, w.post("/cgi-bin/tags/update", token, `{"tag":{"id":100,"name":"silver"}}`).code())
	require.Zero(t, w.post("/cgi-bin/tags/members/batchuntagging", token, `{"openid_list":["oFan1"],"tagid":100}`).code())
	require.Zero(t, w.post("/cgi-bin/tags/delete", token, `{"tag":{"id":100}}`).code())
	require.Len(t, w.get("/cgi-bin/tags/get", "access_token", token)["tags"], 1)
}

func TestNativeCustomerService(t *testing.T) {
	w := newWorld(t)
	token := w.token("wxshop")
	require.Zero(t, w.post("/customservice/kfaccount/add", token, `{"kf_account":"ann@gh_shop","nickname":"Ann"}`).code())
	require.Equal(t, 65406, w.post("/customservice/kfaccount/add", token, `{"kf_account":"ann@gh_shop","nickname":"Ann"}`).code())
	require.Equal(t, 65404, w.post("/customservice/kfaccount/add", token, `{"kf_account":"ann","nickname":"Ann"}`).code())
	require.Len(t, w.get("/cgi-bin/customservice/getkflist", "access_token", token)["kf_list"], 3)
	require.Len(t, w.get("/cgi-bin/customservice/getonlinekflist", "access_token", token)["kf_online_list"], 2)

	session := func(path, kf string) int {
		return w.post("/customservice/kfsession/"+path, token, `{"kf_account":"`+kf+`","openid":"oFan1"}`).code()
	}
	require.Equal(t, 65415, session("create", "ann@gh_shop"))
	require.True(t, w.api.SetOnline("shop", "ann@gh_shop", true))
	require.Zero(t, session("create", "ann@gh_shop"))
	require.Equal(t, 65414, session("create", "kf2001@gh_shop"))
	require.Equal(t, "ann@gh_shop", w.get("/customservice/kfsession/getsession", "access_token", token, "openid", fan)["kf_account"])
	require.Len(t, w.get("/customservice/kfsession/getsessionlist", "access_token", token, "kf_account", "ann@gh_shop")["sessionlist"], 1)
	require.Zero(t, session("close", "ann@gh_shop"))
	require.Equal(t, 65413, session("close", "ann@gh_shop"))
	require.Equal(t, "", w.get("/customservice/kfsession/getsession", "access_token", token, "openid", fan)["kf_account"])
	events := w.finish()
	require.Equal(t, []string{"kf_create_session", "kf_close_session"}, []string{events[0].name, events[1].name})
	require.EqualValues(t, 0, w.get("/customservice/kfsession/getwaitcase", "access_token", token)["count"])
	require.Zero(t, w.api.AcceptSession("shop", fan, ""))
	require.Zero(t, w.api.CloseSession("shop", fan, ""))
	require.Zero(t, w.post("/customservice/kfaccount/update", token, `{"kf_account":"ann@gh_shop","nickname":"Anna"}`).code())
	require.Zero(t, w.get("/customservice/kfaccount/del", "access_token", token, "kf_account", "ann@gh_shop").code())
	require.Equal(t, 65401, w.get("/customservice/kfaccount/del", "access_token", token, "kf_account", "ann@gh_shop").code())
}

func TestSmallCalls(t *testing.T) {
	w := newWorld(t)
	token := w.token("wxshop")
	require.Contains(t, w.get("/cgi-bin/get_api_domain_ip", "access_token", token)["ip_list"], "127.0.0.1")
	check := w.post("/cgi-bin/callback/check", token, `{"action":"all","check_operator":"DEFAULT"}`)
	require.Len(t, check["dns"], 1)
	require.Equal(t, 40202, w.post("/cgi-bin/callback/check", token, `{"action":"x","check_operator":"DEFAULT"}`).code())
	require.Equal(t, 40203, w.post("/cgi-bin/callback/check", token, `{"action":"dns","check_operator":"x"}`).code())
	require.EqualValues(t, 1, w.get("/cgi-bin/get_current_autoreply_info", "access_token", token)["is_autoreply_open"])
	require.Contains(t, w.post("/cgi-bin/qrcode/create", token, `{"action_name":"QR_STR_SCENE","action_info":{"scene":{"scene_str":"a"}}}`), "ticket")
	require.Equal(t, 40097, w.post("/cgi-bin/qrcode/create", token, `{"action_name":"QR_SCENE"}`).code())

	login := func(code string) answer {
		return w.get("/sns/jscode2session", "appid", "wxmini", "secret", secret, "js_code", code, "grant_type", "authorization_code")
	}
	require.Equal(t, fan, login("code-oFan1")["openid"])
	require.Equal(t, 40163, login("code-oFan1").code(), "a code works once")
	require.Equal(t, fan, login("code-oFan1.2")["openid"])
	require.Equal(t, 40029, login("nonsense").code())
	web := w.get("/sns/oauth2/access_token", "appid", "wxshop", "secret", secret, "code", "code-oFan1", "grant_type", "authorization_code")
	require.Equal(t, fan, w.get("/sns/userinfo", "access_token", web["access_token"].(string), "openid", fan)["openid"])
	require.Zero(t, w.get("/sns/auth", "access_token", web["access_token"].(string), "openid", fan).code())
	require.Equal(t, fan, w.get("/sns/oauth2/refresh_token", "appid", "wxshop", "refresh_token", web["refresh_token"].(string))["openid"])
	require.Equal(t, 40013, w.get("/sns/oauth2/access_token", "appid", "wxnobody").code())
}

func TestUnknownPathsAre404(t *testing.T) {
	w := newWorld(t)
	rec := httptest.NewRecorder()
	w.api.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/cgi-bin/nothing", nil))
	require.Equal(t, http.StatusNotFound, rec.Code)
}

func TestTheConsoleOfAnAccountDecidesWhatItMayDo(t *testing.T) {
	w := newWorld(t, map[string]api.Options{"shop": {
		Denied: []string{"/cgi-bin/customservice/getkflist"}, CallbackIPs: []string{"203.0.113.0/24"}, NoCallback: true,
	}})
	token := w.token("wxshop")
	require.Equal(t, 48001, w.get("/cgi-bin/customservice/getkflist", "access_token", token).code())
	require.Equal(t, 76022, w.post("/cgi-bin/openapi/quota/get", token, `{"cgi_path":"/cgi-bin/customservice/getkflist"}`).code())
	require.Equal(t, []any{"203.0.113.0/24"}, w.get("/cgi-bin/getcallbackip", "access_token", token)["ip_list"])
	require.Equal(t, 40201, w.post("/cgi-bin/callback/check", token, `{"action":"all","check_operator":"DEFAULT"}`).code())

	used := func() any {
		q := w.post("/cgi-bin/openapi/quota/get", token, `{"cgi_path":"/cgi-bin/menu/get"}`)["quota"].(map[string]any)
		return q["used"]
	}
	w.get("/cgi-bin/menu/get", "access_token", token)
	require.EqualValues(t, 1, used())
	for range 50 {
		require.Zero(t, w.post("/cgi-bin/openapi/quota/clear", token, `{"cgi_path":"/cgi-bin/menu/get"}`).code())
	}
	require.EqualValues(t, 0, used())
	require.Equal(t, 48006, w.post("/cgi-bin/openapi/quota/clear", token, `{"cgi_path":"/cgi-bin/menu/get"}`).code())
	require.Equal(t, 76021, w.post("/cgi-bin/openapi/quota/clear", token, `{"cgi_path":"/none"}`).code())
}
