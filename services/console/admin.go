package console

import (
	"context"
	"log/slog"
	"strings"
	"time"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"

	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/console/internal/apikeys"
	"github.com/wxbus/wxbus/services/console/internal/password"
	"github.com/wxbus/wxbus/services/console/internal/people"
	"github.com/wxbus/wxbus/services/console/internal/store"
)

// cliActor is who acts in the audit log when the command line does.
const cliActor = "command line"

// Admin keeps users and keys directly in the database, for the command line: whoever may read the configuration may help
// an administrator who is locked out. Close it.
type Admin struct {
	store  *store.Store
	people *people.Service
	keys   *apikeys.Service
	now    func() time.Time
}

// OpenAdmin opens the database of the console. It fails with Unavailable when the database does not answer.
func OpenAdmin(ctx context.Context, shared config.Shared) (*Admin, error) {
	s := store.New(sqlOptions(shared), slog.New(slog.DiscardHandler))
	if err := s.Start(ctx); err != nil {
		return nil, err
	}
	if err := s.Healthy(ctx); err != nil {
		return nil, err
	}
	return &Admin{
		store: s, people: people.New(s, password.New(password.Default, 1), time.Now), keys: apikeys.New(s, time.Now), now: time.Now,
	}, nil
}

// Close closes the database.
func (a *Admin) Close(ctx context.Context) error { return a.store.Stop(ctx) }

// audited writes down what the command line did.
func (a *Admin) audited(ctx context.Context, action, target string, err error) error {
	e := &store.Entry{AtMS: a.now().UnixMilli(), Actor: cliActor, Action: action, Target: target, Outcome: "ok"}
	if err != nil {
		e.Outcome = fault.KindOf(err).String()
	}
	if noted := a.store.AppendAudit(ctx, []*store.Entry{e}); err == nil {
		return noted
	}
	return err
}

// Users returns everybody by name.
func (a *Admin) Users(ctx context.Context) ([]*consolev1.User, error) {
	found, err := a.store.Users(ctx)
	var out []*consolev1.User
	for _, u := range found {
		out = append(out, people.Public(u))
	}
	return out, err
}

// CreateUser adds a user with roles by name and returns a password that must be changed at the first log-in.
func (a *Admin) CreateUser(ctx context.Context, name, displayName string, roles, accounts []string) (string, error) {
	p := people.Profile{Name: name, DisplayName: displayName, Accounts: accounts}
	for _, text := range roles {
		role, ok := roleNames[strings.TrimSpace(text)]
		if !ok {
			return "", fault.Errorf(fault.Invalid, "roles: there is no role %q: use agent, supervisor, operator, admin", text)
		}
		p.Roles = append(p.Roles, role)
	}
	_, made, err := a.people.Create(ctx, p, "")
	return made, a.audited(ctx, "wxbus users create", name, err)
}

// ResetPassword returns a new password of a user, which must be changed at the next log-in, and ends the sessions.
func (a *Admin) ResetPassword(ctx context.Context, name string) (string, error) {
	made, err := a.people.ResetPassword(ctx, name)
	return made, a.audited(ctx, "wxbus users reset-password", name, err)
}

// Keys returns the stored keys, newest first.
func (a *Admin) Keys(ctx context.Context) ([]*consolev1.ApiKey, error) {
	found, err := a.store.Keys(ctx)
	var out []*consolev1.ApiKey
	for _, k := range found {
		out = append(out, apikeys.Public(k))
	}
	return out, err
}

// CreateKey makes a key and returns it with its secret. A life of zero never ends.
func (a *Admin) CreateKey(ctx context.Context, name string, scopes, accounts []string, life time.Duration) (*consolev1.ApiKey, string, error) {
	w := apikeys.Wish{Name: name, Scopes: scopes, Accounts: accounts}
	if life > 0 {
		w.ExpiresMS = a.now().Add(life).UnixMilli()
	}
	k, secret, err := a.keys.Create(ctx, w, cliActor)
	if err := a.audited(ctx, "wxbus keys create", name, err); err != nil {
		return nil, "", err
	}
	return apikeys.Public(k), secret, nil
}

// RevokeKey ends a key.
func (a *Admin) RevokeKey(ctx context.Context, id string) error {
	_, err := a.keys.Revoke(ctx, id)
	return a.audited(ctx, "wxbus keys revoke", id, err)
}
