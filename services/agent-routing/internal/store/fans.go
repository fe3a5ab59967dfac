package store

import (
	"context"

	"github.com/wxbus/wxbus/pkg/sqldb"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

const fanColumns = "account, openid, epoch, owner_kind, owner_name, owner_ms, conversation, seq, unionid, body"

func scanFan(r sqldb.Scanner) (domain.Fan, error) {
	var f domain.Fan
	var since int64
	var body string
	if err := r.Scan(&f.Account, &f.OpenID, &f.Owner.Epoch, &f.Owner.Kind, &f.Owner.Name, &since, &f.Conversation, &f.Seq, &f.UnionID, &body); err != nil {
		return domain.Fan{}, err
	}
	if err := decode(body, &f); err != nil {
		return domain.Fan{}, err
	}
	f.Owner.Since = at(since)
	return f, nil
}

type one[T any] struct {
	scan func(sqldb.Scanner) (T, error)
}

// get returns the first row of a query.
func (o one[T]) get(ctx context.Context, q Q, query string, args ...any) (T, bool, error) {
	rows, err := collect(ctx, q, query, args, o.scan)
	if err != nil || len(rows) == 0 {
		var none T
		return none, false, err
	}
	return rows[0], true, nil
}

// Fan returns a fan.
func (q Q) Fan(ctx context.Context, account, openID string) (domain.Fan, bool, error) {
	return one[domain.Fan]{scanFan}.get(ctx, q, "SELECT "+fanColumns+" FROM fans WHERE account = ? AND openid = ?", account, openID)
}

// LockFan returns a fan whom nobody else can change until the end of the transaction.
func (q Q) LockFan(ctx context.Context, account, openID string) (domain.Fan, bool, error) {
	return one[domain.Fan]{scanFan}.get(ctx, q, "SELECT "+fanColumns+" FROM fans WHERE account = ? AND openid = ?"+q.ForUpdate(), account, openID)
}

// TryLockFan is LockFan that finds nobody when another transaction holds the fan.
func (q Q) TryLockFan(ctx context.Context, account, openID string) (domain.Fan, bool, error) {
	return one[domain.Fan]{scanFan}.get(ctx, q, "SELECT "+fanColumns+" FROM fans WHERE account = ? AND openid = ?"+q.SkipLocked(), account, openID)
}

// AddFan adds a fan unless they are known.
func (q Q) AddFan(ctx context.Context, f domain.Fan) error {
	body, err := encode(f)
	if err != nil {
		return err
	}
	_, err = q.Exec(ctx, "INSERT INTO fans ("+fanColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		f.Account, f.OpenID, int64(f.Owner.Epoch), int16(f.Owner.Kind), f.Owner.Name, millis(f.Owner.Since), f.Conversation, int64(f.Seq), f.UnionID, body)
	return err
}

// SaveFan stores a locked fan.
func (q Q) SaveFan(ctx context.Context, f domain.Fan) error {
	body, err := encode(f)
	if err != nil {
		return err
	}
	_, err = q.Exec(ctx, "UPDATE fans SET epoch = ?, owner_kind = ?, owner_name = ?, owner_ms = ?, conversation = ?, seq = ?, unionid = ?, body = ? WHERE account = ? AND openid = ?",
		int64(f.Owner.Epoch), int16(f.Owner.Kind), f.Owner.Name, millis(f.Owner.Since), f.Conversation, int64(f.Seq), f.UnionID, body, f.Account, f.OpenID)
	return err
}

// Linked returns the fans with a unionid, at most 50.
func (q Q) Linked(ctx context.Context, unionID string) ([]domain.Fan, error) {
	if unionID == "" {
		return nil, nil
	}
	return collect(ctx, q, "SELECT "+fanColumns+" FROM fans WHERE unionid = ? ORDER BY account, openid LIMIT 50", []any{unionID}, scanFan)
}

// OwnedBy counts fans by the kind of their owner.
func (q Q) OwnedBy(ctx context.Context, kind domain.Kind) (int64, error) {
	var n int64
	err := q.Row(ctx, "SELECT COUNT(*) FROM fans WHERE owner_kind = ?", []any{int16(kind)}, &n)
	return n, err
}

// FansOf returns the fans of conversations by account and openid.
func (q Q) FansOf(ctx context.Context, conversations []domain.Conversation) (map[[2]string]domain.Fan, error) {
	byAccount := map[string][]any{}
	seen := map[[2]string]bool{}
	for _, c := range conversations {
		if key := [2]string{c.Account, c.OpenID}; !seen[key] {
			seen[key] = true
			byAccount[c.Account] = append(byAccount[c.Account], c.OpenID)
		}
	}
	out := map[[2]string]domain.Fan{}
	for account, ids := range byAccount {
		found, err := collect(ctx, q, "SELECT "+fanColumns+" FROM fans WHERE account = ? AND openid IN ("+sqldb.In(len(ids))+")", append([]any{account}, ids...), scanFan)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			out[[2]string{f.Account, f.OpenID}] = f
		}
	}
	return out, nil
}
