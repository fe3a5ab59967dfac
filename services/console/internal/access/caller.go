package access

import (
	"context"
	"slices"

	"golang.org/x/time/rate"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"

	"github.com/wxbus/wxbus/services/console/internal/store"
)

// EveryAccount in a list allows all accounts, also those that are added later.
const EveryAccount = "*"

// everyScope in a key's list allows all scopes.
const everyScope = "*"

// Kind is what makes a request.
type Kind uint8

// The kinds of callers.
const (
	// Local is a program on this machine, when no key is configured.
	Local Kind = iota
	// APIKey is a business system.
	APIKey
	// Person is a user with a session.
	Person
)

// Caller is who makes a request. It is immutable.
type Caller struct {
	Kind Kind
	// Name of the user, id of the key, or "local".
	Name string
	// Roles of a person.
	Roles []consolev1.Role
	// Session of a person, with its user; nil for others.
	Session *store.Session
	User    *store.User
	// Address is where the request comes from, without a port.
	Address string

	accounts []string
	scopes   []string
	limiter  *rate.Limiter
}

// Actor names the caller in the audit log and to the services: a user by name, a key as "key:<id>".
func (c *Caller) Actor() string {
	if c.Kind == APIKey {
		return "key:" + c.Name
	}
	return c.Name
}

// All tells whether the caller may use every account.
func (c *Caller) All() bool { return slices.Contains(c.accounts, EveryAccount) }

// May tells whether the caller may use the account.
func (c *Caller) May(account string) bool { return c.All() || slices.Contains(c.accounts, account) }

// Accounts returns the accounts that the caller may use; EveryAccount stands for all.
func (c *Caller) Accounts() []string { return slices.Clone(c.accounts) }

// HasScope tells whether a key has a scope. A program on this machine has all of them; a person has none.
func (c *Caller) HasScope(scope string) bool {
	switch c.Kind {
	case Local:
		return true
	case APIKey:
		return scope != "" && (slices.Contains(c.scopes, scope) || slices.Contains(c.scopes, everyScope))
	default:
		return false
	}
}

// MustChangePassword tells whether the person has to set a password before anything else.
func (c *Caller) MustChangePassword() bool { return c.User != nil && c.User.MustChange }

type callerKey struct{}

// With returns a context that carries the caller.
func With(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// From returns the caller of a request, or nil when nobody is known: only open methods are called then.
func From(ctx context.Context) *Caller {
	c, _ := ctx.Value(callerKey{}).(*Caller)
	return c
}
