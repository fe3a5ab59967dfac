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
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/tokens"
	"github.com/wxbus/wxbus/pkg/wechat"

	"github.com/wxbus/wxbus/services/sender/internal/facts"
	"github.com/wxbus/wxbus/services/sender/internal/owners"
	"github.com/wxbus/wxbus/services/sender/internal/pace"
	"github.com/wxbus/wxbus/services/sender/internal/pauses"
	"github.com/wxbus/wxbus/services/sender/internal/sends"
	"github.com/wxbus/wxbus/services/sender/internal/sendstate"
	"github.com/wxbus/wxbus/services/sender/internal/windows"
)

// Endpoint is the one endpoint that this worker calls, as gates and pauses name it.
const Endpoint = "custom_send"

// Config of a Worker; the service's Config documents and checks the values.
type Config struct {
	Instance    string
	CallTimeout time.Duration
	MaxAge      time.Duration
	RatePause   time.Duration
	NoAPIPause  time.Duration
	BusyPauses  []time.Duration
	HandTime    time.Duration
	Deliveries  uint64
}

// Observer is told what happens, for metrics. It must not block.
type Observer interface {
	Called(ctx context.Context, account, class string, took time.Duration)
	Settled(ctx context.Context, account string, lane senderv1.Lane, state senderv1.SendState)
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
	Tokens   *tokens.Client
	HTTP     *http.Client
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
	clients *account.Derived[*wechat.Client]
	random  sync.Mutex // guards Rand

	badMu sync.Mutex         // guards bad
	bad   map[string]refused // by account, one for each that ever had a refused token
}

// refused is a token that WeChat refused.
type refused struct {
	generation uint64
	errcode    int32
}

// New returns a worker for the accounts of the directory as they are at each delivery.
func New(cfg Config, d Deps) *Worker {
	return &Worker{cfg: cfg, Deps: d, bad: map[string]refused{}, clients: account.NewDerived(d.Accounts, func(a account.Account) (*wechat.Client, error) {
		return wechat.NewClient(wechat.ClientConfig{HTTP: d.HTTP, BaseURL: a.APIBase, Now: d.Now})
	})}
}

// job is one delivery of one message.
type job struct {
	m       *senderv1.OutboundMessage
	account account.Account
	rec     sends.Record
	began   time.Time // of this delivery, by the monotonic clock

	tokenRetried bool
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
	if m.GetContent() == nil || m.GetId() == "" || m.GetOpenid() == "" {
		return fault.New(fault.Invalid, "outbound message without id, openid or content")
	}
	a, ok := w.Accounts.Get(m.GetAccount())
	if !ok {
		return fault.Errorf(fault.NotFound, "account %q is not configured", m.GetAccount())
	}
	j := &job{m: m, account: a, began: time.Now()}
	err := w.run(ctx, j)
	if err != nil && d.NumDelivered >= w.cfg.Deliveries && fault.Dispose(err) == fault.Retry && ctx.Err() == nil {
		return w.giveUp(ctx, j, err)
	}
	return err
}

// run works until the message is settled or has to wait outside of memory.
func (w *Worker) run(ctx context.Context, j *job) error {
	if err := w.load(ctx, j); err != nil {
		return err
	}
	for {
		var err error
		switch {
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
	if err := w.report(ctx, j, facts.Attempt{Number: j.rec.Rec.GetAttempts(), Outcome: "unknown"}); err != nil {
		return err
	}
	if j.account.Ambiguous == account.AmbiguousResend {
		return w.attempt(ctx, j, true)
	}
	return w.change(ctx, j, sendstate.Lose{Reason: "the sender stopped during the call: the fan may have the message"})
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
		a := facts.Attempt{Number: rec.GetAttempts(), Errcode: rec.GetErrcode(), Outcome: wordOf(rec.GetState())}
		if err := w.report(ctx, j, a); err != nil {
			return err
		}
		j.recipient = wechat.Classify(int(rec.GetErrcode())) == wechat.ClassRecipient
		j.called = time.UnixMilli(rec.GetUpdatedUnixMs()).Add(-w.cfg.CallTimeout)
	}
	if err := w.Facts.Settled(ctx, j.m, rec); err != nil {
		return fmt.Errorf("publish end: %w", err)
	}
	fan := windows.Fan{Account: j.account.Name, Kind: j.account.ProtoKind(), OpenID: j.m.GetOpenid()}
	if err := w.Windows.Settle(ctx, fan, rec, j.recipient, j.called); err != nil {
		return err
	}
	w.Observer.Settled(ctx, j.account.Name, j.m.GetLane(), rec.GetState())
	w.Log.InfoContext(ctx, "message settled",
		logkey.Account, j.account.Name, logkey.EventID, j.m.GetCause(), logkey.Lane, j.m.GetLane().String(),
		logkey.Outcome, rec.GetState().String(), logkey.Errcode, rec.GetErrcode(), logkey.Reason, rec.GetReason(),
		logkey.Attempt, rec.GetAttempts(), "waited", w.Now().Sub(time.UnixMilli(j.m.GetAcceptedUnixMs())))
	return nil
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
	if j.rec.Rec == nil || sendstate.Final(j.rec.Rec.GetState()) || j.rec.Rec.GetState() == sendstate.Calling {
		return cause
	}
	reason := fmt.Sprintf("gave up after %d deliveries: %s", w.cfg.Deliveries, fault.KindOf(cause))
	if j.rec.Rec.GetReason() != "" {
		reason += ", " + j.rec.Rec.GetReason()
	}
	if err := w.change(ctx, j, sendstate.Reject{Errcode: j.rec.Rec.GetErrcode(), Reason: reason}); err != nil {
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
