// Package campaignstate is the table of what may happen to a campaign. It is pure; every change is
// applied to the bucket campaigns by compare-and-set, so two writers cannot both win.
//
//	change     from                                          to
//	Freeze     DRAFT, COUNTED                                DRAFT
//	Count      DRAFT, COUNTED                                COUNTED
//	Start      COUNTED                                       SCHEDULED
//	Begin      SCHEDULED                                     CANARY, or RUNNING without one
//	Advance    CANARY, RUNNING                               RUNNING, or PAUSED to be confirmed
//	Pause      SCHEDULED, CANARY, RUNNING                    PAUSED
//	Resume     PAUSED                                        where it was paused
//	Drain      CANARY, RUNNING                               DRAINING
//	Finish     DRAINING                                      FINISHED, or CANCELLED
//	Cancel     everything that has not ended                 DRAINING, or CANCELLED before anything was sent
//	Replay     CANARY, RUNNING, PAUSED, DRAINING, FINISHED   RUNNING where it was DRAINING or FINISHED
//
// Claim, Report and Applied change no state. They, Begin, Advance, Drain and Finish belong to the runner
// and are refused when another runner has claimed the campaign since.
package campaignstate

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"
)

// States by their short names, for readers of the table.
const (
	Draft     = senderv1.CampaignState_CAMPAIGN_STATE_DRAFT
	Counted   = senderv1.CampaignState_CAMPAIGN_STATE_COUNTED
	Scheduled = senderv1.CampaignState_CAMPAIGN_STATE_SCHEDULED
	Canary    = senderv1.CampaignState_CAMPAIGN_STATE_CANARY
	Running   = senderv1.CampaignState_CAMPAIGN_STATE_RUNNING
	Paused    = senderv1.CampaignState_CAMPAIGN_STATE_PAUSED
	Draining  = senderv1.CampaignState_CAMPAIGN_STATE_DRAINING
	Finished  = senderv1.CampaignState_CAMPAIGN_STATE_FINISHED
	Cancelled = senderv1.CampaignState_CAMPAIGN_STATE_CANCELLED
)

var (
	// ErrNotAllowed is returned for a change that the table forbids.
	ErrNotAllowed = fault.New(fault.Refused, "the state of the campaign does not allow that")
	// ErrUnchanged is returned for a repetition: what it asks for is so already.
	ErrUnchanged = fault.New(fault.Conflict, "nothing to change")
	// ErrFenced is returned to a runner whose campaign was claimed by a newer one.
	ErrFenced = fault.New(fault.Conflict, "another replica runs the campaign")
)

// maxHistory bounds the history of a record, maxReplays its replays.
const maxHistory, maxReplays = 50, 100

// Change is one row of the table.
type Change interface {
	apply(rec *senderv1.CampaignRecord, now time.Time) error // changes the copy
}

// By says who asked for a change and why, for the history.
type By struct{ Actor, Reason string }

// Freeze gives a draft its audience. What was counted before says nothing about it.
type Freeze struct{ Audience *senderv1.CampaignAudience }

// Count stores the result of a dry count, unless the audience has changed since.
type Count struct {
	Revision string
	Count    *senderv1.CampaignCount
}

// Start schedules a counted campaign.
type Start struct {
	By
	Plan *senderv1.CampaignPlan
	// Recipients that were counted, as the caller knows them.
	Recipients uint32
	// DeliverySeq and InboundSeq are where results can be first.
	DeliverySeq, InboundSeq uint64
}

// Begin takes up a scheduled campaign.
type Begin struct{ Epoch uint64 }

// Advance goes to the next step of the plan; with Confirm somebody must resume it first. JudgeFrom is the first
// recipient whose results count from now on.
type Advance struct {
	Epoch     uint64
	JudgeFrom uint32
	Confirm   string // reason to wait; empty goes on
}

// Pause hands nothing more to the sender.
type Pause struct {
	By
	// Epoch of the runner that pauses by itself; zero when somebody asked.
	Epoch uint64
	// JudgeFrom is the first recipient whose results count after a resume, for a runner.
	JudgeFrom uint32
}

// Resume goes on where the campaign was paused.
type Resume struct{ By }

// Drain waits for the last results: everything is handed over.
type Drain struct{ Epoch uint64 }

// Finish closes the books.
type Finish struct{ Epoch uint64 }

// Cancel stops the campaign for good.
type Cancel struct{ By }

// Replay sends to failed recipients once more.
type Replay struct {
	By
	Replay *senderv1.CampaignReplay
}

// Applied says that the ledger holds a replay.
type Applied struct {
	Epoch uint64
	Round uint32
}

// Claim makes epoch the one that may run the campaign.
type Claim struct{ Epoch uint64 }

// Report stores how far the campaign is, and up to where results are in the ledger.
type Report struct {
	Epoch       uint64
	Progress    *senderv1.CampaignProgress
	DeliverySeq uint64
	InboundSeq  uint64
}

func (c Freeze) apply(rec *senderv1.CampaignRecord, _ time.Time) error {
	if !in(rec, Draft, Counted) {
		return ErrNotAllowed
	}
	rec.State, rec.Audience, rec.Count = Draft, c.Audience, nil
	return nil
}

func (c Count) apply(rec *senderv1.CampaignRecord, _ time.Time) error {
	if !in(rec, Draft, Counted) || rec.GetAudience().GetRevision() != c.Revision || c.Revision == "" {
		return ErrNotAllowed
	}
	rec.State, rec.Count = Counted, c.Count
	return nil
}

func (c Start) apply(rec *senderv1.CampaignRecord, _ time.Time) error {
	if !in(rec, Counted) {
		return ErrNotAllowed
	}
	if c.Recipients != rec.GetCount().GetRecipients() || len(c.Plan.GetSteps()) == 0 {
		return fault.Errorf(fault.Conflict, "expected_recipients: %d were counted, not %d", rec.GetCount().GetRecipients(), c.Recipients)
	}
	rec.State, rec.Plan, rec.DeliverySeq, rec.InboundSeq = Scheduled, c.Plan, c.DeliverySeq, c.InboundSeq
	rec.Progress = &senderv1.CampaignProgress{Pending: rec.GetAudience().GetRecipients()}
	return nil
}

func (c Begin) apply(rec *senderv1.CampaignRecord, now time.Time) error {
	if err := mine(rec, c.Epoch, Scheduled); err != nil {
		return err
	}
	rec.State = active(rec)
	rec.StartedUnixMs = now.UnixMilli()
	return nil
}

// active is the state in which recipients are taken up.
func active(rec *senderv1.CampaignRecord) senderv1.CampaignState {
	if len(rec.GetPlan().GetSteps()) > 1 && rec.GetProgress().GetStep() == 0 {
		return Canary
	}
	return Running
}

func (c Advance) apply(rec *senderv1.CampaignRecord, _ time.Time) error {
	if err := mine(rec, c.Epoch, Canary, Running); err != nil {
		return err
	}
	p := rec.GetProgress()
	if int(p.GetStep())+1 >= len(rec.GetPlan().GetSteps()) {
		return ErrNotAllowed
	}
	p.Step++
	p.StepUnixMs = 0
	p.JudgeFrom = c.JudgeFrom
	rec.State, rec.ResumeTo = Running, 0
	if c.Confirm != "" {
		rec.State, rec.ResumeTo, rec.Reason = Paused, Running, c.Confirm
	}
	return nil
}

func (c Pause) apply(rec *senderv1.CampaignRecord, _ time.Time) error {
	if c.Epoch == 0 && in(rec, Paused) {
		return ErrUnchanged
	}
	if c.Epoch != 0 {
		if err := mine(rec, c.Epoch, Canary, Running); err != nil {
			return err
		}
		rec.Progress.JudgeFrom = c.JudgeFrom
		rec.Progress.StepUnixMs = 0
	}
	if !in(rec, Scheduled, Canary, Running) {
		return ErrNotAllowed
	}
	rec.State, rec.ResumeTo, rec.Reason = Paused, rec.GetState(), c.Reason
	return nil
}

func (c Resume) apply(rec *senderv1.CampaignRecord, _ time.Time) error {
	if in(rec, Scheduled, Canary, Running) {
		return ErrUnchanged
	}
	if !in(rec, Paused) {
		return ErrNotAllowed
	}
	rec.State, rec.ResumeTo, rec.Reason = rec.GetResumeTo(), 0, ""
	return nil
}

func (c Drain) apply(rec *senderv1.CampaignRecord, _ time.Time) error {
	if err := mine(rec, c.Epoch, Canary, Running); err != nil {
		return err
	}
	if open(rec) || int(rec.GetProgress().GetStep())+1 != len(rec.GetPlan().GetSteps()) {
		return ErrNotAllowed
	}
	rec.State = Draining
	return nil
}

func (c Finish) apply(rec *senderv1.CampaignRecord, now time.Time) error {
	if err := mine(rec, c.Epoch, Draining); err != nil {
		return err
	}
	if open(rec) && !rec.GetCancelled() {
		return ErrNotAllowed
	}
	rec.State, rec.EndedUnixMs = Finished, now.UnixMilli()
	if rec.GetCancelled() {
		rec.State = Cancelled
	}
	return nil
}

func (c Cancel) apply(rec *senderv1.CampaignRecord, now time.Time) error {
	switch {
	case rec.GetCancelled():
		return ErrUnchanged
	case in(rec, Draft, Counted):
		rec.State, rec.EndedUnixMs = Cancelled, now.UnixMilli()
	case in(rec, Scheduled, Canary, Running, Paused, Draining):
		rec.State, rec.ResumeTo = Draining, 0
	default:
		return ErrNotAllowed
	}
	rec.Cancelled, rec.Reason = true, c.Reason
	return nil
}

func (c Replay) apply(rec *senderv1.CampaignRecord, _ time.Time) error {
	if rec.GetCancelled() || !in(rec, Canary, Running, Paused, Draining, Finished) || rec.GetStartedUnixMs() == 0 {
		return ErrNotAllowed
	}
	if open(rec) {
		return fault.New(fault.Refused, "the last replay is still being taken up")
	}
	if int(c.Replay.GetRound()) != len(rec.GetReplays())+1 {
		return fault.New(fault.Conflict, "somebody else asked for a replay first")
	}
	if len(rec.GetReplays()) >= maxReplays {
		return fault.Errorf(fault.Exhausted, "a campaign has at most %d replays", maxReplays)
	}
	rec.Replays = append(rec.Replays, c.Replay)
	if in(rec, Draining, Finished) {
		rec.State, rec.EndedUnixMs = Running, 0
	}
	return nil
}

func (c Applied) apply(rec *senderv1.CampaignRecord, _ time.Time) error {
	if rec.GetEpoch() != c.Epoch {
		return ErrFenced
	}
	for _, r := range rec.GetReplays() {
		if r.GetRound() == c.Round && !r.GetApplied() {
			r.Applied = true
			return nil
		}
	}
	return ErrUnchanged
}

func (c Claim) apply(rec *senderv1.CampaignRecord, _ time.Time) error {
	switch {
	case rec.GetEpoch() > c.Epoch:
		return ErrFenced
	case rec.GetEpoch() == c.Epoch:
		return ErrUnchanged
	case !Active(rec.GetState()):
		return ErrNotAllowed
	}
	rec.Epoch = c.Epoch
	return nil
}

func (c Report) apply(rec *senderv1.CampaignRecord, _ time.Time) error {
	if err := mine(rec, c.Epoch, Scheduled, Canary, Running, Paused, Draining); err != nil {
		return err
	}
	step, from := rec.GetProgress().GetStep(), rec.GetProgress().GetJudgeFrom()
	rec.Progress = proto.CloneOf(c.Progress)
	rec.Progress.Step, rec.Progress.JudgeFrom = step, from // only Advance and Pause set them
	rec.DeliverySeq = max(rec.GetDeliverySeq(), c.DeliverySeq)
	rec.InboundSeq = max(rec.GetInboundSeq(), c.InboundSeq)
	return nil
}

// mine refuses a change of a runner that is not the newest, or whose campaign is in another state.
func mine(rec *senderv1.CampaignRecord, epoch uint64, states ...senderv1.CampaignState) error {
	if rec.GetEpoch() != epoch {
		return ErrFenced
	}
	if !in(rec, states...) {
		return ErrNotAllowed
	}
	return nil
}

// open tells whether a replay waits to be taken up.
func open(rec *senderv1.CampaignRecord) bool {
	return slices.ContainsFunc(rec.GetReplays(), func(r *senderv1.CampaignReplay) bool { return !r.GetApplied() })
}

func in(rec *senderv1.CampaignRecord, states ...senderv1.CampaignState) bool {
	return slices.Contains(states, rec.GetState())
}

// Apply returns the record after the change and leaves rec alone. It fails with ErrNotAllowed, ErrUnchanged,
// ErrFenced or an error that says more.
func Apply(rec *senderv1.CampaignRecord, c Change, now time.Time) (*senderv1.CampaignRecord, error) {
	next := proto.CloneOf(rec)
	if err := c.apply(next, now); err != nil {
		return nil, err
	}
	next.UpdatedUnixMs = now.UnixMilli()
	if next.GetState() != rec.GetState() {
		by := ByOf(c)
		reason := by.Reason
		if reason == "" {
			reason = next.GetReason()
		}
		next.History = append(next.History, &senderv1.CampaignChange{
			AtUnixMs: now.UnixMilli(), From: rec.GetState(), To: next.GetState(), Actor: by.Actor, Reason: reason,
		})
		if extra := len(next.History) - maxHistory; extra > 0 {
			next.History = slices.Delete(next.History, 0, extra)
		}
	}
	return next, nil
}

// ByOf returns who asked for a change and why.
func ByOf(c Change) By {
	switch c := c.(type) {
	case Start:
		return c.By
	case Pause:
		return c.By
	case Resume:
		return c.By
	case Cancel:
		return c.By
	case Replay:
		return c.By
	default:
		return By{}
	}
}

// Active tells whether a campaign in this state needs a runner.
func Active(s senderv1.CampaignState) bool {
	switch s {
	case Scheduled, Canary, Running, Paused, Draining:
		return true
	default:
		return false
	}
}

// Sends tells whether recipients are taken up in this state.
func Sends(s senderv1.CampaignState) bool { return s == Canary || s == Running }
