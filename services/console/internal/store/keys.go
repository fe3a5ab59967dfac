package store

import (
	"context"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
)

// Key is one API key. Hash is SHA-256 of its secret part.
type Key struct {
	ID         string
	Hash       []byte
	Name       string
	Scopes     []string
	Accounts   []string
	CreatedBy  string
	CreatedMS  int64
	ExpiresMS  int64
	RevokedMS  int64
	LastUsedMS int64
}

const keyColumns = "id, hash, name, scopes, accounts, created_by, created_ms, expires_ms, revoked_ms, last_used_ms"

// AddKey stores a key.
func (s *Store) AddKey(ctx context.Context, k *Key) error {
	db, err := s.get()
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, "INSERT INTO api_keys ("+keyColumns+") VALUES ("+sqldb.In(10)+")", k.ID, k.Hash, k.Name, list(k.Scopes), list(k.Accounts),
		k.CreatedBy, k.CreatedMS, k.ExpiresMS, k.RevokedMS, k.LastUsedMS)
	return err
}

// Keys returns all keys, newest first.
func (s *Store) Keys(ctx context.Context) ([]*Key, error) {
	db, err := s.get()
	if err != nil {
		return nil, err
	}
	return keys(ctx, db.Querier, "ORDER BY created_ms DESC, id")
}

// Key returns one key, revoked and expired ones included, or NotFound.
func (s *Store) Key(ctx context.Context, id string) (*Key, error) {
	db, err := s.get()
	if err != nil {
		return nil, err
	}
	return oneKey(ctx, db.Querier, id)
}

func oneKey(ctx context.Context, q sqldb.Querier, id string) (*Key, error) {
	found, err := keys(ctx, q, "WHERE id = ?", id)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fault.New(fault.NotFound, "id: no such key")
	}
	return found[0], nil
}

func keys(ctx context.Context, q sqldb.Querier, rest string, args ...any) ([]*Key, error) {
	var out []*Key
	err := q.Each(ctx, "SELECT "+keyColumns+" FROM api_keys "+rest, args, func(row sqldb.Scanner) error {
		k, scopes, accounts := &Key{}, "", ""
		err := row.Scan(&k.ID, &k.Hash, &k.Name, &scopes, &accounts, &k.CreatedBy, &k.CreatedMS, &k.ExpiresMS, &k.RevokedMS, &k.LastUsedMS)
		if err != nil {
			return err
		}
		if k.Scopes, err = unlist[string](scopes); err != nil {
			return err
		}
		k.Accounts, err = unlist[string](accounts)
		out = append(out, k)
		return err
	})
	return out, err
}

// RevokeKey ends a key; the first time counts. NotFound when there is none.
func (s *Store) RevokeKey(ctx context.Context, id string, nowMS int64) (*Key, error) {
	var k *Key
	err := s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE api_keys SET revoked_ms = ? WHERE id = ? AND revoked_ms = 0", nowMS, id); err != nil {
			return err
		}
		var err error
		k, err = oneKey(ctx, tx.Querier, id)
		return err
	})
	return k, err
}

// UseKey notes that a key was used.
func (s *Store) UseKey(ctx context.Context, id string, nowMS int64) error {
	db, err := s.get()
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, "UPDATE api_keys SET last_used_ms = ? WHERE id = ? AND last_used_ms < ?", nowMS, id, nowMS)
	return err
}
