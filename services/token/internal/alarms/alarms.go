// Package alarms tells what is wrong with the tokens of accounts, as events on the stream ALARMS.
//
// What is to be told is in the token record, written together with what happened. An event is stored first and noted in
// the record after, under an id that follows from the record: of two replicas, or of two tries, one is stored.
package alarms

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/token/internal/record"
	"github.com/wxbus/wxbus/services/token/internal/store"
)

const (
	// scan is how often the records in memory are looked at.
	scan = time.Second
	// afterFailure is the wait after a failure. It is shorter than the server remembers ids, so that a try whose answer
	// was lost is not stored twice.
	afterFailure = 10 * time.Second
	// patience bounds one event.
	patience = 10 * time.Second
)

// Publisher stores a message, once for each id.
type Publisher interface {
	Publish(ctx context.Context, m bus.Msg) (bus.Ack, error)
}

// Deps of a Teller.
type Deps struct {
	Store *store.Store
	Bus   Publisher
	Log   *slog.Logger
	Now   func() time.Time
	// Every is the shortest time between two events of one account and kind.
	Every time.Duration
}

// Teller publishes alarms from Start to Stop. Every replica has one.
type Teller struct {
	Deps

	end context.CancelFunc
	wg  sync.WaitGroup
}

// New returns a teller that tells nothing before Start.
func New(d Deps) *Teller { return &Teller{Deps: d} }

// Start begins to tell.
func (t *Teller) Start(ctx context.Context) {
	ctx, t.end = context.WithCancel(context.WithoutCancel(ctx))
	t.wg.Go(func() { t.loop(ctx) })
}

// Stop waits for the event in hand. It may be called without Start.
func (t *Teller) Stop() {
	if t.end != nil {
		t.end()
	}
	t.wg.Wait()
}

func (t *Teller) loop(ctx context.Context) {
	timer := time.NewTimer(scan)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		wait := scan
		if err := t.round(ctx); err != nil && ctx.Err() == nil {
			t.Log.WarnContext(ctx, "an alarm is told later", logkey.Error, err)
			wait = afterFailure
		}
		timer.Reset(wait)
	}
}

// round tells what there is to tell. A record that somebody refreshes now is left for the next round: a write would
// cost the holder of the lease its refresh.
func (t *Teller) round(ctx context.Context) error {
	now := t.Now()
	for account, seen := range t.Store.All() {
		if record.Leased(seen.Rec, "", now) > 0 {
			continue
		}
		if err := t.about(ctx, account, seen, now); err != nil && !errors.Is(err, store.ErrChanged) {
			return err // a record that was changed is looked at in the next round
		}
	}
	return nil
}

// about tells what there is to tell about one account. ErrChanged when a refresh, or another replica that told the same,
// wrote the record meanwhile.
func (t *Teller) about(ctx context.Context, account string, seen store.Record, now time.Time) (err error) {
	for _, a := range record.Untold(seen.Rec, t.Every, now) {
		if err := t.tell(ctx, account, seen.Rec, a); err != nil {
			return err
		}
		if seen, err = t.Store.Put(ctx, account, record.Told(seen.Rec, a, now), seen.Revision); err != nil {
			return err
		}
	}
	for _, a := range record.UntoldEnds(seen.Rec, now) {
		if err := t.tellEnd(ctx, account, a, now); err != nil {
			return err
		}
		if seen, err = t.Store.Put(ctx, account, record.EndTold(seen.Rec, a), seen.Revision); err != nil {
			return err
		}
	}
	return nil
}

func (t *Teller) tell(ctx context.Context, account string, rec *tokenv1.TokenRecord, a *tokenv1.AlarmRecord) error {
	event := &tokenv1.AccountAlarmRaised{
		Account: account, Kind: a.GetKind(), FirstSeenUnixMs: a.GetFirstSeenUnixMs(), LastSeenUnixMs: a.GetLastSeenUnixMs(),
		Count: a.GetCount(), Number: a.GetTold() + 1, Errcode: a.GetErrcode(), Detail: a.GetDetail(), Address: a.GetAddress(),
		ForcedAtUnixMs: a.GetForcedAtUnixMs(),
	}
	if evidence := rec.GetOutside(); a.GetKind() == tokenv1.AccountAlarmKind_ACCOUNT_ALARM_KIND_OUTSIDE_REFRESH && len(evidence) > 0 {
		event.Outside = evidence[0]
	}
	return t.publish(ctx, account, a, fmt.Sprint(event.GetNumber()), event)
}

func (t *Teller) tellEnd(ctx context.Context, account string, a *tokenv1.AlarmRecord, now time.Time) error {
	end, at := record.Ended(a, now)
	return t.publish(ctx, account, a, "end", &tokenv1.AccountAlarmEnded{
		Account: account, Kind: a.GetKind(), FirstSeenUnixMs: a.GetFirstSeenUnixMs(), LastSeenUnixMs: a.GetLastSeenUnixMs(),
		Count: a.GetCount(), End: end, EndedUnixMs: at.UnixMilli(),
	})
}

// publish stores an event about a trouble; which tells it from the others about the same one.
func (t *Teller) publish(ctx context.Context, account string, a *tokenv1.AlarmRecord, which string, event proto.Message) error {
	subject, err := topology.SubjectAlarm(account, a.GetKind())
	if err != nil {
		return err
	}
	data, err := proto.Marshal(event)
	if err != nil {
		return fault.Errorf(fault.Internal, "encode alarm: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err = t.Bus.Publish(ctx, bus.Msg{
		Subject: subject, Data: data,
		ID:     fmt.Sprintf("%s:%s:%d:%s", account, topology.AlarmToken(a.GetKind()), a.GetFirstSeenUnixMs(), which),
		Header: nats.Header{bus.HeaderType: {string(event.ProtoReflect().Descriptor().FullName())}},
	})
	return err
}
