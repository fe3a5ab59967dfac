package campaign

import (
	"context"
	"errors"
	"math"
	"time"
	_ "time/tzdata" // images have no zones

	"github.com/nats-io/nats.go/jetstream"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/sender/internal/campaign/campaignstate"
)

const (
	maxHold     = 7 * day
	maxAhead    = 60 * day
	defaultZone = "Asia/Shanghai"
	minResults  = 20
	maxSteps    = 20
	maxRate     = 100_000
)

// StartCampaign implements CampaignService.
func (c *Campaigns) StartCampaign(ctx context.Context, req *senderv1.StartCampaignRequest) (*senderv1.StartCampaignResponse, error) {
	p, err := c.running()
	if err != nil {
		return nil, err
	}
	rec, err := p.records.Get(ctx, req.GetAccount(), req.GetId())
	if err != nil {
		return nil, err
	}
	if rec.GetState() != campaignstate.Counted {
		return nil, notAllowed(rec, campaignstate.ErrNotAllowed)
	}
	plan, err := c.plan(req, rec.GetAudience().GetRecipients())
	if err != nil {
		return nil, err
	}
	if err := checkText("actor", req.GetActor(), maxActor); err != nil {
		return nil, err
	}
	last, err := lastSeq(ctx, p.delivery)
	if err != nil {
		return nil, err
	}
	next, err := p.records.Change(ctx, req.GetAccount(), req.GetId(), campaignstate.Start{
		By: campaignstate.By{Actor: req.GetActor()}, Plan: plan, Recipients: req.GetExpectedRecipients(), DeliverySeq: last,
	})
	if err != nil {
		return nil, notAllowed(rec, err)
	}
	return &senderv1.StartCampaignResponse{Campaign: next.Rec}, nil
}

func lastSeq(ctx context.Context, stream jetstream.Stream) (uint64, error) {
	info, err := stream.Info(ctx)
	if err != nil {
		return 0, fault.Wrap(fault.Unavailable, err)
	}
	return info.State.LastSeq, nil
}

// plan turns the request into steps of the audience.
func (c *Campaigns) plan(req *senderv1.StartCampaignRequest, recipients uint32) (*senderv1.CampaignPlan, error) {
	start, zone, err := startTime(req.GetStartAt(), req.GetTimeZone(), c.deps.Now())
	if err != nil {
		return nil, err
	}
	if !within(req.GetMaxFailurePercent(), 0, 100) {
		return nil, fault.New(fault.Invalid, "max_failure_percent: must be 0 to 100")
	}
	if !within(req.GetRate(), 0, maxRate) {
		return nil, fault.Errorf(fault.Invalid, "rate: must be 0 to %d", maxRate)
	}
	steps, err := stepsOf(req, recipients)
	if err != nil {
		return nil, err
	}
	results := req.GetMinResults()
	if results == 0 {
		results = minResults
	}
	return &senderv1.CampaignPlan{
		StartUnixMs: start.UnixMilli(), TimeZone: zone, Steps: steps, MaxFailurePercent: req.GetMaxFailurePercent(),
		MinResults: min(results, recipients), Rate: req.GetRate(),
	}, nil
}

func within(v, from, to float64) bool { return v >= from && v <= to } // NaN is not

func stepsOf(req *senderv1.StartCampaignRequest, recipients uint32) ([]*senderv1.CampaignStep, error) {
	if len(req.GetRamp()) > maxSteps {
		return nil, fault.Errorf(fault.Invalid, "ramp: at most %d steps", maxSteps)
	}
	var steps []*senderv1.CampaignStep
	add := func(field string, n uint32, hold int64, confirm bool) error {
		if hold < 0 || hold > maxHold.Milliseconds() {
			return fault.Errorf(fault.Invalid, "%s.hold_ms: must be 0 to 7 days", field)
		}
		if n == 0 || n >= recipients {
			return nil // the whole audience is the last step anyway
		}
		if len(steps) > 0 && n <= steps[len(steps)-1].GetRecipients() {
			return fault.Errorf(fault.Invalid, "%s: must be larger than the step before", field)
		}
		steps = append(steps, &senderv1.CampaignStep{Recipients: n, HoldMs: hold, Confirm: confirm})
		return nil
	}
	if canary := req.GetCanary(); canary != nil {
		n, err := canarySize(canary, recipients)
		if err != nil {
			return nil, err
		}
		if err := add("canary", n, canary.GetHoldMs(), canary.GetConfirm()); err != nil {
			return nil, err
		}
	}
	for _, step := range req.GetRamp() {
		if !(step.GetPercent() > 0 && step.GetPercent() < 100) {
			return nil, fault.New(fault.Invalid, "ramp.percent: must be more than 0 and less than 100")
		}
		if err := add("ramp", portion(step.GetPercent(), recipients), step.GetHoldMs(), step.GetConfirm()); err != nil {
			return nil, err
		}
	}
	return append(steps, &senderv1.CampaignStep{Recipients: recipients}), nil
}

func canarySize(canary *senderv1.Canary, recipients uint32) (uint32, error) {
	switch size := canary.GetSize().(type) {
	case *senderv1.Canary_Count:
		if size.Count == 0 {
			return 0, fault.New(fault.Invalid, "canary.count: must be at least 1")
		}
		return size.Count, nil
	case *senderv1.Canary_Percent:
		if !(size.Percent > 0 && size.Percent < 100) {
			return 0, fault.New(fault.Invalid, "canary.percent: must be more than 0 and less than 100")
		}
		return portion(size.Percent, recipients), nil
	default:
		return 0, fault.New(fault.Invalid, "canary: set percent or count")
	}
}

// portion rounds up, so that no canary is empty.
func portion(percent float64, recipients uint32) uint32 {
	return uint32(math.Ceil(percent / 100 * float64(recipients)))
}

// startTime reads a local time. A time that the zone does not have, or has twice, is refused: nobody can tell what
// was meant.
func startTime(at, zone string, now time.Time) (time.Time, string, error) {
	if zone == "" {
		zone = defaultZone
	}
	place, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return time.Time{}, "", fault.Errorf(fault.Invalid, "time_zone: %q is not known", zone)
	}
	if at == "" {
		return now, zone, nil
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05"} {
		t, err := time.ParseInLocation(layout, at, place)
		if err != nil {
			continue
		}
		switch {
		case t.Format(layout) != at:
			return time.Time{}, "", fault.Errorf(fault.Invalid, "start_at: %s does not exist in %s: clocks go forward", at, zone)
		case twice(t, layout):
			return time.Time{}, "", fault.Errorf(fault.Invalid, "start_at: %s comes twice in %s: clocks go back", at, zone)
		case t.Before(now):
			return time.Time{}, "", fault.Errorf(fault.Invalid, "start_at: %s is over in %s", at, zone)
		case t.After(now.Add(maxAhead)):
			return time.Time{}, "", fault.New(fault.Invalid, "start_at: must be within 60 days")
		}
		return t, zone, nil
	}
	return time.Time{}, "", fault.New(fault.Invalid, "start_at: must look like 2006-01-02T15:04")
}

func twice(t time.Time, layout string) bool {
	for _, shift := range []time.Duration{-time.Hour, -30 * time.Minute, 30 * time.Minute, time.Hour} {
		if t.Add(shift).Format(layout) == t.Format(layout) {
			return true
		}
	}
	return false
}

// PauseCampaign implements CampaignService.
func (c *Campaigns) PauseCampaign(ctx context.Context, req *senderv1.PauseCampaignRequest) (*senderv1.PauseCampaignResponse, error) {
	reason := req.GetReason()
	if reason == "" {
		reason = "paused by hand"
	}
	rec, err := c.change(ctx, req.GetAccount(), req.GetId(), campaignstate.Pause{By: campaignstate.By{Actor: req.GetActor(), Reason: reason}})
	return &senderv1.PauseCampaignResponse{Campaign: rec}, err
}

// ResumeCampaign implements CampaignService.
func (c *Campaigns) ResumeCampaign(ctx context.Context, req *senderv1.ResumeCampaignRequest) (*senderv1.ResumeCampaignResponse, error) {
	rec, err := c.change(ctx, req.GetAccount(), req.GetId(), campaignstate.Resume{By: campaignstate.By{Actor: req.GetActor()}})
	return &senderv1.ResumeCampaignResponse{Campaign: rec}, err
}

// CancelCampaign implements CampaignService.
func (c *Campaigns) CancelCampaign(ctx context.Context, req *senderv1.CancelCampaignRequest) (*senderv1.CancelCampaignResponse, error) {
	reason := req.GetReason()
	if reason == "" {
		reason = "cancelled by hand"
	}
	rec, err := c.change(ctx, req.GetAccount(), req.GetId(), campaignstate.Cancel{By: campaignstate.By{Actor: req.GetActor(), Reason: reason}})
	return &senderv1.CancelCampaignResponse{Campaign: rec}, err
}

// change applies what somebody asked for. A repetition is no failure.
func (c *Campaigns) change(ctx context.Context, account, id string, change campaignstate.Change) (*senderv1.CampaignRecord, error) {
	p, err := c.running()
	if err != nil {
		return nil, err
	}
	by := campaignstate.ByOf(change)
	if err := errors.Join(checkText("actor", by.Actor, maxActor), checkText("reason", by.Reason, maxReason)); err != nil {
		return nil, err
	}
	next, err := p.records.Change(ctx, account, id, change)
	switch {
	case errors.Is(err, campaignstate.ErrUnchanged):
		return p.records.Get(ctx, account, id)
	case errors.Is(err, campaignstate.ErrNotAllowed):
		rec, getErr := p.records.Get(ctx, account, id)
		if getErr != nil {
			return nil, err
		}
		return nil, notAllowed(rec, err)
	}
	return next.Rec, err
}
