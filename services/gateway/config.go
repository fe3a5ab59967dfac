package gateway

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/wechat"
	"github.com/wxbus/wxbus/services/gateway/internal/evidence"
	"github.com/wxbus/wxbus/services/gateway/internal/reply"
)

// Config is the section gateway of the configuration file.
type Config struct {
	Listen             string        `yaml:"listen" desc:"where WeChat's pushes are taken, host:port"`
	PassiveDeadline    time.Duration `yaml:"passive_deadline" desc:"how long an attempt waits for a passive reply; an account may have its own"`
	AttemptTimeout     time.Duration `yaml:"attempt_timeout" desc:"when WeChat gives an attempt up"`
	Publish            PublishConfig `yaml:"publish" desc:"storing pushes"`
	MaxBody            int           `yaml:"max_body" desc:"largest body of a push in bytes, 4096 to 1048576"`
	MaxInFlight        int           `yaml:"max_in_flight" desc:"requests that are read, checked or stored at the same time; more are refused with 503 before their body is read"`
	MaxWaits           int           `yaml:"max_waits" desc:"attempts that wait for a passive reply at the same time; the replies of more go by the customer-service API"`
	OutcomeMemory      int           `yaml:"outcome_memory" desc:"outcomes of offered replies that are remembered; with too few, replies become ambiguous under load"`
	AllowInsecureModes bool          `yaml:"allow_insecure_modes" desc:"accept accounts in mode plaintext or compatible, whose bodies anybody can forge who saw one push"`
	TimestampTolerance time.Duration `yaml:"timestamp_tolerance" desc:"refuse requests whose timestamp is further from our clock, at least 1m; 0 only counts them"`
	ParkUndecryptable  bool          `yaml:"park_undecryptable" desc:"keep bodies that are signed for an account but that no key opens as dead letters and say success, instead of refusing them"`
	TrustedProxies     []string      `yaml:"trusted_proxies" desc:"addresses or CIDR ranges of proxies whose X-Forwarded-For is believed; used to compare senders with WeChat's list, never to refuse"`
	Spill              SpillConfig   `yaml:"spill" desc:"bringing pushes home that the home stream did not take in time"`
}

// PublishConfig bounds the storing of a push.
type PublishConfig struct {
	PrimaryTimeout time.Duration `yaml:"primary_timeout" desc:"how long the home stream has before the spill stream is tried"`
	Total          time.Duration `yaml:"total" desc:"how long both streams have together; then the push is refused and WeChat repeats it"`
}

// SpillConfig bounds the mover.
type SpillConfig struct {
	MaxInFlight int           `yaml:"max_in_flight" desc:"spilled pushes that are brought home at the same time"`
	Patience    time.Duration `yaml:"patience" desc:"how long one delivery waits for the home stream before it counts as a failed try"`
}

// DefaultConfig returns the values that fit WeChat's limit of five seconds.
func DefaultConfig() Config {
	return Config{
		Listen:          ":8080",
		PassiveDeadline: 4500 * time.Millisecond, AttemptTimeout: 5 * time.Second,
		Publish: PublishConfig{PrimaryTimeout: 800 * time.Millisecond, Total: 4 * time.Second},
		MaxBody: wechat.DefaultMaxBytes, MaxInFlight: 2048, MaxWaits: 16384, OutcomeMemory: 100_000,
		Spill: SpillConfig{MaxInFlight: 64, Patience: time.Hour},
	}
}

const (
	// lastAnswer is how long before WeChat gives an attempt up the last byte must have left.
	lastAnswer = 200 * time.Millisecond
	// lookTime is how long before that the last look at the decision record begins at the latest.
	lookTime = 150 * time.Millisecond
	// holdOver is how long an attempt that is never answered is held beyond WeChat's limit: WeChat must
	// be the one who hangs up.
	holdOver = time.Second
)

// Validate reports every value that is out of range, with its name.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, a ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, a...))
		}
	}
	latest := c.AttemptTimeout - lastAnswer - lookTime
	check(c.Listen != "", "listen: must be set")
	check(c.AttemptTimeout >= time.Second && c.AttemptTimeout <= time.Minute, "attempt_timeout: must be 1s to 1m")
	check(c.PassiveDeadline > 0 && c.PassiveDeadline <= latest, "passive_deadline: must be more than 0 and at most %s, which leaves time before attempt_timeout", latest)
	check(c.Publish.PrimaryTimeout > 0 && c.Publish.PrimaryTimeout < c.Publish.Total, "publish.primary_timeout: must be more than 0 and less than publish.total")
	check(c.Publish.Total < c.PassiveDeadline, "publish.total: must be less than passive_deadline")
	check(c.MaxBody >= 4<<10 && c.MaxBody <= wechat.MaxBody, "max_body: must be 4096 to %d", wechat.MaxBody)
	check(c.MaxInFlight >= 1, "max_in_flight: must be at least 1")
	check(c.MaxWaits >= 1, "max_waits: must be at least 1")
	check(c.OutcomeMemory >= 1, "outcome_memory: must be at least 1")
	check(c.TimestampTolerance == 0 || c.TimestampTolerance >= time.Minute, "timestamp_tolerance: must be 0 or at least 1m: WeChat's retries may carry the timestamp of the first attempt")
	check(c.Spill.MaxInFlight >= 1, "spill.max_in_flight: must be at least 1")
	check(c.Spill.Patience >= time.Second, "spill.patience: must be at least 1s")
	_, err := c.proxies()
	return errors.Join(append(errs, err)...)
}

// proxies reads trusted_proxies.
func (c Config) proxies() (evidence.Proxies, error) {
	var out evidence.Proxies
	var errs []error
	for i, text := range c.TrustedProxies {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			var one netip.Addr
			if one, err = netip.ParseAddr(text); err == nil {
				prefix = netip.PrefixFrom(one, one.BitLen())
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("trusted_proxies[%d]: must be an address or a CIDR range", i))
			continue
		}
		out = append(out, prefix.Masked())
	}
	return out, errors.Join(errs...)
}

// times returns the times of the attempts of an account.
func (c Config) times(a account.Account) reply.Times {
	deadline := c.PassiveDeadline
	if a.PassiveDeadline > 0 {
		deadline = a.PassiveDeadline
	}
	return reply.Times{Deadline: deadline, End: c.AttemptTimeout - lastAnswer, Hold: c.AttemptTimeout + holdOver}
}

// checkAccount reports values of an account that do not fit the gateway.
func (c Config) checkAccount(a account.Account) error {
	if latest := c.AttemptTimeout - lastAnswer - lookTime; a.PassiveDeadline > latest {
		return fmt.Errorf("account %s: passive_deadline: must be at most %s, which leaves time before gateway.attempt_timeout", a.Name, latest)
	}
	if a.PassiveDeadline > 0 && a.PassiveDeadline <= c.Publish.Total {
		return fmt.Errorf("account %s: passive_deadline: must be more than gateway.publish.total (%s)", a.Name, c.Publish.Total)
	}
	return nil
}
