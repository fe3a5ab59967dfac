// Package access decides who may call the API, and how often.
package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/wxbus/wxbus/pkg/secret"
)

// Why a request is refused. Match with errors.Is.
var (
	// ErrNotLocal means that no key is configured and the caller is not on this machine.
	ErrNotLocal = errors.New("no API key is configured, so only callers on this machine are served")
	// ErrNoKey means that the bearer key is missing or unknown.
	ErrNoKey = errors.New("a valid bearer key is required")
	// ErrTooMany means that the caller is over its rate.
	ErrTooMany = errors.New("too many requests")
)

// EveryAccount in a key's list allows all accounts, also those that are added later.
const EveryAccount = "*"

// Key is one bearer key.
type Key struct {
	Name     string
	Secret   secret.Value
	Accounts []string
}

// Options of a Guard.
type Options struct {
	Keys []Key
	// Rate and Burst bound the requests per second of each key; callers on this machine share one.
	Rate  float64
	Burst int
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// Caller is who makes a request.
type Caller struct {
	// Name of the key, or "local".
	Name     string
	accounts map[string]bool
	limiter  *rate.Limiter
}

// All tells whether the caller may use every account.
func (c *Caller) All() bool { return c.accounts[EveryAccount] }

// May tells whether the caller may use the account.
func (c *Caller) May(account string) bool {
	return c.All() || c.accounts[account]
}

// Guard checks requests. It is immutable but for its rate limits and safe for concurrent use.
type Guard struct {
	keys  []guardedKey
	local *Caller
	now   func() time.Time
}

type guardedKey struct {
	sum    [sha256.Size]byte
	caller *Caller
}

// New returns a guard. Without keys it serves callers on this machine only.
func New(o Options) *Guard {
	caller := func(name string, accounts []string) *Caller {
		c := &Caller{Name: name, accounts: map[string]bool{}, limiter: rate.NewLimiter(rate.Limit(o.Rate), o.Burst)}
		for _, a := range accounts {
			c.accounts[a] = true
		}
		return c
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	g := &Guard{local: caller("local", []string{EveryAccount}), now: o.Now}
	for _, k := range o.Keys {
		g.keys = append(g.keys, guardedKey{sum: sha256.Sum256([]byte(k.Secret.Reveal())), caller: caller(k.Name, k.Accounts)})
	}
	return g
}

// LocalOnly tells that no key is configured.
func (g *Guard) LocalOnly() bool { return len(g.keys) == 0 }

// Local returns ErrNotLocal when there are no keys and the request does not come from this machine.
// The page itself needs no more than that: it holds no data.
func (g *Guard) Local(r *http.Request) error {
	if g.LocalOnly() && !fromThisMachine(r) {
		return ErrNotLocal
	}
	return nil
}

// Caller returns who makes the request, or one of the errors of this package.
func (g *Guard) Caller(r *http.Request) (*Caller, error) {
	if err := g.Local(r); err != nil {
		return nil, err
	}
	c := g.local
	if !g.LocalOnly() {
		if c = g.match(r.Header.Get("Authorization")); c == nil {
			return nil, ErrNoKey
		}
	}
	if !c.limiter.AllowN(g.now(), 1) {
		return nil, ErrTooMany
	}
	return c, nil
}

// match compares with every key, each in constant time, so that neither the time nor the position
// of a key tells anything about it.
func (g *Guard) match(header string) *Caller {
	scheme, key, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") || key == "" {
		return nil
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(key)))
	var found *Caller
	for _, k := range g.keys {
		if subtle.ConstantTimeCompare(k.sum[:], sum[:]) == 1 {
			found = k.caller
		}
	}
	return found
}

// fromThisMachine also looks at the Host, because a page of a stranger may point its own name at
// 127.0.0.1 and let our user's browser call us; and it refuses what a proxy on this machine passes on.
func fromThisMachine(r *http.Request) bool {
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
