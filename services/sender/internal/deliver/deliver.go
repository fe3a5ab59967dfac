// Package deliver is the worker that takes messages from the stream OUTBOUND, calls WeChat and writes
// down what came of it.
//
// A message is called under a record of state CALLING. The outcome is stored before anything else
// happens, then the facts are published, the window is settled, and only then the message is
// acknowledged. A worker that dies leaves one of three traces: no call was made (QUEUED, PARKED: go on), a call may
// have been made (CALLING: ambiguous, never sent again unless the account wants that), or the
// outcome is stored (final: repeat the facts).
package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/wechat"

	"github.com/wxbus/wxbus/services/sender/internal/api"
	"github.com/wxbus/wxbus/services/sender/internal/endpoint"
	"github.com/wxbus/wxbus/services/sender/internal/facts"
	"github.com/wxbus/wxbus/services/sender/internal/jobs"
	"github.com/wxbus/wxbus/services/sender/internal/later"
	"github.com/wxbus/wxbus/services/sender/internal/owners"
	"github.com/wxbus/wxbus/services/sender/internal/pace"
	"github.com/wxbus/wxbus/services/sender/internal/pauses"
	"github.com/wxbus/wxbus/services/sender/internal/sends"
	"github.com/wxbus/wxbus/services/sender/internal/sendstate"
	"github.com/wxbus/wxbus/services/sender/internal/windows"
)

// Config of a Worker; the service's Config documents and checks the values.
type Config struct {
	Instance    string
	CallTimeout time.Duration
	MaxAge      time.Duration
	RatePause   time.Duration
	// QuotaPause is the pause after a used-up quota; zero lasts until WeChat counts anew.
	QuotaPause time.Duration
	NoAPIPause time.Duration
	BusyPauses []time.Duration
	HandTime   time.Duration
	// Rate is the calls a second of an account, for the slots of messages that find no room.
	Rate float64
	// ResultWait and MassResultWait are how long WeChat's event with the result may take.
	ResultWait     time.Duration
	MassResultWait time.Duration
	Deliveries     uint64
}

// Observer is told what happens, for metrics. It must not block.
type Observer interface {
	Called(ctx context.Context, account, endpoint, class string, took time.Duration)
	Settled(ctx context.Context, account string, lane senderv1.Lane, state senderv1.SendState)
	// Parked is told of a message that leaves the queue for a later time; errcode is WeChat's reason, 0 for one of ours.
	Parked(ctx context.Context, account string, errcode int32)
}

// Renewer knows media that were uploaded through this system.
type Renewer interface {
	// Renew returns another media id for the same file, uploading it again if need be. It reports false when the file is
	// not known.
	Renew(ctx context.Context, account, mediaID string) (string, bool, error)
}

// Quotas asks WeChat for its own count of calls.
type Quotas interface {
	Learn(ctx context.Context, a account.Account, e endpoint.Endpoint) error
}

// Deps of a Worker.
type Deps struct {
	Accounts *account.Directory
	Sends    *sends.Store
	Windows  *windows.Ledger
	Owners   *owners.Owners
	Facts    *facts.Facts
	Gates    *pace.Gates
	Pauses   *pauses.Pauses
	Jobs     *jobs.Jobs
	Later    *later.Later
	Media    Renewer
	Quotas   Quotas
	API      *api.API
	Tracer   trace.Tracer
	Observer Observer
	Log      *slog.Logger
	Now      func() time.Time
	Rand     *rand.Rand
}

// Worker handles messages of OUTBOUND. It is safe for concurrent use.
type Worker struct {
	cfg Config
	Deps
	random sync.Mutex // guards Rand
	lot    *lot
}

// New returns a worker.
func New(cfg Config, d Deps) *Worker { return &Worker{cfg: cfg, Deps: d, lot: newLot()} }

// job is one delivery of one message.
type job struct {
	m       *senderv1.OutboundMessage
	account account.Account
	rec     sends.Record
	began   time.Time // of this delivery, by the monotonic clock
	order   uint64    // among the messages of the fan

	tokenRetried bool
	mediaRetried bool
	busy         int       // answers "system busy" in this delivery
	held         int       // pauses after calls that were not sent
	reported     uint32    // newest attempt whose fact is published
	recipient    bool      // WeChat refused because of the fan
	called       time.Time // when the last call began
}

// errAgain asks for another look at the record.
var errAgain = errors.New("look again")

// Handle is a bus.Handler.
func (w *Worker) Handle(ctx context.Context, d *bus.Delivery) error {
	m := &senderv1.OutboundMessage{}
	if err := proto.Unmarshal(d.Data, m); err != nil {
		return fault.Errorf(fault.Invalid, "decode outbound message: %w", err)
	}
	if err := complete(m); err != nil {
		return err
	}
	a, ok := w.Accounts.Get(m.GetAccount())
	if !ok {
		return fault.Errorf(fault.NotFound, "account %q is not configured", m.GetAccount())
	}
	j := &job{m: m, account: a, began: time.Now(), order: d.Seq}
	if m.GetReturned() {
		j.order = m.GetOrder()
	}
	err := w.run(ctx, j)
	if errors.Is(err, errParked) {
		return nil
	}
	if m.GetReturned() && (err == nil || fault.Dispose(err) == fault.DeadLetter) {
		w.lot.remove(m.GetId())
	}
	if err != nil && d.NumDelivered >= w.cfg.Deliveries && fault.Dispose(err) == fault.Retry && ctx.Err() == nil {
		return w.giveUp(ctx, j, err)
	}
	return err
}

// complete checks that a message has what every message has.
func complete(m *senderv1.OutboundMessage) error {
	whom := m.GetOpenid() != "" || m.GetMass() != nil || m.GetResultDue()
	what := m.GetContent() != nil || m.GetMass() != nil || m.GetResultDue()
	if m.GetId() == "" || !whom || !what {
		return fault.New(fault.Invalid, "outbound message without id, openid or content")
	}
	return nil
}

// endpoint returns the API of the step that the message is at.
func (j *job) endpoint() endpoint.Endpoint {
	return endpoint.OfStep(j.m, j.rec.Rec.GetStep(), j.account.Kind)
}

// run works until the message is settled or has to wait outside of memory.
func (w *Worker) run(ctx context.Context, j *job) error {
	if err := w.load(ctx, j); err != nil {
		return err
	}
	if j.m.GetResultDue() {
		return w.overdue(ctx, j)
	}
	for {
		var err error
		switch {
		case j.rec.Rec.GetState() == sendstate.Accepted:
			return w.await(ctx, j)
		case sendstate.Final(j.rec.Rec.GetState()):
			return w.settle(ctx, j)
		case j.rec.Rec.GetState() == sendstate.Calling:
			err = w.orphan(ctx, j)
		default:
			err = w.attempt(ctx, j, false)
		}
		if errors.Is(err, sendstate.ErrNotAllowed) {
			err = w.load(ctx, j)
		}
		if err != nil && !errors.Is(err, errAgain) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// load reads the record. A record that is not there yet is on a server that is behind.
func (w *Worker) load(ctx context.Context, j *job) error {
	rec, err := w.Sends.Get(ctx, j.m.GetAccount(), j.m.GetId())
	if errors.Is(err, sends.ErrNotFound) {
		return fault.Wrap(fault.Retryable, fmt.Errorf("message without a record: %w", err))
	}
	if err != nil {
		return err
	}
	j.rec = rec
	return nil
}

// change applies one change, for as long as it takes when a call has been made: without it nobody
// knows what came of the call.
func (w *Worker) change(ctx context.Context, j *job, c sendstate.Change) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		rec, err := w.Sends.Change(ctx, j.m.GetAccount(), j.rec, c)
		if err == nil {
			j.rec = rec
			return nil
		}
		if fault.KindOf(err) != fault.Unavailable || errors.Is(err, sends.ErrClosed) || j.rec.Rec.GetState() != sendstate.Calling {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
		// The write may have been stored although its answer was lost.
		if fresh, getErr := w.Sends.Get(ctx, j.m.GetAccount(), j.m.GetId()); getErr == nil && fresh.Revision > j.rec.Revision {
			if want, applyErr := sendstate.Apply(j.rec.Rec, c, time.UnixMilli(fresh.Rec.GetUpdatedUnixMs())); applyErr == nil && proto.Equal(want, fresh.Rec) {
				j.rec = fresh
				return nil
			}
		}
	}
}

// orphan takes over a message whose call another worker, or this one before it stopped, never
// finished. A worker that may still be at it gets the time of a call; the clocks of replicas do not count.
func (w *Worker) orphan(ctx context.Context, j *job) error {
	patience := w.cfg.CallTimeout + 5*time.Second
	age := w.Now().Sub(time.UnixMilli(j.rec.Rec.GetUpdatedUnixMs()))
	if j.rec.Rec.GetWorker() != w.cfg.Instance && age < patience {
		seen := j.rec.Revision
		if err := sleep(ctx, min(patience, patience-age)); err != nil {
			return err
		}
		if err := w.load(ctx, j); err != nil {
			return err
		}
		if j.rec.Revision != seen {
			return errAgain
		}
	}
	if j.reported < j.rec.Rec.GetAttempts() {
		if err := w.report(ctx, j, j.attempted("unknown", 0)); err != nil {
			return err
		}
	}
	switch {
	case w.repeatable(j):
		return w.attempt(ctx, j, true)
	case j.endpoint().RepeatFor > 0:
		return w.change(ctx, j, sendstate.Lose{Reason: "no usable answer until a repetition would be another message"})
	case j.account.Ambiguous == account.AmbiguousResend:
		return w.attempt(ctx, j, true)
	}
	return w.change(ctx, j, sendstate.Lose{Reason: "the sender stopped during the call: the fan may have the message"})
}

// repeatable tells whether WeChat still knows the message by its id, so that calling again sends it once.
func (w *Worker) repeatable(j *job) bool {
	first := time.UnixMilli(j.rec.Rec.GetFirstCallUnixMs())
	return w.Now().Sub(first) < j.endpoint().RepeatFor
}

// attempted describes the newest attempt.
func (j *job) attempted(outcome string, errcode int32) facts.Attempt {
	rec := j.rec.Rec
	a := facts.Attempt{Number: rec.GetAttempts(), Endpoint: rec.GetEndpoint(), Step: rec.GetStep(), Outcome: outcome, Errcode: errcode}
	if rec.GetParts() > 1 && rec.GetStep() == 0 {
		a.Part = min(rec.GetPartsSent()+1, rec.GetParts())
	}
	return a
}

// report publishes the fact of an attempt.
func (w *Worker) report(ctx context.Context, j *job, a facts.Attempt) error {
	if err := w.Facts.Attempted(ctx, j.m, a); err != nil {
		return fmt.Errorf("publish attempt: %w", err)
	}
	j.reported = a.Number
	return nil
}

// settle publishes the end and settles the window. Everything in it may be repeated.
func (w *Worker) settle(ctx context.Context, j *job) error {
	rec := j.rec.Rec
	if rec.GetAttempts() > j.reported {
		// A worker died between storing the outcome and publishing it.
		if err := w.report(ctx, j, j.attempted(wordOf(rec.GetState()), rec.GetErrcode())); err != nil {
			return err
		}
		j.recipient = j.takesWindow() && wechat.Classify(int(rec.GetErrcode())) == wechat.ClassRecipient
		j.called = time.UnixMilli(rec.GetUpdatedUnixMs()).Add(-w.cfg.CallTimeout)
	}
	if err := w.Facts.Settled(ctx, j.m, rec); err != nil {
		return fmt.Errorf("publish end: %w", err)
	}
	if len(sendstate.Reservations(rec)) > 0 {
		if err := w.Windows.Settle(ctx, j.fan(), rec, j.recipient, j.called); err != nil {
			return err
		}
	}
	w.Observer.Settled(ctx, j.account.Name, j.m.GetLane(), rec.GetState())
	w.Log.InfoContext(ctx, "message settled",
		logkey.Account, j.account.Name, logkey.EventID, j.m.GetCause(), logkey.Lane, j.m.GetLane().String(),
		logkey.Outcome, rec.GetState().String(), logkey.Errcode, rec.GetErrcode(), logkey.Reason, rec.GetReason(),
		logkey.Attempt, rec.GetAttempts(), logkey.Endpoint, j.rec.Rec.GetEndpoint().String(), "waited", w.Now().Sub(time.UnixMilli(rec.GetAcceptedUnixMs())))
	return nil
}

func (j *job) fan() windows.Fan {
	return windows.Fan{Account: j.account.Name, Kind: j.account.ProtoKind(), OpenID: j.m.GetOpenid()}
}

func (j *job) takesWindow() bool {
	return j.rec.Rec.GetEndpoint() == endpoint.CustomSend.ID || j.rec.Rec.GetEndpoint() == senderv1.SendEndpoint_SEND_ENDPOINT_UNSPECIFIED
}

func wordOf(s senderv1.SendState) string {
	switch s {
	case sendstate.Sent:
		return "ok"
	case sendstate.Ambiguous:
		return "unknown"
	default:
		return "refused"
	}
}

// giveUp ends a message that came too often, so that it has an end that its sender can see.
func (w *Worker) giveUp(ctx context.Context, j *job, cause error) error {
	if j.rec.Rec == nil || sendstate.Final(j.rec.Rec.GetState()) || j.rec.Rec.GetState() == sendstate.Accepted ||
		(j.rec.Rec.GetState() == sendstate.Calling && j.endpoint().RepeatFor == 0) {
		return cause
	}
	reason := fmt.Sprintf("gave up after %d deliveries: %s", w.cfg.Deliveries, fault.KindOf(cause))
	if j.rec.Rec.GetReason() != "" {
		reason += ", " + j.rec.Rec.GetReason()
	}
	var end sendstate.Change = sendstate.Reject{Errcode: j.rec.Rec.GetErrcode(), Reason: reason}
	if j.rec.Rec.GetUncertain() || j.rec.Rec.GetState() == sendstate.Calling {
		end = sendstate.Lose{Reason: reason}
	}
	if err := w.change(ctx, j, end); err != nil {
		return errors.Join(cause, err)
	}
	w.Log.WarnContext(ctx, "message given up", logkey.Account, j.account.Name, logkey.Error, cause)
	j.reported = j.rec.Rec.GetAttempts()
	return w.settle(ctx, j)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
