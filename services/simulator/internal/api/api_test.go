package api_test

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wxbus/wxbus/services/simulator/internal/api"
	"github.com/wxbus/wxbus/services/simulator/internal/clock"
	"github.com/wxbus/wxbus/services/simulator/internal/codec"
	"github.com/wxbus/wxbus/services/simulator/internal/faults"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	fan    = "oFan1"
	secret = "the-app-secret"
)

var start = time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)

// world is the API with a virtual clock. Jobs run at once; events are kept.
type world struct {
	t      *testing.T
	clock  *clock.Clock
	ledger *ledger.Ledger
	faults *faults.Engine
	api    *api.Server
	server *httptest.Server
	client *http.Client

	mu     sync.Mutex
	jobs   []func()
	events []event
}

type event struct {
	account, openID, name string
	fields                map[string]any
}

var accounts = []codec.Account{
	{Name: "shop", AppID: "wxshop", OriginalID: "gh_shop", Kind: codec.KindService, AppSecret: secret, KfAPI: true},
	{Name: "club", AppID: "wxclub", OriginalID: "gh_club", Kind: codec.KindSubscription, AppSecret: secret},
	{Name: "mini", AppID: "wxmini", OriginalID: "gh_mini", Kind: codec.KindMiniProgram, AppSecret: secret, KfAPI: true},
}

func newWorld(t *testing.T, options ...map[string]api.Options) *world {
	t.Helper()
	w := &world{t: t, clock: clock.Virtual(start)}
	dice := clock.NewDice(1)
	w.ledger = ledger.New(ledger.Config{KeepPushes: 100, KeepPerFan: 100, MaxFans: 100, Windows: ledger.DefaultWindows()}, w.clock, accounts)
	w.faults = faults.NewEngine(w.clock, dice)
	cfg := api.Config{PublicURL: "http://sim", JobDelay: time.Second}
	if len(options) > 0 {
		cfg.Accounts = options[0]
	}
	w.api = api.New(cfg, api.Deps{Clock: w.clock, Dice: dice, Ledger: w.ledger, Faults: w.faults, Accounts: accounts,
		Later: func(_ time.Duration, account, openID, name string, fields map[string]any) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, event{account, openID, name, fields})
			return true
		},
		After: func(_ time.Duration, job func()) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.jobs = append(w.jobs, job)
			return true
		}})
	w.server = httptest.NewServer(w.api)
	w.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	t.Cleanup(func() { w.api.Close(); w.server.Close() })
	for _, a := range accounts {
		require.NoError(t, w.ledger.AddFan(a.Name, fan, true))
		require.NoError(t, w.ledger.AddFan(a.Name, "oFan2", true))
	}
	return w
}

// finish runs the jobs that wait and returns the events pushed since the last call.
func (w *world) finish() []event {
	w.mu.Lock()
	jobs := w.jobs
	w.jobs = nil
	w.mu.Unlock()
	for _, j := range jobs {
		j()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.events
	w.events = nil
	return out
}

// says opens a window of 48 hours.
func (w *world) says(account string) {
	w.t.Helper()
	_, err := w.ledger.Open(ledger.NewPush{Account: account, OpenID: fan, Kind: ledger.Kind{MsgType: "text"}, Shown: codec.Content{Type: "text"}})
	require.NoError(w.t, err)
}

type answer map[string]any

func (a answer) code() int { n, _ := a["errcode"].(float64); return int(n) }

func (w *world) do(method, path string, query url.Values, body []byte, contentType string) (answer, []byte) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.server.URL+path+"?"+query.Encode(), bytes.NewReader(body))
	require.NoError(w.t, err)
	req.Header.Set("Content-Type", contentType)
	resp, err := w.client.Do(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	require.Equal(w.t, http.StatusOK, resp.StatusCode, "errors are HTTP 200 too")
	data, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	a := answer{}
	if json.Unmarshal(data, &a) == nil && a.code() != 0 {
		require.Contains(w.t, a["errmsg"], "rid: ")
	}
	return a, data
}

func (w *world) get(path string, pairs ...string) answer {
	w.t.Helper()
	a, _ := w.do(http.MethodGet, path, query(pairs...), nil, "")
	return a
}

func (w *world) post(path, token, body string) answer {
	w.t.Helper()
	a, _ := w.do(http.MethodPost, path, query("access_token", token), []byte(body), "application/json")
	return a
}

func query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return q
}

func (w *world) stable(appID string, force bool) answer {
	w.t.Helper()
	body, err := json.Marshal(map[string]any{"grant_type": "client_credential", "appid": appID, "secret": secret, "force_refresh": force})
	require.NoError(w.t, err)
	return w.post("/cgi-bin/stable_token", "", string(body))
}

func (w *world) token(appID string) string {
	w.t.Helper()
	token, _ := w.stable(appID, false)["access_token"].(string)
	require.NotEmpty(w.t, token)
	return token
}

// works returns the errcode of a call with a token.
func (w *world) works(token string) int {
	w.t.Helper()
	return w.get("/cgi-bin/getcallbackip", "access_token", token).code()
}

func (w *world) upload(token, typ string, data []byte) answer {
	w.t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	part, err := m.CreateFormFile("media", "a.png")
	require.NoError(w.t, err)
	_, err = part.Write(data)
	require.NoError(w.t, err)
	require.NoError(w.t, m.Close())
	a, _ := w.do(http.MethodPost, "/cgi-bin/media/upload", query("access_token", token, "type", typ), b.Bytes(), m.FormDataContentType())
	return a
}

const kfText = `{"touser":"oFan1","msgtype":"text","text":{"content":"hello"}}`

func TestCustomMessagesReachTheFan(t *testing.T) {
	w := newWorld(t)
	token := w.token("wxshop")
	w.says("shop")
	require.Equal(t, answer{"errcode": 0.0, "errmsg": "ok"}, w.post("/cgi-bin/message/custom/send", token, kfText))
	f, _ := w.ledger.Fan("shop", fan)
	require.Equal(t, codec.Content{Type: "text", Text: "hello"}, f.Timeline[1].Content)
	require.Equal(t, ledger.WayKf, f.Timeline[1].Way)
	require.EqualValues(t, 1, w.ledger.Totals().Calls["/cgi-bin/message/custom/send"][0])
}

func TestCustomMessagesThatAreRefused(t *testing.T) {
	tests := []struct {
		name  string
		appID string
		body  string
		code  int
	}{
		{"stranger", "wxshop", `{"touser":"oNobody","msgtype":"text","text":{"content":"x"}}`, 40003},
		{"no window", "wxshop", `{"touser":"oFan2","msgtype":"text","text":{"content":"x"}}`, 45015},
		{"account without the API", "wxclub", kfText, 48001},
		{"unknown medium", "wxshop", `{"touser":"oFan1","msgtype":"image","image":{"media_id":"m"}}`, 40007},
		{"unknown agent", "wxshop", `{"touser":"oFan1","msgtype":"text","text":{"content":"x"},"customservice":{"kf_account":"a@b"}}`, 65401},
		{"two articles", "wxshop", `{"touser":"oFan1","msgtype":"news","news":{"articles":[{},{}]}}`, 45008},
		{"escaped text", "wxshop", `{"touser":"oFan1","msgtype":"text","text":{"content":"\u4f60"}}`, 40033},
		{"voice of a Mini Program", "wxmini", `{"touser":"oFan1","msgtype":"voice","voice":{"media_id":"m"}}`, 40008},
		{"not JSON", "wxshop", `touser=oFan1`, 47001},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			for _, a := range accounts {
				w.says(a.Name)
			}
			require.Equal(t, tc.code, w.post("/cgi-bin/message/custom/send", w.token(tc.appID), tc.body).code())
		})
	}
}

func TestMethodsMatter(t *testing.T) {
	w := newWorld(t)
	token := w.token("wxshop")
	require.Equal(t, 43002, w.get("/cgi-bin/message/custom/send", "access_token", token).code())
	require.Equal(t, 43001, w.post("/cgi-bin/getcallbackip", token, "").code())
}

func TestTyping(t *testing.T) {
	w := newWorld(t)
	token := w.token("wxshop")
	call := func(command string) int {
		return w.post("/cgi-bin/message/custom/typing", token, `{"touser":"oFan1","command":"`+command+`"}`).code()
	}
	require.Equal(t, 45080, call("Typing"))
	w.says("shop")
	require.Zero(t, call("Typing"))
	require.Equal(t, 45072, call("Shout"))
}

func TestLimits(t *testing.T) {
	w := newWorld(t, map[string]api.Options{"shop": {Limits: map[string]api.Limit{"/cgi-bin/getcallbackip": {Daily: 3}, "/cgi-bin/menu/get": {Minute: 1}}}})
	token := w.token("wxshop")
	for range 3 {
		require.Zero(t, w.works(token))
	}
	require.Equal(t, 45009, w.works(token), "the day's calls are used up")
	quota := w.post("/cgi-bin/openapi/quota/get", token, `{"cgi_path":"/cgi-bin/getcallbackip"}`)
	require.Equal(t, map[string]any{"daily_limit": 3.0, "used": 3.0, "remain": 0.0}, quota["quota"])
	require.Equal(t, 76021, w.post("/cgi-bin/openapi/quota/get", token, `{"cgi_path":"/nothing"}`).code())

	require.Zero(t, w.get("/cgi-bin/menu/get", "access_token", token).code())
	require.Equal(t, 45011, w.get("/cgi-bin/menu/get", "access_token", token).code())
	w.clock.Advance(time.Minute)
	require.Zero(t, w.get("/cgi-bin/menu/get", "access_token", token).code())

	for range 10 {
		require.Zero(t, w.post("/cgi-bin/clear_quota", token, `{"appid":"wxshop"}`).code())
	}
	require.Equal(t, 48006, w.post("/cgi-bin/clear_quota", token, `{"appid":"wxshop"}`).code())
	require.Zero(t, w.works(token))
	require.True(t, w.api.SetLimit("shop", "/cgi-bin/getcallbackip", api.Limit{Daily: 1}))
	require.Equal(t, 45009, w.works(token))
	w.clock.Advance(8 * time.Hour) // 8:00 UTC is 16:00 in China: the next day there
	require.Zero(t, w.works(w.token("wxshop")))
}

func TestMediaLive3Days(t *testing.T) {
	w := newWorld(t)
	png := []byte("\x89PNG\r\n\x1a\n and more")
	up := w.upload(w.token("wxshop"), "image", png)
	id, _ := up["media_id"].(string)
	require.NotEmpty(t, id)
	require.EqualValues(t, start.Unix(), up["created_at"])
	_, data := w.do(http.MethodGet, "/cgi-bin/media/get", query("access_token", w.token("wxshop"), "media_id", id), nil, "")
	require.Equal(t, png, data)
	w.says("shop")
	image := `{"touser":"oFan1","msgtype":"image","image":{"media_id":"` + id + `"}}`
	require.Zero(t, w.post("/cgi-bin/message/custom/send", w.token("wxshop"), image).code())
	w.clock.Advance(72 * time.Hour)
	w.says("shop")
	require.Equal(t, 40007, w.post("/cgi-bin/message/custom/send", w.token("wxshop"), image).code())

	require.Equal(t, 40004, w.upload(w.token("wxshop"), "hologram", png).code())
	require.Equal(t, 40006, w.upload(w.token("wxshop"), "thumb", bytes.Repeat([]byte{1}, 65<<10)).code())
	require.Equal(t, 44001, w.upload(w.token("wxshop"), "image", nil).code())
	require.Equal(t, 40004, w.upload(w.token("wxmini"), "voice", png).code(), "Mini Programs upload images only")
}

func TestUploadsNeedAFile(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, 41005, w.post("/cgi-bin/media/uploadimg", w.token("wxshop"), "no multipart").code())
}

func TestDemoMediaCanBeFetched(t *testing.T) {
	w := newWorld(t)
	id, address := w.api.DemoMedia("shop", "image")
	again, _ := w.api.DemoMedia("shop", "image")
	require.Equal(t, id, again)
	require.Equal(t, "http://sim/sim/v1/media/"+id, address)
	m, ok := w.api.Media(id)
	require.True(t, ok)
	require.Equal(t, "image/png", m.ContentType)
	id, _, err := w.api.AddMedia("shop", "image", []byte("<script>alert(1)</script>"))
	require.NoError(t, err)
	m, _ = w.api.Media(id)
	require.Equal(t, "application/octet-stream", m.ContentType, "no type that a browser would run")
}

func TestTemplatesArePushedBackOnce(t *testing.T) {
	w := newWorld(t, map[string]api.Options{"shop": {Templates: []string{"T1"}}})
	token := w.token("wxshop")
	send := func(to, extra string) answer {
		return w.post("/cgi-bin/message/template/send", token, `{"touser":"`+to+`","template_id":"T1","data":{"thing1":{"value":"sold"}}`+extra+`}`)
	}
	first := send(fan, `,"client_msg_id":"c1"`)
	require.Zero(t, first.code())
	again := send(fan, `,"client_msg_id":"c1"`)
	require.Equal(t, first["msgid"], again["msgid"])
	events := w.finish()
	require.Len(t, events, 1)
	require.Equal(t, "TEMPLATESENDJOBFINISH", events[0].name)
	require.Equal(t, "success", events[0].fields["Status"])
	f, _ := w.ledger.Fan("shop", fan)
	require.Len(t, f.Timeline, 1)
	require.Equal(t, "thing1: sold", f.Timeline[0].Content.Text)

	w.clock.Advance(11 * time.Minute)
	require.NotEqual(t, first["msgid"], send(fan, `,"client_msg_id":"c1"`)["msgid"], "the key is forgotten after ten minutes")
	require.Equal(t, 40003, send("oNobody", "").code())
	require.Equal(t, 40037, w.post("/cgi-bin/message/template/send", token, `{"touser":"oFan1","template_id":"T2","data":{"a":{}}}`).code())
	require.Equal(t, 47003, w.post("/cgi-bin/message/template/send", token, `{"touser":"oFan1","template_id":"T1"}`).code())
	require.Equal(t, 48001, w.post("/cgi-bin/message/template/send", w.token("wxclub"), `{"touser":"oFan1","template_id":"T1"}`).code())
}

func TestSubscribeMessagesNeedConsent(t *testing.T) {
	w := newWorld(t)
	body := `{"touser":"oFan1","template_id":"T1","data":{"thing1":{"value":"x"}}}`
	require.Equal(t, 43101, w.post("/cgi-bin/message/subscribe/send", w.token("wxmini"), body).code())
	require.NoError(t, w.ledger.EditFan("mini", fan, func(f *ledger.FanEdit) { f.Consents["T1"] = 1 }))
	require.Zero(t, w.post("/cgi-bin/message/subscribe/send", w.token("wxmini"), body).code())
	require.Equal(t, 43101, w.post("/cgi-bin/message/subscribe/send", w.token("wxmini"), body).code(), "one consent is one message")
	require.Equal(t, "subscribe_msg_sent_event", w.finish()[0].name)
	require.Equal(t, 48001, w.post("/cgi-bin/message/subscribe/send", w.token("wxshop"), body).code())
	require.Equal(t, 43101, w.post("/cgi-bin/message/subscribe/bizsend", w.token("wxshop"), body).code())
}

func TestMassSends(t *testing.T) {
	w := newWorld(t)
	token := w.token("wxshop")
	body := `{"filter":{"is_to_all":true},"msgtype":"text","text":{"content":"sale"},"clientmsgid":"c1"}`
	first := w.post("/cgi-bin/message/mass/sendall", token, body)
	require.Zero(t, first.code())
	id, err := json.Marshal(first["msg_id"])
	require.NoError(t, err)
	get := func() any {
		return w.post("/cgi-bin/message/mass/get", token, `{"msg_id":`+string(id)+`}`)["msg_status"]
	}
	require.Equal(t, "SENDING", get())
	again := w.post("/cgi-bin/message/mass/sendall", token, body)
	require.Equal(t, 45065, again.code())
	require.Equal(t, first["msg_id"], again["msg_id"], "the original id")
	events := w.finish()
	require.Len(t, events, 1)
	require.Equal(t, "MASSSENDJOBFINISH", events[0].name)
	require.Equal(t, 2, events[0].fields["SentCount"])
	require.Equal(t, "SEND_SUCCESS", get())
	f, _ := w.ledger.Fan("shop", fan)
	require.Equal(t, ledger.WayMass, f.Timeline[0].Way)

	list := func(to string) int {
		return w.post("/cgi-bin/message/mass/send", token, `{"touser":`+to+`,"msgtype":"text","text":{"content":"x"}}`).code()
	}
	require.Equal(t, 40130, list(`["oFan1"]`))
	require.Equal(t, 40032, list(`"oFan1"`))
	require.Zero(t, list(`["oFan1","oFan2"]`))
	require.Equal(t, 45067, w.post("/cgi-bin/message/mass/sendall", token, `{"clientmsgid":"`+strings.Repeat("x", 65)+`"}`).code())
	require.Equal(t, 40008, w.post("/cgi-bin/message/mass/sendall", token, `{"filter":{"is_to_all":true},"msgtype":"hologram"}`).code())
	require.Zero(t, w.post("/cgi-bin/message/mass/preview", token, `{"touser":"oFan1","msgtype":"text","text":{"content":"x"}}`).code())
	require.Equal(t, 45083, w.post("/cgi-bin/message/mass/speed/set", token, `{"speed":5}`).code())
	require.Equal(t, 45084, w.post("/cgi-bin/message/mass/speed/set", token, `{}`).code())
	require.Zero(t, w.post("/cgi-bin/message/mass/speed/set", token, `{"speed":4}`).code())
	require.EqualValues(t, 4, w.post("/cgi-bin/message/mass/speed/get", token, ``)["speed"])
}

func TestAFanGetsFourMassMessagesAMonth(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		require.Zero(t, w.post("/cgi-bin/message/mass/sendall", w.token("wxshop"), `{"filter":{"is_to_all":true},"msgtype":"text","text":{"content":"x"}}`).code())
	}
	events := w.finish()
	require.Equal(t, 2, events[3].fields["SentCount"])
	require.Equal(t, 0, events[4].fields["FilterCount"])
	require.Zero(t, w.post("/cgi-bin/message/mass/sendall", w.token("wxclub"), `{"filter":{"is_to_all":true},"msgtype":"text","text":{"content":"x"}}`).code())
	require.Equal(t, 45028, w.post("/cgi-bin/message/mass/sendall", w.token("wxclub"), `{"filter":{"is_to_all":true},"msgtype":"text","text":{"content":"x"}}`).code(), "a subscription account has one a day")
}

func TestDeletedMassJobsDoNotArrive(t *testing.T) {
	w := newWorld(t)
	token := w.token("wxshop")
	first := w.post("/cgi-bin/message/mass/sendall", token, `{"filter":{"is_to_all":true},"msgtype":"text","text":{"content":"x"}}`)
	id, err := json.Marshal(first["msg_id"])
	require.NoError(t, err)
	require.Zero(t, w.post("/cgi-bin/message/mass/delete", token, `{"msg_id":`+string(id)+`}`).code())
	require.Empty(t, w.finish())
	require.Equal(t, 40097, w.post("/cgi-bin/message/mass/delete", token, `{"msg_id":1}`).code())
}

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
