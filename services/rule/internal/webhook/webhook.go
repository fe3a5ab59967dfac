// Package webhook asks a business system what to answer to an event.
//
// The request is a POST of the event as JSON (the proto mapping of wxbus.event.v1.InboundEvent with
// field names as in the proto, without raw), signed when a secret is set:
//
//	Wxbus-Event-Id: <id>                    the same for every repetition of the call
//	Wxbus-Timestamp: <Unix seconds>
//	Wxbus-Signature: v1=<hex HMAC-SHA256 of "<timestamp>.<body>">
//
// The answer is 200 with {"replies": [{"text": "…"}, …]}, each reply as in the rule file, at most
// five and 64 KiB, or 204 for none. Anything else is a failure: no reply.
//
// An event may be asked about more than once: after a crash, the service that takes over asks again.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/telemetry"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

// maxAnswer bounds the body of an answer in bytes.
const maxAnswer = 64 << 10

// Options of a client.
type Options struct {
	// Secret signs requests; unsigned when empty.
	Secret secret.Value
	// Timeout of a call whose rule has none.
	Timeout time.Duration
	// AllowHTTP also calls http addresses.
	AllowHTTP bool
	// AllowPrivate also calls loopback and private addresses.
	AllowPrivate bool
	Tracer       trace.Tracer
	Now          func() time.Time
}

// Client calls webhooks. It is safe for concurrent use. Close it.
type Client struct {
	options    Options
	http       *http.Client
	propagator propagation.TextMapPropagator
}

// New returns a client.
func New(o Options) *Client {
	transport := &http.Transport{
		// A proxy would make the connection and with it the check of the address.
		Proxy:                  nil,
		DialContext:            dialer(o.AllowPrivate).DialContext,
		ForceAttemptHTTP2:      true,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		MaxIdleConns:           128,
		MaxIdleConnsPerHost:    16,
		MaxConnsPerHost:        256,
		IdleConnTimeout:        30 * time.Second,
		TLSHandshakeTimeout:    5 * time.Second,
		MaxResponseHeaderBytes: 16 << 10,
	}
	return &Client{
		options: o, propagator: telemetry.Propagator(),
		http: &http.Client{
			Transport: transport,
			// A redirect would lead away from what the rule names.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Close ends idle connections. Calls must have ended.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// CheckURL returns why the client would never call an address.
func (c *Client) CheckURL(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("must be an address")
	}
	if u.Scheme == "http" && !c.options.AllowHTTP {
		return errors.New("must be https, or set rule.webhook.allow_http")
	}
	if !c.options.AllowPrivate && literalPrivate(u.Hostname()) {
		return errors.New("is a private address; set rule.webhook.allow_private to allow it")
	}
	return nil
}

// Call asks about an event. The error says in a few words what went wrong, without the address.
func (c *Client) Call(ctx context.Context, hook *ruleset.Webhook, ev *eventv1.InboundEvent) (replies []*eventv1.Content, err error) {
	timeout := hook.Timeout
	if timeout <= 0 {
		timeout = c.options.Timeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ctx, span := c.options.Tracer.Start(ctx, "POST webhook", trace.WithSpanKind(trace.SpanKindClient))
	defer func() {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}()
	if err := c.CheckURL(hook.URL); err != nil {
		return nil, err
	}
	request, err := c.request(ctx, hook.URL, ev)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, plain(err)
	}
	defer func() { _ = response.Body.Close() }() // read to its end or given up
	span.SetAttributes(attribute.Int("http.response.status_code", response.StatusCode))
	return read(response)
}

func (c *Client) request(ctx context.Context, address string, ev *eventv1.InboundEvent) (*http.Request, error) {
	body, err := Body(ev)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the address cannot be used")
	}
	timestamp := strconv.FormatInt(c.options.Now().Unix(), 10)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "wxbus-rule/1")
	request.Header.Set("Wxbus-Event-Id", ev.GetId())
	request.Header.Set("Wxbus-Timestamp", timestamp)
	if !c.options.Secret.IsZero() {
		request.Header.Set("Wxbus-Signature", Sign(c.options.Secret, timestamp, body))
	}
	c.propagator.Inject(ctx, propagation.HeaderCarrier(request.Header))
	return request, nil
}

// Body returns an event as a webhook sees it.
func Body(ev *eventv1.InboundEvent) ([]byte, error) {
	// The clone shares nothing that is changed; raw is what business systems have no use for.
	public := proto.CloneOf(ev)
	public.Raw, public.GatewayInstance = nil, ""
	body, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(public)
	if err != nil {
		return nil, errors.New("the event cannot be encoded")
	}
	return body, nil
}

// Sign returns the value of Wxbus-Signature.
func Sign(key secret.Value, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	mac.Write([]byte(timestamp))
	mac.Write([]byte{'.'})
	mac.Write(body)
	return "v1=" + hex.EncodeToString(mac.Sum(nil))
}

func read(response *http.Response) ([]*eventv1.Content, error) {
	switch response.StatusCode {
	case http.StatusNoContent:
		return nil, nil
	case http.StatusOK:
	default:
		return nil, fmt.Errorf("status %d", response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, plain(err)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	case len(bytes.TrimSpace(body)) == 0:
		return nil, nil
	}
	replies, err := ruleset.ParseReplies(body)
	if err != nil {
		return nil, fmt.Errorf("the answer is wrong: %w", err)
	}
	return replies, nil
}

// plain takes the address out of an error: it may hold a secret.
func plain(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if forbidden, ok := errors.AsType[*forbiddenError](err); ok {
		return forbidden
	}
	return err
}
