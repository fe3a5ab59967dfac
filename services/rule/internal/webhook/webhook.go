// Package webhook asks a business system what to answer to an event.
//
// The request is a POST of the event as JSON (the proto mapping of wxbus.event.v1.InboundEvent with
// field names as in the proto, without raw), signed when a secret is set:
//
//	Wxbus-Event-Id: <id>                    the same for every repetition of the call
//	Wxbus-Timestamp: <Unix seconds>
//	Wxbus-Signature: v1=<hex HMAC-SHA256 of "<timestamp>.<body>">
//
// The answer is 200 with JSON, see ParseAnswer, of at most 64 KiB, or 204 for nothing. Anything else is a failure.
//
// An event may be asked about more than once: after a failure, when the rule says so, and after a crash, by the
// service that takes over.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/httpout"
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
	// Policy says which addresses may be called.
	Policy httpout.Policy
	Tracer trace.Tracer
	Now    func() time.Time
}

// Client calls webhooks. It is safe for concurrent use. Close it.
type Client struct {
	options    Options
	http       *http.Client
	budget     *budget
	propagator propagation.TextMapPropagator
}

// New returns a client.
func New(o Options) *Client {
	return &Client{options: o, propagator: telemetry.Propagator(), http: o.Policy.Client(), budget: newBudget()}
}

// Close ends idle connections. Calls must have ended.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// CheckURL returns why the client would never call an address.
func (c *Client) CheckURL(address string) error { return c.options.Policy.CheckURL(address) }

// Question is what a business system is asked.
type Question struct {
	Hook  *ruleset.Webhook
	Event *eventv1.InboundEvent
	// Rule that asks, and the part of the text that it matched.
	Rule, Matched string
	// Form holds the answers of a form by the names of its questions; nil outside of one.
	Form map[string]string
}

// pauseBefore the second try; every further one waits twice as long.
const pauseBefore = 200 * time.Millisecond

// Call asks about an event, again when another try may help, while the time and the budget last. The error says in
// a few words what went wrong, without the address.
func (c *Client) Call(ctx context.Context, q Question) (answer Answer, err error) {
	timeout := q.Hook.Timeout
	if timeout <= 0 {
		timeout = c.options.Timeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := c.CheckURL(q.Hook.URL); err != nil {
		return Answer{}, err
	}
	body, err := Body(q)
	if err != nil {
		return Answer{}, err
	}
	c.budget.called()
	for try := 0; ; try++ {
		var again bool
		answer, again, err = c.try(ctx, q, body)
		if err == nil || !again || try == q.Hook.Retries || !c.budget.repeat() || !pause(ctx, pauseBefore<<try) {
			return answer, err
		}
	}
}

// pause waits; it returns false when the time is over before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// try makes one call and tells whether another one may help.
func (c *Client) try(ctx context.Context, q Question, body []byte) (answer Answer, again bool, err error) {
	ctx, span := c.options.Tracer.Start(ctx, "POST webhook", trace.WithSpanKind(trace.SpanKindClient))
	defer func() {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}()
	request, err := c.request(ctx, q, body)
	if err != nil {
		return Answer{}, false, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return Answer{}, ctx.Err() == nil && !httpout.Forbidden(err), httpout.Plain(err)
	}
	defer func() { _ = response.Body.Close() }() // read to its end or given up
	span.SetAttributes(attribute.Int("http.response.status_code", response.StatusCode))
	answer, err = read(response)
	return answer, response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests, err
}

func (c *Client) request(ctx context.Context, q Question, body []byte) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, q.Hook.URL, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the address cannot be used")
	}
	timestamp := strconv.FormatInt(c.options.Now().Unix(), 10)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "wxbus-rule/1")
	request.Header.Set("Wxbus-Event-Id", q.Event.GetId())
	request.Header.Set("Wxbus-Timestamp", timestamp)
	if !c.options.Secret.IsZero() {
		request.Header.Set("Wxbus-Signature", Sign(c.options.Secret, timestamp, body))
	}
	c.propagator.Inject(ctx, propagation.HeaderCarrier(request.Header))
	return request, nil
}

// Body returns a question as a webhook sees it: the event, and beside its fields rule, matched and form.
func Body(q Question) ([]byte, error) {
	// The clone shares nothing that is changed; raw is what business systems have no use for.
	public := proto.CloneOf(q.Event)
	public.Raw, public.GatewayInstance = nil, ""
	event, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(public)
	if err != nil {
		return nil, errors.New("the event cannot be encoded")
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(event, &fields); err != nil {
		return nil, errors.New("the event cannot be encoded")
	}
	for name, value := range map[string]any{"rule": q.Rule, "matched": q.Matched, "form": q.Form} {
		if form, ok := value.(map[string]string); ok && form == nil {
			continue
		}
		if fields[name], err = json.Marshal(value); err != nil {
			return nil, errors.New("the event cannot be encoded")
		}
	}
	body, err := json.Marshal(fields)
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

func read(response *http.Response) (Answer, error) {
	switch response.StatusCode {
	case http.StatusNoContent:
		return Answer{}, nil
	case http.StatusOK:
	default:
		return Answer{}, fmt.Errorf("status %d", response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return Answer{}, httpout.Plain(err)
	case len(body) > maxAnswer:
		return Answer{}, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	case len(bytes.TrimSpace(body)) == 0:
		return Answer{}, nil
	}
	answer, err := ParseAnswer(body)
	if err != nil {
		return Answer{}, fmt.Errorf("the answer is wrong: %w", err)
	}
	return answer, nil
}
