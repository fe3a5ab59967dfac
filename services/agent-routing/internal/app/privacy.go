package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

const (
	// eraseLease is how long a process has for one try before another one takes over.
	eraseLease = time.Minute
	// firstRetry and lastRetry bound the wait before an erasure is tried again.
	firstRetry = 5 * time.Second
	lastRetry  = 5 * time.Minute
	maxProblem = 200
	// byPolicy asks for the erasure of who unfollowed.
	byPolicy = "policy"
)

// Erase erases what is kept of a fan, here and by the rules, and returns the proof. Conversations stay as numbers for
// reports, without openid and without words. An erasure that fails stays pending and is tried until it is done, by any replica.
func (d *Desk) Erase(ctx context.Context, account, openID, actor, reason string) (*agentroutingv1.Erasure, error) {
	p, err := d.askErasure(ctx, account, openID, actor, reason)
	if err != nil {
		return nil, err
	}
	proof, err := d.erase(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("the erasure goes on by itself until it is done: %w", err)
	}
	return proof, nil
}

// EraseWhoLeft erases by policy. It fails only when it cannot be written down that there is something to erase.
func (d *Desk) EraseWhoLeft(ctx context.Context, account, openID string) error {
	p, err := d.askErasure(ctx, account, openID, byPolicy, "unsubscribe")
	if err != nil {
		return err
	}
	if _, err := d.erase(ctx, p); err != nil {
		d.o.Log.WarnContext(ctx, "an erasure is tried again until it is done", logkey.Account, account, logkey.Error, err)
	}
	return nil
}

// LeftTheRules erases what rules know about a fan who unfollowed, after they have handled that: a rule may have written
// something since the desk erased the fan, and the desk does not know every fan.
func (d *Desk) LeftTheRules(ctx context.Context, account, openID string) error {
	if !d.o.EraseOnLeave {
		return nil
	}
	if _, err := d.o.Rules.Erase(ctx, account, openID); err != nil {
		return d.EraseWhoLeft(ctx, account, openID)
	}
	return nil
}

// askErasure writes down that a fan is to be erased, before anything is.
func (d *Desk) askErasure(ctx context.Context, account, openID, actor, reason string) (store.Pending, error) {
	p := store.Pending{Account: account, OpenID: openID, Actor: actor, Reason: reason, Since: d.now(), Next: d.now().Add(eraseLease)}
	return p, d.o.Store.InTx(ctx, func(ctx context.Context, q store.Q) error {
		if err := q.AddPending(ctx, p); err != nil {
			return err
		}
		stored, _, err := q.Pending(ctx, account, openID)
		p = stored // an earlier one that is not done goes on, with what it still has to erase
		return err
	})
}

// finishErasures tries again what is pending.
func (d *Desk) finishErasures(ctx context.Context) error {
	q, err := d.o.Store.Query()
	if err != nil {
		return err
	}
	due, err := q.PendingDue(ctx, d.now(), careBatch)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range due {
		mine, err := q.ClaimPending(ctx, p, d.now().Add(eraseLease))
		if err == nil && mine {
			_, err = d.erase(ctx, p)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// erase makes one try. What it could not do it notes, with the time of the next try.
func (d *Desk) erase(ctx context.Context, p store.Pending) (*agentroutingv1.Erasure, error) {
	proof, err := d.tryErase(ctx, p)
	if err == nil {
		return proof, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second) // also when the try ran out of time
	defer cancel()
	return nil, errors.Join(err, d.o.Store.InTx(ctx, func(ctx context.Context, q store.Q) error {
		p, ok, err2 := q.Pending(ctx, p.Account, p.OpenID)
		if err2 != nil || !ok {
			return err2
		}
		p.Next = d.now().Add(min(firstRetry<<min(p.Tries, 10), lastRetry))
		p.Tries++
		p.Problem = err.Error()[:min(len(err.Error()), maxProblem)]
		return q.SavePending(ctx, p)
	}))
}

func (d *Desk) tryErase(ctx context.Context, p store.Pending) (*agentroutingv1.Erasure, error) {
	back, err := d.isBack(ctx, p)
	if err != nil {
		return nil, err
	}
	if !back {
		if p, err = d.eraseHere(ctx, p); err != nil {
			return nil, err
		}
	}
	if err := d.eraseOutside(ctx, &p, back); err != nil {
		return nil, err
	}
	hash := domain.FanHash(p.Account, p.OpenID)
	proof := &agentroutingv1.Erasure{
		Id: rand.Text(), Account: p.Account, FanHash: hex.EncodeToString(hash[:]), AtUnixMs: wire.Millis(d.now()), Actor: p.Actor, Reason: p.Reason,
		AgesOut: agesOut(d.now()), Items: p.Proof(), Verified: true,
	}
	return proof, d.o.Store.InTx(ctx, func(ctx context.Context, q store.Q) error {
		if err := q.EndPending(ctx, p.Account, p.OpenID); err != nil {
			return err
		}
		return q.AddErasure(ctx, proof)
	})
}

// isBack tells that a fan who was to be erased for leaving follows again, so that what the desk keeps now is new.
func (d *Desk) isBack(ctx context.Context, p store.Pending) (bool, error) {
	if p.Actor != byPolicy {
		return false, nil
	}
	q, err := d.o.Store.Query()
	if err != nil {
		return false, err
	}
	fan, known, err := q.Fan(ctx, p.Account, p.OpenID)
	return known && !fan.Left, err
}

// eraseHere ends the conversation and erases the rows of a fan. What is to be erased outside is written down in the same
// transaction, because afterwards nothing tells it.
func (d *Desk) eraseHere(ctx context.Context, p store.Pending) (store.Pending, error) {
	err := d.turn(ctx, in{account: p.Account, openID: p.OpenID, actor: p.Actor}, func(ctx context.Context, t *turn) error {
		if t.fan.Owner.Kind == domain.Native {
			return nil
		}
		return t.end(ctx, domain.Bot, "", "erased")
	})
	if err != nil {
		return p, err
	}
	hash := domain.FanHash(p.Account, p.OpenID)
	token := "erased-" + hex.EncodeToString(hash[:])[:16]
	asked := p
	err = d.o.Store.InTx(ctx, func(ctx context.Context, q store.Q) error {
		p = asked // a transaction may run again
		if _, _, err := q.LockFan(ctx, p.Account, p.OpenID); err != nil {
			return err
		}
		stored, ok, err := q.Pending(ctx, p.Account, p.OpenID)
		if err != nil {
			return err
		}
		if ok {
			p = stored
		}
		if err := d.list(ctx, q, &p); err != nil {
			return err
		}
		items, err := q.Erase(ctx, p.Account, p.OpenID, token)
		if err != nil {
			return err
		}
		if err := q.CountLeft(ctx, p.Account, p.OpenID, items); err != nil {
			return err
		}
		if err := count(&p, items); err != nil {
			return err
		}
		return q.SavePending(ctx, p)
	})
	return p, err
}

// list adds the conversations and files of a fan to what is to be erased outside.
func (d *Desk) list(ctx context.Context, q store.Q, p *store.Pending) error {
	conversations, err := q.ConversationIDs(ctx, p.Account, p.OpenID)
	if err != nil {
		return err
	}
	files, err := q.Files(ctx, p.Account, p.OpenID)
	if err != nil {
		return err
	}
	p.Conversations = append(p.Conversations, conversations...)
	for _, f := range files {
		p.Files = append(p.Files, f.ID)
	}
	return nil
}

// count adds what was erased; it fails when something is left.
func count(p *store.Pending, items []*agentroutingv1.ErasedItem) error {
	for _, it := range items {
		if it.GetLeft() != 0 {
			return fault.Errorf(fault.Unavailable, "%s: %d written meanwhile", it.GetPlace(), it.GetLeft())
		}
		p.Add(it.GetPlace(), it.GetErased())
	}
	return nil
}

// agesOut names what other services keep for a while, and by when it is gone.
func agesOut(now time.Time) []string {
	by := func(days int) string { return now.AddDate(0, 0, days).Format(time.DateOnly) }
	return []string{"stream INBOUND by " + by(3), "stream DECISIONS by " + by(3), "stream OUTBOUND by " + by(3), "stream LATER by " + by(4), "stream DELIVERY by " + by(30), "bucket sends by " + by(7), "bucket grants by " + by(3)}
}

// eraseOutside erases files, what was published about the conversations, the record of the owner, and what rules know.
// Browsers are told last, without a word of the fan. The owner of a fan who is back is not touched.
func (d *Desk) eraseOutside(ctx context.Context, p *store.Pending, back bool) error {
	stored, err := d.eraseFiles(ctx, p.Files)
	if err != nil {
		return err
	}
	p.Add("files", stored)
	var facts int64
	for _, id := range p.Conversations {
		n, err := d.o.Facts.Purge(ctx, p.Account, id)
		if err != nil {
			return err
		}
		facts += n
	}
	p.Add("stream CONVERSATIONS", facts)
	if !back {
		there, err := d.o.Owners.Forget(ctx, p.Account, p.OpenID)
		if err != nil {
			return err
		}
		owners := int64(0)
		if there {
			owners = 1
		}
		p.Add("bucket owners", owners)
	}
	if err := d.eraseRules(ctx, p); err != nil {
		return err
	}
	for _, id := range p.Conversations {
		if err := d.tellErased(ctx, p.Account, id); err != nil {
			return err
		}
	}
	return nil
}

// eraseRules erases what rules know. What was counted so far is stored before, so that the proof is right when the rules
// are away for a while.
func (d *Desk) eraseRules(ctx context.Context, p *store.Pending) error {
	q, err := d.o.Store.Query()
	if err != nil {
		return err
	}
	if err := q.SavePending(ctx, *p); err != nil {
		return err
	}
	known, err := d.o.Rules.Erase(ctx, p.Account, p.OpenID)
	if err != nil {
		return fmt.Errorf("erase what rules know: %w", err)
	}
	return count(p, known)
}

func (d *Desk) eraseFiles(ctx context.Context, files []string) (stored int64, err error) {
	for _, f := range files {
		for _, id := range []string{f, f + PlayableSuffix} {
			deleted, err := d.o.Files.Delete(ctx, id)
			if err != nil {
				return stored, err
			}
			if deleted {
				stored++
			}
		}
	}
	return stored, nil
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
		e := domain.Entry{Account: account, Conversation: id, Number: c.Number, At: d.now(), What: domain.FanEdited, Group: c.Group, Agent: c.Agent, Asked: c.Opened}
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
	// Rules is what rules know about the fan.
	Rules *rulev1.GetFanMemoryResponse
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
	if out.Rules, err = d.o.Rules.Get(ctx, account, openID); err != nil {
		return Export{}, fmt.Errorf("read what rules know: %w", err)
	}
	if out.Messages, out.Events, err = q.Everything(ctx, v.Fan); err != nil {
		return Export{}, err
	}
	out.Files, err = q.Files(ctx, account, openID)
	return out, err
}
