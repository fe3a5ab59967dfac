package wechat_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/wechat"
)

const canary = "CANARY/secret+0123456789"

// TestOutcomeOfRealConnections breaks real connections at each stage of a call.
func TestOutcomeOfRealConnections(t *testing.T) {
	for name, handler := range map[string]func(w http.ResponseWriter, r *http.Request, giveUp func()){
		"reset after the request":  func(w http.ResponseWriter, _ *http.Request, _ func()) { hangUp(t, w, true) },
		"closed after the request": func(w http.ResponseWriter, _ *http.Request, _ func()) { hangUp(t, w, false) },
		"given up after the request": func(_ http.ResponseWriter, r *http.Request, giveUp func()) {
			_, _ = io.Copy(io.Discard, r.Body) // only then the server notices that the client is gone
			giveUp()
			<-r.Context().Done()
		},
		"answer cut off": func(w http.ResponseWriter, _ *http.Request, _ func()) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte(`{"errcode":`))
		},
		"5xx": func(w http.ResponseWriter, _ *http.Request, _ func()) { w.WriteHeader(http.StatusBadGateway) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, giveUp := context.WithCancel(t.Context())
			defer giveUp()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler(w, r, giveUp) }))
			defer server.Close()
			err := send(ctx, t, server.URL)
			requireCallError(t, err, wechat.OutcomeUnknown, wechat.ClassTransient)
			require.Equal(t, fault.Unavailable, fault.KindOf(err))
		})
	}

	t.Run("nobody listens", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, listener.Close())
		err = send(t.Context(), t, "http://"+listener.Addr().String())
		requireCallError(t, err, wechat.OutcomeNotSent, wechat.ClassTransient)
		require.Equal(t, fault.Retryable, fault.KindOf(err))
	})
	t.Run("TLS refused", func(t *testing.T) {
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		defer server.Close()
		requireCallError(t, send(t.Context(), t, server.URL), wechat.OutcomeNotSent, wechat.ClassTransient)
	})
	t.Run("cancelled before the call", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := send(ctx, t, "http://127.0.0.1:1")
		requireCallError(t, err, wechat.OutcomeNotSent, wechat.ClassTransient)
		require.ErrorIs(t, err, context.Canceled)
	})
}

func send(ctx context.Context, t *testing.T, base string) error {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	c, err := wechat.NewClient(wechat.ClientConfig{HTTP: &http.Client{Transport: transport}, BaseURL: base})
	require.NoError(t, err)
	return c.CustomSend(ctx, canary, []byte(`{"touser":"o_x"}`))
}

func hangUp(t *testing.T, w http.ResponseWriter, reset bool) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	if reset {
		_ = conn.(*net.TCPConn).SetLinger(0)
	}
	_ = conn.Close()
}

func requireCallError(t *testing.T, err error, outcome wechat.Outcome, class wechat.Class) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, outcome.String(), wechat.OutcomeOf(err).String(), err)
	require.Equal(t, class, wechat.ClassOf(err), err)
	requireNoCanary(t, err)
}

// requireNoCanary walks the whole chain in every way of printing.
func requireNoCanary(t *testing.T, err error) {
	t.Helper()
	for e := err; e != nil; e = errors.Unwrap(e) {
		for _, text := range []string{e.Error(), fmt.Sprintf("%v %+v %#v %q", e, e, e, e)} {
			require.NotContains(t, text, "CANARY")
			require.NotContains(t, text, "secret+0123456789")
			require.NotContains(t, text, "secret%2B0123456789")
		}
	}
}

func TestCallJudgesAnswers(t *testing.T) {
	tests := []struct {
		name    string
		status  int
		body    string
		ok      bool
		outcome wechat.Outcome
		class   wechat.Class
		kind    fault.Kind
	}{
		{name: "ok", status: 200, body: `{"errcode":0,"errmsg":"ok"}`, ok: true},
		{name: "no errcode is success", status: 200, body: `{"access_token":"x"}`, ok: true},
		{name: "errcode as a string", status: 200, body: `{"errcode":"0"}`, ok: true},
		{name: "byte order mark", status: 200, body: "\ufeff{\"errcode\":0}", ok: true},
		{name: "control characters", status: 200, body: "{\"errcode\":0,\"nickname\":\"a\x08b\"}", ok: true},
		{name: "a list", status: 200, body: `[1]`, ok: true},
		{name: "window closed", status: 200, body: `{"errcode":45015,"errmsg":"response out of time limit rid: 5f3ded7d-22929d02-4ba1f5f6"}`,
			outcome: wechat.OutcomeRefused, class: wechat.ClassRecipient, kind: fault.Refused},
		{name: "errcode as a number in a string", status: 200, body: `{"errcode":"45009"}`,
			outcome: wechat.OutcomeRefused, class: wechat.ClassQuota, kind: fault.Exhausted},
		{name: "minute quota", status: 200, body: `{"errcode":45011}`,
			outcome: wechat.OutcomeRefused, class: wechat.ClassRate, kind: fault.Exhausted},
		{name: "system busy", status: 200, body: `{"errcode":-1,"errmsg":"system error"}`,
			outcome: wechat.OutcomeRefused, class: wechat.ClassTransient, kind: fault.Retryable},
		{name: "token expired", status: 200, body: `{"errcode":42001}`,
			outcome: wechat.OutcomeRefused, class: wechat.ClassToken, kind: fault.Retryable},
		{name: "bad request", status: 200, body: `{"errcode":47001}`,
			outcome: wechat.OutcomeRefused, class: wechat.ClassRequest, kind: fault.Invalid},
		{name: "account", status: 200, body: `{"errcode":48001}`,
			outcome: wechat.OutcomeRefused, class: wechat.ClassAccount, kind: fault.Permanent},
		{name: "unknown code", status: 200, body: `{"errcode":99999}`,
			outcome: wechat.OutcomeRefused, class: wechat.ClassUnknown, kind: fault.Permanent},
		{name: "errcode in HTTP 400", status: 400, body: `{"errcode":40013}`,
			outcome: wechat.OutcomeRefused, class: wechat.ClassAccount, kind: fault.Permanent},
		{name: "page of a captive proxy", status: 200, body: `<html>log in</html>`,
			outcome: wechat.OutcomeUnknown, class: wechat.ClassTransient, kind: fault.Unavailable},
		{name: "empty answer", status: 200, body: ``,
			outcome: wechat.OutcomeUnknown, class: wechat.ClassTransient, kind: fault.Unavailable},
		{name: "truncated JSON", status: 200, body: `{"errcode":0,"errmsg":"o`,
			outcome: wechat.OutcomeUnknown, class: wechat.ClassTransient, kind: fault.Unavailable},
		{name: "truncated list", status: 200, body: `[1,`,
			outcome: wechat.OutcomeUnknown, class: wechat.ClassTransient, kind: fault.Unavailable},
		{name: "errcode that is no number", status: 200, body: `{"errcode":"many"}`,
			outcome: wechat.OutcomeUnknown, class: wechat.ClassTransient, kind: fault.Unavailable},
		{name: "5xx with an errcode", status: 503, body: `{"errcode":0}`,
			outcome: wechat.OutcomeUnknown, class: wechat.ClassTransient, kind: fault.Unavailable},
		{name: "refused by a proxy", status: 403, body: `forbidden`,
			outcome: wechat.OutcomeRefused, class: wechat.ClassAccount, kind: fault.Permanent},
		{name: "redirect", status: 302, body: ``,
			outcome: wechat.OutcomeRefused, class: wechat.ClassAccount, kind: fault.Permanent},
		{name: "rate limit of a proxy", status: 429, body: `slow down`,
			outcome: wechat.OutcomeRefused, class: wechat.ClassRate, kind: fault.Exhausted},
		{name: "request time-out", status: 408, body: ``,
			outcome: wechat.OutcomeUnknown, class: wechat.ClassTransient, kind: fault.Unavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := answering(t, tt.status, tt.body).CustomSend(t.Context(), canary, []byte(`{}`))
			if tt.ok {
				require.NoError(t, err)
				return
			}
			requireCallError(t, err, tt.outcome, tt.class)
			require.Equal(t, tt.kind.String(), fault.KindOf(err).String())
		})
	}
}

func TestAPIErrorKeepsTheRid(t *testing.T) {
	err := answering(t, 200, `{"errcode":45015,"errmsg":"out of time limit rid: 5f3ded7d-22929d02-4ba1f5f6 x"}`).
		CustomSend(t.Context(), "token", []byte(`{}`))
	e, ok := errors.AsType[*wechat.APIError](err)
	require.True(t, ok)
	require.Equal(t, 45015, e.Code)
	require.Equal(t, "5f3ded7d-22929d02-4ba1f5f6", e.RID())
	require.Equal(t, 200, e.HTTPStatus)
	require.Contains(t, e.Error(), "rid: 5f3ded7d")
	require.Empty(t, (&wechat.APIError{Msg: "ok"}).RID())
}

func TestMinuteQuotaNamesThePause(t *testing.T) {
	err := answering(t, 200, `{"errcode":45011}`).CustomSend(t.Context(), "token", []byte(`{}`))
	after, ok := fault.RetryAfter(err)
	require.True(t, ok)
	require.Equal(t, time.Minute, after)
}

func TestAnswerComesWithTheError(t *testing.T) {
	answer, err := answering(t, 200, `{"errcode":45065,"msg_id":34182}`).Call(t.Context(), wechat.Request{Path: "/cgi-bin/message/mass/send"})
	require.Equal(t, wechat.ClassSuccess, wechat.ClassOf(err))
	var got struct {
		MsgID wechat.LooseString `json:"msg_id"`
	}
	require.NoError(t, answer.Decode(&got))
	require.EqualValues(t, "34182", got.MsgID)
}

// TestSecretsStayOutOfErrors lets everything between us and WeChat repeat the URL and the body.
func TestSecretsStayOutOfErrors(t *testing.T) {
	echo := map[string]roundTrip{
		"transport error with the URL": func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("proxyconnect to %s (%s): refused", r.URL, canary)
		},
		"errmsg with the URL": func(r *http.Request) (*http.Response, error) {
			return answer(r, 200, fmt.Sprintf(`{"errcode":40001,"errmsg":"bad request %s and %s rid: 1"}`, r.URL, canary)), nil
		},
		"page with the URL": func(r *http.Request) (*http.Response, error) {
			return answer(r, 502, "cannot reach "+r.URL.String()), nil
		},
		"redirect to a page with the URL": func(r *http.Request) (*http.Response, error) {
			resp := answer(r, 302, "")
			resp.Header.Set("Location", "http://attacker.example.com/?"+r.URL.RawQuery)
			return resp, nil
		},
	}
	calls := map[string]func(c *wechat.Client) error{
		"token": func(c *wechat.Client) error { _, err := c.Token(t.Context(), "wx1", canary); return err },
		"stable token": func(c *wechat.Client) error {
			_, err := c.StableToken(t.Context(), "wx1", canary, false)
			return err
		},
		"send": func(c *wechat.Client) error { return c.CustomSend(t.Context(), canary, []byte(`{}`)) },
		"component": func(c *wechat.Client) error {
			_, err := c.Call(t.Context(), wechat.Request{Path: "/cgi-bin/component/x", Token: canary, TokenName: "component_access_token"})
			return err
		},
	}
	for echoName, transport := range echo {
		for callName, call := range calls {
			t.Run(echoName+"/"+callName, func(t *testing.T) {
				err := call(newClient(t, transport))
				require.Error(t, err)
				requireNoCanary(t, err)
			})
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	asked := 0
	c := newClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		asked++
		resp := answer(r, 302, "")
		resp.Header.Set("Location", "http://attacker.example.com/")
		return resp, nil
	}))
	require.Error(t, c.CustomSend(t.Context(), "token", []byte(`{}`)))
	require.Equal(t, 1, asked)
}

func TestLargeAnswersAreCutOff(t *testing.T) {
	err := answering(t, 200, `{"a":"`+strings.Repeat("x", 9<<20)+`"}`).CustomSend(t.Context(), "token", []byte(`{}`))
	requireCallError(t, err, wechat.OutcomeUnknown, wechat.ClassTransient)
}

func TestNewClientRefusesBadBaseURLs(t *testing.T) {
	for _, base := range []string{"ftp://x", "api.weixin.qq.com", "https://", "https://x?access_token=1", "https://user:pass@x", "://"} {
		_, err := wechat.NewClient(wechat.ClientConfig{BaseURL: base})
		require.Error(t, err, base)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
	}
	_, err := wechat.NewClient(wechat.ClientConfig{})
	require.NoError(t, err)
}
