package token_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// fakeWeChat is WeChat's token API for one account. The normal mode gives the same value until somebody
// replaces it.
type fakeWeChat struct {
	*httptest.Server

	mu      sync.Mutex // guards everything below
	value   string
	serial  int
	life    int
	now     func() time.Time
	normal  int // calls of stable_token without force
	forced  int
	plain   int // calls of token
	errcode int
	errmsg  string
	hang    chan struct{} // when set, answers wait until it is closed

	tickets    int // calls of getticket
	ticket     int // serial of the current ticket
	ticketCode int // errcode of getticket
	ips        []string
	ipCalls    int
	codes      map[string]int // errcodes by path
	remain     int            // of the quota
	skew       time.Duration  // of WeChat's clock
	loss       string         // of pings
}

func newFakeWeChat(t testing.TB) *fakeWeChat {
	w := &fakeWeChat{life: 7200, now: time.Now, ticket: 1, ips: []string{"203.0.113.0/24", "198.51.100.7"}, codes: map[string]int{}, remain: 400_000, loss: "0%"}
	w.replace()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /cgi-bin/stable_token", w.stable)
	mux.HandleFunc("GET /cgi-bin/token", w.token)
	mux.HandleFunc("GET /cgi-bin/ticket/getticket", w.getTicket)
	mux.HandleFunc("GET /cgi-bin/getcallbackip", w.callbackIPs)
	mux.HandleFunc("POST /cgi-bin/openapi/quota/get", w.checked(func() string {
		return fmt.Sprintf(`{"errcode":0,"quota":{"daily_limit":500000,"used":%d,"remain":%d}}`, 500_000-w.remain, w.remain)
	}))
	mux.HandleFunc("GET /cgi-bin/customservice/getkflist", w.checked(func() string { return `{"kf_list":[]}` }))
	mux.HandleFunc("POST /cgi-bin/callback/check", w.checked(func() string {
		return fmt.Sprintf(`{"dns":[{"ip":"203.0.113.80"}],"ping":[{"ip":"203.0.113.80","package_loss":%q}]}`, w.loss)
	}))
	mux.HandleFunc("/", func(rw http.ResponseWriter, _ *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		rw.Header().Set("Date", w.now().Add(w.skew).UTC().Format(http.TimeFormat))
	})
	w.Server = httptest.NewServer(mux)
	t.Cleanup(w.Close)
	return w
}

func (w *fakeWeChat) set(change func(*fakeWeChat)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

// replace is what a forced refresh by anybody does.
func (w *fakeWeChat) replace() {
	w.serial++
	w.value = fmt.Sprintf("token-%d-of-the-account", w.serial)
}

func (w *fakeWeChat) calls() (normal, forced, plain int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.normal, w.forced, w.plain
}

func (w *fakeWeChat) stable(rw http.ResponseWriter, r *http.Request) {
	var req struct {
		AppID  string `json:"appid"`
		Secret string `json:"secret"`
		Force  bool   `json:"force_refresh"`
	}
	_ = json.NewDecoder(r.Body).Decode(&req)
	w.mu.Lock()
	if req.Force {
		w.forced++
	} else {
		w.normal++
	}
	hang, errcode := w.hang, w.errcode
	if req.Force && errcode == 0 {
		w.replace()
	}
	w.mu.Unlock()
	w.answer(rw, r, hang, req.AppID == "wx0000000000000001" && req.Secret == "the-app-secret")
}

func (w *fakeWeChat) token(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.plain++
	w.replace()
	hang := w.hang
	w.mu.Unlock()
	w.answer(rw, r, hang, r.URL.Query().Get("secret") == "the-app-secret")
}

func (w *fakeWeChat) answer(rw http.ResponseWriter, r *http.Request, hang chan struct{}, known bool) {
	if hang != nil {
		select {
		case <-hang:
		case <-r.Context().Done():
			return
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.errcode != 0:
		_, _ = fmt.Fprintf(rw, `{"errcode":%d,"errmsg":%q}`, w.errcode, w.errmsg)
	case !known:
		_, _ = fmt.Fprint(rw, `{"errcode":40125,"errmsg":"invalid appsecret rid: 5f3ded7d-22929d02-4ba1f5f6"}`)
	default:
		_, _ = fmt.Fprintf(rw, `{"access_token":%q,"expires_in":%d}`, w.value, w.life)
	}
}

// checked serves an API with a token that answers a code when the test asks for one.
func (w *fakeWeChat) checked(body func() string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.authorised(rw, r) {
			return
		}
		if code := w.codes[r.URL.Path]; code != 0 {
			_, _ = fmt.Fprintf(rw, `{"errcode":%d,"errmsg":"no"}`, code)
			return
		}
		_, _ = fmt.Fprint(rw, body())
	}
}

// authorised tells whether the call carries the current token, and answers 40001 when it does not.
func (w *fakeWeChat) authorised(rw http.ResponseWriter, r *http.Request) bool {
	if r.URL.Query().Get("access_token") == w.value {
		return true
	}
	_, _ = fmt.Fprint(rw, `{"errcode":40001,"errmsg":"invalid credential, access_token is invalid or not latest"}`)
	return false
}

func (w *fakeWeChat) getTicket(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.authorised(rw, r) {
		return
	}
	w.tickets++
	if w.ticketCode != 0 {
		_, _ = fmt.Fprintf(rw, `{"errcode":%d,"errmsg":"no"}`, w.ticketCode)
		return
	}
	_, _ = fmt.Fprintf(rw, `{"errcode":0,"errmsg":"ok","ticket":"%s-ticket-%d-of-the-account","expires_in":%d}`, r.URL.Query().Get("type"), w.ticket, w.life)
}

func (w *fakeWeChat) callbackIPs(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.authorised(rw, r) {
		return
	}
	w.ipCalls++
	list, _ := json.Marshal(w.ips)
	_, _ = fmt.Fprintf(rw, `{"ip_list":%s}`, list)
}

func (w *fakeWeChat) ticketCalls() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tickets
}
