package simulator

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/wxbus/wxbus/pkg/account"

	"github.com/wxbus/wxbus/services/simulator/internal/api"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
)

// Clocks of the simulator.
const (
	ClockReal    = "real"
	ClockVirtual = "virtual"
)

// Config is the section "simulator" of the configuration file.
type Config struct {
	Listen         string        `yaml:"listen" desc:"Address of the fake WeChat API, the control API and the phone page."`
	PublicURL      string        `yaml:"public_url" desc:"Base URL under which others reach it, for the URLs of pictures; default: from listen."`
	Targets        []string      `yaml:"targets" desc:"Base URLs of the gateway's replicas; pushes go to /wx/{account} below them."`
	AllowRemote    []string      `yaml:"allow_remote" desc:"Hosts besides loopback addresses that may be pushed to."`
	RandomReplica  bool          `yaml:"random_replica" desc:"Choose replicas by chance instead of in turn."`
	AttemptTimeout time.Duration `yaml:"attempt_timeout" desc:"Time after which an attempt is given up and its connection closed; WeChat takes 5s."`
	Attempts       int           `yaml:"attempts" desc:"Attempts of a push in all; WeChat makes 3."`
	RetryPause     time.Duration `yaml:"retry_pause" desc:"Pause after an attempt that failed at once, like a refused connection."`
	JobDelay       time.Duration `yaml:"job_delay" desc:"Time from a template or mass send to its result event."`
	SessionIdle    time.Duration `yaml:"session_idle" desc:"Silence after which WeChat's own customer service ends a session."`
	Seed           uint64        `yaml:"seed" desc:"Everything that looks random follows from it."`
	Clock          string        `yaml:"clock" enum:"real,virtual" desc:"A virtual clock moves only when it is told to."`
	FaultFile      string        `yaml:"fault_file" desc:"Fault script (JSON) to start with."`
	DemoFans       int           `yaml:"demo_fans" desc:"Fans of each account at the start."`
	MaxFans        int           `yaml:"max_fans" desc:"Most fans of an account."`
	KeepPushes     int           `yaml:"keep_pushes" desc:"Pushes kept in full; a load run may not be longer."`
	KeepPerFan     int           `yaml:"keep_per_fan" desc:"Lines kept of each fan's screen."`
	OrderSlack     time.Duration `yaml:"order_slack" desc:"Two passive replies closer than this have no certain order."`
	AskPattern     string        `yaml:"ask_pattern" desc:"Text of a numbered push, with one %d."`
	ReplyPattern   string        `yaml:"reply_pattern" desc:"Text of the reply to it, with one %d."`

	Windows       ledger.Windows         `yaml:"windows" desc:"What a fan's action allows to be sent."`
	ExtraAccounts []account.Account      `yaml:"extra_accounts" desc:"Accounts that exist at WeChat and that the configuration does not serve: to be added over the API while everything runs."`
	Accounts      map[string]api.Options `yaml:"accounts" desc:"Settings that an account has in WeChat's console, by account name."`
}

// DefaultConfig returns what a laptop needs: WeChat's own times, one gateway on its usual port.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:8082", Targets: []string{"http://127.0.0.1:8080"}, AttemptTimeout: 5 * time.Second, Attempts: 3,
		RetryPause: 200 * time.Millisecond, JobDelay: 500 * time.Millisecond, SessionIdle: 30 * time.Minute, Seed: 1, Clock: ClockReal,
		DemoFans: 3, MaxFans: 100_000, KeepPushes: 100_000, KeepPerFan: 100, OrderSlack: 20 * time.Millisecond,
		AskPattern: "k%04d", ReplyPattern: "re:k%04d", Windows: ledger.DefaultWindows(),
	}
}

// Validate returns every problem, each with its path inside the section. Whether targets are on this machine is
// checked by New.
func (c Config) Validate() error {
	var errs []error
	add := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		add("listen: must be host:port")
	}
	if u, err := url.Parse(c.PublicURL); c.PublicURL != "" && (err != nil || u.Host == "") {
		add("public_url: must be a URL")
	}
	for i, t := range c.Targets {
		if u, err := url.Parse(t); err != nil || u.Host == "" {
			add("targets[%d]: must be a URL", i)
		}
	}
	if !slices.Contains([]string{ClockReal, ClockVirtual}, c.Clock) {
		add("clock: must be real or virtual")
	}
	for path, d := range map[string]time.Duration{"attempt_timeout": c.AttemptTimeout, "session_idle": c.SessionIdle} {
		if d <= 0 {
			add("%s: must be above zero", path)
		}
	}
	for path, d := range map[string]time.Duration{"retry_pause": c.RetryPause, "job_delay": c.JobDelay, "order_slack": c.OrderSlack} {
		if d < 0 {
			add("%s: must not be negative", path)
		}
	}
	for path, n := range map[string]int{"attempts": c.Attempts, "max_fans": c.MaxFans, "keep_pushes": c.KeepPushes, "keep_per_fan": c.KeepPerFan} {
		if n < 1 {
			add("%s: must be at least 1", path)
		}
	}
	if c.DemoFans < 0 || c.DemoFans > c.MaxFans {
		add("demo_fans: must be 0 to max_fans")
	}
	for path, text := range map[string]string{"ask_pattern": c.AskPattern, "reply_pattern": c.ReplyPattern} {
		if _, err := ledger.NewPattern(text); err != nil {
			add("%s: %w", path, err)
		}
	}
	return errors.Join(errs...)
}

// publicURL is where others reach the simulator.
func (c Config) publicURL() string {
	if c.PublicURL != "" {
		return c.PublicURL
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return "http://127.0.0.1"
	}
	if ip, err := netip.ParseAddr(host); host == "" || (err == nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	if _, err := strconv.Atoi(port); err != nil {
		return "http://" + host
	}
	return "http://" + net.JoinHostPort(host, port)
}
