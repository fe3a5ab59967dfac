package faults

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/clock"
)

// Engine applies a script. It is safe for concurrent use; without a script nothing goes wrong.
type Engine struct {
	clock *clock.Clock
	dice  clock.Dice

	mu    sync.Mutex
	rules []state
	since time.Time
}

type state struct {
	Rule
	matched uint64
	hits    int
}

// NewEngine returns an engine without a script.
func NewEngine(c *clock.Clock, d clock.Dice) *Engine {
	return &Engine{clock: c, dice: d, since: c.Now()}
}

// Set replaces the script and starts its times and counts anew.
func (e *Engine) Set(s Script) error {
	if err := s.Validate(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rules = e.rules[:0:0]
	for _, r := range s.Rules {
		e.rules = append(e.rules, state{Rule: r})
	}
	e.since = e.clock.Now()
	return nil
}

// Status is a rule with what it did so far.
type Status struct {
	Rule
	Matched uint64 `json:"matched"`
	Hits    int    `json:"hits"`
}

// Status returns the rules of the script in order.
func (e *Engine) Status() []Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]Status, 0, len(e.rules))
	for _, r := range e.rules {
		out = append(out, Status{Rule: r.Rule, Matched: r.matched, Hits: r.hits})
	}
	return out
}

// API is what goes wrong with one call. The zero value is nothing.
type API struct {
	Delay   time.Duration
	Kind    string
	When    string
	Status  int
	ErrCode int
}

// API returns what goes wrong with a call.
func (e *Engine) API(account, urlPath string) API {
	var out API
	for _, r := range e.hits(func(r Rule) bool {
		if r.On != OnAPI || (r.Account != "" && r.Account != account) {
			return false
		}
		ok, err := path.Match(r.Path, urlPath)
		return r.Path == "" || (ok && err == nil)
	}) {
		if r.Kind == Delay {
			out.Delay += time.Duration(r.Delay)
		} else if out.Kind == "" {
			out.Kind, out.When, out.ErrCode, out.Status = r.Kind, r.when(), r.ErrCode, cmp.Or(r.Status, 502)
		}
	}
	return out
}

// Push is what goes wrong with one attempt. The zero value is nothing.
type Push struct {
	Delay         time.Duration
	Slow          time.Duration // time over which the body is sent
	Drop          string        // Sent, Answered or ""
	Copies        int           // sent at once, 0 for one
	RetryAnswered bool
}

// Push returns what goes wrong with an attempt of a push.
func (e *Engine) Push(account, kind string, attempt int) Push {
	var out Push
	for _, r := range e.hits(func(r Rule) bool {
		return r.On == OnPush && (r.Account == "" || r.Account == account) && (r.Type == "" || strings.EqualFold(r.Type, kind)) &&
			(len(r.Attempts) == 0 || slices.Contains(r.Attempts, attempt))
	}) {
		switch r.Kind {
		case Delay:
			out.Delay += time.Duration(r.Delay)
		case Slow:
			out.Slow = max(out.Slow, time.Duration(r.Delay))
		case Drop:
			out.Drop = cmp.Or(out.Drop, r.when())
		case Duplicate:
			out.Copies = max(out.Copies, cmp.Or(r.Copies, 2))
		case RetryAnswered:
			out.RetryAnswered = true
		}
	}
	return out
}

// hits returns the rules that match and strike now, and counts them.
func (e *Engine) hits(match func(Rule) bool) []Rule {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.rules) == 0 {
		return nil
	}
	var out []Rule
	since := e.clock.Now().Sub(e.since)
	for i := range e.rules {
		r := &e.rules[i]
		if since < time.Duration(r.From) || (r.To > 0 && since >= time.Duration(r.To)) || !match(r.Rule) {
			continue
		}
		r.matched++
		if r.Count > 0 && r.hits >= r.Count {
			continue
		}
		if !r.turn(r.matched) {
			continue
		}
		if r.Rate > 0 && e.dice.Float("fault", uint64(i), r.matched) >= r.Rate {
			continue
		}
		r.hits++
		out = append(out, r.Rule)
	}
	return out
}

// turn tells whether the n-th match, from 1, is one that skip and every leave.
func (r Rule) turn(n uint64) bool {
	skip := uint64(r.Skip)
	return n > skip && (r.Every <= 1 || (n-skip-1)%uint64(r.Every) == 0)
}
