package console

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"

	"github.com/wxbus/wxbus/pkg/config"

	"github.com/wxbus/wxbus/services/console/internal/audit"
	"github.com/wxbus/wxbus/services/console/internal/password"
	"github.com/wxbus/wxbus/services/console/internal/policy"
)

// minKey is the least length of an API key in characters; shorter ones can be guessed.
const minKey = 16

// Config is the section "console" of the configuration file.
type Config struct {
	Listen         string          `yaml:"listen" desc:"Address of the page and the API."`
	APIKeys        []APIKey        `yaml:"api_keys" desc:"Bearer keys; without any, programs on this machine need none for /api/v1. Keys that are made in the console work beside them."`
	RateLimit      float64         `yaml:"rate_limit" desc:"Requests per second of each key and each user; all programs without a key share one limit."`
	RateBurst      int             `yaml:"rate_burst" desc:"Requests of each key and each user that may come at once."`
	Timeout        time.Duration   `yaml:"timeout" desc:"Longest time that one call of /api/v1 may take."`
	TrustedProxies []string        `yaml:"trusted_proxies" desc:"Networks of proxies that may say in X-Forwarded-For where a request comes from, for example 10.0.0.0/8."`
	Session        SessionConfig   `yaml:"session"`
	FirstAdmin     FirstUserConfig `yaml:"first_admin"`
	OIDC           OIDCConfig      `yaml:"oidc"`
	Audit          AuditConfig     `yaml:"audit"`
	Webhooks       WebhooksConfig  `yaml:"webhooks"`
	Demo           bool            `yaml:"demo" desc:"Make users with well-known passwords and show them on the log-in page; only with a listen address of this machine."`
}

// APIKey is a bearer key and what it opens.
type APIKey struct {
	Name     string        `yaml:"name" desc:"Name in logs, never the key itself."`
	Key      config.Secret `yaml:"key" desc:"The key, at least 16 characters."`
	Accounts []string      `yaml:"accounts" desc:"Accounts that the key may use; \"*\" for all."`
	Scopes   []string      `yaml:"scopes" desc:"What the key may do, for example messages:write; everything when empty."`
}

// SessionConfig says how long people stay logged in.
type SessionConfig struct {
	Idle time.Duration `yaml:"idle" desc:"A session ends after so long without a request of its user."`
	Max  time.Duration `yaml:"max" desc:"A session ends after so long in any case."`
}

// FirstUserConfig is the user who is made when there is none.
type FirstUserConfig struct {
	Name     string        `yaml:"name" desc:"Name of the administrator who is made when there is no user."`
	Password config.Secret `yaml:"password" desc:"Password of that administrator; when empty one is made and written to console-first-password below data, and must be changed at the first log-in."`
}

// OIDCConfig lets people log in with an OpenID provider, beside or instead of passwords.
type OIDCConfig struct {
	Issuer       string            `yaml:"issuer" desc:"Address of the OpenID provider; empty for none."`
	ClientID     string            `yaml:"client_id" desc:"Client id at the provider."`
	ClientSecret config.Secret     `yaml:"client_secret" desc:"Client secret at the provider."`
	PublicURL    string            `yaml:"public_url" desc:"Address of the page as browsers see it; the provider must allow PUBLIC_URL/api/auth/oidc/callback."`
	Label        string            `yaml:"label" desc:"Text on the button of the log-in page."`
	Scopes       []string          `yaml:"scopes" desc:"Scopes to ask for besides openid."`
	RoleClaim    string            `yaml:"role_claim" desc:"Claim of the ID token that gives roles: a text or a list."`
	Roles        map[string]string `yaml:"roles" desc:"Role (agent, supervisor, operator, admin) for each value of the claim."`
	NameClaim    string            `yaml:"name_claim" desc:"Claim that gives the name of a new user."`
	Accounts     []string          `yaml:"accounts" desc:"Accounts of everybody who logs in this way; \"*\" for all."`
	AccountClaim string            `yaml:"account_claim" desc:"Claim that lists the accounts instead."`
	Only         bool              `yaml:"only" desc:"Hide the log-in by password from the page; passwords work still, for emergencies."`
}

// WebhooksConfig says how events go out to business systems.
type WebhooksConfig struct {
	Timeout      time.Duration `yaml:"timeout" desc:"Longest time of one request."`
	MaxAttempts  int           `yaml:"max_attempts" desc:"Tries after which a delivery is given up; 12 take about six hours."`
	AllowHTTP    bool          `yaml:"allow_http" desc:"Also call http addresses."`
	AllowPrivate bool          `yaml:"allow_private" desc:"Also call loopback and private addresses."`
}

// AuditConfig says how long it is kept who did what.
type AuditConfig struct {
	Retention time.Duration `yaml:"retention" desc:"Time that audit entries are kept, at least 4320h (180 days)."`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Listen: ":8081", RateLimit: 50, RateBurst: 100, Timeout: 5 * time.Second,
		Session:    SessionConfig{Idle: 2 * time.Hour, Max: 12 * time.Hour},
		FirstAdmin: FirstUserConfig{Name: "admin"},
		OIDC: OIDCConfig{
			Label: "SSO", Scopes: []string{"profile", "email"}, RoleClaim: "groups", NameClaim: "preferred_username", Accounts: []string{"*"},
		},
		Webhooks: WebhooksConfig{Timeout: 10 * time.Second, MaxAttempts: 12},
		Audit:    AuditConfig{Retention: 400 * 24 * time.Hour},
	}
}

// Validate returns every fault, joined, each with its path.
func (c Config) Validate() error {
	var errs []error
	fail := func(path, format string, a ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, a...)))
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		fail("listen", "must be host:port")
	}
	if !(c.RateLimit > 0) { // also refuses NaN
		fail("rate_limit", "must be more than 0")
	}
	if c.RateBurst < 1 {
		fail("rate_burst", "must be at least 1")
	}
	if c.Timeout < 100*time.Millisecond || c.Timeout > time.Minute {
		fail("timeout", "must be 100ms to 1m")
	}
	if _, err := proxies(c.TrustedProxies); err != nil {
		fail("trusted_proxies", "%v", err)
	}
	if c.Session.Idle < time.Minute {
		fail("session.idle", "must be at least 1m")
	}
	if c.Session.Max < c.Session.Idle {
		fail("session.max", "must be at least session.idle")
	}
	if p := c.FirstAdmin.Password; !p.IsZero() {
		if err := password.Check(p.Reveal()); err != nil {
			fail("first_admin.password", "%v", err)
		}
	}
	if c.Audit.Retention < audit.MinRetention {
		fail("audit.retention", "must be at least %s", audit.MinRetention)
	}
	if c.Webhooks.Timeout < 100*time.Millisecond || c.Webhooks.Timeout > time.Minute {
		fail("webhooks.timeout", "must be 100ms to 1m")
	}
	if c.Webhooks.MaxAttempts < 1 || c.Webhooks.MaxAttempts > 100 {
		fail("webhooks.max_attempts", "must be 1 to 100")
	}
	if c.Demo && !loopback(c.Listen) {
		fail("demo", "needs a listen address of this machine, for example 127.0.0.1:8081")
	}
	c.validateKeys(fail)
	c.OIDC.validate(fail)
	return errors.Join(errs...)
}

func (c Config) validateKeys(fail func(path, format string, a ...any)) {
	names, keys := map[string]bool{}, map[string]bool{}
	for i, k := range c.APIKeys {
		path := fmt.Sprintf("api_keys[%d]", i)
		switch {
		case strings.TrimSpace(k.Name) == "":
			fail(path+".name", "must not be empty")
		case names[k.Name]:
			fail(path+".name", "is used twice")
		}
		names[k.Name] = true
		switch {
		case len(k.Key.Reveal()) < minKey:
			fail(path+".key", "must have at least %d characters", minKey)
		case strings.TrimSpace(k.Key.Reveal()) != k.Key.Reveal():
			fail(path+".key", "must not begin or end with a space")
		case keys[k.Key.Reveal()]:
			fail(path+".key", "is used twice")
		}
		keys[k.Key.Reveal()] = true
		if len(k.Accounts) == 0 {
			fail(path+".accounts", "must name at least one account, or \"*\"")
		}
		for _, scope := range k.Scopes {
			if !policy.IsScope(scope) {
				fail(path+".scopes", "there is no scope %q", scope)
			}
		}
	}
}

// roleNames are the roles as the file spells them.
var roleNames = map[string]consolev1.Role{
	"agent": consolev1.Role_ROLE_AGENT, "supervisor": consolev1.Role_ROLE_SUPERVISOR,
	"operator": consolev1.Role_ROLE_OPERATOR, "admin": consolev1.Role_ROLE_ADMIN,
}

func (c OIDCConfig) validate(fail func(path, format string, a ...any)) {
	if c.Issuer == "" {
		return
	}
	for path, address := range map[string]string{"oidc.issuer": c.Issuer, "oidc.public_url": c.PublicURL} {
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(net.JoinHostPort(u.Hostname(), "0"))) {
			fail(path, "must be an https address")
		}
	}
	if c.ClientID == "" {
		fail("oidc.client_id", "must be set")
	}
	if len(c.Roles) == 0 {
		fail("oidc.roles", "must give at least one role, or nobody can log in")
	}
	for value, name := range c.Roles {
		if _, ok := roleNames[name]; !ok {
			fail("oidc.roles."+value, "must be one of agent, supervisor, operator, admin")
		}
	}
}

// proxies reads networks; an address stands for itself.
func proxies(texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return nil, fmt.Errorf("%q is neither a network nor an address", text)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, p)
	}
	return out, nil
}

func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}
