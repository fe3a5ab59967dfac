package api_test

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
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
