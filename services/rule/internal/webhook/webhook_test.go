package webhook_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace/noop"

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
		Timeout: 5 * time.Second, AllowHTTP: true, AllowPrivate: true,
		Tracer: noop.NewTracerProvider().Tracer(""), Now: func() time.Time { return time.Unix(1700000001, 0) },
	}
	if change != nil {
		change(&o)
	}
	c := webhook.New(o)
	t.Cleanup(c.Close)
	return c
}

func serve(t *testing.T, h http.HandlerFunc) *ruleset.Webhook {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return &ruleset.Webhook{URL: server.URL + "/hook?key=topsecret"}
}

func TestTheEventIsPostedAndSigned(t *testing.T) {
	var body []byte
	var header http.Header
	hook := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		header = r.Header
		_, _ = w.Write([]byte(`{"replies":[{"text":"\ud83d\ude00 ok"},{"image":"M1"}],"more":1}`))
	})
	replies, err := client(t, func(o *webhook.Options) { o.Secret = secret.New("s3cret") }).Call(t.Context(), hook, event)
	require.NoError(t, err)
	require.Len(t, replies, 2)
	require.Equal(t, "😀 ok", replies[0].GetText().GetContent())
	require.Equal(t, "M1", replies[1].GetImage().GetMediaId())

	var got map[string]any
	require.NoError(t, json.Unmarshal(body, &got))
	require.Equal(t, "shop", got["account"])
	require.Equal(t, map[string]any{"content": "<b>退货</b>"}, got["text"])
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
			replies, err := client(t, nil).Call(t.Context(), serve(t, tt.answer), event)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				require.NotContains(t, err.Error(), "topsecret")
				return
			}
			require.NoError(t, err)
			require.Len(t, replies, tt.replies)
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
	hook.Timeout = 30 * time.Millisecond
	_, err := client(t, nil).Call(t.Context(), hook, event)
	require.EqualError(t, err, "no answer in time")
}

func TestOnlyPublicHTTPSAddressesAreCalledByDefault(t *testing.T) {
	called := false
	hook := serve(t, func(http.ResponseWriter, *http.Request) { called = true })
	strict := client(t, func(o *webhook.Options) { o.AllowHTTP, o.AllowPrivate = false, false })
	_, err := strict.Call(t.Context(), hook, event)
	require.EqualError(t, err, "must be https, or set rule.webhook.allow_http")

	public := client(t, func(o *webhook.Options) { o.AllowPrivate = false })
	_, err = public.Call(t.Context(), hook, event)
	require.EqualError(t, err, "is a private address; set rule.webhook.allow_private to allow it")
	// A name passes that check; the connection to what it resolves to does not.
	address := strings.TrimPrefix(strings.Split(hook.URL, "/hook")[0], "http://")
	_, err = webhook.Dialer(false).DialContext(t.Context(), "tcp", address)
	require.ErrorContains(t, err, "the address is not one that a webhook may have")
	conn, err := webhook.Dialer(true).DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.False(t, called)
}

func TestPrivateAddressesAreKnown(t *testing.T) {
	private := client(t, func(o *webhook.Options) { o.AllowPrivate = false })
	for _, host := range []string{
		"127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "0.1.2.3",
		"224.0.0.1", "255.255.255.255", "198.18.0.1", "[::1]", "[::]", "[fe80::1]", "[fd00::1]", "[::ffff:10.0.0.1]",
		"[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::7f00:1]", "localhost",
	} {
		require.Error(t, private.CheckURL("https://"+host+"/"), host)
	}
	for _, host := range []string{"example.com", "8.8.8.8", "[2400:3200::1]"} {
		require.NoError(t, private.CheckURL("https://"+host+"/"), host)
	}
}

func FuzzParseReplies(f *testing.F) {
	f.Add([]byte(`{"replies":[{"text":"a"},{"news":{"title":"t","url":"https://u"}}]}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		replies, err := ruleset.ParseReplies(answer)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(replies), ruleset.MaxReplies)
		for _, r := range replies {
			require.NotNil(t, r.GetBody())
		}
	})
}
