package rule

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/httpout"
	"github.com/wxbus/wxbus/services/rule/internal/chat"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

// Config is the section rule of the configuration file.
type Config struct {
	AttemptTimeout time.Duration `yaml:"attempt_timeout" desc:"how long WeChat waits for the answer to one attempt; three of them and a margin are the retry span"`
	MinTimeLeft    time.Duration `yaml:"min_time_left" desc:"with less time than this before the passive deadline a reply is sent by the customer-service API"`
	OrderPatience  time.Duration `yaml:"order_patience" desc:"how long a fan's next push waits until the replies to the last one have left, so that none overtakes another"`
	SendPatience   time.Duration `yaml:"send_patience" desc:"how long one delivery of an event waits for a sender that is not available"`
	MaxInFlight    int           `yaml:"max_in_flight" desc:"events of a partition that a process holds; in stretch mode each is held for up to the retry span"`
	SlowActions    int           `yaml:"slow_actions" desc:"webhooks and chat models that a process asks at the same time; beyond it they count as failed, so that the other fans do not wait"`
	Webhook        WebhookConfig `yaml:"webhook" desc:"calls of business systems by rules"`
	Chat           ChatConfig    `yaml:"chat" desc:"chat models that rules may ask"`
}

// WebhookConfig is the part rule.webhook.
type WebhookConfig struct {
	Secret       config.Secret `yaml:"secret" desc:"signs requests with HMAC-SHA256; without it they are not signed"`
	Timeout      time.Duration `yaml:"timeout" desc:"time limit of a call whose rule has none, at most 12s"`
	AllowHTTP    bool          `yaml:"allow_http" desc:"also call http addresses"`
	AllowPrivate bool          `yaml:"allow_private" desc:"also call loopback and private addresses"`
}

// ChatConfig is the part rule.chat.
type ChatConfig struct {
	Providers    []ChatProvider `yaml:"providers" desc:"servers that speak the chat completions of OpenAI"`
	PrivateBases []string       `yaml:"private_bases" desc:"base_urls that may be http or have a private address"`
}

// ChatProvider is one of rule.chat.providers.
type ChatProvider struct {
	Name        string        `yaml:"name" desc:"name in rules; a rule may leave it out when there is only one"`
	BaseURL     string        `yaml:"base_url" desc:"address before /chat/completions, for example https://api.example.com/v1"`
	APIKey      config.Secret `yaml:"api_key" desc:"sent as bearer token; without it there is none"`
	Model       string        `yaml:"model" desc:"model of rules that name none"`
	DailyTokens int64         `yaml:"daily_tokens" desc:"tokens that may be used in a day (UTC), by all replicas together; 0 for no limit"`
}

// providers returns the chat providers as the client wants them.
func (c ChatConfig) providers() []chat.Provider {
	var providers []chat.Provider
	for _, p := range c.Providers {
		providers = append(providers, chat.Provider{
			Name: p.Name, BaseURL: p.BaseURL, APIKey: p.APIKey, Model: p.Model, DailyTokens: p.DailyTokens, Policy: c.policy(p),
		})
	}
	return providers
}

// DefaultConfig returns what fits WeChat.
func DefaultConfig() Config {
	return Config{
		AttemptTimeout: 5 * time.Second, MinTimeLeft: 100 * time.Millisecond, SendPatience: 20 * time.Second, OrderPatience: 10 * time.Second,
		MaxInFlight: 1024, SlowActions: 256, Webhook: WebhookConfig{Timeout: 3 * time.Second},
	}
}

// Validate reports every value that is out of range with its path below rule.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, text string) {
		if !ok {
			errs = append(errs, errors.New(text))
		}
	}
	check(c.AttemptTimeout >= 100*time.Millisecond && c.AttemptTimeout <= time.Minute, "attempt_timeout: must be 100ms to 1m")
	check(c.MinTimeLeft >= 0 && c.MinTimeLeft < c.AttemptTimeout, "min_time_left: must be 0 or more and less than attempt_timeout")
	check(c.OrderPatience >= 0 && c.OrderPatience <= time.Minute, "order_patience: must be 0 to 1m")
	check(c.SendPatience >= 0 && c.SendPatience <= 5*time.Minute, "send_patience: must be 0 to 5m")
	check(c.MaxInFlight >= 1 && c.MaxInFlight <= 2048, "max_in_flight: must be 1 to 2048")
	check(c.Webhook.Timeout > 0 && c.Webhook.Timeout <= ruleset.MaxWebhookTime,
		fmt.Sprintf("webhook.timeout: must be more than 0 and at most %s", ruleset.MaxWebhookTime))
	check(c.SlowActions >= 1 && c.SlowActions <= c.MaxInFlight/2, "slow_actions: must be 1 to half of max_in_flight, so that other events have room")
	return errors.Join(append(errs, c.Chat.validate()...)...)
}

// validate reports what is wrong with the chat providers.
func (c ChatConfig) validate() (errs []error) {
	seen := map[string]bool{}
	for i, p := range c.Providers {
		at := func(field, text string) {
			errs = append(errs, fmt.Errorf("chat.providers[%d].%s: %s", i, field, text))
		}
		if p.Name == "" || seen[p.Name] {
			at("name", "must be set and unique")
		}
		seen[p.Name] = true
		if p.Model == "" {
			at("model", "is required")
		}
		if p.DailyTokens < 0 {
			at("daily_tokens", "must be 0 or more")
		}
		if err := c.policy(p).CheckURL(p.BaseURL); err != nil {
			at("base_url", err.Error())
		}
	}
	return errs
}

// policy returns which addresses may be called for a provider: public ones by https, or whatever the operator listed.
func (c ChatConfig) policy(p ChatProvider) httpout.Policy {
	listed := slices.Contains(c.PrivateBases, p.BaseURL)
	const how = "list it under rule.chat.private_bases"
	return httpout.Policy{AllowHTTP: listed, AllowPrivate: listed, HowHTTP: how, HowPrivate: how}
}

// handlerTimeout bounds one handling of an event: a webhook, a chat model, delayed replies, the retry span, and for each reply a sender
// that is not available.
func (c Config) handlerTimeout() time.Duration {
	return ruleset.MaxWebhookTime + ruleset.MaxChatTime + ruleset.MaxDelays + 4*c.AttemptTimeout + (ruleset.MaxReplies+1)*c.SendPatience + c.OrderPatience + 10*time.Second
}
