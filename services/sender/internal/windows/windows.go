// Package windows keeps the ledger of grants in the bucket grants: one record per fan, changed by
// compare-and-set with the arithmetic of package grants.
package windows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/sender/internal/grants"
	"github.com/wxbus/wxbus/services/sender/internal/sends"
	"github.com/wxbus/wxbus/services/sender/internal/sendstate"
)

// abandoned is how long a reservation of a message that nobody queued is kept: its caller died
// between reserving and queueing and never came back.
const abandoned = 15 * time.Minute

// Ledger is safe for concurrent use.
type Ledger struct {
	kv      jetstream.KeyValue
	sends   *sends.Store
	numbers grants.Numbers
	grace   time.Duration
	now     func() time.Time
}

// New returns the ledger on the bucket grants. grace is how long after a deadline WeChat is still asked.
func New(kv jetstream.KeyValue, s *sends.Store, numbers grants.Numbers, grace time.Duration, now func() time.Time) *Ledger {
	return &Ledger{kv: kv, sends: s, numbers: numbers, grace: grace, now: now}
}

// Fan names a fan of an account.
type Fan struct {
	Account string
	Kind    eventv1.AccountKind
	OpenID  string
}

// Fold adds an action of the fan.
func (l *Ledger) Fold(ctx context.Context, fan Fan, ev *senderv1.GrantEvidence) error {
	if ev.GetKind() != eventv1.EventKind_EVENT_KIND_UNSUBSCRIBE && !l.numbers.Opens(fan.Kind, ev) {
		return nil
	}
	return l.update(ctx, fan, func(rec *senderv1.GrantRecord) *senderv1.GrantRecord {
		return grants.Fold(rec, l.numbers, fan.Kind, ev, l.now())
	})
}

// Reserve holds one message of the window for each of the ids, or none at all, after folding the evidence that the
// caller brought along, if any. A reservation that was made before is found again.
func (l *Ledger) Reserve(ctx context.Context, fan Fan, ev *senderv1.GrantEvidence, ids ...string) (grants.Verdict, error) {
	verdict, held, err := l.reserve(ctx, fan, ev, ids, nil)
	if err != nil || verdict != grants.Exhausted || len(held) == 0 {
		return verdict, err
	}
	gone, err := l.finished(ctx, fan.Account, held)
	if err != nil || len(gone) == 0 {
		return verdict, err
	}
	verdict, _, err = l.reserve(ctx, fan, nil, ids, gone)
	return verdict, err
}

// reserve also returns who holds reservations. gone are sends whose reservations to drop first.
func (l *Ledger) reserve(ctx context.Context, fan Fan, ev *senderv1.GrantEvidence, ids []string, gone []*senderv1.SendRecord) (verdict grants.Verdict, held []string, err error) {
	err = l.update(ctx, fan, func(rec *senderv1.GrantRecord) *senderv1.GrantRecord {
		for _, send := range gone {
			rec = drop(rec, send)
		}
		if ev != nil {
			rec = grants.Fold(rec, l.numbers, fan.Kind, ev, l.now())
		}
		rec, verdict = grants.Reserve(rec, ids, l.now(), l.grace)
		held = slices.Clone(rec.GetReserved())
		return rec
	})
	return verdict, held, err
}

// finished returns which of the sends do not hold their message any more. That is rare: a worker or a caller died
// in between.
func (l *Ledger) finished(ctx context.Context, account string, ids []string) ([]*senderv1.SendRecord, error) {
	var gone []*senderv1.SendRecord
	seen := map[string]bool{}
	for _, held := range ids {
		id := sendstate.SendOf(held)
		if seen[id] {
			continue
		}
		seen[id] = true
		send, err := l.sends.Get(ctx, account, id)
		switch {
		case errors.Is(err, sends.ErrNotFound):
			gone = append(gone, forgotten(id, ids))
		case err != nil:
			return nil, err
		case sendstate.Final(send.Rec.GetState()), isAbandoned(send.Rec, l.now()):
			gone = append(gone, send.Rec)
		}
	}
	return gone, nil
}

// forgotten stands for a send whose record is gone: everything that it holds was not counted.
func forgotten(id string, held []string) *senderv1.SendRecord {
	rec := &senderv1.SendRecord{Id: id}
	for _, h := range held {
		if h != id && sendstate.SendOf(h) == id {
			rec.Parts++
		}
	}
	if rec.GetParts() > 0 {
		rec.Parts++
	}
	return rec
}

func isAbandoned(rec *senderv1.SendRecord, now time.Time) bool {
	return rec.GetState() == sendstate.Queued && now.Sub(time.UnixMilli(rec.GetUpdatedUnixMs())) > abandoned
}

// Settle gives the message of a final send back or takes it, and corrects the window when WeChat
// refused the message because of the fan. called is when the call began.
func (l *Ledger) Settle(ctx context.Context, fan Fan, rec *senderv1.SendRecord, recipient bool, called time.Time) error {
	return l.update(ctx, fan, func(window *senderv1.GrantRecord) *senderv1.GrantRecord {
		window = drop(window, rec)
		if recipient {
			window = grants.Close(window, rec.GetErrcode(), called)
		}
		return window
	})
}

// Fall gives back what a step of a send holds that was not sent, and corrects the window when WeChat refused the step
// because of the fan. called is when the call began.
func (l *Ledger) Fall(ctx context.Context, fan Fan, rec *senderv1.SendRecord, recipient bool, called time.Time) error {
	return l.update(ctx, fan, func(window *senderv1.GrantRecord) *senderv1.GrantRecord {
		for _, r := range sendstate.Reservations(rec) {
			if r.ID != sendstate.ReservationID(rec.GetId(), rec.GetStep(), 0) {
				window = grants.Release(window, r.ID)
			}
		}
		if ended := rec.GetSteps(); recipient && len(ended) > 0 {
			window = grants.Close(window, ended[len(ended)-1].GetErrcode(), called)
		}
		return window
	})
}

// drop ends the reservations of a send: those that WeChat counted are used up.
func drop(window *senderv1.GrantRecord, send *senderv1.SendRecord) *senderv1.GrantRecord {
	for _, r := range sendstate.Reservations(send) {
		if r.Counted {
			window = grants.Consume(window, r.ID, time.UnixMilli(send.GetUpdatedUnixMs()))
		} else {
			window = grants.Release(window, r.ID)
		}
	}
	return window
}

// Quota is what may be sent to a fan now.
type Quota struct {
	Remaining int32
	Reserved  int32     // messages on their way
	Deadline  time.Time // zero when no window is open
	Verdict   grants.Verdict
}

// Left tells whether the fan is known to have left the account. Nobody knows after the time for which windows are kept.
func (l *Ledger) Left(ctx context.Context, fan Fan) (bool, error) {
	q, err := l.Quota(ctx, fan)
	return q.Verdict == grants.Unsubscribed, err
}

// Quota returns what may be sent to the fan.
func (l *Ledger) Quota(ctx context.Context, fan Fan) (Quota, error) {
	key, err := topology.FanKey(fan.Account, fan.OpenID)
	if err != nil {
		return Quota{}, err
	}
	entry, err := l.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Quota{Verdict: grants.NeverOpened}, nil
	}
	if err != nil {
		return Quota{}, fault.Wrap(fault.Unavailable, fmt.Errorf("read window: %w", err))
	}
	rec := &senderv1.GrantRecord{}
	if err := proto.Unmarshal(entry.Value(), rec); err != nil {
		return Quota{}, fault.Errorf(fault.Permanent, "decode window: %w", err)
	}
	q := Quota{Verdict: grants.Judge(rec, l.now(), l.grace), Reserved: int32(len(rec.GetReserved()))}
	if q.Verdict == grants.Open || q.Verdict == grants.Exhausted {
		q.Deadline = time.UnixMilli(rec.GetDeadlineUnixMs())
	}
	if q.Verdict == grants.Open {
		q.Remaining = grants.Available(rec)
	}
	return q, nil
}

func (l *Ledger) update(ctx context.Context, fan Fan, change func(*senderv1.GrantRecord) *senderv1.GrantRecord) error {
	key, err := topology.FanKey(fan.Account, fan.OpenID)
	if err != nil {
		return err
	}
	_, _, err = bus.UpdateKV(ctx, l.kv, key, func(cur *senderv1.GrantRecord, exists bool) (*senderv1.GrantRecord, error) {
		if !exists {
			cur = nil
		}
		next := change(cur)
		if next == cur {
			return nil, bus.ErrUnchanged
		}
		return next, nil
	})
	if err != nil {
		return fmt.Errorf("change window: %w", err)
	}
	return nil
}
