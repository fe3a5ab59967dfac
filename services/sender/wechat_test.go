package sender_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

// call is one request that the fake WeChat saw.
type call struct {
	OpenID, Text, Token string
	At                  time.Time
}

// answer is what the fake WeChat does with a call. The zero answer accepts it.
type answer struct {
	errcode int
	errmsg  string
	status  int    // other than 200
	raw     string // body instead of JSON
	reset   bool   // cuts the connection in the middle of the answer
	hang    bool   // never answers
}

// fakeWeChat is message/custom/send.
type fakeWeChat struct {
	*httptest.Server
	stop chan struct{}

	mu      sync.Mutex // guards everything below
	calls   []call
	answers func(c call, nth int) answer // nth call of all, from 1
}

func newFakeWeChat(t testing.TB) *fakeWeChat {
	w := &fakeWeChat{stop: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /cgi-bin/message/custom/send", w.send)
	w.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		close(w.stop)
		w.Close()
	})
	return w
}

// answer sets what happens to calls from now on.
func (w *fakeWeChat) answer(f func(c call, nth int) answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers = f
}

// once answers the first calls so and accepts the rest.
func (w *fakeWeChat) once(list ...answer) {
	w.mu.Lock()
	base := len(w.calls)
	w.mu.Unlock()
	w.answer(func(_ call, nth int) answer {
		if i := nth - base - 1; i < len(list) {
			return list[i]
		}
		return answer{}
	})
}

func (w *fakeWeChat) seen() []call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

// texts returns what the fan was sent, in order.
func (w *fakeWeChat) texts(openid string) []string {
	var out []string
	for _, c := range w.seen() {
		if c.OpenID == openid {
			out = append(out, c.Text)
		}
	}
	return out
}

func (w *fakeWeChat) send(rw http.ResponseWriter, r *http.Request) {
	var body struct {
		ToUser string `json:"touser"`
		Text   struct {
			Content string `json:"content"`
		} `json:"text"`
	}
	_ = json.NewDecoder(r.Body).Decode(&body)
	c := call{body.ToUser, body.Text.Content, r.URL.Query().Get("access_token"), time.Now()}
	w.mu.Lock()
	w.calls = append(w.calls, c)
	var a answer
	if w.answers != nil {
		a = w.answers(c, len(w.calls))
	}
	w.mu.Unlock()
	w.write(rw, r, a)
}

func (w *fakeWeChat) write(rw http.ResponseWriter, r *http.Request, a answer) {
	switch {
	case a.hang:
		select {
		case <-w.stop:
		case <-r.Context().Done():
		}
	case a.reset:
		rw.Header().Set("Content-Length", "100")
		_, _ = fmt.Fprint(rw, `{"errcode":0,`)
		rw.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	case a.status != 0:
		rw.WriteHeader(a.status)
		_, _ = fmt.Fprint(rw, a.raw)
	case a.raw != "":
		_, _ = fmt.Fprint(rw, a.raw)
	default:
		if a.errmsg == "" {
			a.errmsg = "ok"
		}
		_, _ = fmt.Fprintf(rw, `{"errcode":%d,"errmsg":%q}`, a.errcode, a.errmsg)
	}
}
