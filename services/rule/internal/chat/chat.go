// Package chat asks a chat model what to answer: any server that speaks the chat completions of OpenAI.
package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/wxbus/wxbus/pkg/httpout"
	"github.com/wxbus/wxbus/pkg/secret"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

// Bounds of one question.
const (
	maxAnswer   = 1 << 20 // bytes of the body
	maxQuestion = 4 << 10 // bytes of the text of the fan
	maxHistory  = 16 << 10
)

// Provider is one server with models.
type Provider struct {
	Name string
	// BaseURL is the address before /chat/completions, for example https://api.example.com/v1.
	BaseURL string
	APIKey  secret.Value
	// Model of rules that name none.
	Model string
	// DailyTokens that may be used in a day, over all rules and replicas; zero for no limit.
	DailyTokens int64
	Policy      httpout.Policy
}

// Ledger counts the tokens of a provider over all replicas.
type Ledger interface {
	// Used returns the tokens that a provider used today, as far as this process knows.
	Used(provider string) int64
	// Use adds tokens. A loss is no error for the fan: the next call of any replica counts on.
	Use(ctx context.Context, provider string, tokens int64)
}

// Options of a client.
type Options struct {
	Providers []Provider
	Ledger    Ledger
	Tracer    trace.Tracer
}

// Client asks chat models. It is safe for concurrent use. Close it.
type Client struct {
	options   Options
	providers map[string]*provider
}

type provider struct {
	Provider
	http *http.Client
}

// New returns a client.
func New(o Options) *Client {
	c := &Client{options: o, providers: map[string]*provider{}}
	for _, p := range o.Providers {
		c.providers[p.Name] = &provider{Provider: p, http: p.Policy.Client()}
	}
	return c
}

// Close ends idle connections. Calls must have ended.
func (c *Client) Close() {
	for _, p := range c.providers {
		p.http.CloseIdleConnections()
	}
}

// Check returns why there is no provider of a name; "" is the only one.
func (c *Client) Check(name string) error {
	_, err := c.provider(name)
	return err
}

func (c *Client) provider(name string) (*provider, error) {
	if p := c.providers[name]; p != nil {
		return p, nil
	}
	switch {
	case len(c.providers) == 0:
		return nil, errors.New("there is no chat provider; set rule.chat.providers")
	case name != "":
		return nil, fmt.Errorf("there is no chat provider %q under rule.chat.providers", name)
	case len(c.providers) > 1:
		return nil, errors.New("is required: there are several chat providers")
	default:
		return c.providers[c.options.Providers[0].Name], nil
	}
}

// Question is what a model is asked.
type Question struct {
	Provider, Model string
	System          string
	History         []*rulev1.ChatTurn
	Text            string
	Timeout         time.Duration
	MaxTokens       int
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type request struct {
	Model     string    `json:"model"`
	Messages  []message `json:"messages"`
	MaxTokens int       `json:"max_tokens"`
	Stream    bool      `json:"stream"`
}

type response struct {
	Choices []struct {
		Message struct {
			Content string `json:"content"`
		} `json:"message"`
	} `json:"choices"`
	Usage struct {
		TotalTokens int64 `json:"total_tokens"`
	} `json:"usage"`
}

// ErrBudget is returned when the tokens of the day are used up.
var ErrBudget = errors.New("the tokens of the day are used up")

// Ask returns the answer of the model. The error says in a few words what went wrong, without key or address.
func (c *Client) Ask(ctx context.Context, q Question) (answer string, err error) {
	p, err := c.provider(q.Provider)
	if err != nil {
		return "", err
	}
	if p.DailyTokens > 0 && c.options.Ledger.Used(p.Name) >= p.DailyTokens {
		return "", ErrBudget
	}
	ctx, cancel := context.WithTimeout(ctx, q.Timeout)
	defer cancel()
	spanned, span := c.options.Tracer.Start(ctx, "POST chat/completions", trace.WithSpanKind(trace.SpanKindClient))
	defer func() {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}()
	got, status, err := p.post(spanned, q)
	span.SetAttributes(attribute.Int("http.response.status_code", status))
	if err != nil {
		return "", err
	}
	// The tokens are spent also when the answer is of no use, or came too late for the fan.
	c.options.Ledger.Use(context.WithoutCancel(ctx), p.Name, got.Usage.TotalTokens)
	if len(got.Choices) == 0 || strings.TrimSpace(got.Choices[0].Message.Content) == "" {
		return "", errors.New("the answer is empty")
	}
	return strings.TrimSpace(got.Choices[0].Message.Content), nil
}

func (p *provider) post(ctx context.Context, q Question) (*response, int, error) {
	address := strings.TrimSuffix(p.BaseURL, "/") + "/chat/completions"
	if err := p.Policy.CheckURL(address); err != nil {
		return nil, 0, err
	}
	body, err := json.Marshal(p.request(q))
	if err != nil {
		return nil, 0, errors.New("the question cannot be encoded")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, 0, errors.New("the address cannot be used")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "wxbus-rule/1")
	if !p.APIKey.IsZero() {
		req.Header.Set("Authorization", "Bearer "+p.APIKey.Reveal())
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, 0, httpout.Plain(err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end or given up
	if resp.StatusCode != http.StatusOK {
		return nil, resp.StatusCode, fmt.Errorf("status %d", resp.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, resp.StatusCode, httpout.Plain(err)
	case len(text) > maxAnswer:
		return nil, resp.StatusCode, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	got := &response{}
	if err := json.Unmarshal(text, got); err != nil {
		return nil, resp.StatusCode, errors.New("the answer is no chat completion")
	}
	return got, resp.StatusCode, nil
}

// request puts the question after the newest turns that have room.
func (p *provider) request(q Question) request {
	r := request{Model: q.Model, MaxTokens: q.MaxTokens}
	if r.Model == "" {
		r.Model = p.Model
	}
	if q.System != "" {
		r.Messages = append(r.Messages, message{"system", q.System})
	}
	first, size := len(q.History), 0
	for first > 0 {
		turn := q.History[first-1]
		if size += len(turn.GetQuestion()) + len(turn.GetAnswer()); size > maxHistory {
			break
		}
		first--
	}
	for _, turn := range q.History[first:] {
		r.Messages = append(r.Messages, message{"user", turn.GetQuestion()}, message{"assistant", turn.GetAnswer()})
	}
	r.Messages = append(r.Messages, message{"user", Clip(q.Text)})
	return r
}

// Clip returns as much of a text of a fan as a model is told, as valid UTF-8.
func Clip(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxQuestion)], "")
}
