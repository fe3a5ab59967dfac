package rule

import (
	"errors"
	"fmt"
	"time"

	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

// Config is the section rule of the configuration file.
type Config struct {
	AttemptTimeout time.Duration `yaml:"attempt_timeout" desc:"how long WeChat waits for the answer to one attempt; three of them and a margin are the retry span"`
	MinTimeLeft    time.Duration `yaml:"min_time_left" desc:"with less time than this before the passive deadline a reply is sent by the customer-service API"`
	OrderPatience  time.Duration `yaml:"order_patience" desc:"how long a fan's next push waits until the replies to the last one have left, so that none overtakes another"`
	SendPatience   time.Duration `yaml:"send_patience" desc:"how long one delivery of an event waits for a sender that is not available"`
	MaxInFlight    int           `yaml:"max_in_flight" desc:"events of a partition that a process holds; in stretch mode each is held for up to the retry span"`
	Webhook        WebhookConfig `yaml:"webhook" desc:"calls of business systems by rules"`
}

// WebhookConfig is the part rule.webhook.
type WebhookConfig struct {
	Secret       config.Secret `yaml:"secret" desc:"signs requests with HMAC-SHA256; without it they are not signed"`
	Timeout      time.Duration `yaml:"timeout" desc:"time limit of a call whose rule has none, at most 12s"`
	AllowHTTP    bool          `yaml:"allow_http" desc:"also call http addresses"`
	AllowPrivate bool          `yaml:"allow_private" desc:"also call loopback and private addresses"`
}

// DefaultConfig returns what fits WeChat.
func DefaultConfig() Config {
	return Config{
		AttemptTimeout: 5 * time.Second, MinTimeLeft: 100 * time.Millisecond, SendPatience: 20 * time.Second, OrderPatience: 10 * time.Second,
		MaxInFlight: 1024, Webhook: WebhookConfig{Timeout: 3 * time.Second},
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
	return errors.Join(errs...)
}

// handlerTimeout bounds one handling of an event: a webhook, the retry span, and for each reply a sender
// that is not available.
func (c Config) handlerTimeout() time.Duration {
	return ruleset.MaxWebhookTime + 4*c.AttemptTimeout + (ruleset.MaxReplies+1)*c.SendPatience + c.OrderPatience + 10*time.Second
}
