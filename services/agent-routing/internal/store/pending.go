package store

import (
	"context"
	"time"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/sqldb"
)

// Pending is an erasure that was asked for and is not done. It keeps what the tables do not tell any more once they
// are erased.
type Pending struct {
	Account, OpenID string
	Actor, Reason   string
	Since           time.Time
	// Next is when it is tried again, by whichever replica comes first.
	Next    time.Time
	Tries   int
	Problem string
	// Conversations and Files are still to be erased outside of the database.
	Conversations, Files []string
	Items                []PendingItem
}

// PendingItem counts what was erased in one place so far.
type PendingItem struct {
	Place  string
	Erased int64
}

// Add counts what one try erased.
func (p *Pending) Add(place string, erased int64) {
	for i := range p.Items {
		if p.Items[i].Place == place {
			p.Items[i].Erased += erased
			return
		}
	}
	p.Items = append(p.Items, PendingItem{place, erased})
}

// AddPending stores an erasure unless one of the fan is pending already.
func (q Q) AddPending(ctx context.Context, p Pending) error {
	body, err := encode(p)
	if err != nil {
		return err
	}
	_, err = q.Exec(ctx, "INSERT INTO pending_erasures (account, openid, since_ms, next_ms, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		p.Account, p.OpenID, millis(p.Since), millis(p.Next), body)
	return err
}

// Pending returns the erasure of a fan.
func (q Q) Pending(ctx context.Context, account, openID string) (Pending, bool, error) {
	return one[Pending]{scanPending}.get(ctx, q, "SELECT next_ms, body FROM pending_erasures WHERE account = ? AND openid = ?", account, openID)
}

// SavePending changes an erasure that is still pending.
func (q Q) SavePending(ctx context.Context, p Pending) error {
	body, err := encode(p)
	if err != nil {
		return err
	}
	_, err = q.Exec(ctx, "UPDATE pending_erasures SET next_ms = ?, body = ? WHERE account = ? AND openid = ?", millis(p.Next), body, p.Account, p.OpenID)
	return err
}

// ClaimPending puts the next try of an erasure off; false when another replica did.
func (q Q) ClaimPending(ctx context.Context, p Pending, next time.Time) (bool, error) {
	n, err := q.Exec(ctx, "UPDATE pending_erasures SET next_ms = ? WHERE account = ? AND openid = ? AND next_ms = ?", millis(next), p.Account, p.OpenID, millis(p.Next))
	return n == 1, err
}

// EndPending removes an erasure that is done.
func (q Q) EndPending(ctx context.Context, account, openID string) error {
	_, err := q.Exec(ctx, "DELETE FROM pending_erasures WHERE account = ? AND openid = ?", account, openID)
	return err
}

// PendingDue returns erasures whose next try has come.
func (q Q) PendingDue(ctx context.Context, now time.Time, limit int) ([]Pending, error) {
	return collect(ctx, q, "SELECT next_ms, body FROM pending_erasures WHERE next_ms <= ? ORDER BY next_ms LIMIT ?", []any{millis(now), limit}, scanPending)
}

// ListPending returns erasures that are pending, oldest first; of every account when it is empty.
func (q Q) ListPending(ctx context.Context, account string, limit int) ([]Pending, error) {
	where, args := "1 = 1", []any(nil)
	if account != "" {
		where, args = "account = ?", []any{account}
	}
	return collect(ctx, q, "SELECT next_ms, body FROM pending_erasures WHERE "+where+" ORDER BY since_ms, account, openid LIMIT ?", append(args, limit), scanPending)
}

func scanPending(r sqldb.Scanner) (Pending, error) {
	var p Pending
	var next int64
	var body string
	if err := r.Scan(&next, &body); err != nil {
		return p, err
	}
	err := decode(body, &p)
	p.Next = at(next)
	return p, err
}

// Proof returns the items so far, with nothing left.
func (p *Pending) Proof() []*agentroutingv1.ErasedItem {
	var out []*agentroutingv1.ErasedItem
	for _, it := range p.Items {
		out = append(out, &agentroutingv1.ErasedItem{Place: it.Place, Erased: it.Erased})
	}
	return out
}
