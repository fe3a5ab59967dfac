package agentrouting

import (
	"errors"
	"fmt"
	"time"
)

// Config is the section "agent_routing" of the configuration file.
type Config struct {
	WaitingLimit time.Duration `yaml:"waiting_limit" desc:"A fan whom nobody accepted for this long goes back to the rules; 0 for never."`
	ServingIdle  time.Duration `yaml:"serving_idle" desc:"A conversation in which neither side wrote for this long goes back to the rules; 0 for never."`
	NativeIdle   time.Duration `yaml:"native_idle" desc:"A message that is pushed to us this long after WeChat's own desk took the fan proves that the session is over, even if its end was never reported; 0 for never."`
	MaxInFlight  int           `yaml:"max_in_flight" desc:"Messages of one partition that are handled at the same time."`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		WaitingLimit: 48 * time.Hour, // then WeChat's window is closed and nobody can answer any more
		ServingIdle:  30 * time.Minute,
		NativeIdle:   30 * time.Minute,
		MaxInFlight:  64,
	}
}

// Validate returns every fault, joined, each with its path.
func (c Config) Validate() error {
	var errs []error
	for _, d := range []struct {
		path  string
		value time.Duration
	}{{"waiting_limit", c.WaitingLimit}, {"serving_idle", c.ServingIdle}, {"native_idle", c.NativeIdle}} {
		if d.value != 0 && d.value < time.Second {
			errs = append(errs, fmt.Errorf("%s: must be 0 or at least 1s, is %s", d.path, d.value))
		}
	}
	if c.MaxInFlight < 1 || c.MaxInFlight > 1024 {
		errs = append(errs, fmt.Errorf("max_in_flight: must be 1 to 1024, is %d", c.MaxInFlight))
	}
	return errors.Join(errs...)
}
