// Package policy is the one table of who may call what through the door of the console. A method that is
// not in the table is not served.
package policy

import (
	"maps"
	"slices"
	"strings"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
)

// Access says who may call a method and how the door looks at its request. Paths of fields are names joined
// by dots; a path through a list stands for every element.
type Access struct {
	// Roles of users who may call it.
	Roles []consolev1.Role
	// Scope of keys that may call it; no key may when empty.
	Scope string
	// Read marks methods that change nothing: they are not audited.
	Read bool
	// Logged reads show a fan or what they said: who read it is written down, once in a while for each thing.
	Logged bool
	// Quiet methods are called by a page on its own: they do not keep a session awake that nobody uses.
	Quiet bool
	// FirstSteps methods are allowed before a password is set that only its user knows.
	FirstSteps bool
	// Open methods need no log-in.
	Open bool
	// Account is the field with the account. A caller of some accounts must name one of theirs; one account
	// is filled in when it is their only one.
	Account string
	// Filters says that an empty Account is fine: the method itself leaves out what the caller may not see.
	Filters bool
	// Global methods are about all accounts at once, so the caller must have all of them.
	Global bool
	// Keep is the field with the account in the elements of a list of the answer: elements of other accounts
	// are left out.
	Keep string
	// Self is the field that names the acting person. It is filled in, and a user cannot name somebody else,
	// except with a role of SelfExcept.
	Self       string
	SelfExcept []consolev1.Role
	// Target is the field that names the thing, for the audit log.
	Target string
	// Fan is the field with the openid: where no target is named, the log names the fan by a hash.
	Fan string
	// Shows is a list of fans in the answer, each with account and openid: a read of one of them leaves an entry for each.
	Shows string
	// Hidden methods are for services only and never served.
	Hidden bool
}

// May tells whether somebody with these roles may call the method.
func (a Access) May(roles []consolev1.Role) bool {
	return slices.ContainsFunc(a.Roles, func(r consolev1.Role) bool { return slices.Contains(roles, r) })
}

// Excepted tells whether somebody with these roles may name others in Self.
func (a Access) Excepted(roles []consolev1.Role) bool {
	return slices.ContainsFunc(a.SelfExcept, func(r consolev1.Role) bool { return slices.Contains(roles, r) })
}

// Of returns the access to a method, given as package.Service/Method.
func Of(method string) (Access, bool) {
	service, name, _ := strings.Cut(method, "/")
	a, ok := table[service][name]
	return a, ok
}

// Methods returns every method that somebody with these roles may call, sorted.
func Methods(roles []consolev1.Role) []string {
	var out []string
	for service, methods := range table {
		for name, a := range methods {
			if !a.Hidden && (a.Open || a.May(roles)) {
				out = append(out, service+"/"+name)
			}
		}
	}
	slices.Sort(out)
	return out
}

// Services returns the services of the table, sorted.
func Services() []string { return slices.Sorted(maps.Keys(table)) }

// All returns every method of the table, sorted.
func All() []string {
	var out []string
	for service, methods := range table {
		for name := range methods {
			out = append(out, service+"/"+name)
		}
	}
	slices.Sort(out)
	return out
}

// Scope is one thing that a key may be allowed to do.
type Scope struct{ Name, Description string }

// EveryScope in a key's list stands for all scopes.
const EveryScope = "*"

// Scopes returns all scopes, in the order in which they are shown.
func Scopes() []Scope { return slices.Clone(scopes) }

// IsScope tells whether a scope exists.
func IsScope(name string) bool {
	return name == EveryScope || slices.ContainsFunc(scopes, func(s Scope) bool { return s.Name == name })
}

// The scopes. A path of /api/v1 needs the scope of the method that it calls.
const (
	MessagesRead     = "messages:read"
	MessagesWrite    = "messages:write"
	CampaignsRead    = "campaigns:read"
	CampaignsWrite   = "campaigns:write"
	DeskRead         = "desk:read"
	DeskWrite        = "desk:write"
	RulesRead        = "rules:read"
	RulesWrite       = "rules:write"
	AccountsRead     = "accounts:read"
	ReportsRead      = "reports:read"
	DeadLettersRead  = "dead_letters:read"
	DeadLettersWrite = "dead_letters:write"
	WebhooksRead     = "webhooks:read"
	WebhooksWrite    = "webhooks:write"
	StatusRead       = "status:read"
)

var scopes = []Scope{
	{MessagesWrite, "send messages and upload media"},
	{MessagesRead, "read the state of messages, quotas, templates and timelines"},
	{CampaignsWrite, "create, start, pause and cancel campaigns and mass messages"},
	{CampaignsRead, "read campaigns and their recipients"},
	{DeskRead, "read waiting lists, conversations and fans"},
	{DeskWrite, "answer fans in the name of an agent"},
	{RulesWrite, "edit and publish rules"},
	{RulesRead, "read rules and try them"},
	{AccountsRead, "read accounts and the state of their tokens"},
	{ReportsRead, "read reports"},
	{DeadLettersWrite, "requeue and discard dead letters"},
	{DeadLettersRead, "read dead letters"},
	{WebhooksWrite, "keep subscriptions of events"},
	{WebhooksRead, "read subscriptions of events and their deliveries"},
	{StatusRead, "read the state of the system"},
}
