package store

import (
	"context"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
)

// Webhook is one subscription. The secrets are sealed.
type Webhook struct {
	ID, Name, URL     string
	Kinds, Accounts   []string
	Secret, OldSecret []byte
	OldUntilMS        int64
	Paused            bool
	CreatedBy         string
	CreatedMS         int64
	Revision          int64
	OpenUntilMS       int64
	LastSuccessMS     int64
	LastFailure       string
	// Pending and Dead are counted when webhooks are listed.
	Pending, Dead int64
}

// States of a delivery, as WebhookDeliveryState.
const (
	DeliveryPending   = 1
	DeliveryDelivered = 2
	DeliveryDead      = 3
)

// Delivery is one event on its way to one subscription.
type Delivery struct {
	ID, Webhook   string
	Stream        string
	Seq           uint64
	Kind, Account string
	State         int
	Attempts      int
	CreatedMS     int64
	NextMS        int64
	Status        int
	Failure       string
	EndedMS       int64
}

const webhookColumns = "id, name, url, kinds, accounts, secret, old_secret, old_until_ms, paused, created_by, created_ms, revision, open_until_ms, last_success_ms, last_failure"

func webhooks(ctx context.Context, q sqldb.Querier, rest string, args ...any) ([]*Webhook, error) {
	var out []*Webhook
	query := "SELECT " + webhookColumns + `,
		(SELECT COUNT(*) FROM webhook_deliveries d WHERE d.webhook = webhooks.id AND d.state = 1),
		(SELECT COUNT(*) FROM webhook_deliveries d WHERE d.webhook = webhooks.id AND d.state = 3) FROM webhooks ` + rest
	err := q.Each(ctx, query, args, func(row sqldb.Scanner) error {
		w, kinds, accounts, paused := &Webhook{}, "", "", 0
		err := row.Scan(&w.ID, &w.Name, &w.URL, &kinds, &accounts, &w.Secret, &w.OldSecret, &w.OldUntilMS, &paused, &w.CreatedBy, &w.CreatedMS,
			&w.Revision, &w.OpenUntilMS, &w.LastSuccessMS, &w.LastFailure, &w.Pending, &w.Dead)
		if err != nil {
			return err
		}
		w.Paused = paused != 0
		if w.Kinds, err = unlist[string](kinds); err != nil {
			return err
		}
		w.Accounts, err = unlist[string](accounts)
		out = append(out, w)
		return err
	})
	return out, err
}

// Webhooks returns all subscriptions, newest first.
func (s *Store) Webhooks(ctx context.Context) ([]*Webhook, error) {
	db, err := s.get()
	if err != nil {
		return nil, err
	}
	return webhooks(ctx, db.Querier, "ORDER BY created_ms DESC, id")
}

// Webhook returns one subscription, or NotFound.
func (s *Store) Webhook(ctx context.Context, id string) (*Webhook, error) {
	db, err := s.get()
	if err != nil {
		return nil, err
	}
	return oneWebhook(ctx, db.Querier, "WHERE id = ?", id)
}

func oneWebhook(ctx context.Context, q sqldb.Querier, rest string, args ...any) (*Webhook, error) {
	found, err := webhooks(ctx, q, rest, args...)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fault.New(fault.NotFound, "id: no such subscription")
	}
	return found[0], nil
}

// AddWebhook adds a subscription that has read each stream up to a position. Exhausted when there are limit already.
func (s *Store) AddWebhook(ctx context.Context, w *Webhook, cursors map[string]uint64, limit int) error {
	w.Revision = 1
	return s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var n int
		if err := tx.Row(ctx, "SELECT COUNT(*) FROM webhooks", nil, &n); err != nil {
			return err
		}
		if n >= limit {
			return fault.Errorf(fault.Exhausted, "there are %d subscriptions, which is as many as there may be", n)
		}
		_, err := tx.Exec(ctx, "INSERT INTO webhooks ("+webhookColumns+", lease_owner, lease_until_ms) VALUES ("+sqldb.In(17)+")", w.ID, w.Name, w.URL,
			list(w.Kinds), list(w.Accounts), w.Secret, w.OldSecret, w.OldUntilMS, truth(w.Paused), w.CreatedBy, w.CreatedMS, w.Revision, 0, 0, "", "", 0)
		if err != nil {
			return err
		}
		for stream, seq := range cursors {
			if _, err := tx.Exec(ctx, "INSERT INTO webhook_cursors (webhook, stream, seq) VALUES (?, ?, ?)", w.ID, stream, int64(seq)); err != nil {
				return err
			}
		}
		return nil
	})
}

// ChangeWebhook reads a subscription, lets change work on it and stores the result.
func (s *Store) ChangeWebhook(ctx context.Context, id string, change func(*Webhook) error) (before, after *Webhook, err error) {
	err = s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		if after, err = oneWebhook(ctx, tx.Querier, "WHERE id = ?"+tx.ForUpdate(), id); err != nil {
			return err
		}
		old := *after
		before = &old
		if err := change(after); err != nil {
			return err
		}
		after.Revision++
		_, err = tx.Exec(ctx, `UPDATE webhooks SET name = ?, url = ?, kinds = ?, accounts = ?, secret = ?, old_secret = ?, old_until_ms = ?, paused = ?,
			open_until_ms = ?, revision = ? WHERE id = ?`, after.Name, after.URL, list(after.Kinds), list(after.Accounts), after.Secret, after.OldSecret,
			after.OldUntilMS, truth(after.Paused), after.OpenUntilMS, after.Revision, id)
		return err
	})
	return before, after, err
}

// DeleteWebhook removes a subscription with its deliveries.
func (s *Store) DeleteWebhook(ctx context.Context, id string) error {
	db, err := s.get()
	if err != nil {
		return err
	}
	n, err := db.Exec(ctx, "DELETE FROM webhooks WHERE id = ?", id)
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "id: no such subscription")
	}
	return err
}

// LeaseWebhook makes a process the one that serves a subscription until untilMS; false when another one does.
func (s *Store) LeaseWebhook(ctx context.Context, id, owner string, nowMS, untilMS int64) (bool, error) {
	db, err := s.get()
	if err != nil {
		return false, err
	}
	n, err := db.Exec(ctx, "UPDATE webhooks SET lease_owner = ?, lease_until_ms = ? WHERE id = ? AND (lease_owner = ? OR lease_until_ms <= ?)",
		owner, untilMS, id, owner, nowMS)
	return n == 1, err
}

// ReleaseWebhook gives a lease back.
func (s *Store) ReleaseWebhook(ctx context.Context, id, owner string) error {
	db, err := s.get()
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, "UPDATE webhooks SET lease_until_ms = 0 WHERE id = ? AND lease_owner = ?", id, owner)
	return err
}

// Cursors returns how far a subscription has read, by stream.
func (s *Store) Cursors(ctx context.Context, webhook string) (map[string]uint64, error) {
	db, err := s.get()
	if err != nil {
		return nil, err
	}
	out := map[string]uint64{}
	err = db.Each(ctx, "SELECT stream, seq FROM webhook_cursors WHERE webhook = ?", []any{webhook}, func(row sqldb.Scanner) error {
		var stream string
		var seq int64
		err := row.Scan(&stream, &seq)
		out[stream] = uint64(seq)
		return err
	})
	return out, err
}

// Progress is what a round of deliveries changed.
type Progress struct {
	Webhook string
	// Stream and Seq move the cursor; no stream leaves it.
	Stream string
	Seq    uint64
	// Deliveries are added or replaced.
	Deliveries []*Delivery
	// SuccessMS and Failure are the newest outcome of their kind; zero and empty for none.
	SuccessMS int64
	Failure   string
	// OpenUntilMS is the end of a break after failures; zero for none.
	OpenUntilMS int64
}

// SaveProgress stores what a round changed, all or nothing.
func (s *Store) SaveProgress(ctx context.Context, p Progress) error {
	return s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if p.Stream != "" {
			_, err := tx.Exec(ctx, `INSERT INTO webhook_cursors (webhook, stream, seq) VALUES (?, ?, ?)
				ON CONFLICT (webhook, stream) DO UPDATE SET seq = excluded.seq`, p.Webhook, p.Stream, int64(p.Seq))
			if err != nil {
				return err
			}
		}
		for _, d := range p.Deliveries {
			_, err := tx.Exec(ctx, "INSERT INTO webhook_deliveries ("+deliveryColumns+") VALUES ("+sqldb.In(13)+`)
				ON CONFLICT (id) DO UPDATE SET state = excluded.state, attempts = excluded.attempts, next_ms = excluded.next_ms,
				status = excluded.status, failure = excluded.failure, ended_ms = excluded.ended_ms`,
				d.ID, d.Webhook, d.Stream, int64(d.Seq), d.Kind, d.Account, d.State, d.Attempts, d.CreatedMS, d.NextMS, d.Status, d.Failure, d.EndedMS)
			if err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `UPDATE webhooks SET open_until_ms = ?, last_success_ms = CASE WHEN ? > 0 THEN ? ELSE last_success_ms END,
			last_failure = CASE WHEN ? <> '' THEN ? WHEN ? > 0 THEN '' ELSE last_failure END WHERE id = ?`,
			p.OpenUntilMS, p.SuccessMS, p.SuccessMS, p.Failure, p.Failure, p.SuccessMS, p.Webhook)
		return err
	})
}

const deliveryColumns = "id, webhook, stream, seq, kind, account, state, attempts, created_ms, next_ms, status, failure, ended_ms"

func deliveries(ctx context.Context, q sqldb.Querier, rest string, args ...any) ([]*Delivery, error) {
	var out []*Delivery
	err := q.Each(ctx, "SELECT "+deliveryColumns+" FROM webhook_deliveries "+rest, args, func(row sqldb.Scanner) error {
		d, seq := &Delivery{}, int64(0)
		out = append(out, d)
		err := row.Scan(&d.ID, &d.Webhook, &d.Stream, &seq, &d.Kind, &d.Account, &d.State, &d.Attempts, &d.CreatedMS, &d.NextMS, &d.Status, &d.Failure, &d.EndedMS)
		d.Seq = uint64(seq)
		return err
	})
	return out, err
}

// DueDeliveries returns deliveries whose time has come, the longest waiting first.
func (s *Store) DueDeliveries(ctx context.Context, webhook string, nowMS int64, limit int) ([]*Delivery, error) {
	db, err := s.get()
	if err != nil {
		return nil, err
	}
	return deliveries(ctx, db.Querier, "WHERE webhook = ? AND state = 1 AND next_ms <= ? ORDER BY next_ms, id LIMIT ?", webhook, nowMS, limit)
}

// Deliveries returns deliveries of a subscription, newest first; every state when state is zero. before is the last one
// seen.
func (s *Store) Deliveries(ctx context.Context, webhook string, state int, before string, limit int) ([]*Delivery, error) {
	db, err := s.get()
	if err != nil {
		return nil, err
	}
	return deliveries(ctx, db.Querier, `WHERE webhook = ? AND (? = 0 OR state = ?) AND (? = '' OR (created_ms, id) <
		(SELECT created_ms, id FROM webhook_deliveries WHERE id = ?)) ORDER BY created_ms DESC, id DESC LIMIT ?`,
		webhook, state, state, before, before, limit)
}

// RetryDeliveries makes deliveries due now, with all their tries ahead of them; all dead ones when ids is empty.
func (s *Store) RetryDeliveries(ctx context.Context, webhook string, ids []string, nowMS int64) (int64, error) {
	db, err := s.get()
	if err != nil {
		return 0, err
	}
	query := "UPDATE webhook_deliveries SET state = 1, attempts = 0, next_ms = ?, ended_ms = 0 WHERE webhook = ? AND "
	args := []any{nowMS, webhook}
	if len(ids) == 0 {
		return db.Exec(ctx, query+"state = 3", args...)
	}
	for _, id := range ids {
		args = append(args, id)
	}
	return db.Exec(ctx, query+"state <> 2 AND id IN ("+sqldb.In(len(ids))+")", args...)
}

// PruneDeliveries removes what was delivered or given up before a time.
func (s *Store) PruneDeliveries(ctx context.Context, deliveredMS, deadMS int64) error {
	db, err := s.get()
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, "DELETE FROM webhook_deliveries WHERE (state = 2 AND ended_ms < ?) OR (state = 3 AND ended_ms < ?)", deliveredMS, deadMS)
	return err
}
