package domain

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
)

// Command is one thing that happened or that somebody wants. The table of allowed changes:
//
//	         from bot      queue          agent (same)  agent (other)  native
//	Join     queue         queue, other   -             -              -
//	Accept   Refused       agent          -             Conflict       Refused
//	Reply    Refused       agent          -             Refused        Refused
//	Close    -             bot            bot           Refused        Refused
//	Opened   native        native         native        native         native, other
//	Closed   -             -              -             -              bot
//	Left     -             bot            bot           bot            bot
//	Expire   -             bot, in time   bot, in time  bot, in time   -
//	Say      -             -              -             -              bot, in time
//
// "-" leaves the owner alone.
type Command interface {
	// id identifies the command for ever; empty when a repetition is harmless by itself.
	id() string
	// allowed returns the Conflict or Refused fault of the table.
	allowed(r Record) error
	apply(r *Record, now time.Time)
}

// repeatable is for commands whose repetition is harmless by itself.
type repeatable struct{}

func (repeatable) id() string { return "" }

// reported is for commands that only say what has happened: nobody can refuse them.
type reported struct{}

func (reported) allowed(Record) error { return nil }

// Apply returns the record after the command and whether it differs from r, which is left alone.
// A command that was applied before changes nothing. Errors are fault.Conflict and fault.Refused
// as in the table, and fault.Unavailable while too many facts wait for the stream.
func Apply(r Record, c Command, now time.Time) (Record, bool, error) {
	id := c.id()
	if id != "" && slices.Contains(r.Applied, id) {
		return r, false, nil
	}
	if err := c.allowed(r); err != nil {
		return r, false, err
	}
	next := r.Clone()
	c.apply(&next, now)
	if len(next.Outbox) > MaxOutbox {
		return r, false, fault.New(fault.Unavailable, "earlier changes of the fan are not published yet")
	}
	if id != "" && next.Owner.Epoch == r.Owner.Epoch && !r.unknown() {
		next.remember(id)
	}
	return next, !reflect.DeepEqual(r, next), nil
}

// move makes owner the next owner. Everything that the bot does not need is dropped on the way back.
func (r *Record) move(to Owner, by, conversation, reason string, now time.Time) {
	to.Epoch = r.Owner.Epoch + 1
	if to.Since.IsZero() {
		to.Since = now
	}
	r.Owner = to
	r.Active = to.Since
	r.Outbox = append(r.Outbox, Fact{Conversation: conversation, Owner: to, Reason: reason})
	r.remember(by)
	r.Conversation = conversation
	if to.Kind == Bot {
		r.Conversation = ""
	}
	if to.Kind == Bot || to.Kind == Native {
		r.Messages = nil
	}
}

func (r *Record) toBot(by, reason string, now time.Time) {
	r.move(Owner{Kind: Bot}, by, r.Conversation, reason, now)
}

func (r *Record) ownedBy(agent string) bool {
	return r.Owner.Kind == Agent && r.Owner.Name == agent
}

// step names a change that a person or a timer makes; the epoch makes it unique.
func (r *Record) step(what, who string) string {
	return fmt.Sprintf("%s:%d:%s", what, r.Owner.Epoch+1, who)
}
