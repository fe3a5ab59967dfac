package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

const (
	// relayBatch bounds the items that are read at once.
	relayBatch = 50
	// leftBehind is when items count as forgotten: their process had time to do them.
	leftBehind = 2 * time.Second
)

// relay empties the outbox, in order for each fan. Every item may be done twice: the epoch, the message id and the
// idempotency key make the second time harmless, so replicas need no lock.
type relay struct {
	d *Desk

	mu   sync.Mutex // guards busy
	busy map[string]*fanLock
}

type fanLock struct {
	sync.Mutex
	users int
}

func newRelay(d *Desk) *relay { return &relay{d: d, busy: map[string]*fanLock{}} }

// lock keeps two goroutines of this process from doing the same work; it returns the unlock.
func (r *relay) lock(account, openID string) func() {
	key := account + "\x00" + openID
	r.mu.Lock()
	l := r.busy[key]
	if l == nil {
		l = &fanLock{}
		r.busy[key] = l
	}
	l.users++
	r.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		r.mu.Lock()
		defer r.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(r.busy, key)
		}
	}
}

func (r *relay) flush(ctx context.Context, account, openID string) error {
	defer r.lock(account, openID)()
	for { // until nothing is left: what came of a send is told by a further item
		q, err := r.d.o.Store.Query()
		if err != nil {
			return err
		}
		items, err := q.Items(ctx, account, openID, relayBatch)
		if err != nil {
			return err
		}
		for _, it := range items {
			if err := r.do(ctx, it); err != nil {
				return err
			}
		}
		if len(items) == 0 {
			return nil
		}
	}
}

func (r *relay) do(ctx context.Context, it store.Item) error {
	switch it.Kind {
	case store.ItemOwner:
		if err := r.owner(ctx, it); err != nil {
			return err
		}
	case store.ItemEvent:
		ev := new(agentroutingv1.ConversationEvent)
		if err := proto.Unmarshal(it.Body, ev); err != nil {
			return fault.Errorf(fault.Permanent, "decode event: %w", err)
		}
		if err := r.d.o.Facts.Event(ctx, it.Account, ev.GetConversation(), it.Account+":"+it.Key, it.Body); err != nil {
			return err
		}
	case store.ItemSend:
		return r.send(ctx, it)
	}
	q, err := r.d.o.Store.Query()
	if err != nil {
		return err
	}
	return q.DropItem(ctx, it.ID)
}

func (r *relay) owner(ctx context.Context, it store.Item) error {
	fact := new(agentroutingv1.OwnerChanged)
	if err := proto.Unmarshal(it.Body, fact); err != nil {
		return fault.Errorf(fault.Permanent, "decode owner change: %w", err)
	}
	conversation := fact.GetConversation()
	if fact.GetOwner().GetKind() == agentroutingv1.OwnerKind_OWNER_KIND_BOT {
		conversation = ""
	}
	fan := domain.Fan{Account: it.Account, OpenID: it.OpenID, Owner: wire.OwnerOf(fact.GetOwner())}
	if err := r.d.o.Owners.Project(ctx, wire.Record(fan, conversation)); err != nil {
		return err
	}
	if fact.GetConversation() == "" {
		return nil // a fan of whom no conversation is known: nobody follows it
	}
	return r.d.o.Facts.Owner(ctx, fact)
}

// send hands a message to the sender and keeps what came of it. What the sender refuses has failed; what it could not be asked
// is asked again.
func (r *relay) send(ctx context.Context, it store.Item) error {
	req := new(senderv1.SendRequest)
	if err := proto.Unmarshal(it.Body, req); err != nil {
		return fault.Errorf(fault.Permanent, "decode message: %w", err)
	}
	refused, err := r.leftOut(ctx, it)
	if err != nil {
		return fmt.Errorf("ask the sender for the window: %w", err)
	}
	if refused != "" {
		return r.handedOver(ctx, it, nil, refused)
	}
	done, err := r.d.o.Sender.Send(ctx, req)
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Retryable, fault.Internal:
		if err != nil {
			return fmt.Errorf("hand message to the sender: %w", err)
		}
	default: // a refusal: the message has failed
	}
	if err != nil {
		refused = err.Error()
	}
	return r.handedOver(ctx, it, done, refused)
}

// handedOver ends an item of the outbox together with what came of it.
func (r *relay) handedOver(ctx context.Context, it store.Item, done *senderv1.SendResponse, refused string) error {
	return r.d.o.Store.InTx(ctx, func(ctx context.Context, q store.Q) error {
		if err := q.DropItem(ctx, it.ID); err != nil {
			return err
		}
		return r.d.handedOver(ctx, q, it, done, refused)
	})
}

// sendKey keeps the keys of two agents, or of two fans, apart: the sender's keys are unique within an account only.
func sendKey(openID, author, key string) string {
	h := sha256.New()
	for _, part := range []string{openID, author, key} {
		_, _ = fmt.Fprintf(h, "%d:%s", len(part), part) // a hash takes everything
	}
	return "desk-" + hex.EncodeToString(h.Sum(nil)[:20])
}

func marshal(m proto.Message) ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return b, nil
}
