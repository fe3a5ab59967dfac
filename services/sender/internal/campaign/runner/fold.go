package runner

import (
	"context"
	"strconv"
	"time"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/services/sender/internal/campaign/audience"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/ledger"
)

// Fold takes results in, in the order of the stream. The same result twice changes nothing.
func (r *Runner) Fold(ctx context.Context, results []Result) error {
	for _, result := range results {
		var err error
		switch {
		case result.ID != "":
			err = r.accepted(ctx, result)
		case result.Ref.GetId() == r.rec.GetId() && result.Ref.GetRecipient() < r.rec.GetAudience().GetRecipients():
			err = r.fold(ctx, result)
		}
		if err != nil {
			return err
		}
		r.folded = max(r.folded, result.Seq)
	}
	return nil
}

func (r *Runner) fold(ctx context.Context, result Result) error {
	chunk, i := audience.Place(r.rec.GetAudience(), result.Ref.GetRecipient())
	p, err := r.book.page(ctx, chunk, r.Now())
	if err != nil {
		return err
	}
	e := p.Entry(i)
	if e.GetRound() != result.Ref.GetRound() {
		return nil
	}
	// Somebody whose result event was given up may still get it.
	late := e.GetState() == ledger.Sent && !e.GetConfirmed() && result.Settled.GetResult() != nil
	if ledger.Final(e.GetState()) && !late {
		return nil
	}
	next, reason := fromSettled(e, result.Settled)
	r.book.set(p, i, next, reason)
	r.progress.results++
	return nil
}

// accepted notes that WeChat has taken a message and will tell its result by an event.
func (r *Runner) accepted(ctx context.Context, result Result) error {
	number, mine := r.ids[result.ID]
	if !mine {
		return nil
	}
	delete(r.ids, result.ID)
	chunk, i := audience.Place(r.rec.GetAudience(), number)
	p, err := r.book.page(ctx, chunk, r.Now())
	if err != nil {
		return err
	}
	e := p.Entry(i)
	if e.GetState() != ledger.Queued && e.GetState() != ledger.Submitting {
		return nil
	}
	next := changed(e, ledger.Accepted, r.Now())
	next.AtUnixMs = result.At
	r.book.set(p, i, next, "")
	return nil
}

func fromSettled(e *senderv1.LedgerEntry, s *senderv1.DeliverySettled) (*senderv1.LedgerEntry, string) {
	next := &senderv1.LedgerEntry{
		State: stateOf(s.GetState()), Errcode: s.GetErrcode(), Round: e.GetRound(), Attempts: s.GetAttempts(),
		AtUnixMs: s.GetAtUnixMs(), MsgId: msgID(s.GetMsgId()),
	}
	next.Confirmed = next.State == ledger.Sent && s.GetResult() != nil
	return next, s.GetReason()
}

// fromRecord returns what the record of a send says, when it has come to its end.
func fromRecord(e *senderv1.LedgerEntry, rec *senderv1.SendRecord, now time.Time) (*senderv1.LedgerEntry, string, bool) {
	state := stateOf(rec.GetState())
	if !ledger.Final(state) && state != ledger.Accepted {
		return nil, "", false
	}
	next := changed(e, state, now)
	next.Errcode, next.Attempts, next.MsgId = rec.GetErrcode(), rec.GetAttempts(), msgID(rec.GetMsgId())
	next.Confirmed = state == ledger.Sent && rec.GetResult() != nil
	return next, rec.GetReason(), true
}

func stateOf(s senderv1.SendState) senderv1.RecipientState {
	switch s {
	case senderv1.SendState_SEND_STATE_SENT:
		return ledger.Sent
	case senderv1.SendState_SEND_STATE_FAILED:
		return ledger.Failed
	case senderv1.SendState_SEND_STATE_REFUSED:
		return ledger.Refused
	case senderv1.SendState_SEND_STATE_AMBIGUOUS:
		return ledger.Ambiguous
	case senderv1.SendState_SEND_STATE_ACCEPTED:
		return ledger.Accepted
	default:
		return ledger.Queued
	}
}

// msgID is WeChat's id as a number; zero for none and for the ids of subscription messages that are none.
func msgID(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// sweepEvery is how often recipients are looked for whose result never came.
const sweepEvery = time.Minute

// sweep asks the sender about messages that were handed over too long ago.
func (r *Runner) sweep(ctx context.Context, now time.Time) error {
	if now.Sub(r.swept) < sweepEvery {
		return nil
	}
	r.swept = now
	for n, p := range r.book.pages {
		if r.book.chunks[n].queued == 0 {
			continue
		}
		for i := range p.Len() {
			if e := p.Entry(i); e.GetState() == ledger.Queued && now.Sub(time.UnixMilli(e.GetAtUnixMs())) > r.cfg.LostAfter {
				if err := r.look(ctx, p, i, now); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (r *Runner) look(ctx context.Context, p *page, i int, now time.Time) error {
	e := p.Entry(i)
	rec, err := r.Sender.Lookup(ctx, r.Sender.ID(Key(r.rec.GetId(), r.book.number(p.Number, i), e.GetRound())))
	if err != nil {
		return err
	}
	if end, reason, ok := fromRecord(e, rec, now); ok {
		r.book.set(p, i, end, reason)
		return nil
	}
	r.book.set(p, i, changed(e, ledger.Ambiguous, now), "the sender never told what became of it")
	return nil
}
