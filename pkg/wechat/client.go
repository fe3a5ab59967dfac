package wechat

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
)

// DefaultBaseURL is where WeChat's API is; sh., sz., hk. and api2.weixin.qq.com are mirrors of it.
const DefaultBaseURL = "https://api.weixin.qq.com"

// ClientConfig configures a Client.
type ClientConfig struct {
	// HTTP does the calls; nil means a client with a time-out of 10 s. It is copied, so that redirects
	// can be refused: a token must not follow one.
	HTTP *http.Client
	// BaseURL is where the API is; empty means DefaultBaseURL.
	BaseURL string
	// Now is the clock for the expiry of tokens; nil means time.Now.
	Now func() time.Time
}

// Client calls WeChat's API. It holds no token and repeats nothing: both need to know more than one
// call. Every error is an *APIError or a *CallError with a fault kind; see OutcomeOf and ClassOf.
type Client struct {
	http *http.Client
	base string
	now  func() time.Time
}

// NewClient checks the configuration.
func NewClient(cfg ClientConfig) (*Client, error) {
	base := strings.TrimSuffix(cfg.BaseURL, "/")
	if base == "" {
		base = DefaultBaseURL
	}
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return nil, fault.New(fault.Invalid, "api_base: must be an http or https URL without query")
	}
	c := &Client{base: base, now: cfg.Now}
	if c.now == nil {
		c.now = time.Now
	}
	hc := http.Client{Timeout: 10 * time.Second}
	if cfg.HTTP != nil {
		hc = *cfg.HTTP
	}
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.http = &hc
	return c, nil
}

// Request is one call.
type Request struct {
	// Method is GET or POST; empty means POST with a body and GET without.
	Method string
	// Path begins with a slash and has no query.
	Path string
	// Query holds the parameters beside the token.
	Query url.Values
	// Token is sent as access_token, or under TokenName; empty sends none.
	Token, TokenName string
	// Body is JSON unless ContentType says otherwise. \uXXXX in JSON is replaced.
	Body        []byte
	ContentType string
	// Secrets are values in Query or Body that must not appear in an error.
	Secrets []string
	// Binary accepts an answer that is no JSON, up to 32 MiB.
	Binary bool
}

// Call does one call, once. The deadline is that of ctx or of the HTTP client, whichever is first.
func (c *Client) Call(ctx context.Context, r Request) (*Response, error) {
	secrets := append([]string{r.Token}, r.Secrets...)
	fail := failure{path: r.Path, secrets: secrets, class: ClassTransient}
	// The transport calls the hooks from its own goroutine, even after Do has returned.
	sent := new(atomic.Bool)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { sent.Store(true) },
		WroteRequest: func(httptrace.WroteRequestInfo) { sent.Store(true) },
	})
	req, err := c.request(ctx, r)
	if err != nil {
		fail.outcome, fail.class, fail.text, fail.cause = OutcomeNotSent, ClassRequest, "build request", err
		return nil, fail.err()
	}
	resp, err := c.http.Do(req)
	if err != nil {
		fail.text, fail.cause = "no answer", err
		if !sent.Load() {
			fail.outcome, fail.text = OutcomeNotSent, "not sent"
		}
		return nil, fail.err()
	}
	defer func() { _ = resp.Body.Close() }()
	return readAnswer(resp, r, fail)
}

func (c *Client) request(ctx context.Context, r Request) (*http.Request, error) {
	query := url.Values{}
	for name, values := range r.Query {
		query[name] = values
	}
	if r.Token != "" {
		name := r.TokenName
		if name == "" {
			name = "access_token"
		}
		query.Set(name, r.Token)
	}
	target := c.base + r.Path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	method, body := r.Method, r.Body
	if method == "" {
		method = http.MethodGet
		if body != nil {
			method = http.MethodPost
		}
	}
	contentType := r.ContentType
	if contentType == "" && body != nil {
		contentType = "application/json; charset=utf-8"
		body = PlainJSON(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return req, nil
}
