package httpout

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// Policy opens what is closed by default. Client and CheckURL are for callers who make requests of their own; Client of this
// package is for those who only post.
type Policy struct {
	// AllowHTTP also calls http addresses.
	AllowHTTP bool
	// AllowPrivate also calls loopback and private addresses, never link-local ones, where clouds keep credentials.
	AllowPrivate bool
	// HowHTTP and HowPrivate say in errors how the operator allows it, for example "set rule.webhook.allow_http".
	HowHTTP, HowPrivate string
	// MaxConnsPerHost bounds the connections to one host; 256 when zero.
	MaxConnsPerHost int
}

const usualConnsPerHost = 256

// Client returns a client that keeps to the policy. Close its idle connections at the end.
func (p Policy) Client() *http.Client {
	conns := p.MaxConnsPerHost
	if conns == 0 {
		conns = usualConnsPerHost
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  nil, // a proxy would make the connection and with it the check of the address
			DialContext:            p.dialer().DialContext,
			ForceAttemptHTTP2:      true,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			MaxIdleConns:           128,
			MaxIdleConnsPerHost:    16,
			MaxConnsPerHost:        conns,
			IdleConnTimeout:        30 * time.Second,
			TLSHandshakeTimeout:    5 * time.Second,
			MaxResponseHeaderBytes: 16 << 10,
		},
		// A redirect would lead away from what was typed in.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// dialer refuses addresses that must not be reached, on the resolved address of each connection.
func (p Policy) dialer() *net.Dialer {
	return &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || !reachable(at.Addr(), p.AllowPrivate) {
			return errForbidden
		}
		return nil
	}}
}

// CheckURL returns why the client would never call an address.
func (p Policy) CheckURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return errors.New("must be an address")
	}
	switch {
	case u.Scheme == "http" && !p.AllowHTTP:
		return errors.New("must be https, or " + p.HowHTTP)
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("must be an http or https address")
	case !p.AllowPrivate && literalPrivate(u.Hostname()):
		return errors.New("is a private address; " + p.HowPrivate + " to allow it")
	default:
		return nil
	}
}

// errForbidden means that an address leads into our own network.
var errForbidden = errors.New("the address is not one that may be called")

// Forbidden tells whether a call failed because its address is not allowed.
func Forbidden(err error) bool { return errors.Is(err, errForbidden) }

// Plain says in a few words why a call failed, without its address: that may hold a secret.
func Plain(err error) error {
	if errors.Is(err, errForbidden) {
		return errForbidden
	}
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return errors.New("no answer in time")
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return errors.New(op.Op + " failed")
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return errors.New("the name does not resolve: " + strings.TrimSpace(strings.ReplaceAll(dns.Err, dns.Name, "")))
	}
	return errors.New("the connection broke")
}

// special are networks that are not private by name and still nobody's endpoint.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // carrier-grade NAT
	netip.MustParsePrefix("192.0.0.0/24"),  // protocol assignments
	netip.MustParsePrefix("198.18.0.0/15"), // benchmarks
	netip.MustParsePrefix("240.0.0.0/4"),   // reserved and broadcast
	netip.MustParsePrefix("64:ff9b::/96"),  // NAT64 and the next ones hide an IPv4 address
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("2001::/32"),
	netip.MustParsePrefix("::/96"),
}

// reachable tells whether a call may connect to an address.
func reachable(a netip.Addr, allowPrivate bool) bool {
	a = a.Unmap()
	if a.IsLoopback() || a.IsPrivate() {
		return allowPrivate
	}
	if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() {
		return false
	}
	for _, network := range special {
		if network.Contains(a) {
			return false
		}
	}
	return true
}

// literalPrivate tells whether a host is written as an address that is not reachable, or as localhost.
func literalPrivate(host string) bool {
	a, err := netip.ParseAddr(host)
	if err != nil {
		return strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
	}
	return !reachable(a, false)
}
