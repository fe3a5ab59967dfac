package sender_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

// call is one request that the fake WeChat saw.
type call struct {
	Path, OpenID, Text, Token string
	Body                      string // of JSON; the file of an upload
	At                        time.Time
}

// answer is what the fake WeChat does with a call. The zero answer accepts it.
type answer struct {
	errcode int
	errmsg  string
	status  int    // other than 200
	raw     string // body instead of JSON
	more    string // members after errcode and errmsg
	reset   bool   // cuts the connection in the middle of the answer
	hang    bool   // never answers
}

// fakeWeChat is the APIs of WeChat that the sender calls.
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
	mux.HandleFunc("/", w.serve)
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

// openids returns who was sent to, in order.
func (w *fakeWeChat) openids() []string {
	var out []string
	for _, c := range w.seen() {
		out = append(out, c.OpenID)
	}
	return out
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

// of returns the calls to a path.
func (w *fakeWeChat) of(path string) []call {
	return slices.DeleteFunc(w.seen(), func(c call) bool { return c.Path != path })
}

func (w *fakeWeChat) serve(rw http.ResponseWriter, r *http.Request) {
	var body struct {
		ToUser any `json:"touser"`
		Text   struct {
			Content string `json:"content"`
		} `json:"text"`
	}
	data, _ := io.ReadAll(r.Body)
	if _, params, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && params["boundary"] != "" {
		part, err := multipart.NewReader(bytes.NewReader(data), params["boundary"]).NextPart()
		if err == nil {
			data, _ = io.ReadAll(part)
		}
	} else {
		_ = json.Unmarshal(data, &body)
	}
	openid, _ := body.ToUser.(string)
	c := call{
		Path: r.URL.Path, OpenID: openid, Text: body.Text.Content, Token: r.URL.Query().Get("access_token"),
		Body: string(data), At: time.Now(),
	}
	w.mu.Lock()
	w.calls = append(w.calls, c)
	var a answer
	if w.answers != nil {
		a = w.answers(c, len(w.calls))
	}
	if a.more == "" {
		a.more = usual(c.Path, len(w.calls))
	}
	w.mu.Unlock()
	w.write(rw, r, a)
}

// usual is what an API answers beside errcode.
func usual(path string, nth int) string {
	switch path {
	case "/cgi-bin/message/template/send", "/cgi-bin/message/subscribe/bizsend", "/cgi-bin/message/subscribe/send":
		return fmt.Sprintf(`,"msgid":%d`, 1000+nth)
	case "/cgi-bin/message/mass/send", "/cgi-bin/message/mass/sendall", "/cgi-bin/message/mass/preview":
		return fmt.Sprintf(`,"msg_id":%d`, 1000+nth)
	case "/cgi-bin/message/mass/get":
		return `,"msg_status":"SENDING"`
	case "/cgi-bin/media/upload":
		return fmt.Sprintf(`,"type":"image","media_id":"M%d","created_at":1`, nth)
	}
	return ""
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
		_, _ = fmt.Fprintf(rw, `{"errcode":%d,"errmsg":%q%s}`, a.errcode, a.errmsg, a.more)
	}
}
