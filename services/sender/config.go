package sender

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wxbus/wxbus/services/sender/internal/budget"
	"github.com/wxbus/wxbus/services/sender/internal/campaign"
	"github.com/wxbus/wxbus/services/sender/internal/endpoint"
	"github.com/wxbus/wxbus/services/sender/internal/grants"
	"github.com/wxbus/wxbus/services/sender/internal/pace"
)

// Config is the section sender of the configuration file.
type Config struct {
	CallTimeout    time.Duration    `yaml:"call_timeout" desc:"how long one call to WeChat may take; after that the outcome is ambiguous"`
	MaxAge         time.Duration    `yaml:"max_age" desc:"a message that could not be sent for so long is given up"`
	BusyPauses     []time.Duration  `yaml:"busy_pauses" desc:"pauses before a message is tried again after errcode -1 (system busy); at most 2, because the fan may get it twice"`
	RatePause      time.Duration    `yaml:"rate_pause" desc:"pause of an account after errcode 45011, the quota of a minute"`
	QuotaPause     time.Duration    `yaml:"quota_pause" desc:"pause of an account after errcode 45009, the quota of a day; 0: until WeChat counts anew, at midnight in Shanghai. Shorter where somebody clears used-up quotas with clear_quota"`
	NoAPIPause     time.Duration    `yaml:"no_api_pause" desc:"how long messages of an account are refused after errcode 48001: it has no customer-service API"`
	HandTime       time.Duration    `yaml:"hand_time" desc:"how long a worker keeps one message in memory before it lets the bus deliver it again"`
	ResultWait     time.Duration    `yaml:"result_wait" desc:"how long the event with the result of a template or subscription message may take; then the message counts as sent"`
	MassResultWait time.Duration    `yaml:"mass_result_wait" desc:"how long the event with the result of a mass message may take before WeChat is asked; an administrator has 30 minutes to confirm"`
	MaxInFlight    int              `yaml:"max_in_flight" desc:"messages of a partition that a process holds, waiting ones included"`
	WindowGrace    time.Duration    `yaml:"window_grace" desc:"how long after the end of a window WeChat is still asked, so that a clock that is ahead refuses nobody"`
	Pace           pace.Config      `yaml:"pace" desc:"pace of each account at each endpoint of WeChat"`
	Daily          map[string]int64 `yaml:"daily" desc:"calls a day by endpoint (custom_send, typing, template, subscribe_official, subscribe_mini_program, one_time, mass), for the forecast; WeChat's own number wins, and those of a verified account are the default"`
	Reserve        budget.Reserve   `yaml:"reserve" desc:"what is kept of a day's calls for more urgent messages; not of mass messages, which have an API of their own"`
	Grants         grants.Numbers   `yaml:"grants" desc:"what an action of a fan allows to be sent"`
	Campaign       campaign.Config  `yaml:"campaign" desc:"campaigns: one message to many recipients"`
}

// DefaultConfig returns the values that fit WeChat's documented limits.
func DefaultConfig() Config {
	return Config{
		CallTimeout: 8 * time.Second, MaxAge: 48 * time.Hour,
		BusyPauses: []time.Duration{2 * time.Second, 30 * time.Second},
		RatePause:  time.Minute, NoAPIPause: 10 * time.Minute, HandTime: 3 * time.Minute,
		ResultWait: 15 * time.Minute, MassResultWait: 40 * time.Minute,
		MaxInFlight: 512, WindowGrace: 2 * time.Second,
		Pace: pace.DefaultConfig(), Reserve: budget.DefaultReserve(), Grants: grants.DefaultNumbers(),
		Campaign: campaign.DefaultConfig(),
	}
}

// Validate reports every value that is out of range with its path below sender.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, a ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, a...))
		}
	}
	check(c.CallTimeout > 0 && c.CallTimeout <= time.Minute, "call_timeout: must be more than 0 and at most 1m")
	check(c.MaxAge > 0 && c.MaxAge <= 72*time.Hour, "max_age: must be more than 0 and at most 72h")
	check(len(c.BusyPauses) <= 2, "busy_pauses: must be at most 2")
	for i, p := range c.BusyPauses {
		check(p > 0 && p <= time.Minute, "busy_pauses[%d]: must be more than 0 and at most 1m", i)
	}
	check(c.RatePause > 0 && c.RatePause <= 10*time.Minute, "rate_pause: must be more than 0 and at most 10m")
	check(c.QuotaPause >= 0 && c.QuotaPause <= 24*time.Hour, "quota_pause: must be 0 to 24h")
	check(c.NoAPIPause > 0 && c.NoAPIPause <= 24*time.Hour, "no_api_pause: must be more than 0 and at most 24h")
	check(c.HandTime > 0 && c.HandTime <= 30*time.Minute, "hand_time: must be more than 0 and at most 30m")
	check(c.ResultWait > 0 && c.ResultWait <= 24*time.Hour, "result_wait: must be more than 0 and at most 24h")
	check(c.MassResultWait > 0 && c.MassResultWait <= 24*time.Hour, "mass_result_wait: must be more than 0 and at most 24h")
	check(c.MaxInFlight >= 1 && c.MaxInFlight <= 2048, "max_in_flight: must be 1 to 2048")
	check(c.WindowGrace >= 0 && c.WindowGrace <= time.Minute, "window_grace: must be 0 to 1m")
	for _, token := range slices.Sorted(maps.Keys(c.Daily)) {
		check(endpoint.Known(token), "daily.%s: is not an endpoint", token)
		check(c.Daily[token] >= 0, "daily.%s: must not be negative", token)
	}
	check(c.Pace.Waiting <= c.MaxInFlight, "pace.waiting: must be at most max_in_flight, or one account fills a partition")
	errs = append(errs, below("pace", c.Pace.Validate()), below("reserve", c.Reserve.Validate()), below("grants", c.Grants.Validate()), below("campaign", c.Campaign.Validate()))
	return errors.Join(errs...)
}

// below puts the name of a part before each of its errors.
func below(name string, err error) error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return fmt.Errorf("%s.%w", name, err)
	}
	var errs []error
	for _, e := range joined.Unwrap() {
		errs = append(errs, fmt.Errorf("%s.%w", name, e))
	}
	return errors.Join(errs...)
}
