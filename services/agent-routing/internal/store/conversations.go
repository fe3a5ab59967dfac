package store

import (
	"context"
	"strings"
	"time"

	"github.com/wxbus/wxbus/pkg/sqldb"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

func scanConversation(r sqldb.Scanner) (domain.Conversation, error) {
	var body string
	var c domain.Conversation
	if err := r.Scan(&body); err != nil {
		return c, err
	}
	return c, decode(body, &c)
}

// Conversation returns a conversation. Lock its fan first to change it.
func (q Q) Conversation(ctx context.Context, account, id string) (domain.Conversation, bool, error) {
	return one[domain.Conversation]{scanConversation}.get(ctx, q, "SELECT body FROM conversations WHERE account = ? AND id = ?", account, id)
}

// SaveConversation adds or replaces a conversation of a locked fan. due is when time alone changes it.
func (q Q) SaveConversation(ctx context.Context, c domain.Conversation, due time.Time) error {
	body, err := encode(c)
	if err != nil {
		return err
	}
	waiting := int64(0)
	if c.State == domain.Waiting || c.State == domain.Offered || c.State == domain.LeftMessage {
		waiting = millis(c.WaitingSince)
	}
	active := c.IdleFrom
	if active.IsZero() {
		active = c.StateSince
	}
	_, err = q.Exec(ctx, `INSERT INTO conversations (account, id, openid, state, grp, agent, opened_ms, waiting_ms, state_ms, active_ms, closed_ms, due_ms, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (account, id) DO UPDATE SET state = excluded.state, grp = excluded.grp, agent = excluded.agent, waiting_ms = excluded.waiting_ms,
  state_ms = excluded.state_ms, active_ms = excluded.active_ms, closed_ms = excluded.closed_ms, due_ms = excluded.due_ms, body = excluded.body`,
		c.Account, c.ID, c.OpenID, int16(c.State), c.Group, c.Agent, millis(c.Opened), waiting, millis(c.StateSince), millis(active), millis(c.ClosedAt), millis(due), body)
	return err
}

// Filter selects conversations; what is empty does not select.
type Filter struct {
	States                        []domain.State
	Account, Group, Agent, OpenID string
}

func (f Filter) where() (string, []any) {
	var parts []string
	var args []any
	if len(f.States) > 0 {
		parts = append(parts, "state IN ("+sqldb.In(len(f.States))+")")
		for _, s := range f.States {
			args = append(args, int16(s))
		}
	}
	for _, eq := range []struct{ column, value string }{{"account", f.Account}, {"grp", f.Group}, {"agent", f.Agent}, {"openid", f.OpenID}} {
		if eq.value != "" {
			parts = append(parts, eq.column+" = ?")
			args = append(args, eq.value)
		}
	}
	if len(parts) == 0 {
		return "1 = 1", nil
	}
	return strings.Join(parts, " AND "), args
}

// Order says which conversations come first.
type Order string

// The orders; the id breaks ties.
const (
	LongestWaiting Order = "waiting_ms, id"
	OldestActivity Order = "active_ms, id"
	NewestClosed   Order = "closed_ms DESC, id DESC"
	NewestOpened   Order = "opened_ms DESC, id DESC"
	// OpenOrder: those who wait first, then by activity.
	OpenOrder Order = "CASE WHEN waiting_ms > 0 THEN 0 ELSE 1 END, waiting_ms, active_ms, id"
)

// Conversations returns conversations and how many match in all.
func (q Q) Conversations(ctx context.Context, f Filter, order Order, offset, limit int) ([]domain.Conversation, int, error) {
	where, args := f.where()
	var total int
	if err := q.Row(ctx, "SELECT COUNT(*) FROM conversations WHERE "+where, args, &total); err != nil {
		return nil, 0, err
	}
	rows, err := collect(ctx, q, "SELECT body FROM conversations WHERE "+where+" ORDER BY "+string(order)+" LIMIT ? OFFSET ?",
		append(args, limit, offset), scanConversation)
	return rows, total, err
}

// Ahead counts who waits in the same queue in front of a conversation.
func (q Q) Ahead(ctx context.Context, c domain.Conversation) (int, error) {
	var n int
	err := q.Row(ctx, "SELECT COUNT(*) FROM conversations WHERE grp = ? AND state IN (?, ?) AND (waiting_ms < ? OR (waiting_ms = ? AND id < ?))",
		[]any{c.Group, int16(domain.Waiting), int16(domain.Offered), millis(c.WaitingSince), millis(c.WaitingSince), c.ID}, &n)
	return n, err
}

// Ref names a conversation.
type Ref struct{ Account, ID, OpenID string }

func scanRef(r sqldb.Scanner) (Ref, error) {
	var ref Ref
	return ref, r.Scan(&ref.Account, &ref.ID, &ref.OpenID)
}

// GroupsWaiting returns the groups in whose queue somebody waits.
func (q Q) GroupsWaiting(ctx context.Context) ([]string, error) {
	return collect(ctx, q, "SELECT DISTINCT grp FROM conversations WHERE state = ?", []any{int16(domain.Waiting)}, func(r sqldb.Scanner) (string, error) {
		var id string
		return id, r.Scan(&id)
	})
}

// DueBy returns conversations that time changes until now, the longest due first.
func (q Q) DueBy(ctx context.Context, now time.Time, limit int) ([]Ref, error) {
	return collect(ctx, q, "SELECT account, id, openid FROM conversations WHERE due_ms > 0 AND due_ms <= ? ORDER BY due_ms LIMIT ?",
		[]any{millis(now), limit}, scanRef)
}

// Abandoned returns conversations of agents who went offline after they got them.
func (q Q) Abandoned(ctx context.Context, limit int) ([]Ref, error) {
	return collect(ctx, q, `SELECT c.account, c.id, c.openid FROM agents a JOIN conversations c ON c.agent = a.id
WHERE a.presence = ? AND c.state IN (?, ?) AND c.state_ms <= a.presence_ms ORDER BY c.state_ms LIMIT ?`,
		[]any{int16(domain.Offline), int16(domain.Offered), int16(domain.Active), limit}, scanRef)
}

// CountOpen counts open conversations by group and state.
func (q Q) CountOpen(ctx context.Context, group string) (int, error) {
	var n int
	err := q.Row(ctx, "SELECT COUNT(*) FROM conversations WHERE grp = ? AND state < ?", []any{group, int16(domain.Closed)}, &n)
	return n, err
}

// QueueNow is a queue at a glance.
type QueueNow struct {
	Waiting int
	Oldest  time.Time
}

// Queues returns every queue in which somebody waits, by group.
func (q Q) Queues(ctx context.Context) (map[string]QueueNow, error) {
	out := map[string]QueueNow{}
	err := q.Each(ctx, "SELECT grp, COUNT(*), MIN(waiting_ms) FROM conversations WHERE state IN (?, ?) GROUP BY grp",
		[]any{int16(domain.Waiting), int16(domain.Offered)}, func(r sqldb.Scanner) error {
			var id string
			var n QueueNow
			var oldest int64
			if err := r.Scan(&id, &n.Waiting, &oldest); err != nil {
				return err
			}
			n.Oldest = at(oldest)
			out[id] = n
			return nil
		})
	return out, err
}

// WaitingConversations returns who waits in a group, the longest waiting first.
func (q Q) WaitingConversations(ctx context.Context, group string, limit int) ([]domain.Conversation, error) {
	return collect(ctx, q, "SELECT body FROM conversations WHERE grp = ? AND state = ? ORDER BY waiting_ms, id LIMIT ?",
		[]any{group, int16(domain.Waiting), limit}, scanConversation)
}

// OpenedBetween returns conversations that were opened in a span, the oldest first.
func (q Q) OpenedBetween(ctx context.Context, f Filter, from, to time.Time, limit int) ([]domain.Conversation, error) {
	where, args := f.where()
	return collect(ctx, q, "SELECT body FROM conversations WHERE "+where+" AND opened_ms >= ? AND opened_ms < ? ORDER BY opened_ms, id LIMIT ?",
		append(args, millis(from), millis(to), limit), scanConversation)
}
