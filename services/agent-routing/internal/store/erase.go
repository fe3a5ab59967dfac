package store

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

// personal are the tables with personal data that go as a whole.
var personal = []string{"messages", "grams", "media", "outbox"}

// Erase removes what is kept of a locked fan. Conversations and their log stay for reports, under the name of nobody: the
// openid becomes the given token, texts and events go.
func (q Q) Erase(ctx context.Context, account, openID, token string) ([]*agentroutingv1.ErasedItem, error) {
	conversations, _, err := q.Conversations(ctx, Filter{Account: account, OpenID: openID}, NewestOpened, 0, 1<<30)
	if err != nil {
		return nil, err
	}
	for _, c := range conversations {
		if _, err := q.Exec(ctx, "UPDATE changes SET body = ? WHERE account = ? AND conversation = ?", []byte{}, account, c.ID); err != nil {
			return nil, err
		}
		c.OpenID, c.Preview, c.Language = token, "", ""
		body, err := encode(c)
		if err != nil {
			return nil, err
		}
		if _, err := q.Exec(ctx, "UPDATE conversations SET openid = ?, body = ?, due_ms = 0 WHERE account = ? AND id = ?", token, body, account, c.ID); err != nil {
			return nil, err
		}
	}
	items := []*agentroutingv1.ErasedItem{{Place: "conversations (anonymous)", Erased: int64(len(conversations))}}
	for _, table := range append([]string{"fans"}, personal...) {
		n, err := q.Exec(ctx, "DELETE FROM "+table+" WHERE account = ? AND openid = ?", account, openID)
		if err != nil {
			return nil, err
		}
		items = append(items, &agentroutingv1.ErasedItem{Place: table, Erased: n})
	}
	return items, nil
}

// CountLeft counts what is still kept of a fan, in the order of the items of Erase.
func (q Q) CountLeft(ctx context.Context, account, openID string, items []*agentroutingv1.ErasedItem) error {
	for i, table := range append([]string{"conversations", "fans"}, personal...) {
		if err := q.Row(ctx, "SELECT COUNT(*) FROM "+table+" WHERE account = ? AND openid = ?", []any{account, openID}, &items[i].Left); err != nil {
			return fmt.Errorf("count %s: %w", table, err)
		}
	}
	return nil
}

// ConversationIDs returns the conversations of a fan.
func (q Q) ConversationIDs(ctx context.Context, account, openID string) ([]string, error) {
	found, _, err := q.Conversations(ctx, Filter{Account: account, OpenID: openID}, NewestOpened, 0, 1<<30)
	ids := make([]string, len(found))
	for i, c := range found {
		ids[i] = c.ID
	}
	return ids, err
}

// AddErasure stores a proof.
func (q Q) AddErasure(ctx context.Context, e *agentroutingv1.Erasure) error {
	body, err := proto.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode erasure: %w", err)
	}
	_, err = q.Exec(ctx, "INSERT INTO erasures (id, account, at_ms, body) VALUES (?, ?, ?, ?)", e.GetId(), e.GetAccount(), e.GetAtUnixMs(), body)
	return err
}

// Erasures returns proofs, newest first.
func (q Q) Erasures(ctx context.Context, account string, limit int) ([]*agentroutingv1.Erasure, error) {
	where, args := "1 = 1", []any(nil)
	if account != "" {
		where, args = "account = ?", []any{account}
	}
	return collect(ctx, q, "SELECT body FROM erasures WHERE "+where+" ORDER BY at_ms DESC, id LIMIT ?", append(args, limit), func(r sqldb.Scanner) (*agentroutingv1.Erasure, error) {
		var body []byte
		if err := r.Scan(&body); err != nil {
			return nil, err
		}
		e := new(agentroutingv1.Erasure)
		if err := proto.Unmarshal(body, e); err != nil {
			return nil, fault.Errorf(fault.Permanent, "decode erasure: %w", err)
		}
		return e, nil
	})
}

// Everything returns every message of a fan and every event of their conversations, for an export.
func (q Q) Everything(ctx context.Context, f domain.Fan) ([]*agentroutingv1.Message, []*agentroutingv1.ConversationEvent, error) {
	messages, err := collect(ctx, q, "SELECT body FROM messages WHERE account = ? AND openid = ? ORDER BY seq", []any{f.Account, f.OpenID}, scanMessage)
	if err != nil {
		return nil, nil, err
	}
	events, err := collect(ctx, q, `SELECT l.body FROM changes l JOIN conversations c ON c.account = l.account AND c.id = l.conversation
WHERE c.account = ? AND c.openid = ? ORDER BY c.opened_ms, c.id, l.number`, []any{f.Account, f.OpenID}, scanEvent)
	if err != nil {
		return nil, nil, err
	}
	return messages, events, q.addMedia(ctx, f.Account, f.OpenID, messages)
}
