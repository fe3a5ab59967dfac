package wechat_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/wechat"
)

// roundTrip is a transport in a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

var clock = time.Unix(1_700_000_000, 0)

func newClient(t *testing.T, transport http.RoundTripper) *wechat.Client {
	t.Helper()
	c, err := wechat.NewClient(wechat.ClientConfig{
		HTTP: &http.Client{Transport: transport}, BaseURL: "https://api.example.com/", Now: func() time.Time { return clock },
	})
	require.NoError(t, err)
	return c
}

// answering returns a client whose every call gets this answer.
func answering(t *testing.T, status int, body string) *wechat.Client {
	return newClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		return answer(r, status, body), nil
	}))
}

func answer(r *http.Request, status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
}

// recorded is what a call sent.
type recorded struct {
	Method, Path, Query, Body, ContentType string
}

// recording returns a client that answers and keeps what it was asked.
func recording(t *testing.T, body string) (*wechat.Client, *recorded) {
	got := new(recorded)
	return newClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		sent := []byte(nil)
		if r.Body != nil {
			sent, _ = io.ReadAll(r.Body)
		}
		*got = recorded{r.Method, r.URL.Path, r.URL.RawQuery, string(sent), r.Header.Get("Content-Type")}
		return answer(r, http.StatusOK, body), nil
	})), got
}
