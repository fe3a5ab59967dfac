// Package egress calls HTTP addresses that rules and settings name, and no others: https only, public
// addresses only, no redirects, no proxies. The address is checked where the connection is made, so a name that
// resolves differently the second time does not get around it.
package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Policy opens what is closed by default.
type Policy struct {
	// AllowHTTP also calls http addresses.
	AllowHTTP bool
	// AllowPrivate also calls loopback and private addresses.
	AllowPrivate bool
	// HowHTTP and HowPrivate say in errors how the operator allows it, for example "set rule.webhook.allow_http".
	HowHTTP, HowPrivate string
}

// Client returns a client that keeps to the policy. Close its idle connections at the end.
func (p Policy) Client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			// A proxy would make the connection and with it the check of the address.
			Proxy:                  nil,
			DialContext:            dialer(p.AllowPrivate).DialContext,
			ForceAttemptHTTP2:      true,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			MaxIdleConns:           128,
			MaxIdleConnsPerHost:    16,
			MaxConnsPerHost:        256,
			IdleConnTimeout:        30 * time.Second,
			TLSHandshakeTimeout:    5 * time.Second,
			MaxResponseHeaderBytes: 16 << 10,
		},
		// A redirect would lead away from what the rule names.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
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

// Plain takes the address out of an error: it may hold a secret.
func Plain(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	if forbidden, ok := errors.AsType[*forbiddenError](err); ok {
		return forbidden
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return errors.New(strings.ReplaceAll(err.Error(), "\n", " "))
}

// Forbidden tells whether a call failed because its address is not allowed.
func Forbidden(err error) bool {
	_, ok := errors.AsType[*forbiddenError](err)
	return ok
}

// Budget bounds repetitions: a share of the calls and a few on top, so that a system in trouble does not get twice
// the load. It is safe for concurrent use.
type Budget struct {
	mu    sync.Mutex // guards saved
	saved float64
}

const (
	budgetShare = 0.1
	budgetMost  = 10
)

// NewBudget returns a full budget.
func NewBudget() *Budget { return &Budget{saved: budgetMost} }

// Called notes a first call.
func (b *Budget) Called() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.saved = min(b.saved+budgetShare, budgetMost)
}

// Repeat tells whether a call may be repeated, and takes that from the budget.
func (b *Budget) Repeat() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.saved < 1 {
		return false
	}
	b.saved--
	return true
}
