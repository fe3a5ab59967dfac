package console_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"

	"github.com/wxbus/wxbus/pkg/secret"

	"github.com/wxbus/wxbus/services/console"
)

// provider is a small OpenID provider: discovery, authorization with PKCE, tokens signed with RS256.
type provider struct {
	t    testing.TB
	url  string
	key  *rsa.PrivateKey
	now  func() time.Time
	edit func(claims map[string]any) // changes the claims of the next token

	mu    sync.Mutex            // guards codes
	codes map[string]url.Values // what was asked for, by code
}

func newProvider(t testing.TB, now func() time.Time) *provider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	p := &provider{t: t, key: key, now: now, codes: map[string]url.Values{}, edit: func(map[string]any) {}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /keys", p.keys)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

func (p *provider) json(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		p.t.Error(err)
	}
}

func (p *provider) discovery(w http.ResponseWriter, _ *http.Request) {
	p.json(w, map[string]any{
		"issuer": p.url, "authorization_endpoint": p.url + "/authorize", "token_endpoint": p.url + "/token", "jwks_uri": p.url + "/keys",
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

func (p *provider) keys(w http.ResponseWriter, _ *http.Request) {
	p.json(w, map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1",
		"n": base64.RawURLEncoding.EncodeToString(p.key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(p.key.E)).Bytes()),
	}}})
}

func (p *provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("code_challenge_method") != "S256" || q.Get("response_type") != "code" || q.Get("client_id") != "wxbus" {
		http.Error(w, "wrong request", http.StatusBadRequest)
		return
	}
	code := rand.Text()
	p.mu.Lock()
	p.codes[code] = q
	p.mu.Unlock()
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusSeeOther)
}

func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	asked := p.codes[r.FormValue("code")]
	delete(p.codes, r.FormValue("code"))
	p.mu.Unlock()
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	id, clientSecret, _ := r.BasicAuth()
	if asked == nil || base64.RawURLEncoding.EncodeToString(sum[:]) != asked.Get("code_challenge") || id != "wxbus" || clientSecret != "client-secret" {
		w.WriteHeader(http.StatusBadRequest)
		p.json(w, map[string]any{"error": "invalid_grant"})
		return
	}
	claims := map[string]any{
		"iss": p.url, "sub": "4711", "aud": "wxbus", "nonce": asked.Get("nonce"), "iat": p.now().Unix(), "exp": p.now().Add(time.Minute).Unix(),
		"preferred_username": "Han.Mei@example.com", "name": "韩梅", "groups": []string{"desk", "other"},
	}
	p.edit(claims)
	p.json(w, map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": p.sign(claims)})
}

func (p *provider) sign(claims map[string]any) string {
	part := func(v any) string {
		b, err := json.Marshal(v)
		require.NoError(p.t, err)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(map[string]string{"alg": "RS256", "kid": "1"}) + "." + part(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, p.key, crypto.SHA256, sum[:])
	require.NoError(p.t, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// ssoSite is a console whose people log in with a provider.
func ssoSite(t testing.TB) (*site, *provider) {
	t.Helper()
	var s *site
	p := newProvider(t, func() time.Time { return s.clock.Now() })
	// The address of the page is known only once it listens; the flow begins later.
	address := httptest.NewUnstartedServer(nil)
	public := "http://" + address.Listener.Addr().String()
	s = newSiteOn(t, address, t.TempDir(), func(c *console.Config) {
		demo(c)
		c.OIDC.Issuer, c.OIDC.ClientID, c.OIDC.ClientSecret, c.OIDC.PublicURL = p.url, "wxbus", secret.New("client-secret"), public
		c.OIDC.Roles = map[string]string{"desk": "agent", "bosses": "admin"}
		c.OIDC.Label = "企业登录"
	})
	return s, p
}

// logInBySSO goes to the provider and back, and returns where the browser ended.
func (v *visitor) logInBySSO(t testing.TB, returnTo string) *url.URL {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, v.url+"/api/auth/oidc/start?return_to="+url.QueryEscape(returnTo), nil)
	require.NoError(t, err)
	w, err := v.http.Do(r)
	require.NoError(t, err)
	require.NoError(t, w.Body.Close())
	return w.Request.URL
}

func TestPeopleLogInWithAProvider(t *testing.T) {
	s, p := ssoSite(t)
	v := s.visit()
	got, err := v.sessions.GetSession(t.Context(), connect.NewRequest(&consolev1.GetSessionRequest{}))
	require.NoError(t, err)
	require.Len(t, got.Msg.GetLogInMethods(), 2)
	require.Equal(t, "企业登录", got.Msg.GetLogInMethods()[1].GetLabel())

	require.Equal(t, "/desk/shop", v.logInBySSO(t, "/desk/shop").Path)
	x := v.session(t)
	require.Equal(t, []string{"han.mei", "韩梅"}, []string{x.GetUser().GetName(), x.GetUser().GetDisplayName()})
	require.Equal(t, []consolev1.Role{consolev1.Role_ROLE_AGENT}, x.GetUser().GetRoles())
	require.True(t, x.GetUser().GetExternal())
	_, err = v.sessions.ChangePassword(t.Context(), connect.NewRequest(&consolev1.ChangePasswordRequest{OldPassword: "x", NewPassword: "a long new password"}))
	require.Equal(t, connect.CodeFailedPrecondition, connect.CodeOf(err))
	require.Equal(t, connect.CodeUnauthenticated, connect.CodeOf(s.visit().logIn(t.Context(), "han.mei", "")), "there is no password")

	p.edit = func(c map[string]any) { c["groups"], c["preferred_username"] = "bosses", "somebody.else" }
	v.logInBySSO(t, "/")
	require.Equal(t, "han.mei", v.session(t).GetUser().GetName(), "who somebody is does not hang on a name")
	require.Equal(t, []consolev1.Role{consolev1.Role_ROLE_ADMIN}, v.session(t).GetUser().GetRoles(), "roles follow the provider")

	p.edit = func(c map[string]any) { c["sub"] = "4712" }
	w := s.visit()
	w.logInBySSO(t, "/")
	require.Equal(t, "han.mei-2", w.session(t).GetUser().GetName(), "another person of the same name is another user")
}

func TestATokenThatIsNotForUsOpensNothing(t *testing.T) {
	s, p := ssoSite(t)
	for name, edit := range map[string]func(map[string]any){
		"audience": func(c map[string]any) { c["aud"] = "another" },
		"issuer":   func(c map[string]any) { c["iss"] = "https://evil.example" },
		"nonce":    func(c map[string]any) { c["nonce"] = "replayed" },
		"expired":  func(c map[string]any) { c["exp"] = s.clock.Now().Add(-time.Minute).Unix() },
		"no role":  func(c map[string]any) { c["groups"] = []string{"other"} },
	} {
		p.edit = edit
		v := s.visit()
		end := v.logInBySSO(t, "/")
		require.NotEmpty(t, end.Query().Get("log_in_error"), name)
		require.Nil(t, v.session(t), name)
	}
}

func TestACallbackBelongsToTheBrowserThatBegan(t *testing.T) {
	s, _ := ssoSite(t)
	callback := func(v *visitor, query string) string {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, s.url+"/api/auth/oidc/callback?"+query, nil)
		require.NoError(t, err)
		w, err := v.http.Do(r)
		require.NoError(t, err)
		require.NoError(t, w.Body.Close())
		return w.Request.URL.Query().Get("log_in_error")
	}
	require.Equal(t, "expired", callback(s.visit(), "code=x&state=y"), "without an attempt")
	forged := s.visit("Cookie", "wxbus-oidc=AAAA")
	require.Equal(t, "expired", callback(forged, "code=x&state=y"))

	// An attempt under way, stopped before the provider.
	v := s.visit()
	v.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	v.logInBySSO(t, "/")
	v.http.CheckRedirect = nil
	require.Equal(t, "expired", callback(v, "code=x&state=of-another"))

	late := s.visit()
	late.http.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == "/api/auth/oidc/callback" {
			s.clock.Advance(11 * time.Minute)
		}
		return nil
	}
	require.Equal(t, "expired", late.logInBySSO(t, "/").Query().Get("log_in_error"))
}

func TestALogInNeverLeadsToAnotherSite(t *testing.T) {
	s, _ := ssoSite(t)
	for _, evil := range []string{"https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "\t//evil.example", ""} {
		end := s.visit().logInBySSO(t, evil)
		require.Equal(t, mustURL(t, s.url).Host, end.Host, evil)
		require.Equal(t, "/", end.Path, evil)
	}
}
