package ruleset

import (
	"fmt"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/condition"
	"github.com/wxbus/wxbus/services/rule/internal/match"
	"github.com/wxbus/wxbus/services/rule/internal/place"
	"github.com/wxbus/wxbus/services/rule/internal/rest"
	"github.com/wxbus/wxbus/services/rule/internal/worktime"
)

// Set is a compiled version of the rules. It is immutable and safe for concurrent use.
type Set struct {
	Version string
	rules   sheet
	won     won
	index   *match.Set
	places  map[string]*place.Table
	near    map[int]*Near // by rule
	// conditions by rule.
	conditions map[int]*condition.Condition
	forms      map[string]int // rules with a form, by name
	regexes    map[int][]match.Regex
}

// Compile makes a set of a parsed file as fast as it can. Its error is Invalid.
func Compile(version string, file *File) (*Set, error) {
	stored, err := Store(file)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	return stored.Compile(version, nil, nil)
}

// Compile makes a set that uses what is stored, and rests between its steps when it is made beside the traffic. When the
// rules match as those of the set before it, which may be nil, the two share what finds them.
func (f *Stored) Compile(version string, before *Set, rests *rest.Rest) (*Set, error) {
	s := &Set{
		Version: version, rules: f.rules, places: map[string]*place.Table{}, near: map[int]*Near{},
		conditions: map[int]*condition.Condition{}, forms: map[string]int{}, regexes: map[int][]match.Regex{},
	}
	for name, table := range f.places {
		s.places[name] = place.NewTable(table)
	}
	if err := s.compileRules(f.calendars, rests); err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	if before != nil && s.rules.foundAs(&before.rules, rests) {
		s.index = before.index
		return s, nil
	}
	index, err := match.CompileGently(s.source(), rests)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "compile rules: %w", err)
	}
	s.index = index
	return s, nil
}

// source gives the rules as far as finding them goes. It belongs to one goroutine.
func (s *Set) source() match.Source {
	var r Rule // its lists are used again for the next one
	return match.Source{Len: s.Len(), Rule: func(rule int) match.Rule {
		conditional := s.rules.find(rule, &r)
		return match.Rule{
			Name: r.Name, Accounts: r.Accounts, Priority: r.Priority, Triggers: r.On, Fold: r.Match.Fold, Any: r.Match.Any,
			Exact: r.Match.Exact, Prefix: r.Match.Prefix, Contains: r.Match.Contains, Regex: s.regexes[rule], EventKeys: r.Match.EventKeys,
			Scenes: r.Match.Scenes, ScenePrefixes: r.Match.ScenePrefixes, Media: r.Match.Media, Near: r.Match.Near != nil,
			Conditional: conditional,
		}
	}}
}

// foundAs tells whether rule by rule two sheets are found by the same: then they differ at most in what is said, and in
// conditions.
func (s *sheet) foundAs(o *sheet, rests *rest.Rest) bool {
	if s.len() != o.len() {
		return false
	}
	for i := range s.len() {
		rests.Step()
		if s.finding(i) != o.finding(i) {
			return false
		}
	}
	return true
}

// compileRules compiles what rules have beside texts: conditions, expressions, positions and forms.
func (s *Set) compileRules(calendars map[string]worktime.Calendar, rests *rest.Rest) error {
	clocks := make(map[string]*worktime.Clock, len(calendars))
	for name, calendar := range calendars {
		clock, err := worktime.NewClock(calendar)
		if err != nil {
			return fmt.Errorf("calendars.%s.timezone: %w", name, err)
		}
		clocks[name] = clock
	}
	for i := range s.Len() {
		rests.Step()
		if !s.rules.special(i) {
			continue
		}
		if err := s.compileRule(i, s.rules.rule(i), clocks); err != nil {
			return fmt.Errorf("rules[%d].%w", i, err)
		}
	}
	return nil
}

func (s *Set) compileRule(i int, r *Rule, clocks map[string]*worktime.Clock) error {
	if near := r.Match.Near; near != nil {
		if s.places[near.Places] == nil {
			return fmt.Errorf("match.near.places: there is no table %q", near.Places)
		}
		s.near[i] = near
	}
	if r.Form() != nil {
		s.forms[r.Name] = i
	}
	for j, expression := range r.Match.Regex {
		re, err := match.ParseRegex(expression, r.Match.Fold)
		if err != nil {
			return fmt.Errorf("match.regex[%d]: %w", j, err)
		}
		s.regexes[i] = append(s.regexes[i], re)
	}
	if r.When.IsZero() {
		return nil
	}
	c, err := condition.Compile(*r.When, clocks)
	if err != nil {
		return fmt.Errorf("when: %w", err)
	}
	s.conditions[i] = c
	return nil
}

// Len returns the number of rules.
func (s *Set) Len() int { return s.rules.len() }

// Facts are what conditions look at beside the message itself.
type Facts struct {
	Now time.Time
	// Fan returns what is known about the fan, or nil when that cannot be known now: every condition about the
	// fan fails then. It is asked only when a rule that would win needs it. A nil Fan is one about whom nothing is known.
	Fan func() *rulev1.FanRecord
}

// Found is the rule that wins, and why.
type Found struct {
	Rule *Rule
	match.Hit
	// Place is the nearest one of the table of the rule, or nil for a rule without match.near.
	Place *place.Place
	// Distance to Place in metres.
	Distance float64
	// SilentUntil is until when the rule is silent towards the fan from now on; zero for no limit.
	SilentUntil time.Time
}

// Find returns the rule that wins for an input, or false when no rule does.
func (s *Set) Find(in match.Input, facts Facts) (Found, bool) {
	var allows func(int) bool
	if len(s.conditions)+len(s.near) > 0 {
		allows = func(rule int) bool { return s.failed(in, rule, facts) == "" }
	}
	hit, ok := s.index.MatchIf(in, allows)
	if !ok {
		return Found{}, false
	}
	found := Found{Rule: s.rule(hit.Rule), Hit: hit}
	if near := s.near[hit.Rule]; near != nil && in.Position {
		found.Place, found.Distance = s.places[near.Places].Nearest(in.Latitude, in.Longitude)
	}
	if c := s.conditions[hit.Rule]; c != nil && c.Paced() {
		found.SilentUntil = c.SilentUntil(facts.Now)
	}
	return found, true
}

// FindEvent is Find for an event at the time of its arrival.
func (s *Set) FindEvent(ev *eventv1.InboundEvent, fan func() *rulev1.FanRecord) (Found, bool) {
	return s.Find(InputOf(ev), Facts{Now: time.UnixMilli(ev.GetReceivedUnixMs()), Fan: fan})
}

// failed returns which condition of a rule does not hold and why, or "".
func (s *Set) failed(in match.Input, rule int, facts Facts) string {
	if failed := s.tooFar(in, rule); failed != "" {
		return failed
	}
	c := s.conditions[rule]
	if c == nil {
		return ""
	}
	fan := facts.Fan
	if fan == nil {
		fan = func() *rulev1.FanRecord { return &rulev1.FanRecord{} }
	}
	return c.Failed(condition.Facts{Rule: s.rules.name(rule), Now: facts.Now, Message: messageOf(in), Fan: fan})
}

// tooFar tells why a rule that wants a position does not get it.
func (s *Set) tooFar(in match.Input, rule int) string {
	near := s.near[rule]
	if near == nil || !in.Position || near.Within == 0 {
		return ""
	}
	nearest, distance := s.places[near.Places].Nearest(in.Latitude, in.Longitude)
	if distance <= near.Within {
		return ""
	}
	return fmt.Sprintf("near: the nearest place, %s, is %s away", nearest.Name, Metres(distance))
}

// Metres writes a distance for people.
func Metres(distance float64) string {
	if distance < 1000 {
		return fmt.Sprintf("%.0f m", distance)
	}
	return fmt.Sprintf("%.1f km", distance/1000)
}

// messageOf returns what expressions see of an input.
func messageOf(in match.Input) condition.Message {
	m := condition.Message{
		Account: in.Account, Text: in.Text, Scene: in.Scene, HasPosition: in.Position, Latitude: in.Latitude, Longitude: in.Longitude,
	}
	if len(in.Triggers) > 0 {
		m.Kind = in.Triggers[0]
	}
	if len(in.Keys) > 0 {
		m.Key = in.Keys[0]
	}
	return m
}

// Explain lists the rules that were considered for an input; see match.Source.Explain.
func (s *Set) Explain(in match.Input, facts Facts, limit int) []match.Candidate {
	return s.source().Explain(in, limit, func(rule int) string { return s.failed(in, rule, facts) })
}

// Rule returns the rule of a hit.
func (s *Set) Rule(hit match.Hit) *Rule { return s.rule(hit.Rule) }

// HasForms tells whether a fan can be in the middle of a form of these rules.
func (s *Set) HasForms() bool { return len(s.forms) > 0 }

// RuleWithForm returns the rule of a name that has a form, or nil.
func (s *Set) RuleWithForm(name string) *Rule {
	if i, ok := s.forms[name]; ok {
		return s.rule(i)
	}
	return nil
}
