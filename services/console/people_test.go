package console_test

import (
	"context"
	"net/http"
	"net/http/cookiejar"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	"github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1/consolev1connect"

	"github.com/wxbus/wxbus/services/console"
)

// visitor is a browser, or with a key a program, that calls methods.
type visitor struct {
	http     *http.Client
	url      string
	sessions consolev1connect.SessionServiceClient
	users    consolev1connect.UserServiceClient
	keys     consolev1connect.ApiKeyServiceClient
	audit    consolev1connect.AuditServiceClient
	letters  consolev1connect.DeadLetterServiceClient
	feed     consolev1connect.FeedServiceClient
	trace    consolev1connect.TraceServiceClient
	status   consolev1connect.StatusServiceClient
}

// headers sends the same headers with every request.
type headers struct {
	set  http.Header
	next http.RoundTripper
}

func (h headers) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, values := range h.set {
		if name == "Host" {
			r.Host = values[0]
			continue
		}
		r.Header[name] = values
	}
	return h.next.RoundTrip(r)
}

// visit returns a new browser; header are names and values that it always sends.
func (s *site) visit(header ...string) *visitor {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(s.t, err)
	h := headers{set: http.Header{}, next: http.DefaultTransport}
	for i := 0; i+1 < len(header); i += 2 {
		h.set.Set(header[i], header[i+1])
	}
	hc := &http.Client{Jar: jar, Transport: h}
	api := s.url + "/api"
	return &visitor{
		http: hc, url: s.url,
		sessions: consolev1connect.NewSessionServiceClient(hc, api), users: consolev1connect.NewUserServiceClient(hc, api),
		keys: consolev1connect.NewApiKeyServiceClient(hc, api), audit: consolev1connect.NewAuditServiceClient(hc, api),
		letters: consolev1connect.NewDeadLetterServiceClient(hc, api), feed: consolev1connect.NewFeedServiceClient(hc, api),
		trace: consolev1connect.NewTraceServiceClient(hc, api), status: consolev1connect.NewStatusServiceClient(hc, api, connect.WithProtoJSON()),
	}
}

func demo(c *console.Config) { c.Demo, c.Listen = true, "127.0.0.1:0" }

// demoSite is a console with the demo's users, who are made by then.
func demoSite(t testing.TB, change ...func(*console.Config)) *site {
	t.Helper()
	s := newSite(t, append([]func(*console.Config){demo}, change...)...)
	require.Eventually(t, func() bool {
		_, err := s.visit().sessions.LogIn(t.Context(), connect.NewRequest(&consolev1.LogInRequest{Name: "zhao", Password: "demo-zhao-1"}))
		return err == nil
	}, 30*time.Second, 20*time.Millisecond)
	return s
}

// passwords of the demo.
var passwords = map[string]string{"admin": "demo-admin-1", "wang": "demo-wang-1", "li": "demo-li-001", "zhao": "demo-zhao-1"}

// as returns a browser in which somebody of the demo is logged in.
func (s *site) as(name string, header ...string) *visitor {
	s.t.Helper()
	v := s.visit(header...)
	require.NoError(s.t, v.logIn(s.t.Context(), name, passwords[name]))
	return v
}

func (v *visitor) logIn(ctx context.Context, name, password string) error {
	_, err := v.sessions.LogIn(ctx, connect.NewRequest(&consolev1.LogInRequest{Name: name, Password: password}))
	return err
}

func (v *visitor) session(t testing.TB) *consolev1.Session {
	t.Helper()
	got, err := v.sessions.GetSession(t.Context(), connect.NewRequest(&consolev1.GetSessionRequest{}))
	require.NoError(t, err)
	return got.Msg.GetSession()
}

// detail returns what an error says that the caller can do.
func detail(t testing.TB, err error) *consolev1.ErrorDetail {
	t.Helper()
	var e *connect.Error
	require.ErrorAs(t, err, &e)
	require.Len(t, e.Details(), 1)
	m, err := e.Details()[0].Value()
	require.NoError(t, err)
	d, ok := m.(*consolev1.ErrorDetail)
	require.True(t, ok)
	return d
}
