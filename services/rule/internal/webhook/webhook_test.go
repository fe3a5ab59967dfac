package webhook_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/wxbus/wxbus/pkg/httpout"
	"github.com/wxbus/wxbus/pkg/secret"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
	"github.com/wxbus/wxbus/services/rule/internal/webhook"
)

var event = &eventv1.InboundEvent{
	Id: "0123456789abcdef0123456789abcdef", Account: "shop", Openid: "o_fan", MsgType: "text", CreateTime: 1700000000,
	Raw: []byte("<xml/>"), GatewayInstance: "gw-1",
	Payload: &eventv1.InboundEvent_Text{Text: &eventv1.TextMessage{Content: "<b>退货</b>"}},
}

func client(t *testing.T, change func(*webhook.Options)) *webhook.Client {
	t.Helper()
	o := webhook.Options{
		Timeout: time.Minute, Policy: httpout.Policy{AllowHTTP: true, AllowPrivate: true, HowHTTP: "set rule.webhook.allow_http", HowPrivate: "set rule.webhook.allow_private"},
		Tracer: noop.NewTracerProvider().Tracer(""), Now: func() time.Time { return time.Unix(1700000001, 0) },
	}
	if change != nil {
		change(&o)
	}
	c := webhook.New(o)
	t.Cleanup(c.Close)
	return c
}

// serve returns a question to a server that answers as told.
func serve(t *testing.T, h http.HandlerFunc) webhook.Question {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return webhook.Question{Hook: &ruleset.Webhook{URL: server.URL + "/hook?key=topsecret"}, Event: event, Rule: "returns", Matched: "退货"}
}

func TestTheEventIsPostedAndSigned(t *testing.T) {
	var body []byte
	var header http.Header
	hook := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		header = r.Header
		_, _ = w.Write([]byte(`{"replies":[{"text":"\ud83d\ude00 ok"},{"image":"M1"}],"more":1}`))
	})
	answer, err := client(t, func(o *webhook.Options) { o.Secret = secret.New("s3cret") }).Call(t.Context(), hook)
	require.NoError(t, err)
	require.Len(t, answer.Replies, 2)
	require.Equal(t, "😀 ok", answer.Replies[0].GetText().GetContent())
	require.Equal(t, "M1", answer.Replies[1].GetImage().GetMediaId())

	var got map[string]any
	require.NoError(t, json.Unmarshal(body, &got))
	require.Equal(t, "shop", got["account"])
	require.Equal(t, map[string]any{"content": "<b>退货</b>"}, got["text"])
	require.Equal(t, "returns", got["rule"])
	require.Equal(t, "退货", got["matched"])
	require.NotContains(t, got, "form")
	require.NotContains(t, got, "raw")
	require.NotContains(t, got, "gateway_instance")
	require.Equal(t, event.GetId(), header.Get("Wxbus-Event-Id"))
	require.Equal(t, "1700000001", header.Get("Wxbus-Timestamp"))
	require.Equal(t, webhook.Sign(secret.New("s3cret"), "1700000001", body), header.Get("Wxbus-Signature"))
}

func TestTheSignatureIsAKnownOne(t *testing.T) {
	// printf '1700000001.{}' | openssl dgst -sha256 -hmac s3cret
	require.Equal(t, "v1=3be6d481d87e34169cfed1028080c7e21bd258bd0b40e32f334c65570a559e5d", webhook.Sign(secret.New("s3cret"), "1700000001", []byte("{}")))
}

func TestAnswersAndFailures(t *testing.T) {
	tests := []struct {
		name    string
		answer  http.HandlerFunc
		replies int
		err     string
	}{
		{"no content", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, 0, ""},
		{"an empty answer", func(http.ResponseWriter, *http.Request) {}, 0, ""},
		{"no replies", write(`{"replies":[]}`), 0, ""},
		{"an error", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, 0, "status 502"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) }, 0, "status 302"},
		{"no JSON", write(`<html>`), 0, "the answer is wrong: not JSON"},
		{"another schema", write(`{"reply":"x"}`), 0, "replies: is required"},
		{"a wrong reply", write(`{"replies":[{"txt":"x"}]}`), 0, "replies[0].txt: unknown key"},
		{"a long text", write(`{"replies":[{"text":"` + strings.Repeat("x", 2048) + `"}]}`), 0, "replies[0].text: is 2048 bytes long"},
		{"too many replies", write(`{"replies":["1","2","3","4","5","6"]}`), 0, "replies: has 6 items"},
		{"a native transfer", write(`{"replies":[{"transfer":"native"}]}`), 0, "unknown key"},
		{"two values", write(`{"replies":[]} {}`), 0, "more than one JSON value"},
		{"a bomb", write(`{"replies":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`), 0, "nested too deep"},
		{"too much", write(`{"replies":["` + strings.Repeat("x", 70_000) + `"]}`), 0, "larger than 65536 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answer, err := client(t, nil).Call(t.Context(), serve(t, tt.answer))
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				require.NotContains(t, err.Error(), "topsecret")
				return
			}
			require.NoError(t, err)
			require.Len(t, answer.Replies, tt.replies)
		})
	}
}

func write(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
}

func TestASlowSystemIsNotWaitedFor(t *testing.T) {
	release := make(chan struct{})
	hook := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	hook.Hook.Timeout = 30 * time.Millisecond
	_, err := client(t, nil).Call(t.Context(), hook)
	require.EqualError(t, err, "no answer in time")
}

func TestOnlyPublicHTTPSAddressesAreCalledByDefault(t *testing.T) {
	called := false
	hook := serve(t, func(http.ResponseWriter, *http.Request) { called = true })
	strict := client(t, func(o *webhook.Options) { o.Policy = httpout.Policy{HowHTTP: "set rule.webhook.allow_http"} })
	_, err := strict.Call(t.Context(), hook)
	require.EqualError(t, err, "must be https, or set rule.webhook.allow_http")

	public := client(t, func(o *webhook.Options) { o.Policy.AllowPrivate = false })
	_, err = public.Call(t.Context(), hook)
	require.EqualError(t, err, "is a private address; set rule.webhook.allow_private to allow it")
	require.False(t, called)
}

func TestAnotherTryIsMadeWhenTheRuleSaysSoAndItMayHelp(t *testing.T) {
	calls, status := 0, http.StatusBadGateway
	hook := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls++; calls == 3 {
			_, _ = w.Write([]byte(`{"replies":["ok"]}`))
			return
		}
		w.WriteHeader(status)
	})
	hook.Hook.Retries = 2
	answer, err := client(t, nil).Call(t.Context(), hook)
	require.NoError(t, err)
	require.Len(t, answer.Replies, 1)

	calls, hook.Hook.Retries = 0, 1
	_, err = client(t, nil).Call(t.Context(), hook)
	require.EqualError(t, err, "status 502")
	require.Equal(t, 2, calls)

	calls, hook.Hook.Retries, status = 0, 2, http.StatusBadRequest
	_, err = client(t, nil).Call(t.Context(), hook)
	require.EqualError(t, err, "status 400")
	require.Equal(t, 1, calls, "a refusal stays one")
}

func TestASystemInTroubleIsNotAskedTwiceAsOften(t *testing.T) {
	var calls atomic.Int64
	hook := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	hook.Hook.Retries, hook.Hook.Timeout = 1, 250*time.Millisecond
	c := client(t, nil)
	var wg sync.WaitGroup
	for range 60 {
		wg.Go(func() { _, _ = c.Call(t.Context(), hook) })
	}
	wg.Wait()
	require.LessOrEqual(t, int(calls.Load()), 60+16, "ten, and a tenth of the calls")
}

func TestAnAnswerHoldsVariablesTagsAndLanguage(t *testing.T) {
	answer, err := webhook.ParseAnswer([]byte(`{"vars":{"price":9.90,"名":"空调","ok":true},"tags":{"set":["vip"],"clear":["new"]},"language":"en"}`))
	require.NoError(t, err)
	require.Equal(t, webhook.Answer{Vars: map[string]string{"price": "9.90", "名": "空调", "ok": "true"}, Tags: []string{"vip"}, Untag: []string{"new"}, Language: "en"}, answer)
	for body, want := range map[string]string{
		`{}`:                    "replies: is required, or vars, tags or language",
		`{"vars":{"a":[1]}}`:    "vars.a: must be a text",
		`{"vars":{"a b":1}}`:    "vars: a name has letters",
		`{"tags":{"set":[""]}}`: "tags.set: a tag has 1 to 64 characters",
		`{"tags":"vip"}`:        "not JSON of this schema",
		`{"language":"` + strings.Repeat("x", 17) + `"}`: "language: at most 16 bytes",
	} {
		_, err := webhook.ParseAnswer([]byte(body))
		require.ErrorContains(t, err, want, body)
	}
}

func TestAnswersAreNoTemplates(t *testing.T) {
	answer, err := webhook.ParseAnswer([]byte(`{"replies":[{"text":"{{fan.openid}}"},{"image":"{{x}}"}]}`))
	require.NoError(t, err)
	require.Equal(t, "{{fan.openid}}", answer.Replies[0].GetText().GetContent())
}

func FuzzParseAnswer(f *testing.F) {
	f.Add([]byte(`{"replies":[{"text":"a"},{"news":{"title":"t","url":"https://u"}}],"vars":{"a":1},"tags":{"set":["b"]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		answer, err := webhook.ParseAnswer(body)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(answer.Replies), ruleset.MaxReplies)
		for _, r := range answer.Replies {
			require.NotNil(t, r.GetBody())
		}
	})
}
