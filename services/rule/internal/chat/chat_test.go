package chat_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/wxbus/wxbus/pkg/httpout"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/testkit"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/chat"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// ledger counts in memory.
type ledger struct {
	mu   sync.Mutex // guards used
	used map[string]int64
}

func (l *ledger) Used(provider string) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used[provider]
}

func (l *ledger) Use(_ context.Context, provider string, tokens int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used[provider] += tokens
}

func client(t *testing.T, h http.HandlerFunc, change func(*chat.Provider)) (*chat.Client, *ledger) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	p := chat.Provider{
		Name: "main", BaseURL: server.URL + "/v1/", APIKey: secret.New("topsecret"), Model: "small", DailyTokens: 100,
		Policy: httpout.Policy{AllowHTTP: true, AllowPrivate: true},
	}
	if change != nil {
		change(&p)
	}
	l := &ledger{used: map[string]int64{}}
	c := chat.New(chat.Options{Providers: []chat.Provider{p}, Ledger: l, Tracer: noop.NewTracerProvider().Tracer("")})
	t.Cleanup(c.Close)
	return c, l
}

func answer(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
}

const ok = `{"choices":[{"message":{"role":"assistant","content":" 好的 "}}],"usage":{"total_tokens":60}}`

func TestAModelIsAskedWithItsHistory(t *testing.T) {
	var body map[string]any
	var header http.Header
	var path string
	c, l := client(t, func(w http.ResponseWriter, r *http.Request) {
		header, path = r.Header, r.URL.Path
		_ = json.NewDecoder(r.Body).Decode(&body)
		_, _ = w.Write([]byte(ok))
	}, nil)
	q := chat.Question{
		System: "你是客服", Text: "怎么退货", Timeout: time.Minute, MaxTokens: 50,
		History: []*rulev1.ChatTurn{{Question: "你好", Answer: "您好"}, {Question: "在吗", Answer: "在"}},
	}
	got, err := c.Ask(t.Context(), q)
	require.NoError(t, err)
	require.Equal(t, "好的", got)
	require.Equal(t, "/v1/chat/completions", path)
	require.Equal(t, "Bearer topsecret", header.Get("Authorization"))
	require.Equal(t, map[string]any{
		"model": "small", "max_tokens": 50.0, "stream": false, "messages": []any{
			map[string]any{"role": "system", "content": "你是客服"},
			map[string]any{"role": "user", "content": "你好"}, map[string]any{"role": "assistant", "content": "您好"},
			map[string]any{"role": "user", "content": "在吗"}, map[string]any{"role": "assistant", "content": "在"},
			map[string]any{"role": "user", "content": "怎么退货"},
		},
	}, body)
	require.EqualValues(t, 60, l.Used("main"))

	q.History[0].Answer = strings.Repeat("长", 6000)
	q.Model = "large"
	_, err = c.Ask(t.Context(), q)
	require.NoError(t, err)
	require.Len(t, body["messages"], 4, "a history that is too long loses its oldest turns")
	require.Equal(t, "large", body["model"])
	_, err = c.Ask(t.Context(), q)
	require.ErrorIs(t, err, chat.ErrBudget)
}

func TestFailuresHaveFewWordsAndNoSecrets(t *testing.T) {
	for want, h := range map[string]http.HandlerFunc{
		"status 429":                              func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"status 307":                              func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusTemporaryRedirect) },
		"the answer is no chat completion":        answer("<html>"),
		"the answer is empty":                     answer(`{"choices":[]}`),
		"the answer is larger than 1048576 bytes": answer(strings.Repeat("x", 1<<20+1)),
		"no answer in time": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // else the server does not see that nobody waits
			<-r.Context().Done()
		},
	} {
		c, _ := client(t, h, nil)
		timeout := time.Minute
		if want == "no answer in time" {
			timeout = 30 * time.Millisecond
		}
		_, err := c.Ask(t.Context(), chat.Question{Text: "x", Timeout: timeout})
		require.EqualError(t, err, want)
	}
	c, _ := client(t, answer(ok), func(p *chat.Provider) { p.Policy = httpout.Policy{AllowHTTP: true} })
	_, err := c.Ask(t.Context(), chat.Question{Text: "x", Timeout: time.Minute})
	require.ErrorContains(t, err, "is a private address")
}

func TestProvidersAreChecked(t *testing.T) {
	none := chat.New(chat.Options{})
	require.ErrorContains(t, none.Check(""), "set rule.chat.providers")
	one := chat.New(chat.Options{Providers: []chat.Provider{{Name: "a"}}})
	require.NoError(t, one.Check(""))
	require.NoError(t, one.Check("a"))
	require.ErrorContains(t, one.Check("b"), `no chat provider "b"`)
	two := chat.New(chat.Options{Providers: []chat.Provider{{Name: "a"}, {Name: "b"}}})
	require.ErrorContains(t, two.Check(""), "several")
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(ok))
	f.Add([]byte(`{"choices":[{"message":null}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, _ := client(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }, nil)
		got, err := c.Ask(t.Context(), chat.Question{Text: string(body), Timeout: time.Minute})
		require.Equal(t, err == nil, got != "")
	})
}
