package runner

import (
	"context"
	"math"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"

	"github.com/wxbus/wxbus/services/sender/internal/campaign/campaignstate"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/ledger"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/message"
)

const (
	// gather is how long room for less than a batch is saved up.
	gather = 200 * time.Millisecond
	// batchTimeout bounds handing over a batch. It is also what keeps a process that was stopped in the middle from
	// going on after the sender has forgotten the keys.
	batchTimeout = time.Minute
	// retryPause is how long nothing is handed over after the sender had no answer.
	retryPause = time.Second
)

// bucket is a token bucket that holds at most one second's worth.
type bucket struct {
	rate   float64 // zero for no limit
	tokens float64
	at     time.Time
}

// room returns how many messages may be handed over now, and when one more may.
func (b *bucket) room(now time.Time) (n int, wait time.Duration) {
	if b.rate <= 0 {
		return math.MaxInt, 0
	}
	b.tokens = min(b.tokens+b.rate*max(0, now.Sub(b.at).Seconds()), max(1, b.rate))
	b.at = now
	if b.tokens >= 1 {
		return int(b.tokens), 0
	}
	return 0, time.Duration((1 - b.tokens) / b.rate * float64(time.Second))
}

func (b *bucket) take(n int) {
	if b.rate > 0 {
		b.tokens -= float64(n)
	}
}

// send hands over the next batch of the step, or judges the step when everybody has a result.
func (r *Runner) send(ctx context.Context, now time.Time) (time.Duration, error) {
	r.progress.drained = time.Time{} // a replay has results of its own to wait for
	if reason, over := r.verdict(); over {
		if err := r.report(ctx, now); err != nil { // whoever sees the pause sees what it is for
			return 0, err
		}
		return 0, r.change(ctx, campaignstate.Pause{Epoch: r.epoch, JudgeFrom: r.frontier(), By: campaignstate.By{Reason: reason}})
	}
	if r.book.open(r.limit()) == 0 {
		return r.advance(ctx, now)
	}
	return r.hand(ctx, now)
}

// hand hands over a batch.
func (r *Runner) hand(ctx context.Context, now time.Time) (time.Duration, error) {
	chunk, found := r.book.next(r.limit())
	if !found {
		return idle, nil
	}
	if wait := r.retry.Sub(now); wait > 0 {
		return wait, nil
	}
	if _, until, held := r.Sender.Held(); held {
		return min(max(until.Sub(now), gather), idle), nil
	}
	room := r.cfg.Window - int(r.book.states[ledger.Queued])
	allowed, wait := r.bucket.room(now)
	n := min(room, allowed, r.cfg.Batch)
	switch {
	case room <= 0:
		return idle, nil
	case allowed <= 0:
		return wait, nil
	case n < min(r.cfg.Batch, int(r.book.open(r.limit()))) && now.Sub(r.submitted) < gather:
		return gather - now.Sub(r.submitted), nil // a write of the ledger for each message would cost too much
	}
	r.submitted = now
	return 0, r.batch(ctx, chunk, n)
}

// batch takes n recipients of a chunk up: it writes down that they are, and hands them over.
func (r *Runner) batch(ctx context.Context, chunk uint32, n int) error {
	ctx, span := r.Tracer.Start(ctx, "campaign batch", trace.WithNewRoot(), trace.WithAttributes(
		attribute.String("wxbus.account", r.rec.GetAccount()), attribute.Int("wxbus.batch", n)))
	defer span.End()
	now := r.Now()
	p, err := r.book.page(ctx, chunk, now)
	if err != nil {
		return err
	}
	if p.recipients == nil {
		if p.recipients, err = r.Audience.Chunk(ctx, chunk); err != nil {
			return err
		}
	}
	picked := r.pick(p, n, now)
	if p.dirty {
		if err := r.book.save(ctx, p); err != nil {
			return err
		}
	}
	r.bucket.take(len(picked))
	answers := r.all(ctx, p, picked, now)
	for k, i := range picked {
		r.answered(ctx, p, i, answers[k])
	}
	return nil
}

// pick chooses recipients and marks them. Somebody who was marked before may have a message on its way; when that is
// so long ago that the sender may have forgotten the key, nobody can know.
func (r *Runner) pick(p *page, n int, now time.Time) []int {
	var picked []int
	for i := range p.Len() {
		e := p.Entry(i)
		if len(picked) == n || r.book.number(p.Number, i) >= r.limit() {
			break
		}
		switch {
		case e.GetState() == ledger.Submitting && now.Sub(time.UnixMilli(e.GetAtUnixMs())) > r.cfg.KeyLife:
			r.book.set(p, i, changed(e, ledger.Ambiguous, now), "the sender stopped long ago while it was being sent: the fan may have the message")
		case e.GetState() == ledger.Submitting:
			picked = append(picked, i)
		case e.GetState() == ledger.Pending:
			r.book.set(p, i, changed(e, ledger.Submitting, now), "")
			picked = append(picked, i)
		}
	}
	return picked
}

// changed returns a copy of the entry in another state.
func changed(e *senderv1.LedgerEntry, to senderv1.RecipientState, now time.Time) *senderv1.LedgerEntry {
	return &senderv1.LedgerEntry{State: to, Round: e.GetRound(), Attempts: e.GetAttempts(), MsgId: e.GetMsgId(), Confirmed: e.GetConfirmed(), AtUnixMs: now.UnixMilli()}
}

// answer is what the sender said.
type answer struct {
	resp *senderv1.SendResponse
	err  error
}

// errLate is for the rest of a batch that took too long.
var errLate = fault.New(fault.Unavailable, "the batch took too long")

// all hands over the recipients that were picked at began, some at a time.
func (r *Runner) all(ctx context.Context, p *page, picked []int, began time.Time) []answer {
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	send := func(i int) (a answer) {
		req := r.request(p, i)
		if r.Now().Sub(began) > batchTimeout { // the clock of the context stands still while a machine sleeps
			return answer{err: errLate}
		}
		a.resp, a.err = r.Sender.Send(ctx, req)
		return a
	}
	answers := make([]answer, len(picked))
	slots := make(chan struct{}, max(1, r.cfg.Parallel))
	var wg sync.WaitGroup
	for k, i := range picked {
		if r.cfg.Parallel <= 1 {
			answers[k] = send(i)
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			answers[k] = send(i)
		})
	}
	wg.Wait()
	return answers
}

func (r *Runner) request(p *page, i int) *senderv1.SendRequest {
	number, round := r.book.number(p.Number, i), p.Entry(i).GetRound()
	to := p.recipients[i]
	m := message.Fill(r.rec.GetMessage(), r.rec.GetAudience().GetVariables(), to.GetValues())
	return &senderv1.SendRequest{
		Account: r.rec.GetAccount(), Openid: to.GetOpenid(), IdempotencyKey: Key(r.rec.GetId(), number, round),
		Lane: senderv1.Lane_LANE_CAMPAIGN, Content: m.GetContent(), KfAccount: m.GetKfAccount(), Fallback: m.GetFallback(),
		Campaign: &senderv1.CampaignRef{Id: r.rec.GetId(), Recipient: number, Round: round},
	}
}

// answered stores what the sender said about a recipient. Without an answer nothing changes: it is handed over again
// under the same key.
func (r *Runner) answered(ctx context.Context, p *page, i int, a answer) {
	now, e := r.Now(), p.Entry(i)
	switch kind := fault.KindOf(a.err); {
	case a.err == nil:
		if end, reason, ok := fromRecord(e, a.resp.GetRecord(), now); ok {
			r.book.set(p, i, end, reason)
			return
		}
		r.book.set(p, i, changed(e, ledger.Queued, now), "")
		r.remember(r.book.number(p.Number, i), p.Entry(i))
	case status.Code(a.err) == codes.AlreadyExists:
		r.book.set(p, i, changed(e, ledger.Ambiguous, now), "its key was used for another message")
	case kind == fault.Refused:
		r.book.set(p, i, changed(e, ledger.Refused, now), a.err.Error())
	case kind == fault.Invalid || kind == fault.Permanent:
		r.book.set(p, i, changed(e, ledger.Failed, now), a.err.Error())
	default:
		r.retry = now.Add(retryPause)
		r.Log.WarnContext(ctx, "campaign message not handed over", logkey.Account, r.rec.GetAccount(), logkey.Campaign, r.rec.GetId(), logkey.Error, a.err)
	}
}
