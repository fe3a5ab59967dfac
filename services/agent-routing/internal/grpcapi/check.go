// Package grpcapi serves the desk: ConversationService, AgentService, ReportService, PrivacyService and KfService. Errors are
// faults, which the gRPC edge turns into statuses.
package grpcapi

import (
	"context"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc/metadata"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
)

const (
	maxName   = 64   // characters of an agent's name
	maxOpenID = 128  // bytes
	maxKey    = 128  // bytes
	maxNote   = 4000 // characters
	maxReason = 200  // characters
	maxTag    = 30   // characters
	maxTags   = 50
)

// ActorKey is the metadata in which the console says who acts.
const ActorKey = "wxbus-actor"

// actorOf returns who acts: the console's word, else the first of the request's fields that is set.
func actorOf(ctx context.Context, fields ...string) string {
	if v := metadata.ValueFromIncomingContext(ctx, ActorKey); len(v) > 0 && v[0] != "" {
		return v[0]
	}
	for _, f := range fields {
		if f != "" {
			return f
		}
	}
	return ""
}

// AccountsKey is the metadata in which the console says which accounts the actor may see, when those are not all.
const AccountsKey = "wxbus-accounts"

// accountsOf tells of an account whether who acts may see it. Only what reaches beyond the account of a request needs to ask: that
// account was checked by the console.
func accountsOf(ctx context.Context) func(account string) bool {
	some := metadata.ValueFromIncomingContext(ctx, AccountsKey)
	return func(account string) bool { return len(some) == 0 || slices.Contains(some, account) }
}

// checker checks what every request has.
type checker struct{ accounts *account.Directory }

func (c checker) account(name string) error {
	if name == "" {
		return fault.New(fault.Invalid, "account: must not be empty")
	}
	if _, ok := c.accounts.Get(name); !ok {
		return fault.New(fault.NotFound, "account: no such account")
	}
	return nil
}

// anyAccount is account that allows an empty name for every account.
func (c checker) anyAccount(name string) error {
	if name == "" {
		return nil
	}
	return c.account(name)
}

func (c checker) fan(name, openID string) error {
	if err := c.account(name); err != nil {
		return err
	}
	if openID == "" || len(openID) > maxOpenID {
		return fault.New(fault.Invalid, "openid: must have 1 to 128 bytes")
	}
	return nil
}

// target checks an account with a conversation, or with a fan instead.
func (c checker) target(name, openID, conversation string) error {
	if conversation == "" {
		return c.fan(name, openID)
	}
	if len(conversation) > maxKey {
		return fault.New(fault.Invalid, "conversation: must have 1 to 128 bytes")
	}
	return c.account(name)
}

func checkAgent(field, id string) error {
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }
	if strings.TrimSpace(id) == "" || utf8.RuneCountInString(id) > maxName || strings.ContainsFunc(id, unprintable) {
		return fault.Errorf(fault.Invalid, "%s: must be 1 to 64 printable characters", field)
	}
	return nil
}

func checkKey(key string) error {
	if key == "" || len(key) > maxKey {
		return fault.New(fault.Invalid, "idempotency_key: must have 1 to 128 bytes")
	}
	return nil
}

func checkText(field, s string, least, most int) error {
	if n := utf8.RuneCountInString(s); n < least || n > most || !utf8.ValidString(s) {
		return fault.Errorf(fault.Invalid, "%s: must be %d to %d characters", field, least, most)
	}
	return nil
}

func pageSize(field string, n, otherwise, most int32) (int, error) {
	switch {
	case n == 0:
		return int(otherwise), nil
	case n < 0 || n > most:
		return 0, fault.Errorf(fault.Invalid, "%s: must be 0 to %d", field, most)
	default:
		return int(n), nil
	}
}
