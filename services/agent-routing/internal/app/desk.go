// Package app holds what the desk does: it changes owners, keeps what waiting fans say, and tells
// the others.
package app

import (
	"context"
	"log/slog"
	"time"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

// Owners keeps records; every change is a compare-and-set.
type Owners interface {
	Get(ctx context.Context, account, openID string) (domain.Record, error)
	Change(ctx context.Context, account, openID string, c domain.Command) (domain.Record, bool, error)
}

// Facts tells the others that an owner changed. Publishing a fact again does nothing.
type Facts interface {
	Publish(ctx context.Context, r domain.Record, f domain.Fact) error
}

// Transcript knows what a fan said since an event, oldest first.
type Transcript interface {
	Since(ctx context.Context, account, openID, event string, at time.Time) ([]domain.Message, error)
}

// Messages sends what agents write.
type Messages interface {
	Send(ctx context.Context, r domain.Record, key string, content *eventv1.Content) (id string, err error)
}

// Options of a Desk. Every field is required.
type Options struct {
	Owners     Owners
	Facts      Facts
	Transcript Transcript
	Messages   Messages
	Limits     domain.Limits
	// NativeIdle is after how long a push proves that a session of the native desk is over.
	NativeIdle time.Duration
	// Changed is called after every change of an owner.
	Changed func(ctx context.Context, to domain.Kind)
	Log     *slog.Logger
}

// Desk is safe for concurrent use, also by several replicas.
type Desk struct{ o Options }

// New returns a desk.
func New(o Options) *Desk { return &Desk{o} }

// Join puts a fan into a waiting list. It may be repeated: the second time completes what the first
// one did not, the publishing and the messages. decided is about when the event was made.
func (d *Desk) Join(ctx context.Context, account, openID string, c domain.Join, made time.Time) error {
	r, err := d.change(ctx, account, openID, c)
	if err != nil {
		return err
	}
	if err := d.publish(ctx, r); err != nil {
		return err
	}
	if r.Conversation != c.Event {
		return nil // not a new conversation, or it is over
	}
	// Read after the fan waits: what they said before is in the stream by now, what they say later is
	// kept as it comes. Reading first would lose what comes in between.
	messages, err := d.o.Transcript.Since(ctx, account, openID, c.Event, made)
	if err != nil {
		return err
	}
	_, _, err = d.o.Owners.Change(ctx, account, openID, domain.Fill{Conversation: c.Event, Messages: messages})
	return err
}

// Say keeps a message of the fan while they wait or are served.
func (d *Desk) Say(ctx context.Context, account, openID string, m domain.Message) error {
	return d.Happened(ctx, account, openID, domain.Say{Message: m, NativeIdle: d.o.NativeIdle})
}

// Happened applies something that the bus reports and publishes what came of it.
func (d *Desk) Happened(ctx context.Context, account, openID string, c domain.Command) error {
	r, err := d.change(ctx, account, openID, c)
	if err != nil {
		return err
	}
	return d.publish(ctx, r)
}

// Owner returns the record of a fan.
func (d *Desk) Owner(ctx context.Context, account, openID string) (domain.Record, error) {
	return d.o.Owners.Get(ctx, account, openID)
}

// Accept makes an agent the owner of a waiting fan. It fails with Conflict when another agent was
// faster and Refused when the fan does not wait.
func (d *Desk) Accept(ctx context.Context, account, openID, agent string) (domain.Record, error) {
	return d.decide(ctx, account, openID, domain.Accept{Agent: agent})
}

// Close gives the fan back to the bot.
func (d *Desk) Close(ctx context.Context, account, openID, agent string) (domain.Record, error) {
	return d.decide(ctx, account, openID, domain.Close{Agent: agent})
}

// Reply sends a message as the owner; it accepts a waiting fan first. The fan stays with the agent
// when the message is refused. A repetition with the same key sends nothing.
func (d *Desk) Reply(ctx context.Context, account, openID, agent, key string, content *eventv1.Content) (string, domain.Record, error) {
	r, err := d.decide(ctx, account, openID, domain.Reply{Agent: agent})
	if err != nil {
		return "", domain.Record{}, err
	}
	id, err := d.o.Messages.Send(ctx, r, key, content)
	return id, r, err
}

// Flush publishes what an earlier change left behind, for example because its process died.
func (d *Desk) Flush(ctx context.Context, account, openID string) error {
	r, err := d.o.Owners.Get(ctx, account, openID)
	if err != nil {
		return err
	}
	return d.publish(ctx, r)
}

// Expire gives the fan back to the bot if a limit has passed.
func (d *Desk) Expire(ctx context.Context, account, openID string) error {
	return d.Happened(ctx, account, openID, domain.Expire{Limits: d.o.Limits})
}

// decide applies what a person wants. The change is made once it is stored, so trouble with the
// publishing is not theirs: the caretaker repeats it.
func (d *Desk) decide(ctx context.Context, account, openID string, c domain.Command) (domain.Record, error) {
	r, err := d.change(ctx, account, openID, c)
	if err != nil {
		return domain.Record{}, err
	}
	if err := d.publish(ctx, r); err != nil {
		d.o.Log.WarnContext(ctx, "owner change is not published yet", logkey.Account, account,
			logkey.Epoch, r.Owner.Epoch, logkey.ErrorKind, fault.KindOf(err).String(), logkey.Error, err)
	}
	return r, nil
}

func (d *Desk) change(ctx context.Context, account, openID string, c domain.Command) (domain.Record, error) {
	r, changed, err := d.o.Owners.Change(ctx, account, openID, c)
	if err != nil {
		return domain.Record{}, err
	}
	if n := len(r.Outbox); changed && n > 0 && r.Outbox[n-1].Owner.Epoch == r.Owner.Epoch {
		d.o.Changed(ctx, r.Owner.Kind)
	}
	return r, nil
}

// publish empties the outbox in its order. Whoever finds facts there publishes them, so a process
// that died in between is made good by the next change, a redelivery or the caretaker.
func (d *Desk) publish(ctx context.Context, r domain.Record) error {
	if len(r.Outbox) == 0 {
		return nil
	}
	for _, f := range r.Outbox {
		if err := d.o.Facts.Publish(ctx, r, f); err != nil {
			return err
		}
	}
	last := r.Outbox[len(r.Outbox)-1].Owner.Epoch
	_, _, err := d.o.Owners.Change(ctx, r.Account, r.OpenID, domain.Published{Epoch: last})
	return err
}
