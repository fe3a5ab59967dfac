package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// Erase erases what this service keeps of a fan and returns the proof. Conversations stay as numbers for reports, without
// openid and without words.
func (d *Desk) Erase(ctx context.Context, account, openID, actor, reason string) (*agentroutingv1.Erasure, error) {
	err := d.turn(ctx, in{account: account, openID: openID, actor: actor}, func(ctx context.Context, t *turn) error {
		if t.fan.Owner.Kind == domain.Native {
			return nil
		}
		return t.end(ctx, domain.Bot, "", "erased")
	})
	if err != nil {
		return nil, err
	}
	hash := domain.FanHash(account, openID)
	proof := &agentroutingv1.Erasure{
		Id: rand.Text(), Account: account, FanHash: hex.EncodeToString(hash[:]), AtUnixMs: wire.Millis(d.now()), Actor: actor, Reason: reason,
		AgesOut: agesOut(d.now()),
	}
	token := "erased-" + proof.GetFanHash()[:16]
	var conversations []string
	var files []store.File
	err = d.o.Store.InTx(ctx, func(ctx context.Context, q store.Q) error {
		if _, _, err := q.LockFan(ctx, account, openID); err != nil {
			return err
		}
		var err error
		if conversations, err = q.ConversationIDs(ctx, account, openID); err != nil {
			return err
		}
		if files, err = q.Files(ctx, account, openID); err != nil {
			return err
		}
		if proof.Items, err = q.Erase(ctx, account, openID, token); err != nil {
			return err
		}
		return q.CountLeft(ctx, account, openID, proof.Items)
	})
	if err != nil {
		return nil, err
	}
	if err := d.eraseOutside(ctx, proof, conversations, files, account, openID); err != nil {
		return nil, err
	}
	proof.Verified = true
	for _, it := range proof.GetItems() {
		proof.Verified = proof.Verified && it.GetLeft() == 0
	}
	q, err := d.o.Store.Query()
	if err != nil {
		return nil, err
	}
	return proof, q.AddErasure(ctx, proof)
}

// agesOut names what other services keep for a while, and by when it is gone.
func agesOut(now time.Time) []string {
	by := func(days int) string { return now.AddDate(0, 0, days).Format(time.DateOnly) }
	return []string{"stream INBOUND by " + by(3), "stream DECISIONS by " + by(3), "stream OUTBOUND by " + by(3), "stream DELIVERY by " + by(30), "bucket sends by " + by(7), "bucket grants by " + by(3)}
}

// eraseOutside erases files, what was published about the conversations, and the record of the owner. Browsers are told last,
// without a word of the fan.
func (d *Desk) eraseOutside(ctx context.Context, proof *agentroutingv1.Erasure, conversations []string, files []store.File, account, openID string) error {
	stored := &agentroutingv1.ErasedItem{Place: "files"}
	for _, f := range files {
		for _, id := range []string{f.ID, f.ID + PlayableSuffix} {
			deleted, err := d.o.Files.Delete(ctx, id)
			if err != nil {
				return err
			}
			if deleted {
				stored.Erased++
			}
		}
	}
	stream := &agentroutingv1.ErasedItem{Place: "stream CONVERSATIONS"}
	for _, id := range conversations {
		n, err := d.o.Facts.Purge(ctx, account, id)
		if err != nil {
			return err
		}
		stream.Erased += n
	}
	bucket := &agentroutingv1.ErasedItem{Place: "bucket owners"}
	there, err := d.o.Owners.Forget(ctx, account, openID)
	if err != nil {
		return err
	}
	if there {
		bucket.Erased = 1
	}
	proof.Items = append(proof.Items, stored, stream, bucket)
	for _, id := range conversations {
		if err := d.tellErased(ctx, account, id); err != nil {
			return err
		}
	}
	return nil
}

// PlayableSuffix names the version of a file for browsers.
const PlayableSuffix = ".play"

func (d *Desk) tellErased(ctx context.Context, account, id string) error {
	var ev *agentroutingv1.ConversationEvent
	err := d.o.Store.InTx(ctx, func(ctx context.Context, q store.Q) error {
		c, ok, err := q.Conversation(ctx, account, id)
		if err != nil || !ok {
			return err
		}
		c.Number++
		ev = &agentroutingv1.ConversationEvent{
			Account: account, Conversation: id, Number: c.Number, AtUnixMs: wire.Millis(d.now()), Actor: actorTimer, Group: c.Group, Agent: c.Agent,
			Event: &agentroutingv1.ConversationEvent_FanChanged{FanChanged: &agentroutingv1.FanChanged{Change: "erased"}},
		}
		body, err := marshal(ev)
		if err != nil {
			return err
		}
		e := domain.Entry{Account: account, Conversation: id, Number: c.Number, At: d.now(), What: "fan", Group: c.Group, Agent: c.Agent, Asked: c.Opened}
		if err := q.AddChange(ctx, e, body); err != nil {
			return err
		}
		return q.SaveConversation(ctx, c, time.Time{})
	})
	if err != nil || ev == nil {
		return err
	}
	body, err := marshal(ev)
	if err != nil {
		return err
	}
	if err := d.o.Facts.Event(ctx, account, id, account+":"+id+":"+strconv.FormatUint(ev.GetNumber(), 10), body); err != nil {
		return fmt.Errorf("tell the erasure: %w", err)
	}
	return nil
}

// Export is everything that is kept of a fan.
type Export struct {
	Fan      domain.Fan
	Messages []*agentroutingv1.Message
	Events   []*agentroutingv1.ConversationEvent
	Files    []store.File
}

// Export returns everything that is kept of a fan.
func (d *Desk) Export(ctx context.Context, account, openID string) (Export, error) {
	v, err := d.viewOf(ctx, account, openID)
	if err != nil {
		return Export{}, err
	}
	q, err := d.o.Store.Query()
	if err != nil {
		return Export{}, err
	}
	out := Export{Fan: v.Fan}
	if out.Messages, out.Events, err = q.Everything(ctx, v.Fan); err != nil {
		return Export{}, err
	}
	out.Files, err = q.Files(ctx, account, openID)
	return out, err
}
