package grpcapi

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/decide"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

// maxCandidates bounds the explanation of a dry run.
const maxCandidates = 20

// maxDryRunText bounds the text of a dry run in bytes; WeChat's messages are shorter.
const maxDryRunText = 64 << 10

// DryRun tells what rules would do and why. It reads and changes nothing but the rules given.
func (s *Server) DryRun(_ context.Context, req *rulev1.DryRunRequest) (*rulev1.DryRunResponse, error) {
	kind := req.GetOn()
	if kind == "" {
		kind = "text"
	}
	if len(req.GetText()) > maxDryRunText {
		return nil, fault.Errorf(fault.Invalid, "text: %d bytes, at most %d are allowed", len(req.GetText()), maxDryRunText)
	}
	acct, ok := s.accounts.Get(req.GetAccount())
	if !ok {
		return nil, fault.Errorf(fault.NotFound, "account: there is no account %q", req.GetAccount())
	}
	in, ok := ruleset.InputFor(acct.Name, kind, req.GetText(), req.GetEventKey())
	if !ok {
		return nil, fault.Errorf(fault.Invalid, "on: %q is not a kind; the kinds are %s and event:<name>", kind, strings.Join(ruleset.Kinds(), ", "))
	}
	set, err := s.setFor(req)
	if err != nil {
		return nil, err
	}
	now := s.now()
	if req.GetAtUnixMs() > 0 {
		now = time.UnixMilli(req.GetAtUnixMs())
	}
	if req.GetLatitude() != 0 || req.GetLongitude() != 0 {
		in.Position, in.Latitude, in.Longitude = true, req.GetLatitude(), req.GetLongitude()
	}
	fan := &rulev1.FanRecord{Tags: req.GetTags(), SubscribedUnixS: req.GetSubscribedUnixS(), Language: req.GetLanguage()}
	facts := ruleset.Facts{Now: now, Fan: func() *rulev1.FanRecord { return fan }}
	found, _ := set.Find(in, facts)
	seen, err := decide.Preview(decide.Imagined{Event: imagined(acct, kind, now), Input: in, Account: acct, Found: found, Fan: fan}) //nolint:contextcheck // calls nothing
	if err != nil {
		return nil, err
	}
	rec := seen.Record
	response := &rulev1.DryRunResponse{
		Route: rec.GetRoute(), Rule: rec.GetRule(), Matched: found.Matched, Replies: rec.GetReplies(), Queue: rec.GetQueue(), Version: set.Version,
		Tags: rec.GetTags(), ClearTags: rec.GetClearTags(), DelaysMs: rec.GetDelaysMs(), Asks: seen.Asks,
	}
	for _, c := range set.Explain(in, facts, maxCandidates) {
		candidate := set.Rule(c.Hit)
		outcome := c.Outcome
		if c.Won && slices.ContainsFunc(candidate.Actions, func(a ruleset.Action) bool { return a.Webhook != nil }) {
			outcome += "; its webhook is not called in a dry run"
		}
		response.Candidates = append(response.Candidates, &rulev1.Candidate{
			Rule: candidate.Name, Priority: candidate.Priority, Outcome: outcome, Matched: c.Hit.Matched,
			Trigger: c.Hit.Class.String(), Start: int32(c.Hit.Start), Failed: c.Failed,
		})
	}
	return response, nil
}

// setFor returns the rules to try: those of the request, or the live ones.
func (s *Server) setFor(req *rulev1.DryRunRequest) (*ruleset.Set, error) {
	if len(req.GetYaml()) == 0 {
		b, err := s.ready()
		if err != nil {
			return nil, err
		}
		return b.live.Set(), nil
	}
	rules, err := s.Parse(req.GetYaml())
	if err != nil {
		return nil, err
	}
	return ruleset.Compile("", rules)
}

// imagined returns an event of a kind that has just arrived, with a gateway that waits if the account
// has it wait.
func imagined(acct account.Account, kind string, now time.Time) *eventv1.InboundEvent {
	ev := &eventv1.InboundEvent{
		Account: acct.Name, AccountKind: acct.ProtoKind(), ReplyMode: acct.ProtoReply(), Kind: kindOf(kind),
		ReceivedUnixMs: now.UnixMilli(), PassiveDeadlineUnixMs: now.Add(time.Second).UnixMilli(), GatewayInstance: "dry-run",
	}
	switch ev.GetKind() {
	case eventv1.EventKind_EVENT_KIND_MESSAGE:
		ev.AcceptsPassive = true
	case eventv1.EventKind_EVENT_KIND_CLICK, eventv1.EventKind_EVENT_KIND_SCAN, eventv1.EventKind_EVENT_KIND_SUBSCRIBE:
		ev.AcceptsPassive = acct.Kind != account.KindMiniProgram
	default:
	}
	return ev
}

func kindOf(kind string) eventv1.EventKind {
	switch {
	case ruleset.IsMessage(kind):
		return eventv1.EventKind_EVENT_KIND_MESSAGE
	case kind == "subscribe":
		return eventv1.EventKind_EVENT_KIND_SUBSCRIBE
	case kind == "unsubscribe":
		return eventv1.EventKind_EVENT_KIND_UNSUBSCRIBE
	case kind == "scan":
		return eventv1.EventKind_EVENT_KIND_SCAN
	case kind == "location_report":
		return eventv1.EventKind_EVENT_KIND_LOCATION
	case ruleset.IsMenuAction(kind):
		return eventv1.EventKind_EVENT_KIND_CLICK
	default:
		return eventv1.EventKind_EVENT_KIND_EVENT
	}
}
