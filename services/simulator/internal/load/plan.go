// Package load makes pushes at a planned rate, whatever the gateway's answers take: an open loop.
package load

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/faults"
)

// Duration is a time.Duration that JSON writes as "1.5s".
type Duration = faults.Duration

// Plan says what to push. It ends after Count pushes or after Duration, whichever comes first; one of them must be given.
type Plan struct {
	Accounts []string `json:"accounts,omitempty"` // empty: all
	Fans     int      `json:"fans,omitempty"`     // per account, default 100
	Rate     float64  `json:"rate"`               // pushes per second over all accounts
	Burst    *Burst   `json:"burst,omitempty"`
	Duration Duration `json:"duration,omitempty,omitzero"`
	Count    int      `json:"count,omitempty"`
	// Mix has the share of each type of push; empty means texts only. Texts are numbered, so that their replies can be judged.
	Mix map[string]float64 `json:"mix,omitempty"`
	// Keywords is how many numbers the rules know; a plan that needs more is refused. 0 means any number.
	Keywords int `json:"keywords,omitempty"`
	// Settle is how long to wait for late replies when every push is over, default 3 s. It ends early when all have come.
	Settle Duration `json:"settle,omitempty,omitzero"`
	// MaxInFlight bounds the pushes under way, default 20000. What would be above is counted as shed and not pushed.
	MaxInFlight int `json:"max_in_flight,omitempty"`
	// FanPrefix starts the openids, default "oLoad". Two runs with the same prefix continue the same fans.
	FanPrefix string `json:"fan_prefix,omitempty"`
}

// Burst raises the rate from time to time.
type Burst struct {
	Every  Duration `json:"every"`  // from the start of one burst to the next; the first comes after Every
	For    Duration `json:"for"`    // length
	Factor float64  `json:"factor"` // of the rate
}

func (p Plan) withDefaults(accounts []string) Plan {
	if len(p.Accounts) == 0 {
		p.Accounts = accounts
	}
	if p.Fans == 0 {
		p.Fans = 100
	}
	if len(p.Mix) == 0 {
		p.Mix = map[string]float64{"text": 1}
	}
	if p.Settle == 0 {
		p.Settle = Duration(3 * time.Second)
	}
	if p.MaxInFlight == 0 {
		p.MaxInFlight = 20_000
	}
	if p.FanPrefix == "" {
		p.FanPrefix = "oLoad"
	}
	return p
}

// expected is how many pushes the plan makes at most.
func (p Plan) expected() int {
	rate := p.Rate
	if p.Burst != nil {
		share := min(float64(p.Burst.For)/float64(p.Burst.Every), 1)
		rate *= 1 + share*(p.Burst.Factor-1)
	}
	byTime := int(rate*time.Duration(p.Duration).Seconds()) + 1
	switch {
	case p.Count == 0:
		return byTime
	case p.Duration == 0:
		return p.Count
	}
	return min(p.Count, byTime)
}

// validate joins every problem of a plan with defaults; keep is how many pushes the ledger can judge.
func (p Plan) validate(accounts []string, keep int) error {
	var errs []error
	for _, a := range p.Accounts {
		if !slices.Contains(accounts, a) {
			errs = append(errs, fmt.Errorf("accounts: no account %q", a))
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(p.Mix)) {
		if p.Mix[kind] < 0 {
			errs = append(errs, fmt.Errorf("mix.%s: must not be negative", kind))
		}
	}
	for _, c := range []struct {
		wrong bool
		text  string
	}{
		{len(p.Accounts) == 0, "accounts: there are none"},
		{p.Rate <= 0 || p.Rate > 100_000, "rate: must be above 0 and at most 100000 pushes per second"},
		{p.Count < 0 || p.Duration < 0 || (p.Count == 0 && p.Duration == 0), "count or duration: one must be above 0"},
		{min(p.Fans, p.MaxInFlight, p.Keywords, int(p.Settle)) < 0, "fans, max_in_flight, keywords, settle: must not be negative"},
		{p.Burst != nil && (p.Burst.Every <= 0 || p.Burst.For <= 0 || p.Burst.Factor <= 0), "burst: every, for and factor must be above 0"},
	} {
		if c.wrong {
			errs = append(errs, errors.New(c.text))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return p.judgeable(keep)
}

// judgeable refuses plans whose report could not be complete.
func (p Plan) judgeable(keep int) error {
	n := p.expected()
	if n > keep {
		return fmt.Errorf("the plan makes %d pushes, but simulator.keep_pushes is %d: the report could not judge them all", n, keep)
	}
	need := n/(p.Fans*len(p.Accounts)) + 1
	if p.Keywords > 0 && p.Mix["text"] > 0 && need > p.Keywords {
		return fmt.Errorf("each fan sends up to %d texts, but there are rules for %d: use more fans or write more rules", need, p.Keywords)
	}
	return nil
}

// rateAt is the rate at a time since the start.
func (p Plan) rateAt(t time.Duration) float64 {
	if p.Burst == nil || t < time.Duration(p.Burst.Every) {
		return p.Rate
	}
	if t%time.Duration(p.Burst.Every) < time.Duration(p.Burst.For) {
		return p.Rate * p.Burst.Factor
	}
	return p.Rate
}
