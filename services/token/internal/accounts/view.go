package accounts

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/account/vault"
	"github.com/wxbus/wxbus/pkg/secret"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

// Get returns one account without its secrets, as the bucket has it now.
func (s *Store) Get(ctx context.Context, name string) (*tokenv1.Account, error) {
	if a, ok := s.Dir.Get(name); ok && a.FromFile() {
		return s.fileView(a), nil
	}
	k, err := s.load(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.view(k), nil
}

// List returns a page of accounts by name.
func (s *Store) List(req *tokenv1.ListAccountsRequest) *tokenv1.ListAccountsResponse {
	names := s.names(req.GetFilter())
	out := &tokenv1.ListAccountsResponse{Total: uint32(len(names))}
	from, found := slices.BinarySearch(names, req.GetPageToken())
	if found {
		from++
	}
	size := int(req.GetPageSize())
	if size == 0 {
		size = defaultPage
	}
	page := names[from:min(len(names), from+min(size, maxPage))]
	for _, name := range page {
		if a, ok := s.one(name); ok {
			out.Accounts = append(out.Accounts, a)
		}
	}
	if len(page) > 0 && from+len(page) < len(names) {
		out.NextPageToken = page[len(page)-1]
	}
	return out
}

func (s *Store) one(name string) (*tokenv1.Account, bool) {
	if a, ok := s.Dir.Get(name); ok && a.FromFile() {
		return s.fileView(a), true
	}
	k, ok := s.seen(name)
	if !ok {
		return nil, false
	}
	return s.view(k), true
}

// names returns the sorted names of the accounts that the filter keeps.
func (s *Store) names(filter string) []string {
	found := map[string]bool{}
	keeps := func(texts ...string) bool {
		return slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(t, filter) })
	}
	for _, a := range s.Dir.All() {
		if a.FromFile() && keeps(a.Name, a.AppID, a.OriginalID) {
			found[a.Name] = true
		}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for name, k := range s.records {
		if set := k.rec.GetSettings(); k.rec != nil && keeps(name, set.GetAppid(), set.GetOriginalId()) {
			found[name] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func (s *Store) view(k kept) *tokenv1.Account {
	a := vault.Account(k.rec, k.revision)
	v := s.secretsOf(a)
	v.Settings = proto.CloneOf(k.rec.GetSettings())
	v.Source, v.Revision = tokenv1.AccountSource_ACCOUNT_SOURCE_API, k.revision
	v.CreatedAt, v.CreatedBy = timestamp(k.rec.GetCreatedUnixMs()), k.rec.GetCreatedBy()
	v.UpdatedAt, v.UpdatedBy = timestamp(k.rec.GetUpdatedUnixMs()), k.rec.GetUpdatedBy()
	v.PreviousUntil = timestamp(k.rec.GetPreviousUntilUnixMs())
	if err := s.Dir.Problem(a.Name); err != nil {
		v.Problem = err.Error()
	}
	return v
}

func (s *Store) fileView(a account.Account) *tokenv1.Account {
	v := s.secretsOf(a)
	v.Settings, v.Source = vault.Settings(a), tokenv1.AccountSource_ACCOUNT_SOURCE_FILE
	return v
}

func (s *Store) secretsOf(a account.Account) *tokenv1.Account {
	state := func(v secret.Value) *tokenv1.SecretState {
		return &tokenv1.SecretState{Set: !v.IsZero(), Fingerprint: s.Sealer.Fingerprint(v)}
	}
	return &tokenv1.Account{
		Disabled: a.Disabled, DisabledReason: a.DisabledReason,
		Token: state(a.Token), EncodingAesKey: state(a.EncodingAESKey), AppSecret: state(a.AppSecret),
		PreviousToken: state(a.PreviousToken), PreviousEncodingAesKey: state(a.PreviousEncodingAESKey),
	}
}

func timestamp(ms int64) *timestamppb.Timestamp {
	if ms == 0 {
		return nil
	}
	return timestamppb.New(time.UnixMilli(ms))
}
