package token

import (
	"errors"
	"fmt"
	"time"

	"github.com/wxbus/wxbus/services/token/internal/record"
)

// Config is the section token of the configuration file.
type Config struct {
	RefreshAhead    time.Duration `yaml:"refresh_ahead" desc:"how long before its end a token is refreshed; WeChat renews a stable token in its last 5 minutes"`
	Jitter          time.Duration `yaml:"jitter" desc:"by how much, at random, the refresh comes later, so that accounts and replicas do not come together"`
	Lease           time.Duration `yaml:"lease" desc:"how long one replica has the right to refresh; another takes over after that"`
	UpstreamTimeout time.Duration `yaml:"upstream_timeout" desc:"how long one call to WeChat may take"`
	ForcedPerDay    int           `yaml:"forced_per_day" desc:"forced refreshes of an account in 24 hours; WeChat allows 20"`
	ForcedInterval  time.Duration `yaml:"forced_interval" desc:"shortest time between forced refreshes of an account; WeChat asks for 30s"`
	Fresh           time.Duration `yaml:"fresh" desc:"a token that WeChat refuses so soon after it was fetched shows that another system refreshes"`
	RefusedBackoff  time.Duration `yaml:"refused_backoff" desc:"how long credentials that WeChat refused are not tried again"`
	FailedBackoff   time.Duration `yaml:"failed_backoff" desc:"how long a WeChat that did not answer is not asked again"`
	Parallel        int           `yaml:"parallel" desc:"accounts that are refreshed ahead at the same time"`
	AlarmEvery      time.Duration `yaml:"alarm_every" desc:"shortest time between two events about the same trouble of an account while it goes on; the first one comes at once"`
	CallbackIPs     time.Duration `yaml:"callback_ips" desc:"age at which the list of addresses that WeChat pushes from is fetched again, for accounts that have a token; 0 never fetches it"`
}

// DefaultConfig returns the values that fit WeChat's documented limits.
func DefaultConfig() Config {
	return Config{
		RefreshAhead: 5 * time.Minute, Jitter: time.Minute,
		Lease: 10 * time.Second, UpstreamTimeout: 5 * time.Second,
		ForcedPerDay: 20, ForcedInterval: 30 * time.Second, Fresh: time.Minute,
		RefusedBackoff: 30 * time.Second, FailedBackoff: time.Second, Parallel: 4, AlarmEvery: time.Hour, CallbackIPs: 24 * time.Hour,
	}
}

// Validate reports every value that is out of range with its name.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, a ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, a...))
		}
	}
	check(c.RefreshAhead > 0 && c.RefreshAhead <= time.Hour, "refresh_ahead: must be more than 0 and at most 1h")
	check(c.Jitter >= 0 && c.Jitter < c.RefreshAhead, "jitter: must be at least 0 and less than refresh_ahead")
	check(c.UpstreamTimeout > 0 && c.UpstreamTimeout <= time.Minute, "upstream_timeout: must be more than 0 and at most 1m")
	check(c.Lease > c.UpstreamTimeout && c.Lease <= 5*time.Minute, "lease: must be more than upstream_timeout and at most 5m")
	check(c.ForcedPerDay >= 0 && c.ForcedPerDay <= 20, "forced_per_day: must be 0 to 20")
	check(c.ForcedInterval >= 30*time.Second, "forced_interval: must be at least 30s")
	check(c.Fresh >= 0, "fresh: must be at least 0")
	check(c.RefusedBackoff > 0 && c.RefusedBackoff <= time.Hour, "refused_backoff: must be more than 0 and at most 1h")
	check(c.FailedBackoff > 0 && c.FailedBackoff <= time.Minute, "failed_backoff: must be more than 0 and at most 1m")
	check(c.Parallel >= 1 && c.Parallel <= 1000, "parallel: must be 1 to 1000")
	check(c.AlarmEvery >= time.Minute && c.AlarmEvery <= 24*time.Hour, "alarm_every: must be 1m to 24h")
	check(c.CallbackIPs == 0 || c.CallbackIPs >= time.Hour, "callback_ips: must be 0 or at least 1h")
	return errors.Join(errs...)
}

func (c Config) budget() record.Budget {
	return record.Budget{PerDay: c.ForcedPerDay, Interval: c.ForcedInterval}
}
