package console_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"

	"github.com/wxbus/wxbus/pkg/secret"

	"github.com/wxbus/wxbus/services/console"
)

func TestALogInOpensASessionAndALogOutEndsIt(t *testing.T) {
	s := demoSite(t)
	v := s.visit()
	got, err := v.sessions.GetSession(t.Context(), connect.NewRequest(&consolev1.GetSessionRequest{}))
	require.NoError(t, err)
	require.Nil(t, got.Msg.GetSession())
	require.Len(t, got.Msg.GetDemoUsers(), 4)
	require.Equal(t, s.clock.Now().UnixMilli(), got.Msg.GetServerUnixMs())

	require.NoError(t, v.logIn(t.Context(), " LI ", "demo-li-001"))
	x := v.session(t)
	require.Equal(t, "li", x.GetUser().GetName())
	require.Contains(t, x.GetMethods(), "wxbus.agentrouting.v1.ConversationService/Reply")
	require.NotContains(t, x.GetMethods(), "wxbus.console.v1.UserService/CreateUser")
	require.NotContains(t, x.GetMethods(), "wxbus.token.v1.TokenService/GetToken")

	cookies := v.http.Jar.Cookies(mustURL(t, s.url))
	require.Len(t, cookies, 1)
	_, err = v.sessions.LogOut(t.Context(), connect.NewRequest(&consolev1.LogOutRequest{}))
	require.NoError(t, err)
	require.Empty(t, v.http.Jar.Cookies(mustURL(t, s.url)))
	stolen := s.visit("Cookie", cookies[0].String())
	require.Nil(t, stolen.session(t), "the server has forgotten the session too")
}

func TestTheCookieIsForTheHostAndOutOfReachOfScripts(t *testing.T) {
	s := demoSite(t)
	logIn := func(header ...string) *http.Cookie {
		body := `{"name":"li","password":"demo-li-001"}`
		got := s.call("POST", "/api/wxbus.console.v1.SessionService/LogIn", body, append(header, "Content-Type", "application/json")...)
		require.Equal(t, http.StatusOK, got.status, got.text)
		require.NotContains(t, got.text, "demo-li")
		c, err := http.ParseSetCookie(got.header.Get("Set-Cookie"))
		require.NoError(t, err)
		return c
	}
	for _, header := range [][]string{{"Host", "console.example"}, {"X-Forwarded-For", "203.0.113.9"}} {
		c := logIn(header...)
		require.Equal(t, "__Host-wxbus", c.Name)
		require.True(t, c.Secure && c.HttpOnly && c.SameSite == http.SameSiteLaxMode && c.Path == "/" && c.Domain == "", c.String())
		require.GreaterOrEqual(t, len(c.Value), 43, "256 bits")
	}
	c := logIn()
	require.Equal(t, "wxbus-local", c.Name, "browsers refuse the other one on plain http")
	require.True(t, !c.Secure && c.HttpOnly && c.SameSite == http.SameSiteLaxMode, c.String())

	outside := s.visit("Host", "console.example", "Cookie", "wxbus-local="+c.Value)
	require.Nil(t, outside.session(t), "the local cookie counts on this machine only")
}

func TestALogInReplacesTheSessionThatItComesWith(t *testing.T) {
	s := demoSite(t)
	v := s.as("li")
	before := v.http.Jar.Cookies(mustURL(t, s.url))[0]
	require.NoError(t, v.logIn(t.Context(), "li", passwords["li"]))
	after := v.http.Jar.Cookies(mustURL(t, s.url))[0]
	require.NotEqual(t, before.Value, after.Value)
	require.Nil(t, s.visit("Cookie", before.String()).session(t))
	require.NotNil(t, v.session(t))
}

func TestASessionEndsIdleAndInAnyCase(t *testing.T) {
	s := demoSite(t, func(c *console.Config) { c.Session = console.SessionConfig{Idle: time.Hour, Max: 3 * time.Hour} })
	v := s.as("li")
	use := func() error {
		_, err := v.users.ListColleagues(t.Context(), connect.NewRequest(&consolev1.ListColleaguesRequest{}))
		return err
	}
	for range 3 {
		s.clock.Advance(50 * time.Minute)
		require.NoError(t, use(), "every use begins the hour anew")
	}
	s.clock.Advance(40 * time.Minute)
	require.Equal(t, connect.CodeUnauthenticated, connect.CodeOf(use()), "three hours are over")

	v = s.as("li")
	for range 3 {
		s.clock.Advance(25 * time.Minute)
		v.session(t) // the page asks by itself
	}
	require.Nil(t, v.session(t), "asking who one is does not count as use")
}

func TestWrongPasswordsWaitAndSayNothingAboutNames(t *testing.T) {
	s := demoSite(t, func(c *console.Config) { c.TrustedProxies = []string{"127.0.0.1"} })
	for _, name := range []string{"li", "nobody", strings.Repeat("x", 300)} {
		v := s.visit("X-Forwarded-For", "203.0.113."+string(rune('0'+len(name)%10)))
		var texts []string
		for range 5 {
			err := v.logIn(t.Context(), name, "wrong password")
			require.Equal(t, connect.CodeUnauthenticated, connect.CodeOf(err))
			texts = append(texts, err.Error())
		}
		require.Equal(t, "unauthenticated: the name or the password is wrong", texts[0])
		err := v.logIn(t.Context(), name, passwords[name])
		require.Equal(t, connect.CodeResourceExhausted, connect.CodeOf(err), "also with the right one")
		require.Equal(t, int64(30_000), detail(t, err).GetRetryAfterMs())
	}
	admin := s.as("admin")
	got, err := admin.users.ListUsers(t.Context(), connect.NewRequest(&consolev1.ListUsersRequest{}))
	require.NoError(t, err)
	for _, u := range got.Msg.GetUsers() {
		require.Equal(t, u.GetName() == "li", u.GetLockedUntilUnixMs() > 0, u.GetName())
	}
	s.clock.Advance(30 * time.Second)
	require.NoError(t, s.visit().logIn(t.Context(), "li", passwords["li"]))
}

func TestAnAddressCannotTryOnePasswordWithManyNames(t *testing.T) {
	s := demoSite(t, func(c *console.Config) { c.TrustedProxies = []string{"127.0.0.0/8"} })
	v := s.visit("X-Forwarded-For", "198.51.100.7, 203.0.113.9")
	var refused error
	for i := range 25 {
		if err := v.logIn(t.Context(), "user"+string(rune('a'+i)), "wrong password"); connect.CodeOf(err) == connect.CodeResourceExhausted {
			refused = err
			break
		}
	}
	require.Error(t, refused)
	require.NoError(t, s.visit("X-Forwarded-For", "203.0.113.10").logIn(t.Context(), "li", passwords["li"]), "others do not wait")
	require.Error(t, s.visit("X-Forwarded-For", "1.2.3.4, 203.0.113.9").logIn(t.Context(), "li", passwords["li"]), "what a client writes before the proxy does not count")
}

func TestTheFirstAdministratorSetsAPasswordBeforeAnythingElse(t *testing.T) {
	data := t.TempDir()
	s := newSiteIn(t, data)
	file := filepath.Join(data, "console-first-password")
	require.Eventually(t, func() bool { _, err := os.Stat(file); return err == nil }, 30*time.Second, 10*time.Millisecond)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	first := strings.TrimSpace(string(text))
	require.Eventually(t, func() bool { return strings.Contains(s.log.String(), "password_file") }, 30*time.Second, 10*time.Millisecond)
	require.NotContains(t, s.log.String(), first)

	v, other := s.visit(), s.visit()
	require.NoError(t, v.logIn(t.Context(), "admin", first))
	require.NoError(t, other.logIn(t.Context(), "admin", first))
	require.True(t, v.session(t).GetMustChangePassword())
	_, err = v.users.ListUsers(t.Context(), connect.NewRequest(&consolev1.ListUsersRequest{}))
	require.Equal(t, connect.CodePermissionDenied, connect.CodeOf(err))

	change := func(old, fresh string) error {
		_, err := v.sessions.ChangePassword(t.Context(), connect.NewRequest(&consolev1.ChangePasswordRequest{OldPassword: old, NewPassword: fresh}))
		return err
	}
	require.Equal(t, "new_password", detail(t, change(first, "short")).GetField())
	require.Equal(t, "old_password", detail(t, change("not it at all", "a long new password")).GetField())
	require.NoError(t, change(first, "a long new password"))
	_, err = v.users.ListUsers(t.Context(), connect.NewRequest(&consolev1.ListUsersRequest{}))
	require.NoError(t, err)
	require.Nil(t, other.session(t), "the other sessions have ended")
	require.Error(t, s.visit().logIn(t.Context(), "admin", first))
}

func TestTheFirstPasswordMayBeConfigured(t *testing.T) {
	s := newSite(t, func(c *console.Config) {
		c.FirstAdmin = console.FirstUserConfig{Name: "root", Password: secret.New("from the deployment")}
	})
	v := s.visit()
	require.Eventually(t, func() bool { return v.logIn(t.Context(), "root", "from the deployment") == nil }, 30*time.Second, 20*time.Millisecond)
	require.False(t, v.session(t).GetMustChangePassword())
}

func TestSessionsAreListedAndRevoked(t *testing.T) {
	s := demoSite(t)
	li, elsewhere, admin := s.as("li", "User-Agent", "phone"), s.as("li"), s.as("admin")
	list := func(v *visitor, user string) ([]*consolev1.SessionInfo, error) {
		got, err := v.sessions.ListSessions(t.Context(), connect.NewRequest(&consolev1.ListSessionsRequest{User: user}))
		if err != nil {
			return nil, err
		}
		return got.Msg.GetSessions(), nil
	}
	own, err := list(li, "")
	require.NoError(t, err)
	require.Len(t, own, 2)
	_, err = list(li, "admin")
	require.Equal(t, connect.CodePermissionDenied, connect.CodeOf(err))
	require.Equal(t, "user", detail(t, err).GetField())
	_, err = list(li, "*")
	require.Equal(t, connect.CodePermissionDenied, connect.CodeOf(err))
	all, err := list(admin, "*")
	require.NoError(t, err)
	require.Greater(t, len(all), 3)

	revoke := func(v *visitor, id string) error {
		_, err := v.sessions.RevokeSession(t.Context(), connect.NewRequest(&consolev1.RevokeSessionRequest{Id: id}))
		return err
	}
	require.Equal(t, connect.CodeNotFound, connect.CodeOf(revoke(li, admin.session(t).GetId())), "not theirs to end")
	require.NoError(t, revoke(li, elsewhere.session(t).GetId()))
	require.Nil(t, elsewhere.session(t))
	require.NoError(t, revoke(admin, li.session(t).GetId()))
	require.Nil(t, li.session(t))
}

func TestPagesOfOthersCannotCallMethods(t *testing.T) {
	s := demoSite(t)
	v := s.as("admin")
	cookie := v.http.Jar.Cookies(mustURL(t, s.url))[0].String()
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}} {
		got := s.call("POST", "/api/wxbus.console.v1.SessionService/LogOut", "{}", append(header, "Content-Type", "application/json", "Cookie", cookie)...)
		require.Equal(t, http.StatusForbidden, got.status)
	}
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"} { // what a form can send
		got := s.call("POST", "/api/wxbus.console.v1.SessionService/LogOut", "{}", "Content-Type", kind, "Cookie", cookie)
		require.Equal(t, http.StatusUnsupportedMediaType, got.status)
	}
	require.Equal(t, http.StatusMethodNotAllowed, s.call("GET", "/api/wxbus.console.v1.SessionService/LogOut", "", "Cookie", cookie).status)
	require.NotNil(t, v.session(t))
}

func TestALogInBodyIsSmall(t *testing.T) {
	s := demoSite(t)
	got := s.call("POST", "/api/wxbus.console.v1.SessionService/LogIn", `{"name":"`+strings.Repeat("x", 64<<10)+`"}`, "Content-Type", "application/json")
	require.NotEqual(t, http.StatusOK, got.status)
	require.Less(t, len(got.text), 2000)
}

func TestMethodsAnswerWithoutADatabase(t *testing.T) {
	s := newSite(t)
	require.NoError(t, s.service.Stop(context.Background()))
	v := s.visit("Cookie", "wxbus-local=x")
	_, err := v.sessions.GetSession(t.Context(), connect.NewRequest(&consolev1.GetSessionRequest{}))
	require.Equal(t, connect.CodeUnavailable, connect.CodeOf(err))
	require.Equal(t, http.StatusAccepted, s.call("POST", sendPath, hello, "Idempotency-Key", "k").status, "sending needs no database")
}
