package runner

import (
	"context"
	"fmt"
	"time"

	"github.com/wxbus/wxbus/services/sender/internal/campaign/audience"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/campaignstate"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/ledger"
)

// verdict tells whether too many messages of the step have failed already. The last step is judged too: a
// campaign that goes wrong late is stopped as well.
func (r *Runner) verdict() (reason string, over bool) {
	j, most := r.judged(), r.rec.GetPlan().GetMaxFailurePercent()
	if most <= 0 || j.results == 0 || j.results < r.rec.GetPlan().GetMinResults() {
		return "", false
	}
	if percent := 100 * float64(j.failures) / float64(j.results); percent > most {
		return fmt.Sprintf("%d of %d results are failures: %.1f %%, more than %g %%", j.failures, j.results, percent, most), true
	}
	return "", false
}

// judged returns the judgement of the step, which begins anew when the range has changed.
func (r *Runner) judged() judgement {
	if from, to := r.span(); from != r.book.judged.from || to != r.book.judged.to {
		r.book.judge(from, to)
	}
	return r.book.judged
}

// frontier is the number after the last recipient that was taken up.
func (r *Runner) frontier() uint32 {
	for n := len(r.book.chunks) - 1; n >= 0; n-- {
		size := audience.SizeOf(r.book.audience, uint32(n))
		if pending := int(r.book.chunks[n].pending); pending < size {
			return r.book.number(uint32(n), size-pending)
		}
	}
	return 0
}

// advance goes on after everybody of the step has a result: it watches the results for a while, then goes to the
// next step, waits for somebody to confirm, or drains after the last one.
func (r *Runner) advance(ctx context.Context, now time.Time) (time.Duration, error) {
	steps, step := r.rec.GetPlan().GetSteps(), int(r.rec.GetProgress().GetStep())
	if step+1 >= len(steps) {
		if err := r.flush(ctx, now); err != nil {
			return 0, err
		}
		return 0, r.change(ctx, campaignstate.Drain{Epoch: r.epoch})
	}
	if r.progress.step == 0 {
		r.progress.step = now.UnixMilli()
	}
	hold := time.Duration(steps[step].GetHoldMs()) * time.Millisecond
	if left := time.UnixMilli(r.progress.step).Add(hold).Sub(now); left > 0 {
		return min(left, idle), r.sweep(ctx, now)
	}
	next := campaignstate.Advance{Epoch: r.epoch, JudgeFrom: r.limit(), Confirm: r.confirmation(step)}
	r.progress.step = 0
	return 0, r.change(ctx, next)
}

// confirmation returns why somebody must look before the next step; empty when nobody must.
func (r *Runner) confirmation(step int) string {
	plan, j := r.rec.GetPlan(), r.judged()
	switch {
	case plan.GetSteps()[step].GetConfirm():
		return fmt.Sprintf("step %d is done: look at the results and resume", step+1)
	case plan.GetMaxFailurePercent() > 0 && j.results < min(plan.GetMinResults(), j.to-j.from):
		return fmt.Sprintf("only %d of %d recipients of the step got a result, too few to judge", j.results, j.to-j.from)
	default:
		return ""
	}
}

// drain waits for the last results and closes the books.
func (r *Runner) drain(ctx context.Context, now time.Time) (time.Duration, bool, error) {
	s := r.book.states
	if s[ledger.Pending] > 0 && r.rec.GetCancelled() {
		return 0, false, r.skip(ctx, now)
	}
	if s[ledger.Submitting] > 0 || s[ledger.Pending] > 0 {
		wait, err := r.hand(ctx, now)
		return wait, false, err
	}
	if s[ledger.Queued] > 0 {
		return idle, false, r.sweep(ctx, now)
	}
	waiting, err := r.unconfirmed(ctx, now)
	if err != nil || waiting > 0 {
		return waiting, false, err
	}
	if err := r.flush(ctx, now); err != nil {
		return 0, false, err
	}
	if err := r.report(ctx, now); err != nil {
		return 0, false, err
	}
	err = r.change(ctx, campaignstate.Finish{Epoch: r.epoch})
	return 0, err == nil && !campaignstate.Active(r.rec.GetState()), err
}

// skipAtOnce is how many chunks are skipped before results are looked at again.
const skipAtOnce = 16

// skip writes down who was not taken up before the campaign was cancelled. From then on a predecessor that does not know of
// its end yet cannot take anybody up either.
func (r *Runner) skip(ctx context.Context, now time.Time) error {
	done := 0
	for n := range uint32(len(r.book.chunks)) {
		if r.book.chunks[n].pending == 0 || done == skipAtOnce {
			continue
		}
		p, err := r.book.page(ctx, n, now)
		if err != nil {
			return err
		}
		for i := range p.Len() {
			if e := p.Entry(i); e.GetState() == ledger.Pending {
				r.book.set(p, i, changed(e, ledger.Skipped, now), "")
			}
		}
		if err := r.book.flush(ctx); err != nil {
			return err
		}
		done++
	}
	return nil
}

// unconfirmed waits for result events, and at last counts those whose event never came as sent: WeChat took them.
func (r *Runner) unconfirmed(ctx context.Context, now time.Time) (time.Duration, error) {
	if r.book.states[ledger.Accepted] == 0 {
		return 0, nil
	}
	if r.progress.drained.IsZero() {
		r.progress.drained = now
	}
	if left := r.progress.drained.Add(r.cfg.ResultWait).Sub(now); left > 0 {
		return min(left, idle), nil
	}
	for n := range uint32(len(r.book.chunks)) {
		if r.book.chunks[n].accepted == 0 {
			continue
		}
		p, err := r.book.page(ctx, n, now)
		if err != nil {
			return 0, err
		}
		for i := range p.Len() {
			if p.Entry(i).GetState() == ledger.Accepted {
				r.book.set(p, i, changed(p.Entry(i), ledger.Sent, now), "WeChat took it and never told its result")
			}
		}
		if err := r.book.flush(ctx); err != nil {
			return 0, err
		}
	}
	return 0, nil
}
