// Package faults is the script of what goes wrong in the simulated WeChat: on its API and on its pushes.
package faults

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"time"
)

// Sides of a rule.
const (
	OnAPI  = "api"
	OnPush = "push"
)

// Kinds of faults. Delay is for both sides; the first group is for the API, the second for pushes.
const (
	Delay = "delay" // wait, then go on as usual

	Hang     = "hang"     // never answer
	Reset    = "reset"    // reset the connection
	HTTP     = "http"     // answer with an HTTP status
	Truncate = "truncate" // cut the JSON answer in the middle
	NonJSON  = "nonjson"  // answer with an HTML page
	ErrCode  = "errcode"  // answer with an errcode; the call is not carried out

	Drop          = "drop"           // cut the connection, so that WeChat sees no answer
	Duplicate     = "duplicate"      // send the same push several times at once
	Slow          = "slow"           // send the body of the push slowly
	RetryAnswered = "retry_answered" // send a further attempt although one was answered
)

// When a fault strikes.
const (
	Before   = "before"   // API: the call is not carried out
	After    = "after"    // API: the call is carried out, its answer is lost
	Sent     = "sent"     // push: right after the request was sent
	Answered = "answered" // push: when the answer begins to arrive
)

// Duration is a time.Duration that JSON writes as "1.5s".
type Duration time.Duration

// MarshalJSON writes the duration as text.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads a text like "1.5s".
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return errors.New(`a duration must be a text like "1.5s"`)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("duration %q: must look like 1.5s", s)
	}
	*d = Duration(v)
	return nil
}

// Rule is one fault. Empty conditions match everything.
type Rule struct {
	Name     string   `json:"name,omitempty"`
	On       string   `json:"on"`
	Account  string   `json:"account,omitempty"`
	Path     string   `json:"path,omitempty"`     // API: pattern of path.Match, "*" does not cross "/"
	Type     string   `json:"type,omitempty"`     // push: message type or event name
	Attempts []int    `json:"attempts,omitempty"` // push: only these attempts
	Kind     string   `json:"kind"`
	When     string   `json:"when,omitempty"`
	Delay    Duration `json:"delay,omitempty,omitzero"` // of delay and slow
	Status   int      `json:"status,omitempty"`         // of http, default 502
	ErrCode  int      `json:"errcode,omitempty"`        // of errcode
	Copies   int      `json:"copies,omitempty"`         // of duplicate, in all; default 2
	Rate     float64  `json:"rate,omitempty"`           // share of the matches that are hit; 0 means all
	Skip     int      `json:"skip,omitempty"`           // matches that are left alone before the first hit
	Every    int      `json:"every,omitempty"`          // from then on only each so many-th match is hit, whatever the seed
	Count    int      `json:"count,omitempty"`          // hits in all; 0 means no limit
	From     Duration `json:"from,omitempty,omitzero"`  // since the script was set
	To       Duration `json:"to,omitempty,omitzero"`    // 0 means no end
}

// Script is a list of rules. Of several that match, every delay counts and else the first.
type Script struct {
	Rules []Rule `json:"rules"`
}

const maxRules = 100

// Parse reads a script. Unknown keys and every broken rule are reported at once, each with its path.
func Parse(data []byte) (Script, error) {
	var s Script
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return Script{}, fmt.Errorf("read fault script: %w", err)
	}
	if err := s.Validate(); err != nil {
		return Script{}, err
	}
	return s, nil
}

// Validate joins the errors of all rules.
func (s Script) Validate() error {
	if len(s.Rules) > maxRules {
		return fmt.Errorf("rules: at most %d", maxRules)
	}
	var errs []error
	for i, r := range s.Rules {
		for _, text := range r.problems() {
			errs = append(errs, errors.New("rules["+strconv.Itoa(i)+"]."+text))
		}
	}
	return errors.Join(errs...)
}

var whens = map[string]map[string][]string{
	OnAPI: {Delay: {""}, Hang: {"", Before, After}, Reset: {"", Before, After}, HTTP: {"", Before, After},
		Truncate: {"", Before, After}, NonJSON: {"", Before, After}, ErrCode: {""}},
	OnPush: {Delay: {""}, Drop: {"", Sent, Answered}, Duplicate: {""}, Slow: {""}, RetryAnswered: {""}},
}

func (r Rule) problems() []string {
	kinds, ok := whens[r.On]
	if !ok {
		return []string{"on: must be api or push"}
	}
	var out []string
	when, ok := kinds[r.Kind]
	switch {
	case !ok:
		out = append(out, fmt.Sprintf("kind: %q is not a fault of %s", r.Kind, r.On))
	case !slices.Contains(when, r.When):
		out = append(out, fmt.Sprintf("when: %q is not possible for %s", r.When, r.Kind))
	}
	_, badPath := path.Match(r.Path, "/")
	for _, c := range []struct {
		wrong bool
		text  string
	}{
		{(r.Kind == Delay || r.Kind == Slow) && r.Delay <= 0, "delay: must be above zero"},
		{r.Kind == ErrCode && r.ErrCode == 0, "errcode: must be given"},
		{r.Status != 0 && (r.Status < 400 || r.Status > 599), "status: must be 400 to 599"},
		{r.Rate < 0 || r.Rate > 1, "rate: must be 0 to 1"},
		{r.Copies < 0 || r.Copies > 10, "copies: must be 0 to 10"},
		{r.Count < 0, "count: must not be negative"},
		{r.Skip < 0, "skip: must not be negative"},
		{r.Every < 0, "every: must not be negative"},
		{badPath != nil, "path: is not a pattern"},
		{r.On == OnPush && r.Path != "", "path: is for api rules"},
		{r.On == OnAPI && (r.Type != "" || len(r.Attempts) > 0), "type: is for push rules, like attempts"},
	} {
		if c.wrong {
			out = append(out, c.text)
		}
	}
	return out
}

// when returns the moment of the fault with the default of its kind filled in:
// what hides an answer strikes after the call, what refuses it before.
func (r Rule) when() string {
	if r.When != "" {
		return r.When
	}
	switch r.Kind {
	case Truncate:
		return After
	case Drop:
		return Answered
	default:
		return Before
	}
}
