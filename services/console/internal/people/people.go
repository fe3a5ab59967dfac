// Package people keeps users: who they are, what they may do, and their first passwords.
package people

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/console/internal/audit"
	"github.com/wxbus/wxbus/services/console/internal/password"
	"github.com/wxbus/wxbus/services/console/internal/store"
)

const (
	maxDisplayName = 64
	maxAccounts    = 500
)

// EveryAccount in a list of accounts stands for all.
const EveryAccount = "*"

// AllRoles is every role there is.
var AllRoles = []consolev1.Role{consolev1.Role_ROLE_AGENT, consolev1.Role_ROLE_SUPERVISOR, consolev1.Role_ROLE_OPERATOR, consolev1.Role_ROLE_ADMIN}

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// Service keeps users. It is safe for concurrent use.
type Service struct {
	store  *store.Store
	hasher *password.Hasher
	now    func() time.Time
}

// New returns a service.
func New(s *store.Store, h *password.Hasher, now func() time.Time) *Service {
	return &Service{store: s, hasher: h, now: now}
}

// Profile is what may be said about a user.
type Profile struct {
	Name, DisplayName string
	Roles             []consolev1.Role
	Accounts          []string
}

// check cleans a profile up and says what is wrong with it.
func (p *Profile) check() error {
	p.DisplayName = strings.TrimSpace(p.DisplayName)
	if p.DisplayName == "" {
		p.DisplayName = p.Name
	}
	bad := func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }
	slices.Sort(p.Roles)
	p.Roles = slices.Compact(p.Roles)
	slices.Sort(p.Accounts)
	p.Accounts = slices.Compact(p.Accounts)
	switch {
	case !namePattern.MatchString(p.Name):
		return fault.New(fault.Invalid, "name: must be 1 to 64 of a-z, 0-9, dot, dash and underscore, and begin with a letter or a digit")
	case p.Name == "local":
		return fault.New(fault.Invalid, "name: is reserved for programs on this machine")
	case utf8.RuneCountInString(p.DisplayName) > maxDisplayName, strings.ContainsFunc(p.DisplayName, bad):
		return fault.Errorf(fault.Invalid, "display_name: must be at most %d printable characters", maxDisplayName)
	case len(p.Roles) == 0:
		return fault.New(fault.Invalid, "roles: must name at least one role")
	}
	for _, r := range p.Roles {
		if !slices.Contains(AllRoles, r) {
			return fault.New(fault.Invalid, "roles: there is no such role")
		}
	}
	return CheckAccounts(p.Accounts)
}

// CheckAccounts says what is wrong with a list of accounts. An account that is not configured yet is fine.
func CheckAccounts(accounts []string) error {
	switch {
	case len(accounts) == 0:
		return fault.New(fault.Invalid, `accounts: must name at least one account, or "*"`)
	case len(accounts) > maxAccounts:
		return fault.Errorf(fault.Invalid, "accounts: must name at most %d accounts", maxAccounts)
	}
	for _, a := range accounts {
		if a != EveryAccount && topology.CheckToken("accounts", a) != nil {
			return fault.Errorf(fault.Invalid, "accounts: %q cannot be the name of an account", a)
		}
	}
	return nil
}

// Create adds a user. Without a password it makes one, which must be changed at the first log-in, and returns it.
func (s *Service) Create(ctx context.Context, p Profile, secret string) (u *store.User, made string, err error) {
	u, made, err = s.prepare(ctx, p, secret)
	if err != nil {
		return nil, "", err
	}
	if err := s.store.AddUser(ctx, u); err != nil {
		return nil, "", err
	}
	audit.Changed(ctx, nil, Public(u))
	return u, made, nil
}

// CreateFirst adds a user when there is nobody at all. Otherwise it returns nil and an empty password.
func (s *Service) CreateFirst(ctx context.Context, p Profile, secret string) (u *store.User, made string, err error) {
	u, made, err = s.prepare(ctx, p, secret)
	if err != nil {
		return nil, "", err
	}
	added, err := s.store.AddFirstUser(ctx, u)
	if err != nil || !added {
		return nil, "", err
	}
	return u, made, nil
}

func (s *Service) prepare(ctx context.Context, p Profile, secret string) (u *store.User, made string, err error) {
	if err := p.check(); err != nil {
		return nil, "", err
	}
	if secret == "" {
		made = password.Generate()
		secret = made
	} else if err := password.Check(secret); err != nil {
		return nil, "", fault.Errorf(fault.Invalid, "password: %w", err)
	}
	hash, err := s.hasher.Hash(ctx, secret)
	if err != nil {
		return nil, "", err
	}
	return &store.User{
		Name: p.Name, DisplayName: p.DisplayName, Roles: p.Roles, Accounts: p.Accounts, PasswordHash: hash,
		MustChange: made != "", CreatedMS: s.now().UnixMilli(),
	}, made, nil
}

// External returns the user whom an identity provider knows, with the roles and accounts that it says. A new one
// is added under the name, or under the name with a number when that is taken.
func (s *Service) External(ctx context.Context, issuer, subject string, p Profile) (*store.User, error) {
	known, err := s.store.UserByIdentity(ctx, issuer, subject)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return nil, err
	}
	if known != nil {
		p.Name = known.Name
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	if known != nil {
		_, after, err := s.store.ChangeUser(ctx, known.Name, func(u *store.User) (bool, error) {
			u.DisplayName, u.Roles, u.Accounts = p.DisplayName, p.Roles, p.Accounts
			return false, nil
		})
		return after, err
	}
	u := &store.User{DisplayName: p.DisplayName, Roles: p.Roles, Accounts: p.Accounts, Issuer: issuer, Subject: subject, CreatedMS: s.now().UnixMilli()}
	for _, suffix := range []string{"", "-2", "-3", "-4", "-5", "-6", "-7", "-8", "-9"} {
		u.Name = p.Name + suffix
		err := s.store.AddUser(ctx, u)
		if err == nil {
			return u, nil
		}
		if fault.KindOf(err) != fault.Conflict {
			return nil, err
		}
	}
	return nil, fault.New(fault.Conflict, "name: is taken by too many others")
}

// Update changes what a user is called and may do.
func (s *Service) Update(ctx context.Context, p Profile, revision int64) (*store.User, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	return s.change(ctx, p.Name, func(u *store.User) (bool, error) {
		if u.Revision != revision {
			return false, store.ErrStale
		}
		// Who loses a role or an account keeps the session: every request looks at the row.
		u.DisplayName, u.Roles, u.Accounts = p.DisplayName, p.Roles, p.Accounts
		return false, nil
	})
}

// Disable stops log-ins of a user and ends the sessions, or allows log-ins again.
func (s *Service) Disable(ctx context.Context, name string, disabled bool) (*store.User, error) {
	return s.change(ctx, name, func(u *store.User) (bool, error) {
		u.Disabled = disabled
		return disabled, nil
	})
}

// ResetPassword makes a new password for a user, which must be changed at the next log-in, and ends the sessions.
func (s *Service) ResetPassword(ctx context.Context, name string) (string, error) {
	made := password.Generate()
	hash, err := s.hasher.Hash(ctx, made)
	if err != nil {
		return "", err
	}
	_, err = s.change(ctx, name, func(u *store.User) (bool, error) {
		if u.Issuer != "" {
			return false, fault.New(fault.Refused, "name: the identity provider keeps the password of this user")
		}
		u.PasswordHash, u.MustChange = hash, true
		return true, nil
	})
	if err != nil {
		return "", err
	}
	return made, s.store.ForgiveAttempt(ctx, "user:"+name, true)
}

func (s *Service) change(ctx context.Context, name string, change func(*store.User) (bool, error)) (*store.User, error) {
	before, after, err := s.store.ChangeUser(ctx, name, change)
	if err != nil {
		return nil, err
	}
	audit.Changed(ctx, Public(before), Public(after))
	return after, nil
}

// Public is a user as others see them.
func Public(u *store.User) *consolev1.User {
	return &consolev1.User{
		Name: u.Name, DisplayName: u.DisplayName, Roles: u.Roles, Accounts: u.Accounts, Disabled: u.Disabled, External: u.Issuer != "",
		CreatedUnixMs: u.CreatedMS, LastLogInUnixMs: u.LastLogInMS, Revision: u.Revision,
	}
}
