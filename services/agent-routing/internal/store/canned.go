package store

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
)

func scanCanned(r sqldb.Scanner) (*agentroutingv1.CannedReply, error) {
	var body []byte
	var used int64
	if err := r.Scan(&used, &body); err != nil {
		return nil, err
	}
	c := new(agentroutingv1.CannedReply)
	if err := proto.Unmarshal(body, c); err != nil {
		return nil, fault.Errorf(fault.Permanent, "decode canned reply: %w", err)
	}
	c.Used = used
	return c, nil
}

// SaveCanned adds or replaces a canned reply; folded is what searches look through. It fails with Conflict when the shortcut is taken.
func (q Q) SaveCanned(ctx context.Context, c *agentroutingv1.CannedReply, folded string) error {
	body, err := proto.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode canned reply: %w", err)
	}
	_, err = q.Exec(ctx, `INSERT INTO canned (id, scope, scope_id, account, shortcut, folded, body) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET scope = excluded.scope, scope_id = excluded.scope_id, account = excluded.account, shortcut = excluded.shortcut,
  folded = excluded.folded, body = excluded.body`,
		c.GetId(), int16(c.GetScope()), c.GetScopeId(), c.GetAccount(), c.GetShortcut(), folded, body)
	return err
}

// Canned returns one canned reply.
func (q Q) Canned(ctx context.Context, id string) (*agentroutingv1.CannedReply, bool, error) {
	return one[*agentroutingv1.CannedReply]{scanCanned}.get(ctx, q, "SELECT used, body FROM canned WHERE id = ?", id)
}

// UsedCanned counts a use.
func (q Q) UsedCanned(ctx context.Context, id string) error {
	_, err := q.Exec(ctx, "UPDATE canned SET used = used + 1 WHERE id = ?", id)
	return err
}

// DeleteCanned removes a canned reply and tells whether there was one.
func (q Q) DeleteCanned(ctx context.Context, id string) (bool, error) {
	n, err := q.Exec(ctx, "DELETE FROM canned WHERE id = ?", id)
	return n > 0, err
}

// CannedFor selects canned replies.
type CannedFor struct {
	Agent   string
	Groups  []string
	Account string
	// Folded is what shortcut, title or text contain.
	Folded string
	Every  bool
	Limit  int
}

// CannedReplies returns what an agent may use: personal ones first, then those of groups, then those of all.
func (q Q) CannedReplies(ctx context.Context, f CannedFor) ([]*agentroutingv1.CannedReply, error) {
	where, args := "1 = 1", []any(nil)
	if !f.Every {
		where = "(scope = ? OR (scope = ? AND scope_id = ?)"
		args = append(args, int16(agentroutingv1.CannedScope_CANNED_SCOPE_ALL), int16(agentroutingv1.CannedScope_CANNED_SCOPE_PERSONAL), f.Agent)
		if len(f.Groups) > 0 {
			where += " OR (scope = ? AND scope_id IN (" + sqldb.In(len(f.Groups)) + "))"
			args = append(append(args, int16(agentroutingv1.CannedScope_CANNED_SCOPE_GROUP)), anys(f.Groups)...)
		}
		where += ")"
	}
	if f.Account != "" {
		where, args = where+" AND account IN ('', ?)", append(args, f.Account)
	}
	if f.Folded != "" {
		where, args = where+" AND folded LIKE ? ESCAPE '!'", append(args, "%"+likeLiteral.Replace(f.Folded)+"%")
	}
	return collect(ctx, q, "SELECT used, body FROM canned WHERE "+where+" ORDER BY scope, shortcut, id LIMIT ?", append(args, f.Limit), scanCanned)
}
