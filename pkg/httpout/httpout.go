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
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
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
	client := Policy{AllowHTTP: o.AllowHTTP, AllowPrivate: o.AllowPrivate, MaxConnsPerHost: 64}.Client()
	client.Timeout = o.Timeout
	return &Client{o: o, http: client}
}

// Close ends idle connections. Calls must have ended.
func (c *Client) Close() { c.http.CloseIdleConnections() }

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
		return Answer{}, Plain(err)
	}
	defer func() { _ = w.Body.Close() }() // read as far as it counts
	text, err := io.ReadAll(io.LimitReader(w.Body, maxRead))
	if err != nil {
		return Answer{Status: w.StatusCode}, Plain(err)
	}
	return Answer{Status: w.StatusCode, Body: text}, nil
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
