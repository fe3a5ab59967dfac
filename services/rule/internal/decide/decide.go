// Package decide makes the one decision about each push and sees its replies through.
//
// A decision record is created by compare-and-set, so whoever is first decides; everything after
// that follows the record (package decision has the table). The handler of an event holds the lane of
// its fan until the first reply is settled and the others are with the sender. It may die at any point:
// the next delivery reads the record and goes on.
package decide

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/fault"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
	"github.com/wxbus/wxbus/services/rule/internal/chat"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
	"github.com/wxbus/wxbus/services/rule/internal/webhook"
)

// Rules is where the live set comes from.
type Rules interface {
	Set() *ruleset.Set
}

// Owners tells who may talk to a fan.
type Owners interface {
	// Of returns why rules are silent, or "" and the epoch under which they may talk.
	Of(account, openid string) (silent string, epoch uint64)
}

// Webhooks asks business systems.
type Webhooks interface {
	Call(ctx context.Context, q webhook.Question) (webhook.Answer, error)
}

// Models asks chat models.
type Models interface {
	Ask(ctx context.Context, q chat.Question) (string, error)
}

// Fans keeps what rules know about fans.
type Fans interface {
	Get(ctx context.Context, account, openid string) (*rulev1.FanRecord, error)
	// Form returns the open form of a fan, or nil.
	Form(ctx context.Context, account, openid string) (*rulev1.FormState, error)
	// History returns the newest turns of a fan with the model of a rule.
	History(ctx context.Context, account, openid, rule string, since time.Time, most int) ([]*rulev1.ChatTurn, error)
	// Apply makes the changes of a decision, once however often it is called.
	Apply(ctx context.Context, rec *rulev1.DecisionMade, now time.Time) error
}

// Options of a Decider. All fields are required.
type Options struct {
	// AttemptTimeout is how long WeChat waits for the answer to one attempt.
	AttemptTimeout time.Duration
	// MinTimeLeft before the passive deadline; with less, an offer would come too late.
	MinTimeLeft time.Duration
	// SendPatience is how long one delivery of an event waits for a sender that is not available.
	SendPatience time.Duration
	// OrderPatience is how long a fan's next push waits for the replies to this one to leave.
	OrderPatience time.Duration
	// SlowActions bounds the webhooks and chat models that are asked at the same time. Beyond it they are not asked,
	// so that what they hold up stays bounded.
	SlowActions int
	// MaxDelayed bounds the events that wait for the time of a delayed reply; beyond it replies are not delayed.
	MaxDelayed int

	Accounts *account.Directory
	Bus      *bus.Conn
	Records  *decision.Store
	Sender   senderv1.SenderServiceClient
	Rules    Rules
	Owners   Owners
	Webhooks Webhooks
	Models   Models
	Fans     Fans
	Tracer   trace.Tracer
	Meter    metric.Meter
	Log      *slog.Logger
	Now      func() time.Time
	// Life ends when waits shall be left to another process.
	Life context.Context
}

// Decider handles events. It is safe for concurrent use.
type Decider struct {
	Options
	metrics *metrics
	slow    chan struct{} // a place for each slow action
	delayed chan struct{} // a place for each event that waits for a delayed reply
}

// New returns a decider.
func New(o Options) (*Decider, error) {
	m, err := newMetrics(o.Meter)
	if err != nil {
		return nil, err
	}
	return &Decider{Options: o, metrics: m, slow: make(chan struct{}, o.SlowActions), delayed: make(chan struct{}, o.MaxDelayed)}, nil
}

// Handle decides about one event and sees its replies through. It is a bus.Handler for INBOUND.
func (d *Decider) Handle(ctx context.Context, delivery *bus.Delivery) error {
	ev := &eventv1.InboundEvent{}
	if err := proto.Unmarshal(delivery.Data, ev); err != nil {
		return fault.Errorf(fault.Invalid, "decode event: %w", err)
	}
	if ev.GetId() == "" || ev.GetAccount() == "" {
		return fault.New(fault.Invalid, "event: id and account are required")
	}
	acct, ok := d.Accounts.Get(ev.GetAccount())
	if !ok {
		return fault.Errorf(fault.NotFound, "event of account %q, which is not configured", ev.GetAccount())
	}
	w, err := d.open(ctx, ev, acct, delivery)
	if err != nil || w == nil {
		return err
	}
	w.behind = delivery.Behind()
	return w.run(ctx)
}

// open returns the work on the record of an event: the record that is there, else a new one. It
// returns nil when the event needs no record.
func (d *Decider) open(ctx context.Context, ev *eventv1.InboundEvent, acct account.Account, delivery *bus.Delivery) (*work, error) {
	ctx, span := d.Tracer.Start(ctx, "decide")
	defer span.End()
	w := &work{Decider: d, ev: ev, acct: acct}
	if delivery.NumDelivered > 1 {
		if err := w.read(ctx); !errors.Is(err, decision.ErrNotFound) {
			return w, err
		}
	}
	v, err := d.evaluate(ctx, ev)
	if err != nil || v == nil {
		return nil, err
	}
	rec := plan(ev, acct, *v, d.Now(), d.Options)
	rec.InboundSequence = delivery.Seq
	span.SetAttributes(
		attribute.String("wxbus.account", ev.GetAccount()), attribute.String("wxbus.route", decision.RouteName(rec.GetRoute())),
		attribute.String("wxbus.rule_set", rec.GetRuleSetVersion()), attribute.Bool("wxbus.matched", rec.GetRule() != ""),
	)
	seq, err := d.Records.Create(ctx, rec)
	switch {
	case err == nil:
		w.rec, w.seq, w.creator = rec, seq, true
		d.metrics.decided(ctx, rec)
		return w, nil
	case errors.Is(err, decision.ErrExists):
		return w, w.read(ctx)
	default:
		// It may have been written. The next delivery reads it, so nobody decides twice.
		return nil, err
	}
}

// work is one event on its way through a record.
type work struct {
	*Decider
	ev   *eventv1.InboundEvent
	acct account.Account

	rec *rulev1.DecisionMade
	seq uint64
	// creator is true for the handler that created the record: nobody can have offered before it.
	creator bool
	offered int
	// sent is the id of the last message that the sender took, and sentAt when it took it just now.
	sent   string
	sentAt time.Time
	// behind is closed when the fan's next push waits.
	behind <-chan struct{}
}

// read takes the record as it is.
func (w *work) read(ctx context.Context) error {
	rec, seq, err := w.Records.Get(ctx, w.ev.GetAccount(), w.ev.GetOpenid(), w.ev.GetId())
	if err != nil {
		return err
	}
	w.rec, w.seq = rec, seq
	return nil
}

// change applies a command, first to the version in hand. A command that the table forbids is
// no error: false says that somebody else was faster, and the record is the newest one.
func (w *work) change(ctx context.Context, c decision.Command) (bool, error) {
	rec, seq, err := w.Records.ChangeAt(ctx, w.rec, w.seq, c)
	if errors.Is(err, decision.ErrContended) {
		rec, seq, err = w.Records.Change(ctx, w.ev.GetAccount(), w.ev.GetOpenid(), w.ev.GetId(), c)
	}
	switch {
	case err == nil:
		w.rec, w.seq = rec, seq
		return true, nil
	case errors.Is(err, decision.ErrForbidden):
		return false, w.read(ctx)
	default:
		return false, err
	}
}
