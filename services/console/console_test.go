package console_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/topology"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/services/console"
	"github.com/wxbus/wxbus/services/console/internal/web"
)

const (
	sendPath = "/api/v1/accounts/shop/messages"
	hello    = `{"touser":"fan","msgtype":"text","text":{"content":"hello"}}`
)

func TestMessageOfABusinessSystem(t *testing.T) {
	s := newSite(t)
	first := s.call("POST", sendPath, hello, "Idempotency-Key", "order-1")
	require.Equal(t, http.StatusAccepted, first.status, first.text)
	require.Equal(t, map[string]any{"id": "0", "state": "queued", "replayed": false}, first.data(t))
	require.Equal(t, sendPath+"/0", first.header.Get("Location"))
	require.Len(t, s.backend.sends(), 1)
	sent := s.backend.sends()[0]
	require.Equal(t, "shop", sent.GetAccount())
	require.Equal(t, "fan", sent.GetOpenid())
	require.Equal(t, "order-1", sent.GetIdempotencyKey())
	require.Equal(t, senderv1.Lane_LANE_NOTIFY, sent.GetLane())
	require.Equal(t, "hello", sent.GetContent().GetText().GetContent())

	again := s.call("POST", sendPath, hello, "Idempotency-Key", "order-1")
	require.Equal(t, http.StatusAccepted, again.status)
	require.Equal(t, map[string]any{"id": "0", "state": "sent", "replayed": true}, again.data(t))
	other := s.call("POST", sendPath, strings.Replace(hello, "hello", "bye", 1), "Idempotency-Key", "order-1")
	require.Equal(t, http.StatusConflict, other.status)
	require.Equal(t, map[string]any{"code": "conflict", "field": "idempotency_key", "message": "was used for another message"}, other.problem(t))

	got := s.call("GET", sendPath+"/0", "")
	require.Equal(t, http.StatusOK, got.status)
	require.Equal(t, "failed", got.data(t)["state"])
	require.Equal(t, "the fan unfollowed", got.data(t)["reason"])
	require.EqualValues(t, 43004, got.data(t)["errcode"])
	require.Equal(t, http.StatusNotFound, s.call("GET", sendPath+"/7", "").status)

	quota := s.call("GET", "/api/v1/accounts/shop/fans/a%2Fb/quota", "")
	require.Equal(t, map[string]any{"remaining": 3.0, "reserved": 1.0, "deadline_unix_ms": 1.8e12, "class": "open", "reason": "a/b"}, quota.data(t))
}

func TestRefusalsTellWhatToDo(t *testing.T) {
	s := newSite(t)
	key := []string{"Idempotency-Key", "k"}
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		backend                  error
		status                   int
		code, field, message     string
	}{
		{name: "no key", method: "POST", path: sendPath, body: hello, status: 400, code: "invalid", field: "Idempotency-Key"},
		{name: "a key that is too long", method: "POST", path: sendPath, body: hello, header: []string{"Idempotency-Key", strings.Repeat("k", 129)}, status: 400, code: "invalid", field: "Idempotency-Key"},
		{name: "a key with strange bytes", method: "POST", path: sendPath, body: hello, header: []string{"Idempotency-Key", "k\xc3\xa4"}, status: 400, code: "invalid", field: "Idempotency-Key"},
		{name: "unknown account", method: "POST", path: "/api/v1/accounts/nope/messages", body: hello, header: key, status: 404, code: "not_found"},
		{name: "no JSON", method: "POST", path: sendPath, body: "{", header: key, status: 400, code: "invalid"},
		{name: "no fan", method: "POST", path: sendPath, body: `{"msgtype":"text","text":{"content":"x"}}`, header: key, status: 400, code: "invalid", field: "touser"},
		{name: "a fallback of the wrong kind", method: "POST", path: sendPath, body: `{"touser":"fan","msgtype":"text","text":{"content":"x"},"fallback":"y"}`, header: key, status: 400, code: "invalid", field: "fallback"},
		{name: "a fallback that is no message", method: "POST", path: sendPath, body: `{"touser":"fan","msgtype":"text","text":{"content":"x"},"fallback":[7]}`, header: key, status: 400, code: "invalid", field: "fallback[0]"},
		{name: "a fallback to somebody else", method: "POST", path: sendPath, body: `{"touser":"fan","msgtype":"text","text":{"content":"x"},"fallback":[{"touser":"other","msgtype":"text","text":{"content":"x"}}]}`, header: key, status: 400, code: "invalid", field: "fallback[0].touser"},
		{name: "a mistake in a fallback", method: "POST", path: sendPath, body: `{"touser":"fan","msgtype":"text","text":{"content":"x"},"fallback":[{"msgtype":"text","text":{}}]}`, header: key, status: 400, code: "invalid", field: "fallback[0].text.content"},
		{name: "a time of the wrong kind", method: "POST", path: sendPath, body: `{"touser":"fan","msgtype":"text","text":{"content":"x"},"not_before_unix_ms":"soon"}`, header: key, status: 400, code: "invalid", field: "not_before_unix_ms"},
		{name: "a body that is too large", method: "POST", path: sendPath, body: `{"touser":"` + strings.Repeat("x", 70_000) + `"}`, header: key, status: 413, code: "too_large"},
		{name: "a field that the sender refuses", method: "POST", path: sendPath, body: hello, header: key, backend: fault.New(fault.Invalid, "content.text.content: is too long"), status: 400, code: "invalid", field: "content.text.content", message: "is too long"},
		{name: "a closed window", method: "POST", path: sendPath, body: hello, header: key, backend: fault.New(fault.Refused, "window is closed since 45015"), status: 422, code: "refused", message: "window is closed since 45015"},
		{name: "a sender that is full", method: "POST", path: sendPath, body: hello, header: key, backend: fault.New(fault.Exhausted, "too much to do"), status: 429, code: "exhausted"},
		{name: "a sender that is down", method: "POST", path: sendPath, body: hello, header: key, backend: fault.New(fault.Unavailable, "dial tcp 10.0.0.1"), status: 503, code: "unavailable"},
		{name: "a defect", method: "POST", path: sendPath, body: hello, header: key, backend: errors.New("secret detail"), status: 500, code: "internal"},
		{name: "no such path", method: "GET", path: "/api/v2/x", status: 404, code: "not_found"},
		{name: "wrong method", method: "DELETE", path: sendPath, status: 404, code: "not_found"},
		{name: "a wrong limit", method: "GET", path: "/api/v1/accounts/shop/waiting?limit=0", status: 400, code: "invalid", field: "limit"},
		{name: "an openid that is too long", method: "GET", path: "/api/v1/accounts/shop/fans/" + strings.Repeat("x", 129) + "/quota", status: 400, code: "invalid", field: "openid"},
		{name: "an answer without text", method: "POST", path: "/api/v1/accounts/shop/waiting/fan/reply", body: `{"agent":"li","text":" "}`, status: 400, code: "invalid", field: "text"},
		{name: "an answer that is too long", method: "POST", path: "/api/v1/accounts/shop/waiting/fan/reply", body: `{"agent":"li","text":"` + strings.Repeat("长", 2001) + `"}`, status: 400, code: "invalid", field: "text"},
		{name: "an answer of nobody", method: "POST", path: "/api/v1/accounts/shop/waiting/fan/reply", body: `{"text":"x"}`, status: 400, code: "invalid", field: "agent"},
		{name: "an unknown field", method: "POST", path: "/api/v1/accounts/shop/waiting/fan/close", body: `{"agent":"li","why":"x"}`, status: 400, code: "invalid"},
		{name: "two objects", method: "POST", path: "/api/v1/accounts/shop/waiting/fan/close", body: `{"agent":"li"}{}`, status: 400, code: "invalid"},
		{name: "another agent was faster", method: "POST", path: "/api/v1/accounts/shop/waiting/fan/reply", body: `{"agent":"li","text":"x"}`, backend: fault.New(fault.Refused, "another agent talks to the fan"), status: 422, code: "refused", message: "another agent talks to the fan"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.backend.failWith(c.backend)
			got := s.call(c.method, c.path, c.body, c.header...)
			require.Equal(t, c.status, got.status, got.text)
			require.Equal(t, "application/json; charset=utf-8", got.header.Get("Content-Type"))
			p := got.problem(t)
			require.Equal(t, c.code, p["code"])
			if c.field != "" {
				require.Equal(t, c.field, p["field"])
			}
			if c.message != "" {
				require.Equal(t, c.message, p["message"])
			}
			if c.status == 429 || c.status == 503 {
				require.NotEmpty(t, got.header.Get("Retry-After"))
			}
			require.NotContains(t, got.text, "secret detail")
			require.NotContains(t, got.text, "10.0.0.1")
		})
	}
	require.NotContains(t, s.log.String(), "hello", "what is sent must not be in the log")
}

func TestAMessageMayFallBackAndHaveATimeOfItsOwn(t *testing.T) {
	s := newSite(t)
	got := s.call("POST", sendPath, `{"touser":"fan","msgtype":"text","text":{"content":"<x>"},"not_before_unix_ms":1700000000000,"expires_unix_ms":1700000060000,"fallback":[`+
		`{"msgtype":"template","template":{"template_id":"T","data":{"thing1":{"value":"x"}}}},{"msgtype":"text","text":{"content":"y"}}]}`, "Idempotency-Key", "chain")
	require.Equal(t, http.StatusAccepted, got.status, got.text)
	in := s.backend.sends()[0]
	require.Equal(t, "<x>", in.GetContent().GetText().GetContent())
	require.EqualValues(t, 1_700_000_000_000, in.GetNotBeforeUnixMs())
	require.EqualValues(t, 1_700_000_060_000, in.GetExpiresUnixMs())
	require.Len(t, in.GetFallback(), 2)
	require.Equal(t, "T", in.GetFallback()[0].GetTemplate().GetTemplateId())
	require.Equal(t, "y", in.GetFallback()[1].GetText().GetContent())

	state := s.call("GET", sendPath+"/0", "").data(t)
	require.Equal(t, "template", state["endpoint"])
	require.EqualValues(t, 1, state["step"])
	first := state["steps"].([]any)[0].(map[string]any)
	require.Equal(t, "custom_send", first["endpoint"])
	require.Equal(t, "refused", first["state"])
	require.Equal(t, "window closed", first["reason"])
	require.Equal(t, "failed:user block", state["result"].(map[string]any)["status"])
	quota := s.call("GET", "/api/v1/accounts/shop/fans/fan/quota", "").data(t)
	require.Equal(t, "open", quota["class"])
	require.EqualValues(t, 1, quota["reserved"])
}

func TestDesk(t *testing.T) {
	s := newSite(t)
	s.backend.hold(waitingFan("club", "late", 2000, "b"), waitingFan("shop", "early", 1000, "a"))
	s.backend.serving = []*agentroutingv1.OwnerRecord{{Account: "shop", Openid: "served", Owner: &agentroutingv1.Owner{Name: "小李"}}}

	list := s.call("GET", "/api/v1/accounts/shop/waiting?queue=returns&limit=10", "").data(t)
	require.EqualValues(t, 1, list["total"])

	desk := s.call("GET", "/api/v1/desk?agent=%E5%B0%8F%E6%9D%8E", "").data(t)
	require.EqualValues(t, 2, desk["waiting_total"])
	require.EqualValues(t, 1, desk["serving_total"])
	rows := desk["waiting"].([]any)
	require.Equal(t, "early", rows[0].(map[string]any)["openid"])
	require.Equal(t, "1000", rows[0].(map[string]any)["owner"].(map[string]any)["since_unix_ms"])
	require.Equal(t, []any{}, s.call("GET", "/api/v1/desk", "").data(t)["serving"])

	reply := s.call("POST", "/api/v1/accounts/shop/waiting/early/reply", `{"agent":" 小李 ","text":"您好\n<b>"}`, "Idempotency-Key", "k1")
	require.Equal(t, http.StatusAccepted, reply.status, reply.text)
	require.Equal(t, "send-1", reply.data(t)["id"])
	require.Equal(t, "queued", reply.data(t)["state"])
	got := s.backend.answers()[0]
	require.Equal(t, "小李", got.GetAgent())
	require.Equal(t, "early", got.GetOpenid())
	require.Equal(t, "k1", got.GetIdempotencyKey())
	require.Equal(t, "您好\n<b>", got.GetContent().GetText().GetContent())
	s.call("POST", "/api/v1/accounts/shop/waiting/early/reply", `{"agent":"li","text":"x"}`)
	require.NotEmpty(t, s.backend.answers()[1].GetIdempotencyKey())

	closed := s.call("POST", "/api/v1/accounts/shop/waiting/early/close", `{"agent":"li"}`)
	require.Equal(t, http.StatusOK, closed.status)
	require.Equal(t, "OWNER_KIND_BOT", closed.data(t)["owner"].(map[string]any)["kind"])
}

func TestStatus(t *testing.T) {
	s := newSite(t)
	s.backend.hold(waitingFan("shop", "a", 1, "x"), waitingFan("club", "b", 2, "y"))
	dead, err := topology.SubjectDeadLetter("rule", topology.StreamInbound)
	require.NoError(t, err)
	_, err = s.Conn.Publish(t.Context(), bus.Msg{Subject: dead, Data: []byte("x")})
	require.NoError(t, err)

	got := s.call("GET", "/api/v1/status", "")
	require.Equal(t, http.StatusOK, got.status)
	status := got.data(t)
	require.Equal(t, "v0.1.0", status["version"])
	require.Equal(t, "v1", status["rule_set_version"])
	require.EqualValues(t, 2, status["waiting"])
	require.Equal(t, "1", status["dead_letters"])
	require.Equal(t, []any{}, status["unknown"])
	require.Len(t, status["accounts"], 2)
	require.Len(t, status["streams"], len(s.Topology.Streams()))
	require.Equal(t, []any{
		map[string]any{"name": "nats", "serving": true, "detail": ""}, map[string]any{"name": "sender", "serving": true, "detail": ""},
		map[string]any{"name": "sql", "serving": true, "detail": ""},
	}, status["services"])
	require.NotContains(t, got.text, "app-secret")

	t.Run("many pages cost as much as one", func(t *testing.T) {
		asked := s.backend.rounds()
		for range 5 {
			s.call("GET", "/api/v1/status", "")
		}
		require.Equal(t, asked, s.backend.rounds())
	})
	t.Run("what cannot be read is unknown, not zero", func(t *testing.T) {
		s.clock.Advance(2 * time.Second)
		s.backend.failWith(fault.New(fault.Unavailable, "down"))
		refused := errors.New("connection refused")
		s.healthy.Store(&refused)
		defer s.backend.failWith(nil)
		status := s.call("GET", "/api/v1/status", "").data(t)
		require.Equal(t, []any{"rule_set_version", "waiting"}, status["unknown"])
		require.Equal(t, map[string]any{"name": "sender", "serving": false, "detail": "connection refused"}, status["services"].([]any)[1])
	})
	t.Run("a stream that is gone", func(t *testing.T) {
		s.clock.Advance(2 * time.Second)
		require.NoError(t, s.JS.DeleteStream(t.Context(), topology.StreamAdvisories))
		require.Equal(t, []any{"dead_letters", "streams"}, s.call("GET", "/api/v1/status", "").data(t)["unknown"])
	})
}

func TestKeysOpenTheirAccountsOnly(t *testing.T) {
	s := newSite(t, withKeys)
	s.backend.hold(waitingFan("shop", "a", 1, "x"), waitingFan("club", "b", 2, "y"))
	shop, ops := "Bearer "+shopKey, "Bearer "+opsKey

	require.Equal(t, pageStatus(), s.call("GET", "/", "").status, "the page holds no data and asks for the key")
	denied := s.call("GET", "/api/v1/status", "")
	require.Equal(t, http.StatusUnauthorized, denied.status)
	require.Equal(t, "unauthorized", denied.problem(t)["code"])
	require.Equal(t, "Bearer", denied.header.Get("WWW-Authenticate"))
	require.Equal(t, http.StatusUnauthorized, s.call("GET", "/api/v1/status", "", "Authorization", shop+"x").status)

	require.Equal(t, http.StatusAccepted, s.call("POST", sendPath, hello, "Idempotency-Key", "k", "Authorization", shop).status)
	other := s.call("POST", "/api/v1/accounts/club/messages", hello, "Idempotency-Key", "k", "Authorization", shop)
	require.Equal(t, http.StatusNotFound, other.status)
	unknown := s.call("POST", "/api/v1/accounts/nope/messages", hello, "Idempotency-Key", "k", "Authorization", shop)
	require.Equal(t, unknown.text, other.text, "an account of others must look like one that is not there")

	own := s.call("GET", "/api/v1/status", "", "Authorization", shop).data(t)
	require.Len(t, own["accounts"], 1)
	require.EqualValues(t, 1, own["waiting"])
	require.EqualValues(t, 2, s.call("GET", "/api/v1/status", "", "Authorization", ops).data(t)["waiting"])
	require.EqualValues(t, 1, s.call("GET", "/api/v1/desk", "", "Authorization", shop).data(t)["waiting_total"])
	require.EqualValues(t, 2, s.call("GET", "/api/v1/desk", "", "Authorization", ops).data(t)["waiting_total"])
	require.NotContains(t, s.log.String(), shopKey)
}

func TestWithoutKeysOnlyThisMachineIsServed(t *testing.T) {
	s := newSite(t)
	require.Contains(t, s.log.String(), "console.api_keys is empty")
	got := s.call("GET", "/api/v1/status", "", "Host", "evil.example")
	require.Equal(t, http.StatusForbidden, got.status)
	require.Equal(t, "local_only", got.problem(t)["code"])
	require.Equal(t, pageStatus(), s.call("GET", "/", "").status)
	require.Equal(t, pageStatus(), s.call("GET", "/", "", "Host", "console.example").status, "the page holds no data and has a log-in")
}

func TestPagesOfOthersCannotPost(t *testing.T) {
	s := newSite(t)
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
		got := s.call("POST", sendPath, hello, append(header, "Idempotency-Key", "k")...)
		require.Equal(t, http.StatusForbidden, got.status, header)
		require.Equal(t, "cross_origin", got.problem(t)["code"])
	}
	require.Empty(t, s.backend.sends())
	require.Equal(t, http.StatusAccepted, s.call("POST", sendPath, hello, "Sec-Fetch-Site", "same-origin", "Idempotency-Key", "k").status)
	require.Equal(t, http.StatusAccepted, s.call("POST", sendPath, hello, "Origin", s.url, "Idempotency-Key", "k").status)
}

func TestRateLimit(t *testing.T) {
	s := newSite(t, func(c *console.Config) { c.RateLimit, c.RateBurst = 1, 2 })
	require.Equal(t, http.StatusOK, s.call("GET", "/api/v1/desk", "").status)
	require.Equal(t, http.StatusOK, s.call("GET", "/api/v1/desk", "").status)
	got := s.call("GET", "/api/v1/desk", "")
	require.Equal(t, http.StatusTooManyRequests, got.status)
	require.Equal(t, "rate_limited", got.problem(t)["code"])
	require.Equal(t, "1", got.header.Get("Retry-After"))
	s.clock.Advance(time.Second)
	require.Equal(t, http.StatusOK, s.call("GET", "/api/v1/desk", "").status)
}

// What fans write goes through the whole API and never leaves it as anything but a JSON string.
func TestHostileTextStaysText(t *testing.T) {
	s := newSite(t)
	for _, hostile := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `</script><svg onload=alert(1)>`, `javascript:alert(1)`,
		"\u2028\u2029", `{{constructor.constructor('alert(1)')()}}`, `<!--<script>`, "\x00\x1b[31m", "\u202eevil", `&lt;script&gt;`,
	} {
		s.backend.hold(waitingFan("shop", "fan", 1, hostile))
		got := s.call("GET", "/api/v1/accounts/shop/waiting", "")
		require.Equal(t, http.StatusOK, got.status)
		require.Equal(t, "nosniff", got.header.Get("X-Content-Type-Options"))
		require.Equal(t, "application/json; charset=utf-8", got.header.Get("Content-Type"))
		require.Contains(t, got.header.Get("Content-Security-Policy"), "default-src 'none'")
		require.NotContains(t, got.text, "<", "a browser that guesses must find no markup")
		row := got.data(t)["waiting"].([]any)[0].(map[string]any)
		require.Equal(t, hostile, row["messages"].([]any)[0].(map[string]any)["text"])
	}
}

func TestEveryAnswerHasTheHeaders(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/", "/assets/none", "/none", "/api/v1/status", "/api/none"} {
		h := s.call("GET", path, "").header
		require.Contains(t, h.Get("Content-Security-Policy"), "default-src 'none'", path)
		require.NotContains(t, h.Get("Content-Security-Policy"), "unsafe", path)
		require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), path)
		require.Equal(t, "DENY", h.Get("X-Frame-Options"), path)
		require.Equal(t, "no-referrer", h.Get("Referrer-Policy"), path)
		if strings.HasPrefix(path, "/api/") {
			require.Equal(t, "no-store", h.Get("Cache-Control"), path)
		}
	}
}

func TestConfig(t *testing.T) {
	require.NoError(t, console.DefaultConfig().Validate())
	err := console.Config{Listen: "8081", APIKeys: []console.APIKey{
		{Name: "a", Key: secret.New("short"), Accounts: []string{"shop"}},
		{Name: "a", Key: secret.New("long-enough-0123456789")},
		{Name: " ", Key: secret.New("long-enough-0123456789"), Accounts: []string{"*"}},
	}}.Validate()
	for _, want := range []string{
		"listen: ", "rate_limit: ", "rate_burst: ", "timeout: ", "api_keys[0].key: ", "api_keys[1].name: is used twice",
		"api_keys[1].accounts: ", "api_keys[2].name: ", "api_keys[2].key: is used twice",
	} {
		require.ErrorContains(t, err, want)
	}
	require.NotContains(t, err.Error(), "long-enough")
	_, err = console.New(console.DefaultConfig(), console.Deps{})
	require.ErrorContains(t, err, "dependency")
}

// Whatever a caller sends, the API answers with JSON and a status that fits, and never breaks.
func FuzzSendBody(f *testing.F) {
	for _, seed := range []string{
		hello, `{}`, `[]`, `null`, `{"touser":"fan","msgtype":"image","image":{"media_id":"m"}}`, `{"touser":"fan","msgtype":"text"}`,
		`{"touser":1}`, `{"touser":"fan","msgtype":"news","news":{"articles":[{"title":"<b>"}]}}`, "\xff\xfe", strings.Repeat("[", 10_000),
	} {
		f.Add(seed, "key")
	}
	s := newSite(f, func(c *console.Config) { c.RateLimit, c.RateBurst = 1e9, 1<<30 })
	f.Fuzz(func(t *testing.T, body, key string) {
		if strings.ContainsAny(key, "\r\n\x00") || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Skip("no client can send such a header")
		}
		s.t = t
		got := s.call("POST", sendPath, body, "Idempotency-Key", key)
		require.Contains(t, []int{202, 400, 409, 413}, got.status, got.text)
		if got.status == http.StatusAccepted {
			require.NotEmpty(t, got.data(t)["id"])
			return
		}
		require.NotEmpty(t, got.problem(t)["code"])
	})
}

// pageStatus is what the page answers: a program that was compiled without it says so.
func pageStatus() int {
	if web.Built() {
		return http.StatusOK
	}
	return http.StatusNotImplemented
}
