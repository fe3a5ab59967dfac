package grpcapi

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"time"

	"google.golang.org/grpc"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/decide"
	"github.com/wxbus/wxbus/services/rule/internal/phrase"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
	"github.com/wxbus/wxbus/services/rule/internal/shadow"
)

// Bounds of shadow runs.
const (
	maxShadows      = 2 // at once in one process
	defaultHours    = 24
	maxHours        = 72 // what INBOUND keeps
	defaultEvents   = 200_000
	maxEvents       = 2_000_000
	maxShadowTime   = 10 * time.Minute
	maxReplySummary = 80 // characters
)

// ShadowRun tries rules on recorded events.
func (s *Server) ShadowRun(req *rulev1.ShadowRunRequest, stream grpc.ServerStreamingServer[rulev1.ShadowRunResponse]) error {
	ctx, cancel := context.WithTimeout(stream.Context(), maxShadowTime)
	defer cancel()
	b, err := s.ready()
	if err != nil {
		return err
	}
	o, err := s.shadowOptions(req)
	if err != nil {
		return err
	}
	select {
	case s.shadows <- struct{}{}:
		defer func() { <-s.shadows }()
	default:
		return fault.Errorf(fault.Exhausted, "%d shadow runs are under way: wait for one of them", maxShadows)
	}
	before, err := s.setOf(ctx, b, req.GetBefore())
	if err != nil {
		return err
	}
	after := req.GetAfter()
	if after.GetSet() == nil {
		after = &rulev1.RuleSetRef{Set: &rulev1.RuleSetRef_Draft{Draft: true}}
	}
	tried, err := s.setOf(ctx, b, after)
	if err != nil {
		return err
	}
	var last *rulev1.ShadowProgress
	o.Progress = func(p shadow.Progress) error {
		last = &rulev1.ShadowProgress{Events: p.Events, Total: p.Total, Read: p.Read, Differing: p.Differing}
		return stream.Send(&rulev1.ShadowRunResponse{Progress: last})
	}
	j := &judge{accounts: s.accounts, before: before, after: tried, does: map[*ruleset.Rule]string{}}
	result, err := shadow.Run(ctx, b.js, o, j.judge)
	if err != nil {
		return err
	}
	return stream.Send(&rulev1.ShadowRunResponse{Progress: last, Result: protoShadow(result, before.Version)})
}

// shadowOptions reads the bounds of a request.
func (s *Server) shadowOptions(req *rulev1.ShadowRunRequest) (shadow.Options, error) {
	hours, events := req.GetHours(), req.GetMaxEvents()
	if hours == 0 {
		hours = defaultHours
	}
	if events == 0 {
		events = defaultEvents
	}
	if hours < 0 || hours > maxHours {
		return shadow.Options{}, fault.Errorf(fault.Invalid, "hours: must be 1 to %d, events are kept no longer", maxHours)
	}
	if events < 0 || events > maxEvents {
		return shadow.Options{}, fault.Errorf(fault.Invalid, "max_events: must be 1 to %d", maxEvents)
	}
	if _, ok := s.accounts.Get(req.GetAccount()); req.GetAccount() != "" && !ok {
		return shadow.Options{}, fault.Errorf(fault.NotFound, "account: there is no account %q", req.GetAccount())
	}
	return shadow.Options{
		Since: s.now().Add(-time.Duration(hours) * time.Hour), Account: req.GetAccount(), MaxEvents: int(events),
	}, nil
}

// setOf compiles the rules that a reference names.
func (s *Server) setOf(ctx context.Context, b *backend, ref *rulev1.RuleSetRef) (*ruleset.Set, error) {
	if ref.GetSet() == nil {
		return b.live.Set(), nil
	}
	file, version, err := s.fileOf(ctx, b, ref)
	if err != nil {
		return nil, err
	}
	rules, err := ruleset.Parse(file, ruleset.Options{}) // what it names was there when it was published or saved
	if err != nil {
		return nil, err
	}
	return ruleset.Compile(version, rules)
}

// judge tells what two sets do with an event.
type judge struct {
	accounts      *account.Directory
	before, after *ruleset.Set
	does          map[*ruleset.Rule]string // what a rule does, as an identity
}

func (j *judge) judge(ev *eventv1.InboundEvent) (before, after shadow.Outcome, shown shadow.Event, ok bool, err error) {
	acct, ok := j.accounts.Get(ev.GetAccount())
	if !ok {
		return before, after, shown, false, nil
	}
	if before, err = j.outcome(j.before, ev, acct); err != nil {
		return before, after, shown, false, err
	}
	if after, err = j.outcome(j.after, ev, acct); err != nil {
		return before, after, shown, false, err
	}
	in := ruleset.InputOf(ev)
	return before, after, shadow.Event{InboundEvent: ev, Kind: in.Triggers[0], Text: in.Text}, true, nil
}

// outcome tells what a set would have done with an event when it arrived. Nothing is called, and nothing is known
// about the fan.
func (j *judge) outcome(set *ruleset.Set, ev *eventv1.InboundEvent, acct account.Account) (shadow.Outcome, error) {
	found, _ := set.FindEvent(ev, nil)
	seen, err := decide.Preview(decide.Imagined{Event: ev, Input: ruleset.InputOf(ev), Account: acct, Found: found})
	if err != nil {
		return shadow.Outcome{}, err
	}
	rule, hit, rec := found.Rule, found.Hit, seen.Record
	o := shadow.Outcome{Rule: rec.GetRule(), Matched: phrase.Masked(hit.Matched, maxReplySummary), Route: rec.GetRoute(), Queue: rec.GetQueue()}
	if len(rec.GetReplies()) > 0 {
		o.Reply = describe(rec.GetReplies()[0])
	}
	if rule == nil {
		return o, nil
	}
	o.Does, err = j.identity(rule)
	return o, err
}

// identity returns the same for rules that do the same.
func (j *judge) identity(rule *ruleset.Rule) (string, error) {
	if known, ok := j.does[rule]; ok {
		return known, nil
	}
	b, err := json.Marshal(rule.Actions) // not gob, which writes maps in any order
	if err != nil {
		return "", fault.Errorf(fault.Internal, "encode actions: %w", err)
	}
	digest := sha256.Sum256(b)
	id := string(digest[:])
	j.does[rule] = id
	return id, nil
}

// describe says in a few words what a reply is: its text, or its type.
func describe(c *eventv1.Content) string {
	if c.GetText() != nil {
		runes := []rune(c.GetText().GetContent())
		return string(runes[:min(len(runes), maxReplySummary)])
	}
	m := c.ProtoReflect()
	if set := m.WhichOneof(m.Descriptor().Oneofs().ByName("body")); set != nil {
		return string(set.Name())
	}
	return ""
}

func protoShadow(r *shadow.Result, version string) *rulev1.ShadowResult {
	out := &rulev1.ShadowResult{
		Events: r.Events, Same: r.Same, Changed: r.Changed, NewlyAnswered: r.NewlyAnswered, NewlySilent: r.NewlySilent,
		Truncated: r.Truncated, BeforeVersion: version,
	}
	if r.Events > 0 {
		out.FromUnixMs, out.ToUnixMs = r.From.UnixMilli(), r.To.UnixMilli()
	}
	for _, rule := range r.Rules {
		out.Rules = append(out.Rules, &rulev1.ShadowRule{
			Rule: rule.Name, Before: rule.Before, After: rule.After, Gained: rule.Gained, Lost: rule.Lost, Changed: rule.Changed,
			NewlyAnswered: rule.NewlyAnswered, NewlySilent: rule.NewlySilent,
		})
	}
	for _, d := range r.Differences {
		out.Differences = append(out.Differences, &rulev1.ShadowDifference{
			Account: d.Account, Kind: d.Kind, Text: d.Text, EventKey: d.Key, Before: protoOutcome(d.Before), After: protoOutcome(d.After), Events: d.Events,
		})
	}
	return out
}

func protoOutcome(o shadow.Outcome) *rulev1.ShadowOutcome {
	return &rulev1.ShadowOutcome{Rule: o.Rule, Matched: o.Matched, Route: o.Route, Reply: o.Reply, Queue: o.Queue}
}
