package token_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// fakeWeChat is WeChat's token API for one account. The normal mode gives the same value until somebody
// replaces it.
type fakeWeChat struct {
	*httptest.Server

	mu      sync.Mutex // guards everything below
	value   string
	serial  int
	life    int
	normal  int // calls of stable_token without force
	forced  int
	plain   int // calls of token
	errcode int
	errmsg  string
	hang    chan struct{} // when set, answers wait until it is closed
}

func newFakeWeChat(t testing.TB) *fakeWeChat {
	w := &fakeWeChat{life: 7200}
	w.replace()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /cgi-bin/stable_token", w.stable)
	mux.HandleFunc("GET /cgi-bin/token", w.token)
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
