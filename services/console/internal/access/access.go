// Package access decides who makes a request: a person with a session, a business system with a key, or a
// program on this machine; and how often they may.
package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/wxbus/wxbus/pkg/secret"

	"github.com/wxbus/wxbus/services/console/internal/login"
	"github.com/wxbus/wxbus/services/console/internal/store"
)

// Why a request is refused. Match with errors.Is.
var (
	// ErrNotLocal means that there is no credential, no key is configured, and the caller is not on this machine.
	ErrNotLocal = errors.New("no API key is configured, so only callers on this machine are served without one")
	// ErrNoKey means that the bearer key is missing, unknown, revoked or expired.
	ErrNoKey = errors.New("a valid bearer key is required")
	// ErrTooMany means that the caller is over its rate.
	ErrTooMany = errors.New("too many requests")
)

// Key is one bearer key of the configuration.
type Key struct {
	Name     string
	Secret   secret.Value
	Accounts []string
	Scopes   []string
}

// StoredKeys finds the keys that were made in the console.
type StoredKeys interface {
	Key(ctx context.Context, id string) (*store.Key, error)
	UseKey(ctx context.Context, id string, nowMS int64) error
}

// Sessions finds who has a cookie; login.ErrNoSession when nobody.
type Sessions interface {
	Resolve(ctx context.Context, secret string, touch bool) (*store.Session, *store.User, error)
}

// Options of a Guard.
type Options struct {
	Keys []Key
	// Stored keys; none when nil.
	Stored StoredKeys
	// Sessions of people; none when nil.
	Sessions Sessions
	// Rate and Burst bound the requests per second of each caller; programs on this machine share one limit.
	Rate  float64
	Burst int
	// Proxies may say in X-Forwarded-For where a request comes from.
	Proxies []netip.Prefix
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// Guard checks requests. It is safe for concurrent use.
type Guard struct {
	o     Options
	keys  []guardedKey
	local *Caller
	ring  *keyring

	mu       sync.Mutex // guards limiters
	limiters map[string]*rate.Limiter
}

type guardedKey struct {
	sum    [sha256.Size]byte
	caller *Caller
}

// New returns a guard.
func New(o Options) *Guard {
	if o.Now == nil {
		o.Now = time.Now
	}
	g := &Guard{o: o, limiters: map[string]*rate.Limiter{}, ring: newKeyring(o.Stored, o.Now)}
	g.local = &Caller{Kind: Local, Name: "local", accounts: []string{EveryAccount}, limiter: g.limit()}
	for _, k := range o.Keys {
		scopes := k.Scopes
		if len(scopes) == 0 {
			scopes = []string{everyScope}
		}
		g.keys = append(g.keys, guardedKey{sum: sha256.Sum256([]byte(k.Secret.Reveal())), caller: &Caller{
			Kind: APIKey, Name: k.Name, accounts: k.Accounts, scopes: scopes, limiter: g.limit(),
		}})
	}
	return g
}

func (g *Guard) limit() *rate.Limiter { return rate.NewLimiter(rate.Limit(g.o.Rate), g.o.Burst) }

// LocalOnly tells that no key is configured, so that programs on this machine need none.
func (g *Guard) LocalOnly() bool { return len(g.keys) == 0 }

// Caller returns who makes a request of a business system, or one of the errors of this package. A cookie
// does not count there.
func (g *Guard) Caller(r *http.Request) (*Caller, error) {
	if hasKey(r) {
		return g.withKey(r)
	}
	if !g.LocalOnly() {
		return nil, ErrNoKey
	}
	if !FromThisMachine(r) {
		return nil, ErrNotLocal
	}
	return g.admit(g.local, r, g.local.limiter)
}

// Visitor returns who calls a method of the API: somebody with a key, or a person with a session; otherwise
// login.ErrNoSession. touch says whether the request keeps the session awake.
func (g *Guard) Visitor(r *http.Request, touch bool) (*Caller, error) {
	if hasKey(r) {
		return g.withKey(r)
	}
	if g.o.Sessions == nil {
		return nil, login.ErrNoSession
	}
	x, u, err := g.o.Sessions.Resolve(r.Context(), login.SecretOf(r, FromThisMachine(r)), touch)
	if err != nil {
		return nil, err
	}
	c := &Caller{Kind: Person, Name: u.Name, Roles: u.Roles, Session: x, User: u, accounts: u.Accounts}
	return g.admit(c, r, g.limiterOf("user:"+u.Name))
}

func hasKey(r *http.Request) bool { return r.Header.Get("Authorization") != "" }

func (g *Guard) withKey(r *http.Request) (*Caller, error) {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	key = strings.TrimSpace(key)
	if !strings.EqualFold(scheme, "Bearer") || key == "" {
		return nil, ErrNoKey
	}
	if c := g.match(key); c != nil {
		return g.admit(c, r, c.limiter)
	}
	k, err := g.ring.find(r.Context(), key)
	if err != nil {
		return nil, err
	}
	c := &Caller{Kind: APIKey, Name: k.ID, accounts: k.Accounts, scopes: k.Scopes}
	return g.admit(c, r, g.limiterOf("key:"+k.ID))
}

// admit checks the rate and adds the address.
func (g *Guard) admit(c *Caller, r *http.Request, limiter *rate.Limiter) (*Caller, error) {
	if !limiter.AllowN(g.o.Now(), 1) {
		return nil, ErrTooMany
	}
	admitted := *c
	admitted.Address = g.Address(r)
	return &admitted, nil
}

// maxLimiters bounds the callers whose rate is remembered; beyond it all begin anew.
const maxLimiters = 10_000

func (g *Guard) limiterOf(name string) *rate.Limiter {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.limiters[name]
	if l == nil {
		if len(g.limiters) >= maxLimiters {
			clear(g.limiters)
		}
		l = g.limit()
		g.limiters[name] = l
	}
	return l
}

// match compares with every key, each in constant time, so that neither the time nor the position
// of a key tells anything about it.
func (g *Guard) match(key string) *Caller {
	sum := sha256.Sum256([]byte(key))
	var found *Caller
	for _, k := range g.keys {
		if subtle.ConstantTimeCompare(k.sum[:], sum[:]) == 1 {
			found = k.caller
		}
	}
	return found
}

// Address returns where a request comes from. Only a trusted proxy may say that it passes on the request of
// somebody else; of the addresses in the header the last one that is no trusted proxy counts, because a
// client can write anything before it.
func (g *Guard) Address(r *http.Request) string {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	address := at.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && g.trusted(address); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		address = hop.Unmap()
	}
	return address.WithZone("").String()
}

func (g *Guard) trusted(a netip.Addr) bool {
	for _, p := range g.o.Proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Browser returns where a request of a page comes from.
func (g *Guard) Browser(r *http.Request) login.Browser {
	local := FromThisMachine(r)
	return login.Browser{Address: g.Address(r), Agent: r.UserAgent(), Secret: login.SecretOf(r, local), Local: local}
}

// FromThisMachine tells whether a request was made by plain http on this machine. It also looks at the Host,
// because a page of a stranger may point its own name at 127.0.0.1 and let our user's browser call us; and it
// refuses what a proxy on this machine passes on.
func FromThisMachine(r *http.Request) bool {
	for _, forwarded := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip"} {
		if r.Header.Get(forwarded) != "" {
			return false
		}
	}
	return loopbackAddress(r.RemoteAddr) && loopbackHost(r.Host)
}

func loopbackAddress(hostport string) bool {
	addr, err := netip.ParseAddrPort(hostport)
	return err == nil && addr.Addr().Unmap().IsLoopback()
}

func loopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
