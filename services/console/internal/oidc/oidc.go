// Package oidc logs people in with an OpenID provider: authorization code with PKCE, state and nonce. The tokens of
// the provider are used once and never leave the server; what a browser gets is a session like any other.
//
// Somebody is the issuer and the subject of their ID token, never a name or an address: those change hands. Roles
// come from a claim; who has none of the configured values may not log in.
package oidc

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"

	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"

	"github.com/wxbus/wxbus/services/console/internal/login"
	"github.com/wxbus/wxbus/services/console/internal/people"
	"github.com/wxbus/wxbus/services/console/internal/store"
)

// The paths of a log-in.
const (
	StartPath    = "/api/auth/oidc/start"
	CallbackPath = "/api/auth/oidc/callback"
)

const (
	// lifetime is how long somebody may take at the provider.
	lifetime = 10 * time.Minute
	// patience bounds the calls to the provider.
	patience = 10 * time.Second
	// failedPath is where a browser lands after a failure; the page shows the reason.
	failedPath = "/?log_in_error="
)

// Options of a Flow.
type Options struct {
	Issuer       string
	ClientID     string
	ClientSecret secret.Value
	// PublicURL is the address of the page as browsers see it, without a path.
	PublicURL string
	Scopes    []string
	// RoleClaim holds a text or a list of texts; Roles says which role each of them gives.
	RoleClaim string
	Roles     map[string]consolev1.Role
	// NameClaim holds the name to log people in under, for their first time.
	NameClaim string
	// Accounts that everybody gets; AccountClaim, when set, says it instead.
	Accounts     []string
	AccountClaim string

	Login  *login.Service
	People *people.Service
	// Browser tells where a request comes from.
	Browser func(*http.Request) login.Browser
	// Record notes a log-in.
	Record func(ctx context.Context, e *store.Entry)
	Sealer *secret.Sealer
	Log    *slog.Logger
	Now    func() time.Time
	Client *http.Client // http.DefaultClient when nil
}

// Flow is the way through the provider and back. It is safe for concurrent use.
type Flow struct {
	o Options

	mu       sync.Mutex // guards provider
	provider *oidc.Provider
}

// New returns a flow. The provider is asked when somebody first logs in.
func New(o Options) *Flow {
	if o.Client == nil {
		o.Client = &http.Client{Timeout: patience}
	}
	return &Flow{o: o}
}

// attempt is what has to come back from the provider, kept in a sealed cookie of the browser that began.
type attempt struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"`
	ReturnTo string `json:"r"`
	UntilMS  int64  `json:"u"`
}

// Start sends the browser to the provider.
func (f *Flow) Start(w http.ResponseWriter, r *http.Request) {
	a := attempt{
		State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(),
		ReturnTo: localPath(r.URL.Query().Get("return_to")), UntilMS: f.o.Now().Add(lifetime).UnixMilli(),
	}
	config, err := f.config(r.Context())
	if err != nil {
		f.fail(w, r, "unavailable", err)
		return
	}
	b, err := json.Marshal(a)
	if err != nil {
		f.fail(w, r, "internal", err)
		return
	}
	sealed := base64.RawURLEncoding.EncodeToString(f.o.Sealer.Seal(b, []byte(StartPath)))
	http.SetCookie(w, f.cookie(r, sealed, int(lifetime.Seconds())))
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, config.AuthCodeURL(a.State, oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier)), http.StatusSeeOther)
}

// cookie carries the attempt to the callback. Its path is the callback alone, so __Host- is not possible.
func (f *Flow) cookie(r *http.Request, value string, maxAge int) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // Secure is off for plain http on this machine only
		Name: "wxbus-oidc", Value: value, Path: CallbackPath, MaxAge: maxAge, HttpOnly: true,
		Secure: !f.o.Browser(r).Local, SameSite: http.SameSiteLaxMode,
	}
}

// localPath keeps a redirect on this site: a path that browsers cannot read as another host.
func localPath(text string) string {
	u, err := url.Parse(text)
	if err != nil || !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") || strings.ContainsAny(text, "\\\r\n\t") || u.Host != "" || u.Scheme != "" {
		return "/"
	}
	return text
}

func (f *Flow) config(ctx context.Context) (*oauth2.Config, error) {
	p, err := f.discover(ctx)
	if err != nil {
		return nil, err
	}
	return &oauth2.Config{
		ClientID: f.o.ClientID, ClientSecret: f.o.ClientSecret.Reveal(), Endpoint: p.Endpoint(),
		RedirectURL: strings.TrimSuffix(f.o.PublicURL, "/") + CallbackPath, Scopes: append([]string{oidc.ScopeOpenID}, f.o.Scopes...),
	}, nil
}

// discover reads the provider's description once it answers.
func (f *Flow) discover(ctx context.Context) (*oidc.Provider, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.provider != nil {
		return f.provider, nil
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, f.o.Client), patience)
	defer cancel()
	p, err := oidc.NewProvider(ctx, f.o.Issuer)
	if err != nil {
		return nil, fmt.Errorf("ask the identity provider: %w", err)
	}
	f.provider = p
	return p, nil
}

// refusal is a failure with a word for the page.
type refusal struct {
	code string
	err  error
}

func (r *refusal) Error() string { return r.err.Error() }

func refuse(code, format string, a ...any) error { return &refusal{code, fmt.Errorf(format, a...)} }

// Callback takes the browser back, opens a session and returns to the page.
func (f *Flow) Callback(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	http.SetCookie(w, f.cookie(r, "", -1)) // an attempt counts once
	a, err := f.attemptOf(r)
	if err != nil {
		f.fail(w, r, "expired", err)
		return
	}
	ctx := oidc.ClientContext(r.Context(), f.o.Client)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	opened, err := f.open(ctx, r, a)
	if err != nil {
		code := "unavailable"
		if known, ok := errors.AsType[*refusal](err); ok {
			code = known.code
		}
		f.fail(w, r, code, err)
		return
	}
	b := f.o.Browser(r)
	http.SetCookie(w, login.CookieOf(opened.Secret, time.UnixMilli(opened.Session.ExpiresMS), b.Local))
	f.o.Record(r.Context(), &store.Entry{Actor: opened.User.Name, Action: "GET " + CallbackPath, Target: opened.User.Name, Outcome: "ok", Address: b.Address})
	http.Redirect(w, r, a.ReturnTo, http.StatusSeeOther)
}

// attemptOf checks that the browser which comes back is the one that began, and not too late.
func (f *Flow) attemptOf(r *http.Request) (*attempt, error) {
	c, err := r.Cookie("wxbus-oidc")
	if err != nil {
		return nil, errors.New("the browser brings no attempt")
	}
	box, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil {
		return nil, errors.New("the attempt is damaged")
	}
	b, err := f.o.Sealer.Open(box, []byte(StartPath))
	if err != nil {
		return nil, errors.New("the attempt is not ours")
	}
	var a attempt
	if err := json.Unmarshal(b, &a); err != nil {
		return nil, errors.New("the attempt is damaged")
	}
	if f.o.Now().UnixMilli() > a.UntilMS {
		return nil, errors.New("the attempt took too long")
	}
	if subtle.ConstantTimeCompare([]byte(a.State), []byte(r.URL.Query().Get("state"))) != 1 {
		return nil, errors.New("the state is of another attempt")
	}
	return &a, nil
}

func (f *Flow) open(ctx context.Context, r *http.Request, a *attempt) (*login.Opened, error) {
	if reason := r.URL.Query().Get("error"); reason != "" {
		return nil, refuse("refused", "the identity provider refused: %.80q", reason)
	}
	config, err := f.config(ctx)
	if err != nil {
		return nil, err
	}
	token, err := config.Exchange(ctx, r.URL.Query().Get("code"), oauth2.VerifierOption(a.Verifier))
	if err != nil {
		return nil, refuse("refused", "exchange the code: %w", err)
	}
	raw, _ := token.Extra("id_token").(string)
	provider, err := f.discover(ctx)
	if err != nil {
		return nil, err
	}
	id, err := provider.VerifierContext(ctx, &oidc.Config{ClientID: f.o.ClientID, Now: f.o.Now}).Verify(ctx, raw)
	if err != nil {
		return nil, refuse("refused", "check the ID token: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(a.Nonce)) != 1 {
		return nil, refuse("refused", "the ID token is of another attempt")
	}
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return nil, refuse("refused", "read the ID token: %w", err)
	}
	return f.user(ctx, r, id, claims)
}

func (f *Flow) user(ctx context.Context, r *http.Request, id *oidc.IDToken, claims map[string]any) (*login.Opened, error) {
	p := people.Profile{Name: nameOf(claims, f.o.NameClaim, id.Subject), Accounts: f.o.Accounts}
	p.DisplayName, _ = claims["name"].(string)
	if runes := []rune(p.DisplayName); len(runes) > 64 {
		p.DisplayName = string(runes[:64])
	}
	for _, value := range texts(claims[f.o.RoleClaim]) {
		if role, ok := f.o.Roles[value]; ok && !slices.Contains(p.Roles, role) {
			p.Roles = append(p.Roles, role)
		}
	}
	if len(p.Roles) == 0 {
		return nil, refuse("no_role", "the claim %s gives no role", f.o.RoleClaim)
	}
	if f.o.AccountClaim != "" {
		if p.Accounts = texts(claims[f.o.AccountClaim]); len(p.Accounts) == 0 {
			return nil, refuse("no_account", "the claim %s names no account", f.o.AccountClaim)
		}
	}
	u, err := f.o.People.External(ctx, id.Issuer, id.Subject, p)
	if err != nil {
		return nil, err
	}
	if u.Disabled {
		return nil, refuse("disabled", "the user is disabled")
	}
	return f.o.Login.Open(ctx, u, f.o.Browser(r))
}

var unfit = regexp.MustCompile(`[^a-z0-9._-]+`)

// nameOf makes a name from a claim, or from the subject when the claim gives none.
func nameOf(claims map[string]any, claim, subject string) string {
	text, _ := claims[claim].(string)
	text, _, _ = strings.Cut(strings.ToLower(text), "@")
	name := strings.Trim(unfit.ReplaceAllString(text, "-"), "._-")
	if name == "" {
		name = "u-" + strings.Trim(unfit.ReplaceAllString(strings.ToLower(subject), "-"), "._-")
	}
	return name[:min(len(name), 56)] // room for a number
}

// texts reads a claim that is a text or a list of texts.
func texts(claim any) []string {
	switch v := claim.(type) {
	case string:
		return strings.Fields(strings.ReplaceAll(v, ",", " "))
	case []any:
		var out []string
		for _, x := range v {
			if text, ok := x.(string); ok {
				out = append(out, text)
			}
		}
		return out
	default:
		return nil
	}
}

// fail sends the browser back to the page with a word; the reason goes to the log.
func (f *Flow) fail(w http.ResponseWriter, r *http.Request, code string, err error) {
	f.o.Log.WarnContext(r.Context(), "log-in by the identity provider failed", logkey.Code, code, logkey.Error, err)
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, failedPath+url.QueryEscape(code), http.StatusSeeOther)
}
