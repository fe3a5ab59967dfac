package store

import (
	"context"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
)

// Session is one log-in. Hash is SHA-256 of the secret in the cookie; ID is its public name.
type Session struct {
	Hash      []byte
	ID        string
	User      string
	CreatedMS int64
	SeenMS    int64
	ExpiresMS int64
	Address   string
	Agent     string
}

const sessionColumns = "hash, id, user_name, created_ms, seen_ms, expires_ms, address, agent"

func (x *Session) fields() []any {
	return []any{&x.Hash, &x.ID, &x.User, &x.CreatedMS, &x.SeenMS, &x.ExpiresMS, &x.Address, &x.Agent}
}

// OpenSession stores a session, notes the log-in, ends the session with the hash replaces, and keeps at most
// limit sessions of the user: the oldest give way.
func (s *Store) OpenSession(ctx context.Context, x *Session, replaces []byte, limit int) error {
	return s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if len(replaces) > 0 {
			if _, err := tx.Exec(ctx, "DELETE FROM sessions WHERE hash = ?", replaces); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, "INSERT INTO sessions ("+sessionColumns+") VALUES ("+sqldb.In(8)+")",
			x.Hash, x.ID, x.User, x.CreatedMS, x.SeenMS, x.ExpiresMS, x.Address, x.Agent)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM sessions WHERE user_name = ? AND id NOT IN
			(SELECT id FROM sessions WHERE user_name = ? ORDER BY created_ms DESC, id LIMIT ?)`, x.User, x.User, limit); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "DELETE FROM sessions WHERE expires_ms < ?", x.CreatedMS); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE users SET last_log_in_ms = ? WHERE name = ?", x.CreatedMS, x.User)
		return err
	})
}

// SessionUser returns a session and its user, or NotFound.
func (s *Store) SessionUser(ctx context.Context, hash []byte) (*Session, *User, error) {
	db, err := s.get()
	if err != nil {
		return nil, nil, err
	}
	x := &Session{}
	var u *User
	err = db.Each(ctx, `SELECT u.name, u.display_name, u.roles, u.accounts, u.password_hash, u.must_change, u.disabled, u.issuer, u.subject,
		u.created_ms, u.last_log_in_ms, u.revision, s.hash, s.id, s.user_name, s.created_ms, s.seen_ms, s.expires_ms, s.address, s.agent
		FROM sessions s JOIN users u ON u.name = s.user_name WHERE s.hash = ?`, []any{hash}, func(row sqldb.Scanner) error {
		var err error
		u, err = scanUser(row, x.fields()...)
		return err
	})
	if err == nil && u == nil {
		err = fault.New(fault.NotFound, "no such session")
	}
	return x, u, err
}

// TouchSession notes that a session was used.
func (s *Store) TouchSession(ctx context.Context, hash []byte, seenMS int64) error {
	db, err := s.get()
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, "UPDATE sessions SET seen_ms = ? WHERE hash = ? AND seen_ms < ?", seenMS, hash, seenMS)
	return err
}

// Sessions returns the sessions of a user, or of everybody when user is empty, newest first, at most limit.
func (s *Store) Sessions(ctx context.Context, user string, limit int) ([]*Session, error) {
	db, err := s.get()
	if err != nil {
		return nil, err
	}
	var out []*Session
	err = db.Each(ctx, "SELECT "+sessionColumns+" FROM sessions WHERE ? = '' OR user_name = ? ORDER BY created_ms DESC, id LIMIT ?",
		[]any{user, user, limit}, func(row sqldb.Scanner) error {
			x := &Session{}
			out = append(out, x)
			return row.Scan(x.fields()...)
		})
	return out, err
}

// EndSession ends the session with a hash; it is no error when there is none.
func (s *Store) EndSession(ctx context.Context, hash []byte) error {
	db, err := s.get()
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, "DELETE FROM sessions WHERE hash = ?", hash)
	return err
}

// RevokeSession ends the session with an id, of one user or of anybody when user is empty; NotFound when there is none.
func (s *Store) RevokeSession(ctx context.Context, id, user string) error {
	db, err := s.get()
	if err != nil {
		return err
	}
	n, err := db.Exec(ctx, "DELETE FROM sessions WHERE id = ? AND (? = '' OR user_name = ?)", id, user, user)
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "id: no such session")
	}
	return err
}
