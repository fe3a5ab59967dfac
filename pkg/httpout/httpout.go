// Package httpout makes HTTP requests to addresses that people have typed in, without becoming a way into our own
// network: https only, no private addresses, no redirects, no proxy, bounded answers.
//
// The check of the address runs on the resolved address of each connection, so that a name which resolves
// differently the second time does not get around it.
package httpout

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wxbus/wxbus/pkg/secret"
)

// maxRead bounds what is read of an answer in bytes.
const maxRead = 64 << 10

// Options of a Client.
type Options struct {
	// AllowHTTP also calls http addresses.
	AllowHTTP bool
	// AllowPrivate also calls loopback and private addresses, never link-local ones, where clouds keep credentials.
	AllowPrivate bool
	// Timeout bounds one call.
	Timeout time.Duration
	// UserAgent of every request.
	UserAgent string
}

// Client calls addresses. It is safe for concurrent use. Close it.
type Client struct {
	o    Options
	http *http.Client
}

// New returns a client.
func New(o Options) *Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || !reachable(at.Addr(), o.AllowPrivate) {
			return errForbidden
		}
		return nil
	}}
	return &Client{o: o, http: &http.Client{
		Timeout: o.Timeout,
		Transport: &http.Transport{
			Proxy:                  nil, // a proxy would make the connection and with it the check of the address
			DialContext:            dialer.DialContext,
			ForceAttemptHTTP2:      true,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			MaxIdleConns:           128,
			MaxIdleConnsPerHost:    16,
			MaxConnsPerHost:        64,
			IdleConnTimeout:        30 * time.Second,
			TLSHandshakeTimeout:    5 * time.Second,
			MaxResponseHeaderBytes: 16 << 10,
		},
		// A redirect would lead away from what was typed in.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close ends idle connections. Calls must have ended.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// errForbidden means that an address leads into our own network.
var errForbidden = errors.New("the address is not one that may be called")

// CheckURL returns why the client would never call an address, in words for whoever typed it in.
func (c *Client) CheckURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil, u.Host == "", u.Scheme != "https" && u.Scheme != "http":
		return errors.New("must be an https address")
	case u.User != nil:
		return errors.New("must not hold a name or a password")
	case u.Fragment != "":
		return errors.New("must not hold a fragment")
	case u.Scheme == "http" && !c.o.AllowHTTP:
		return errors.New("must be an https address")
	case !c.o.AllowPrivate && literalPrivate(u.Hostname()):
		return errors.New("is a private address")
	}
	return nil
}

// Answer is what came back.
type Answer struct {
	Status int
	Body   []byte // at most 64 KiB
}

// Post sends a body. The error says in a few words what went wrong, without the address: it may hold a secret.
func (c *Client) Post(ctx context.Context, address string, header http.Header, body []byte) (Answer, error) {
	if err := c.CheckURL(address); err != nil {
		return Answer{}, errForbidden
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return Answer{}, errors.New("the address cannot be used")
	}
	r.Header = header.Clone()
	r.Header.Set("User-Agent", c.o.UserAgent)
	w, err := c.http.Do(r)
	if err != nil {
		return Answer{}, plain(err)
	}
	defer func() { _ = w.Body.Close() }() // read as far as it counts
	text, err := io.ReadAll(io.LimitReader(w.Body, maxRead))
	if err != nil {
		return Answer{Status: w.StatusCode}, plain(err)
	}
	return Answer{Status: w.StatusCode, Body: text}, nil
}

// plain takes the address out of an error.
func plain(err error) error {
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

// Sign adds the headers of Standard Webhooks: the id, the time, and HMAC-SHA256 of "id.timestamp.body" for each
// secret, so that a receiver who knows any of them accepts it.
func Sign(h http.Header, id string, at time.Time, body []byte, secrets ...secret.Value) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", timestamp)
	var signatures []string
	for _, s := range secrets {
		mac := hmac.New(sha256.New, []byte(s.Reveal()))
		mac.Write([]byte(id + "." + timestamp + "."))
		mac.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	h.Set("Webhook-Signature", strings.Join(signatures, " "))
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
