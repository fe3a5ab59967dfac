package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

func scanMessage(r sqldb.Scanner) (*agentroutingv1.Message, error) {
	var body []byte
	if err := r.Scan(&body); err != nil {
		return nil, err
	}
	return unmarshalMessage(body)
}

func unmarshalMessage(body []byte) (*agentroutingv1.Message, error) {
	m := new(agentroutingv1.Message)
	if err := proto.Unmarshal(body, m); err != nil {
		return nil, fault.Errorf(fault.Permanent, "decode message: %w", err)
	}
	return m, nil
}

// AddMessage adds an entry to the timeline of a locked fan and gives it the next number, f.Seq. It tells whether it is new: an event
// or a client's id that is known is not added again.
func (q Q) AddMessage(ctx context.Context, f *domain.Fan, m *agentroutingv1.Message) (bool, error) {
	m.Seq = f.Seq + 1
	body, err := proto.Marshal(m)
	if err != nil {
		return false, fmt.Errorf("encode message: %w", err)
	}
	folded := domain.Fold(m.GetText())
	n, err := q.Exec(ctx, `INSERT INTO messages (account, openid, seq, conversation, author_kind, author, state, event_id, send_id, client_id, at_ms, body, folded)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		m.GetAccount(), m.GetOpenid(), int64(m.GetSeq()), m.GetConversation(), int16(m.GetAuthorKind()), m.GetAuthor(), int16(m.GetState()), m.GetEventId(),
		m.GetSendId(), m.GetClientId(), m.GetAtUnixMs(), body, folded)
	if err != nil || n == 0 {
		return false, err
	}
	f.Seq = m.GetSeq()
	return true, q.addGrams(ctx, m, folded)
}

// gramsAtOnce bounds the parameters of one statement.
const gramsAtOnce = 100

func (q Q) addGrams(ctx context.Context, m *agentroutingv1.Message, folded string) error {
	for grams := range slices.Chunk(domain.Grams(folded), gramsAtOnce) {
		args := make([]any, 0, 4*len(grams))
		for _, g := range grams {
			args = append(args, g, m.GetAccount(), m.GetOpenid(), int64(m.GetSeq()))
		}
		rows := strings.Repeat("(?, ?, ?, ?), ", len(grams)-1) + "(?, ?, ?, ?)"
		if _, err := q.Exec(ctx, "INSERT INTO grams (gram, account, openid, seq) VALUES "+rows, args...); err != nil {
			return err
		}
	}
	return nil
}

// SaveMessage replaces an entry; its text must not change.
func (q Q) SaveMessage(ctx context.Context, m *agentroutingv1.Message) error {
	body, err := proto.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	_, err = q.Exec(ctx, "UPDATE messages SET state = ?, send_id = ?, body = ? WHERE account = ? AND openid = ? AND seq = ?",
		int16(m.GetState()), m.GetSendId(), body, m.GetAccount(), m.GetOpenid(), int64(m.GetSeq()))
	return err
}

// Message returns one entry.
func (q Q) Message(ctx context.Context, account, openID string, seq uint64) (*agentroutingv1.Message, bool, error) {
	return one[*agentroutingv1.Message]{scanMessage}.get(ctx, q, "SELECT body FROM messages WHERE account = ? AND openid = ? AND seq = ?", account, openID, int64(seq))
}

// MessageByClient returns the entry that a client named.
func (q Q) MessageByClient(ctx context.Context, account, openID, clientID string) (*agentroutingv1.Message, bool, error) {
	return one[*agentroutingv1.Message]{scanMessage}.get(ctx, q, "SELECT body FROM messages WHERE account = ? AND openid = ? AND client_id = ?", account, openID, clientID)
}

// MessageBySend returns the entry with an id of the sender.
func (q Q) MessageBySend(ctx context.Context, account, sendID string) (*agentroutingv1.Message, bool, error) {
	return one[*agentroutingv1.Message]{scanMessage}.get(ctx, q, "SELECT body FROM messages WHERE account = ? AND send_id = ?", account, sendID)
}

// Page says which entries of a timeline to read.
type Page struct {
	Account, OpenID string
	// Conversation restricts the page.
	Conversation  string
	Before, After uint64
	Limit         int
}

// Messages returns a page of a timeline, oldest first, and whether there are more in that direction.
func (q Q) Messages(ctx context.Context, p Page) ([]*agentroutingv1.Message, bool, error) {
	where, args := "account = ? AND openid = ?", []any{p.Account, p.OpenID}
	if p.Conversation != "" {
		where, args = where+" AND conversation = ?", append(args, p.Conversation)
	}
	if p.Before > 0 {
		where, args = where+" AND seq < ?", append(args, int64(p.Before))
	}
	order := "DESC"
	if p.After > 0 {
		where, args = where+" AND seq > ?", append(args, int64(p.After))
		order = "ASC"
	}
	found, err := collect(ctx, q, "SELECT body FROM messages WHERE "+where+" ORDER BY seq "+order+" LIMIT ?", append(args, p.Limit+1), scanMessage)
	if err != nil {
		return nil, false, err
	}
	more := len(found) > p.Limit
	found = found[:min(len(found), p.Limit)]
	if order == "DESC" {
		slices.Reverse(found)
	}
	return found, more, q.addMedia(ctx, p.Account, p.OpenID, found)
}

// Between returns what the fan, other agents than one, and notes added after an entry, at most limit.
func (q Q) Between(ctx context.Context, account, openID, agent string, after uint64, limit int) ([]*agentroutingv1.Message, error) {
	return collect(ctx, q, `SELECT body FROM messages WHERE account = ? AND openid = ? AND seq > ?
AND (author_kind = ? OR (author_kind IN (?, ?, ?) AND author <> ?)) ORDER BY seq LIMIT ?`,
		[]any{account, openID, int64(after), int16(agentroutingv1.AuthorKind_AUTHOR_KIND_FAN), int16(agentroutingv1.AuthorKind_AUTHOR_KIND_AGENT),
			int16(agentroutingv1.AuthorKind_AUTHOR_KIND_NOTE), int16(agentroutingv1.AuthorKind_AUTHOR_KIND_WHISPER), agent, limit}, scanMessage)
}

// SaidIn returns the newest messages of the fan in a conversation, oldest first.
func (q Q) SaidIn(ctx context.Context, account, openID, conversation string, limit int) ([]*agentroutingv1.Message, error) {
	found, err := collect(ctx, q, "SELECT body FROM messages WHERE account = ? AND openid = ? AND conversation = ? AND author_kind = ? ORDER BY at_ms DESC, seq DESC LIMIT ?",
		[]any{account, openID, conversation, int16(agentroutingv1.AuthorKind_AUTHOR_KIND_FAN), limit}, scanMessage)
	slices.Reverse(found)
	return found, err
}
