package store

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

// AddChange appends to the log of conversations; number is unique within the conversation.
func (q Q) AddChange(ctx context.Context, e domain.Entry, event []byte) error {
	_, err := q.Exec(ctx, "INSERT INTO changes (account, conversation, number, at_ms, what, grp, agent, from_agent, score, asked_ms, promises, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		e.Account, e.Conversation, int64(e.Number), millis(e.At), e.What, e.Group, e.Agent, e.FromAgent, e.Score, millis(e.Asked), int16(e.Promises), event)
	return err
}

// Changes returns the events of a conversation after a number, oldest first.
func (q Q) Changes(ctx context.Context, account, conversation string, after uint64, limit int) ([]*agentroutingv1.ConversationEvent, error) {
	return collect(ctx, q, "SELECT body FROM changes WHERE account = ? AND conversation = ? AND number > ? ORDER BY number LIMIT ?",
		[]any{account, conversation, int64(after), limit}, scanEvent)
}

func scanEvent(r sqldb.Scanner) (*agentroutingv1.ConversationEvent, error) {
	var body []byte
	if err := r.Scan(&body); err != nil {
		return nil, err
	}
	ev := new(agentroutingv1.ConversationEvent)
	if err := proto.Unmarshal(body, ev); err != nil {
		return nil, fault.Errorf(fault.Permanent, "decode event: %w", err)
	}
	return ev, nil
}

// EachEntry calls fold for the log of every conversation that was open or changed in a span, from its beginning, in the order of
// time. An empty account means every one.
func (q Q) EachEntry(ctx context.Context, from, to time.Time, account string, fold func(domain.Entry)) error {
	where := "l.at_ms < ? AND (c.closed_ms = 0 OR c.closed_ms >= ?)"
	args := []any{millis(to), millis(from)}
	if account != "" {
		where += " AND l.account = ?"
		args = append(args, account)
	}
	query := "SELECT l.account, l.conversation, l.number, l.at_ms, l.what, l.grp, l.agent, l.from_agent, l.score, l.asked_ms, l.promises FROM changes l" +
		" JOIN conversations c ON c.account = l.account AND c.id = l.conversation WHERE " + where + " ORDER BY l.at_ms, l.account, l.conversation, l.number"
	return q.Each(ctx, query, args, func(r sqldb.Scanner) error {
		var e domain.Entry
		var when, asked int64
		if err := r.Scan(&e.Account, &e.Conversation, &e.Number, &when, &e.What, &e.Group, &e.Agent, &e.FromAgent, &e.Score, &asked, &e.Promises); err != nil {
			return err
		}
		e.At, e.Asked = at(when), at(asked)
		fold(e)
		return nil
	})
}

// ItemKind is what an outbox item does.
type ItemKind int16

// The kinds of items. Stored.
const (
	ItemOwner ItemKind = iota + 1 // an OwnerChanged: the bucket owners, then the stream
	ItemEvent                     // a ConversationEvent: the stream
	ItemSend                      // a SendRequest: the sender
)

// Item is something to do outside the database because of a change, once the change is stored.
type Item struct {
	ID              int64
	Account, OpenID string
	Kind            ItemKind
	// Key is the id that makes a repetition harmless.
	Key string
	// Seq is the message that is sent.
	Seq     uint64
	Body    []byte
	Created time.Time
}

// AddItem puts a message into the outbox.
func (q Q) AddItem(ctx context.Context, it Item, body proto.Message) error {
	data, err := proto.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode %s: %w", body.ProtoReflect().Descriptor().FullName(), err)
	}
	_, err = q.Exec(ctx, "INSERT INTO outbox (account, openid, kind, key, seq, body, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
		it.Account, it.OpenID, int16(it.Kind), it.Key, int64(it.Seq), data, millis(it.Created))
	return err
}

// Items returns what is to be done for a fan, in order.
func (q Q) Items(ctx context.Context, account, openID string, limit int) ([]Item, error) {
	return collect(ctx, q, "SELECT id, account, openid, kind, key, seq, body, created_ms FROM outbox WHERE account = ? AND openid = ? ORDER BY id LIMIT ?",
		[]any{account, openID, limit}, func(r sqldb.Scanner) (Item, error) {
			var it Item
			var created int64
			err := r.Scan(&it.ID, &it.Account, &it.OpenID, &it.Kind, &it.Key, &it.Seq, &it.Body, &created)
			it.Created = at(created)
			return it, err
		})
}

// DropItem removes what was done.
func (q Q) DropItem(ctx context.Context, id int64) error {
	_, err := q.Exec(ctx, "DELETE FROM outbox WHERE id = ?", id)
	return err
}

// FansWithItems returns fans for whom something was left behind before a moment, the oldest first.
func (q Q) FansWithItems(ctx context.Context, before time.Time, limit int) ([]Ref, error) {
	return collect(ctx, q, "SELECT account, MIN(created_ms), openid FROM outbox WHERE created_ms <= ? GROUP BY account, openid ORDER BY MIN(id) LIMIT ?",
		[]any{millis(before), limit}, func(r sqldb.Scanner) (Ref, error) {
			var ref Ref
			var created int64
			return ref, r.Scan(&ref.Account, &created, &ref.OpenID)
		})
}
