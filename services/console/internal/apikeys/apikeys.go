// Package apikeys makes and ends the keys of business systems.
package apikeys

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/console/internal/access"
	"github.com/wxbus/wxbus/services/console/internal/audit"
	"github.com/wxbus/wxbus/services/console/internal/people"
	"github.com/wxbus/wxbus/services/console/internal/policy"
	"github.com/wxbus/wxbus/services/console/internal/store"
)

const maxName = 64

// Service keeps keys. It is safe for concurrent use.
type Service struct {
	store *store.Store
	now   func() time.Time
}

// New returns a service.
func New(s *store.Store, now func() time.Time) *Service { return &Service{store: s, now: now} }

// Wish is what a new key shall be.
type Wish struct {
	Name             string
	Scopes, Accounts []string
	ExpiresMS        int64 // zero for never
}

// Create makes a key and returns it with its secret, which nobody can read again.
func (s *Service) Create(ctx context.Context, w Wish, by string) (*store.Key, string, error) {
	w.Name = strings.TrimSpace(w.Name)
	now := s.now().UnixMilli()
	switch n := utf8.RuneCountInString(w.Name); {
	case n == 0 || n > maxName:
		return nil, "", fault.Errorf(fault.Invalid, "name: must have 1 to %d characters", maxName)
	case len(w.Scopes) == 0:
		return nil, "", fault.New(fault.Invalid, "scopes: must name at least one scope")
	case w.ExpiresMS != 0 && w.ExpiresMS <= now:
		return nil, "", fault.New(fault.Invalid, "expires_unix_ms: must be in the future")
	}
	for _, scope := range w.Scopes {
		if !policy.IsScope(scope) {
			return nil, "", fault.Errorf(fault.Invalid, "scopes: there is no scope %q", scope)
		}
	}
	slices.Sort(w.Scopes)
	slices.Sort(w.Accounts)
	if err := people.CheckAccounts(w.Accounts); err != nil {
		return nil, "", err
	}
	id, secret, hash := access.NewKey()
	k := &store.Key{
		ID: id, Hash: hash, Name: w.Name, Scopes: slices.Compact(w.Scopes), Accounts: slices.Compact(w.Accounts),
		CreatedBy: by, CreatedMS: now, ExpiresMS: w.ExpiresMS,
	}
	if err := s.store.AddKey(ctx, k); err != nil {
		return nil, "", err
	}
	audit.Changed(ctx, nil, Public(k))
	return k, secret, nil
}

// Revoke ends a key.
func (s *Service) Revoke(ctx context.Context, id string) (*store.Key, error) {
	k, err := s.store.RevokeKey(ctx, id, s.now().UnixMilli())
	if err != nil {
		return nil, err
	}
	audit.Changed(ctx, nil, Public(k))
	return k, nil
}

// Public is a key without its hash.
func Public(k *store.Key) *consolev1.ApiKey {
	return &consolev1.ApiKey{
		Id: k.ID, Name: k.Name, Scopes: k.Scopes, Accounts: k.Accounts, CreatedBy: k.CreatedBy, CreatedUnixMs: k.CreatedMS,
		ExpiresUnixMs: k.ExpiresMS, RevokedUnixMs: k.RevokedMS, LastUsedUnixMs: k.LastUsedMS,
	}
}
