package store

import (
	"context"
	"slices"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
)

// User is one person. PasswordHash is empty for those whom an identity provider answers for; Issuer and
// Subject are set for them.
type User struct {
	Name, DisplayName string
	Roles             []consolev1.Role
	Accounts          []string
	PasswordHash      string
	MustChange        bool
	Disabled          bool
	Issuer, Subject   string
	CreatedMS         int64
	LastLogInMS       int64
	Revision          int64
}

// Is tells whether the user has a role.
func (u *User) Is(role consolev1.Role) bool { return slices.Contains(u.Roles, role) }

// Reasons of a refusal. Match with errors.Is.
var (
	// ErrTaken means that the name exists.
	ErrTaken = fault.New(fault.Conflict, "name: is taken")
	// ErrLastAdmin means that nobody could keep users any more.
	ErrLastAdmin = fault.New(fault.Refused, "roles: one administrator who can log in must remain")
	// ErrStale means that somebody else changed the thing first.
	ErrStale = fault.New(fault.Conflict, "revision: somebody else was faster; read it again")
)

const userColumns = "name, display_name, roles, accounts, password_hash, must_change, disabled, issuer, subject, created_ms, last_log_in_ms, revision"

func scanUser(row sqldb.Scanner, more ...any) (*User, error) {
	u, roles, accounts, mustChange, disabled := &User{}, "", "", 0, 0
	into := append([]any{&u.Name, &u.DisplayName, &roles, &accounts, &u.PasswordHash, &mustChange, &disabled,
		&u.Issuer, &u.Subject, &u.CreatedMS, &u.LastLogInMS, &u.Revision}, more...)
	if err := row.Scan(into...); err != nil {
		return nil, err
	}
	u.MustChange, u.Disabled = mustChange != 0, disabled != 0
	var err error
	if u.Roles, err = unlist[consolev1.Role](roles); err != nil {
		return nil, err
	}
	u.Accounts, err = unlist[string](accounts)
	return u, err
}

// Users returns everybody by name.
func (s *Store) Users(ctx context.Context) ([]*User, error) {
	db, err := s.get()
	if err != nil {
		return nil, err
	}
	return users(ctx, db.Querier, "ORDER BY name")
}

func users(ctx context.Context, q sqldb.Querier, rest string, args ...any) ([]*User, error) {
	var out []*User
	err := q.Each(ctx, "SELECT "+userColumns+" FROM users "+rest, args, func(row sqldb.Scanner) error {
		u, err := scanUser(row)
		out = append(out, u)
		return err
	})
	return out, err
}

func oneUser(ctx context.Context, q sqldb.Querier, rest string, args ...any) (*User, error) {
	found, err := users(ctx, q, rest, args...)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fault.New(fault.NotFound, "name: no such user")
	}
	return found[0], nil
}

// User returns one person, or NotFound.
func (s *Store) User(ctx context.Context, name string) (*User, error) {
	db, err := s.get()
	if err != nil {
		return nil, err
	}
	return oneUser(ctx, db.Querier, "WHERE name = ?", name)
}

// UserByIdentity returns the person whom an identity provider knows as subject, or NotFound.
func (s *Store) UserByIdentity(ctx context.Context, issuer, subject string) (*User, error) {
	db, err := s.get()
	if err != nil {
		return nil, err
	}
	return oneUser(ctx, db.Querier, "WHERE issuer = ? AND subject = ? AND issuer <> ''", issuer, subject)
}

// AddUser adds a person, or fails with ErrTaken.
func (s *Store) AddUser(ctx context.Context, u *User) error {
	return s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return addUser(ctx, tx, u) })
}

func addUser(ctx context.Context, tx *sqldb.Tx, u *User) error {
	u.Revision = 1
	n, err := tx.Exec(ctx, "INSERT INTO users ("+userColumns+") VALUES ("+sqldb.In(12)+") ON CONFLICT DO NOTHING",
		u.Name, u.DisplayName, list(u.Roles), list(u.Accounts), u.PasswordHash, truth(u.MustChange), truth(u.Disabled),
		u.Issuer, u.Subject, u.CreatedMS, u.LastLogInMS, u.Revision)
	if err == nil && n == 0 {
		return ErrTaken
	}
	return err
}

// AddFirstUser adds a person when there is nobody at all, and tells whether it did. Of several processes
// at once one does.
func (s *Store) AddFirstUser(ctx context.Context, u *User) (added bool, err error) {
	err = s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		added = false
		var n int
		if err := tx.Row(ctx, "SELECT COUNT(*) FROM users", nil, &n); err != nil || n > 0 {
			return err
		}
		err := addUser(ctx, tx, u)
		if err == ErrTaken { //nolint:errorlint // returned as it is by the line above
			return nil
		}
		added = err == nil
		return err
	})
	return added, err
}

// ChangeUser reads a person, lets change work on it and stores the result, in one transaction. It fails
// with ErrLastAdmin when nobody who may keep users would be left. end tells whether all sessions end too.
func (s *Store) ChangeUser(ctx context.Context, name string, change func(*User) (end bool, err error)) (before, after *User, err error) {
	err = s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		if after, err = oneUser(ctx, tx.Querier, "WHERE name = ?"+tx.ForUpdate(), name); err != nil {
			return err
		}
		old := *after
		before = &old
		end, err := change(after)
		if err != nil {
			return err
		}
		after.Revision++
		_, err = tx.Exec(ctx, `UPDATE users SET display_name = ?, roles = ?, accounts = ?, password_hash = ?, must_change = ?, disabled = ?,
			last_log_in_ms = ?, revision = ? WHERE name = ?`, after.DisplayName, list(after.Roles), list(after.Accounts), after.PasswordHash,
			truth(after.MustChange), truth(after.Disabled), after.LastLogInMS, after.Revision, name)
		if err != nil {
			return err
		}
		if end {
			if _, err := tx.Exec(ctx, "DELETE FROM sessions WHERE user_name = ?", name); err != nil {
				return err
			}
		}
		return adminRemains(ctx, tx, before, after)
	})
	return before, after, err
}

// adminRemains looks only when an administrator was lost. It locks all rows, so that two administrators
// who remove each other at the same time do not both succeed.
func adminRemains(ctx context.Context, tx *sqldb.Tx, before, after *User) error {
	lost := before.Is(consolev1.Role_ROLE_ADMIN) && !before.Disabled && (!after.Is(consolev1.Role_ROLE_ADMIN) || after.Disabled)
	if !lost {
		return nil
	}
	all, err := users(ctx, tx.Querier, "ORDER BY name"+tx.ForUpdate())
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(u *User) bool { return u.Is(consolev1.Role_ROLE_ADMIN) && !u.Disabled }) {
		return ErrLastAdmin
	}
	return nil
}
