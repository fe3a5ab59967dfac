package runner

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/services/sender/internal/campaign/campaignstate"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/failure"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/ledger"
)

// checkpointEvery is how often a checkpoint is stored when nothing else has changed.
const checkpointEvery = 30 * time.Second

// rateSpan is over how much time the rate of results is measured.
const rateSpan = 10 * time.Second

// progress is what the runner keeps to tell how far the campaign is.
type progress struct {
	reported time.Time // last look
	written  time.Time // last report
	last     *senderv1.CampaignProgress
	step     int64     // when everybody of the step had a result, Unix milliseconds; zero before
	drained  time.Time // since when only result events are awaited

	results uint32 // since the last sample
	since   time.Time
	rate    float64
}

// sample measures the rate of results: a moving average over about ten seconds.
func (p *progress) sample(now time.Time) {
	took := now.Sub(p.since)
	if took < time.Second {
		return
	}
	rate := float64(p.results) / took.Seconds()
	weight := min(1, took.Seconds()/rateSpan.Seconds())
	if p.rate == 0 {
		weight = 1
	}
	p.rate += weight * (rate - p.rate)
	p.results, p.since = 0, now
}

// report stores the progress and the checkpoint when there is something new.
func (r *Runner) report(ctx context.Context, now time.Time) error {
	r.progress.sample(now)
	r.progress.reported = now
	next := r.current(now)
	rested := now.Sub(r.progress.written) < checkpointEvery // only other people's messages moved the checkpoint
	if r.progress.last != nil && (r.stored == r.rec.GetDeliverySeq() || rested) {
		same := proto.CloneOf(next)
		same.UpdatedUnixMs, same.EtaUnixMs = r.progress.last.GetUpdatedUnixMs(), r.progress.last.GetEtaUnixMs()
		if proto.Equal(same, r.progress.last) {
			return nil
		}
	}
	r.progress.last, r.progress.written = next, now
	return r.change(ctx, campaignstate.Report{Epoch: r.epoch, Progress: next, DeliverySeq: r.stored})
}

func (r *Runner) current(now time.Time) *senderv1.CampaignProgress {
	s := r.book.states
	p := &senderv1.CampaignProgress{
		Pending: s[ledger.Pending], InFlight: s[ledger.Submitting] + s[ledger.Queued],
		Sent: s[ledger.Sent] + s[ledger.Accepted], Awaiting: s[ledger.Accepted], Confirmed: r.book.confirmed,
		Failed: s[ledger.Failed], Refused: s[ledger.Refused], Ambiguous: s[ledger.Ambiguous], Skipped: s[ledger.Skipped],
		Failures: failure.Groups(r.book.failures), Step: r.rec.GetProgress().GetStep(), JudgeFrom: r.rec.GetProgress().GetJudgeFrom(),
		StepUnixMs: r.progress.step, Rate: r.progress.rate, Waiting: r.waiting(now), UpdatedUnixMs: now.UnixMilli(),
	}
	before := r.progress.last
	if before == nil {
		before = r.rec.GetProgress() // of the runner before this one
	}
	p.Minutes = minutes(before, p, now)
	if left := p.GetPending() + p.GetInFlight(); left > 0 && p.GetRate() > 0 && campaignstate.Sends(r.rec.GetState()) {
		p.EtaUnixMs = now.Add(time.Duration(float64(left) / p.GetRate() * float64(time.Second))).UnixMilli()
	}
	if r.rec.GetState() != campaignstate.Canary && r.rec.GetState() != campaignstate.Running && p.GetInFlight() == 0 {
		p.Rate = 0
	}
	return p
}

// keptMinutes is how far back the record tells how fast results came.
const keptMinutes = 60

// minutes adds the results since the progress before to the minute of now. They are differences of what is counted, so
// that nothing is counted twice by a runner that takes over.
func minutes(before, p *senderv1.CampaignProgress, now time.Time) []*senderv1.CampaignMinute {
	out := before.GetMinutes()
	if results(p) <= results(before) { // less after a replay began
		return out
	}
	fresh, begin := results(p)-results(before), now.Truncate(time.Minute).UnixMilli()
	out = slices.Clone(out)
	if last := len(out) - 1; last >= 0 && out[last].GetBeginUnixMs() == begin {
		out[last] = &senderv1.CampaignMinute{BeginUnixMs: begin, Results: out[last].GetResults() + fresh}
		return out
	}
	out = append(out, &senderv1.CampaignMinute{BeginUnixMs: begin, Results: fresh})
	return out[max(0, len(out)-keptMinutes):]
}

func results(p *senderv1.CampaignProgress) uint32 {
	return p.GetSent() + p.GetFailed() + p.GetRefused() + p.GetAmbiguous()
}

// waiting says why nothing is sent although the campaign is under way.
func (r *Runner) waiting(now time.Time) string {
	if !campaignstate.Sends(r.rec.GetState()) {
		return ""
	}
	if reason, until, held := r.Sender.Held(); held {
		return fmt.Sprintf("%s, until %s", reason, until.UTC().Format(time.RFC3339))
	}
	steps, step := r.rec.GetPlan().GetSteps(), int(r.rec.GetProgress().GetStep())
	if r.progress.step > 0 && step < len(steps) {
		until := time.UnixMilli(r.progress.step + steps[step].GetHoldMs())
		return fmt.Sprintf("step %d is watched until %s", step+1, until.UTC().Format(time.RFC3339))
	}
	if r.retry.After(now) {
		return "the sender has no answer"
	}
	return ""
}
