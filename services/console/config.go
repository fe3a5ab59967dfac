package console

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/wxbus/wxbus/pkg/config"
)

// minKey is the least length of an API key in characters; shorter ones can be guessed.
const minKey = 16

// Config is the section "console" of the configuration file.
type Config struct {
	Listen    string        `yaml:"listen" desc:"Address of the page and the API."`
	APIKeys   []APIKey      `yaml:"api_keys" desc:"Bearer keys; without any, only callers on this machine are served."`
	RateLimit float64       `yaml:"rate_limit" desc:"Requests per second of each key; all callers without a key share one limit."`
	RateBurst int           `yaml:"rate_burst" desc:"Requests of each key that may come at once."`
	Timeout   time.Duration `yaml:"timeout" desc:"Longest time that one API call may take."`
}

// APIKey is a bearer key and what it opens.
type APIKey struct {
	Name     string        `yaml:"name" desc:"Name in logs, never the key itself."`
	Key      config.Secret `yaml:"key" desc:"The key, at least 16 characters."`
	Accounts []string      `yaml:"accounts" desc:"Accounts that the key may use; \"*\" for all."`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Listen: ":8081", RateLimit: 50, RateBurst: 100, Timeout: 5 * time.Second}
}

// Validate returns every fault, joined, each with its path.
func (c Config) Validate() error {
	var errs []error
	fail := func(path, format string, a ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, a...)))
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		fail("listen", "must be host:port")
	}
	if !(c.RateLimit > 0) { // also refuses NaN
		fail("rate_limit", "must be more than 0")
	}
	if c.RateBurst < 1 {
		fail("rate_burst", "must be at least 1")
	}
	if c.Timeout < 100*time.Millisecond || c.Timeout > time.Minute {
		fail("timeout", "must be 100ms to 1m")
	}
	names, keys := map[string]bool{}, map[string]bool{}
	for i, k := range c.APIKeys {
		path := fmt.Sprintf("api_keys[%d]", i)
		switch {
		case strings.TrimSpace(k.Name) == "":
			fail(path+".name", "must not be empty")
		case names[k.Name]:
			fail(path+".name", "is used twice")
		}
		names[k.Name] = true
		switch {
		case len(k.Key.Reveal()) < minKey:
			fail(path+".key", "must have at least %d characters", minKey)
		case strings.TrimSpace(k.Key.Reveal()) != k.Key.Reveal():
			fail(path+".key", "must not begin or end with a space")
		case keys[k.Key.Reveal()]:
			fail(path+".key", "is used twice")
		}
		keys[k.Key.Reveal()] = true
		if len(k.Accounts) == 0 {
			fail(path+".accounts", "must name at least one account, or \"*\"")
		}
	}
	return errors.Join(errs...)
}
