package trace

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// fakeWeChat is the part of WeChat's API that a reply needs. It keeps the sends.
type fakeWeChat struct {
	*httptest.Server

	mu    sync.Mutex // guards sends
	sends []apiCall
}

type apiCall struct {
	header http.Header
	text   string
}

func newFakeWeChat(t testing.TB) *fakeWeChat {
	w := &fakeWeChat{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /cgi-bin/stable_token", func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(rw, `{"access_token":%q,"expires_in":7200}`, accessToken)
	})
	mux.HandleFunc("POST /cgi-bin/message/custom/send", w.send)
	w.Server = httptest.NewServer(mux)
	t.Cleanup(w.Close)
	return w
}

func (w *fakeWeChat) send(rw http.ResponseWriter, r *http.Request) {
	var body struct {
		Text struct {
			Content string `json:"content"`
		} `json:"text"`
	}
	raw, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(raw, &body)
	}
	if err != nil || r.URL.Query().Get("access_token") != accessToken {
		_, _ = io.WriteString(rw, `{"errcode":40001,"errmsg":"not as expected"}`)
		return
	}
	w.mu.Lock()
	w.sends = append(w.sends, apiCall{header: r.Header.Clone(), text: body.Text.Content})
	w.mu.Unlock()
	_, _ = io.WriteString(rw, `{"errcode":0,"errmsg":"ok"}`)
}

func (w *fakeWeChat) sent() []apiCall {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]apiCall(nil), w.sends...)
}
