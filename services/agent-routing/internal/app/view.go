package app

import (
	"context"

	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// View is a conversation with what is shown beside it. Conversation is a zero value for a fan who has none.
type View struct {
	Conversation domain.Conversation
	Fan          domain.Fan
	Group        domain.Group
}

// Wire returns the conversation as clients see it; nil when there is none.
func (d *Desk) Wire(v *View) *agentroutingv1.Conversation {
	if v.Conversation.State == 0 {
		return nil
	}
	return wire.Conversation(v.Conversation, v.Fan, v.Group, d.o.Limits)
}

// refresh reads a view again: what followed a change may have changed it further.
func (d *Desk) refresh(ctx context.Context, v *View) (*View, error) {
	q, err := d.o.Store.Query()
	if err != nil {
		return nil, err
	}
	f, ok, err := q.Fan(ctx, v.Fan.Account, v.Fan.OpenID)
	if err != nil || !ok {
		return v, err
	}
	out := &View{Fan: f, Conversation: v.Conversation, Group: v.Group}
	if v.Conversation.State == 0 {
		return out, nil
	}
	if out.Conversation, _, err = q.Conversation(ctx, f.Account, v.Conversation.ID); err != nil {
		return nil, err
	}
	out.Group, err = q.Group(ctx, out.Conversation.Group)
	return out, err
}

// viewOf returns a fan with their open conversation.
func (d *Desk) viewOf(ctx context.Context, account, openID string) (*View, error) {
	q, err := d.o.Store.Query()
	if err != nil {
		return nil, err
	}
	f, ok, err := q.Fan(ctx, account, openID)
	if err != nil {
		return nil, err
	}
	if !ok {
		owner, _, err := d.o.Owners.Owner(ctx, account, openID)
		if owner.Kind == 0 {
			owner.Kind = domain.Bot
		}
		return &View{Fan: domain.Fan{Account: account, OpenID: openID, Owner: owner}}, err
	}
	v := &View{Fan: f}
	if f.Conversation == "" {
		return v, nil
	}
	if v.Conversation, _, err = q.Conversation(ctx, account, f.Conversation); err != nil {
		return nil, err
	}
	v.Group, err = q.Group(ctx, v.Conversation.Group)
	return v, err
}

// recordMessages is the number of messages in a record.
const recordMessages = 20

// Record returns a fan as the first version of the desk showed them: owner and what they said in the open conversation.
func (d *Desk) Record(ctx context.Context, account, openID string) (*agentroutingv1.OwnerRecord, error) {
	v, err := d.viewOf(ctx, account, openID)
	if err != nil {
		return nil, err
	}
	return d.RecordOf(ctx, v)
}

// RecordOf is Record of a view.
func (d *Desk) RecordOf(ctx context.Context, v *View) (*agentroutingv1.OwnerRecord, error) {
	c := v.Conversation
	id := ""
	if c.State.Open() {
		id = c.ID
	}
	rec := wire.Record(v.Fan, id)
	if rec.GetOwner().GetSinceUnixMs() != 0 && c.State == domain.Waiting {
		rec.Owner.SinceUnixMs = wire.Millis(c.WaitingSince)
	}
	if id == "" {
		return rec, nil
	}
	rec.ActiveUnixMs = wire.Millis(c.IdleFrom)
	q, err := d.o.Store.Query()
	if err != nil {
		return nil, err
	}
	said, err := q.SaidIn(ctx, c.Account, c.OpenID, id, recordMessages)
	if err != nil {
		return nil, err
	}
	for _, m := range said {
		rec.Messages = append(rec.Messages, &agentroutingv1.WaitingMessage{
			EventId: m.GetEventId(), MsgType: m.GetMsgType(), Text: m.GetText(), AtUnixMs: m.GetAtUnixMs(),
		})
	}
	return rec, nil
}

// CollisionError is the error of a reply that was held back because others wrote in between.
type CollisionError struct {
	err    error
	detail *agentroutingv1.ReplyCollision
}

func (c *CollisionError) Error() string { return c.err.Error() }

// Unwrap returns the Conflict.
func (c *CollisionError) Unwrap() error { return c.err }

// StatusDetails is what the edge puts into the details of the status.
func (c *CollisionError) StatusDetails() []proto.Message { return []proto.Message{c.detail} }

func collision(between []*agentroutingv1.Message, last uint64) error {
	detail := &agentroutingv1.ReplyCollision{Messages: between, LastSeq: last}
	return &CollisionError{err: fault.Errorf(fault.Conflict, "expected_last_seq: %d messages came in between", len(between)), detail: detail}
}

// View returns one conversation with its fan and group.
func (d *Desk) View(ctx context.Context, account, id string) (*View, error) {
	q, err := d.o.Store.Query()
	if err != nil {
		return nil, err
	}
	v := &View{}
	c, ok, err := q.Conversation(ctx, account, id)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fault.New(fault.NotFound, "conversation: no such conversation")
	}
	v.Conversation = c
	if v.Fan, ok, err = q.Fan(ctx, account, c.OpenID); err != nil {
		return nil, err
	}
	if !ok {
		v.Fan = domain.Fan{Account: account, OpenID: c.OpenID} // erased
	}
	v.Group, err = q.Group(ctx, c.Group)
	return v, err
}

// Fan returns a fan, also one whom the desk does not know.
func (d *Desk) Fan(ctx context.Context, account, openID string) (domain.Fan, error) {
	v, err := d.viewOf(ctx, account, openID)
	if err != nil {
		return domain.Fan{}, err
	}
	return v.Fan, nil
}
