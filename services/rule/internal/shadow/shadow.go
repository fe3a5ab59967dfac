// Package shadow tries two sets of rules on recorded events and tells what differs.
//
// Nothing is sent or changed. The texts in a result were written by fans: they go to whoever asked and nowhere
// else.
package shadow

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/phrase"
	"github.com/wxbus/wxbus/services/rule/internal/recorded"
)

// Bounds of a run and its result.
const (
	maxGroups = 20_000 // of differences; what comes later is counted by its rules alone
	maxShown  = 100    // of differences
	maxRules  = 500
	maxText   = 80 // characters
	// progressEvery is how many events are read between two reports.
	progressEvery = 5_000
	// patience is how long a run waits for an event, and pauses how often in a row, while the stream says that
	// there are more.
	patience = 5 * time.Second
	pauses   = 6
)

// Outcome is what a set does with an event.
type Outcome struct {
	Rule, Matched string
	Route         rulev1.Route
	Reply         string // the first reply in a few words
	Queue         string
	// Does identifies all that is done; equal outcomes do the same.
	Does string
}

// answers tells whether the fan gets something: a reply, a place in a queue, or WeChat's own agents.
func (o Outcome) answers() bool {
	switch o.Route {
	case rulev1.Route_ROUTE_PASSIVE, rulev1.Route_ROUTE_ASYNC, rulev1.Route_ROUTE_QUEUE, rulev1.Route_ROUTE_NATIVE:
		return true
	default:
		return false
	}
}

// Event is a recorded event with what is shown of it.
type Event struct {
	*eventv1.InboundEvent
	Kind string
	Text string
}

// Judge tells what a set does with an event. It returns false for one that is not to be looked at.
type Judge func(*eventv1.InboundEvent) (before, after Outcome, ev Event, ok bool, err error)

// Options of a run.
type Options struct {
	Since   time.Time
	Account string // empty is every account
	// MaxEvents bounds the events that are looked at: the newest ones.
	MaxEvents int
	// Progress is called now and then, at the end too. Its error ends the run.
	Progress func(Progress) error
}

// Progress tells how far a run is.
type Progress struct{ Read, Total, Events, Differing int64 }

// Result of a run.
type Result struct {
	Events, Same, Changed, NewlyAnswered, NewlySilent int64
	Rules                                             []Rule       // most differences first
	Differences                                       []Difference // most events first
	From, To                                          time.Time
	Truncated                                         bool
}

// Rule is what a run says about one rule.
type Rule struct {
	Name                                                             string
	Before, After, Gained, Lost, Changed, NewlyAnswered, NewlySilent int64
}

func (r Rule) differing() int64 { return r.Gained + r.Lost + r.Changed }

// Difference is a group of events with the same change.
type Difference struct {
	Account, Kind, Text, Key string
	Before, After            Outcome
	Events                   int64
}

// Run reads events and judges each by both sets. It ends at the event that was the last one when it began.
func Run(ctx context.Context, js jetstream.JetStream, o Options, judge Judge) (*Result, error) {
	from := recorded.From{Since: o.Since}
	if o.Account != "" {
		filter, err := topology.FilterInbound(o.Account)
		if err != nil {
			return nil, err
		}
		from.Filter = filter
	}
	reader, err := recorded.Open(ctx, js, topology.StreamInbound, from)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	r := &run{Options: o, judge: judge, rules: map[string]*Rule{}, groups: map[group]*Difference{}, total: int64(reader.Pending)}
	r.skip = max(0, r.total-int64(o.MaxEvents))
	if err := r.read(ctx, reader); err != nil {
		return nil, err
	}
	return r.result(), r.report()
}

// run is one run at work.
type run struct {
	Options
	judge     Judge
	res       Result
	rules     map[string]*Rule
	groups    map[group]*Difference
	total     int64
	done      int64
	skip      int64 // older events than are wanted
	differing int64
}

// group is what events of a difference have in common.
type group struct{ account, kind, key, before, after string }

func (r *run) read(ctx context.Context, reader *recorded.Reader) error {
	for waited := 0; r.done < r.total; {
		msg, err := reader.Next(ctx, patience)
		if errors.Is(err, recorded.ErrNothing) {
			waited++
			if more, err := r.more(ctx, reader, waited); err != nil || !more {
				return err
			}
			continue
		}
		if err != nil || msg.Seq > reader.Last {
			return err
		}
		waited = 0
		r.done++
		if r.done > r.skip {
			if err := r.look(msg); err != nil {
				return err
			}
		}
		if r.done%progressEvery == 0 {
			if err := r.report(); err != nil {
				return err
			}
		}
	}
	return nil
}

// more tells whether to go on waiting. Without events left on the server those that are missing aged out meanwhile.
func (r *run) more(ctx context.Context, reader *recorded.Reader, waited int) (bool, error) {
	left, err := reader.Remaining(ctx)
	if err != nil || left == 0 && r.done > 0 {
		return false, err
	}
	if waited >= pauses {
		return false, fault.New(fault.Unavailable, "recorded events cannot be read now: try again")
	}
	return true, nil
}

func (r *run) report() error {
	if r.Progress == nil {
		return nil
	}
	return r.Progress(Progress{Read: r.done, Total: max(r.total, r.done), Events: r.res.Events, Differing: r.differing})
}

// look judges one event.
func (r *run) look(msg recorded.Message) error {
	stored := &eventv1.InboundEvent{}
	if proto.Unmarshal(msg.Data, stored) != nil {
		return nil //nolint:nilerr // the rule service has dead-lettered it
	}
	before, after, ev, ok, err := r.judge(stored)
	if err != nil || !ok {
		return err
	}
	if r.res.Events++; r.res.From.IsZero() {
		r.res.From = msg.Stored
	}
	r.res.To = msg.Stored
	r.count(before, after)
	if before.Rule == after.Rule && before.Does == after.Does {
		r.res.Same++
		return nil
	}
	r.differing++
	r.collect(ev, before, after)
	return nil
}

// count adds an event to the rules that decide it.
func (r *run) count(before, after Outcome) {
	same := before.Rule == after.Rule
	if b := r.rule(before.Rule); b != nil {
		b.Before++
		if !same {
			b.Lost++
			if before.answers() && !after.answers() {
				b.NewlySilent++
			}
		}
	}
	if a := r.rule(after.Rule); a != nil {
		a.After++
		switch {
		case same && before.Does != after.Does:
			a.Changed++
		case !same:
			a.Gained++
			if after.answers() && !before.answers() {
				a.NewlyAnswered++
			}
		}
	}
}

func (r *run) rule(name string) *Rule {
	if name == "" {
		return nil
	}
	rule := r.rules[name]
	if rule == nil {
		rule = &Rule{Name: name}
		r.rules[name] = rule
	}
	return rule
}

// collect adds an event with a difference to its group.
func (r *run) collect(ev Event, before, after Outcome) {
	switch {
	case before.answers() == after.answers():
		r.res.Changed++
	case after.answers():
		r.res.NewlyAnswered++
	default:
		r.res.NewlySilent++
	}
	g := group{ev.GetAccount(), ev.Kind, phrase.Key(ev.Text) + "\x00" + ev.GetEventKey(), before.Rule, after.Rule}
	d := r.groups[g]
	if d == nil && len(r.groups) >= maxGroups {
		g.key = ""
		d = r.groups[g]
	}
	if d == nil {
		d = &Difference{
			Account: ev.GetAccount(), Kind: ev.Kind, Text: phrase.Masked(ev.Text, maxText), Key: phrase.Masked(ev.GetEventKey(), maxText),
			Before: before, After: after,
		}
		r.groups[g] = d
	}
	d.Events++
}

// result sorts what was found and keeps the larger part.
func (r *run) result() *Result {
	for _, rule := range r.rules {
		r.res.Rules = append(r.res.Rules, *rule)
	}
	slices.SortFunc(r.res.Rules, func(a, b Rule) int {
		return cmp.Or(cmp.Compare(b.differing(), a.differing()), cmp.Compare(b.After+b.Before, a.After+a.Before), cmp.Compare(a.Name, b.Name))
	})
	for _, d := range r.groups {
		r.res.Differences = append(r.res.Differences, *d)
	}
	slices.SortFunc(r.res.Differences, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(b.Events, a.Events), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Text, b.Text), cmp.Compare(a.After.Rule, b.After.Rule))
	})
	r.res.Rules = r.res.Rules[:min(len(r.res.Rules), maxRules)]
	r.res.Differences = r.res.Differences[:min(len(r.res.Differences), maxShown)]
	r.res.Truncated = r.skip > 0
	return &r.res
}
