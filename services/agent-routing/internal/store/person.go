package store

import (
	"cmp"
	"context"
	"math"
	"slices"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/sqldb"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

// Place is where an entry stands in the timeline of a person: in the order of time; the fan, and messages before changes, break ties.
type Place struct {
	AtMs            int64
	Account, OpenID string
	// Conversation of a change; empty for a message.
	Conversation string
	// Number of a change in its conversation, seq of a message in the timeline of its fan.
	Number uint64
}

// line is which of the lists that a timeline is made of has the entry.
func (p Place) line() line { return line{p.Account, p.OpenID, p.Conversation != ""} }

// line is one list: the messages of a fan, or the changes of their conversations.
type line struct {
	account, openID string
	changes         bool
}

func (l line) compare(other line) int {
	return cmp.Or(cmp.Compare(l.account, other.account), cmp.Compare(l.openID, other.openID), cmp.Compare(flag(l.changes), flag(other.changes)))
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// PersonEntry is one entry of the timeline of a person: a message or a change.
type PersonEntry struct {
	Place   Place
	Message *agentroutingv1.Message
	Change  *agentroutingv1.ConversationEvent
}

// PersonPage says which entries of the timeline of a person to read: those before or after a place, else the newest.
type PersonPage struct {
	Before, After *Place
	Limit         int
}

// Person returns a page of the timeline that several fans have together, oldest first, and whether there are more entries in that direction.
func (q Q) Person(ctx context.Context, fans []domain.Fan, p PersonPage) ([]PersonEntry, bool, error) {
	var all []PersonEntry
	for _, f := range fans {
		for _, l := range []line{{f.Account, f.OpenID, false}, {f.Account, f.OpenID, true}} {
			found, err := q.line(ctx, l, p)
			if err != nil {
				return nil, false, err
			}
			all = append(all, found...)
		}
	}
	// Stable, so that each list keeps the order in which the database gave it.
	forward := p.After != nil
	slices.SortStableFunc(all, func(a, b PersonEntry) int {
		order := cmp.Or(cmp.Compare(a.Place.AtMs, b.Place.AtMs), a.Place.line().compare(b.Place.line()))
		if !forward {
			order = -order
		}
		return order
	})
	more := len(all) > p.Limit
	all = all[:min(len(all), p.Limit)]
	if !forward {
		slices.Reverse(all)
	}
	return all, more, q.addPersonMedia(ctx, fans, all)
}

// line returns as many entries of one list as a page may need, in the direction of the page.
func (q Q) line(ctx context.Context, l line, p PersonPage) ([]PersonEntry, error) {
	where, args := p.bound(l)
	direction := " DESC"
	if p.After != nil {
		direction = ""
	}
	if l.changes {
		query := "SELECT l.body FROM conversations c JOIN changes l ON l.account = c.account AND l.conversation = c.id WHERE c.account = ? AND c.openid = ? AND l.what NOT IN (" +
			sqldb.In(len(domain.NoChange)) + ") AND " + where + " ORDER BY l.at_ms" + direction + ", l.conversation" + direction + ", l.number" + direction + " LIMIT ?"
		return collect(ctx, q, query, slices.Concat([]any{l.account, l.openID}, anys(domain.NoChange), args, []any{p.Limit + 1}), scanPersonChange)
	}
	query := "SELECT body FROM messages WHERE account = ? AND openid = ? AND " + where + " ORDER BY at_ms" + direction + ", seq" + direction + " LIMIT ?"
	return collect(ctx, q, query, slices.Concat([]any{l.account, l.openID}, args, []any{p.Limit + 1}), scanPersonMessage)
}

// bound is the condition that keeps a list on the right side of a place that may be in another list.
func (p PersonPage) bound(l line) (string, []any) {
	switch {
	case p.Before != nil:
		if order := l.compare(p.Before.line()); order != 0 {
			at := p.Before.AtMs
			if order > 0 {
				at--
			}
			return l.at() + " <= ?", []any{at}
		}
		return l.beside("<", *p.Before)
	case p.After != nil:
		if order := l.compare(p.After.line()); order != 0 {
			at := p.After.AtMs
			if order < 0 {
				at++
			}
			return l.at() + " >= ?", []any{at}
		}
		return l.beside(">", *p.After)
	default:
		return l.at() + " <= ?", []any{int64(math.MaxInt64)}
	}
}

func (l line) at() string {
	if l.changes {
		return "l.at_ms"
	}
	return "at_ms"
}

// beside is the condition for the entries before (<) or after (>) one of the same list. The first part is in the second one too; alone it
// says where in the index to begin.
func (l line) beside(sign string, p Place) (string, []any) {
	if !l.changes {
		return "at_ms " + sign + "= ? AND (at_ms " + sign + " ? OR seq " + sign + " ?)", []any{p.AtMs, p.AtMs, int64(p.Number)}
	}
	return "l.at_ms " + sign + "= ? AND (l.at_ms " + sign + " ? OR l.conversation " + sign + " ? OR (l.conversation = ? AND l.number " + sign + " ?))",
		[]any{p.AtMs, p.AtMs, p.Conversation, p.Conversation, int64(p.Number)}
}

func scanPersonMessage(r sqldb.Scanner) (PersonEntry, error) {
	m, err := scanMessage(r)
	return PersonEntry{Place: Place{AtMs: m.GetAtUnixMs(), Account: m.GetAccount(), OpenID: m.GetOpenid(), Number: m.GetSeq()}, Message: m}, err
}

func scanPersonChange(r sqldb.Scanner) (PersonEntry, error) {
	ev, err := scanEvent(r)
	return PersonEntry{
		Place:  Place{AtMs: ev.GetAtUnixMs(), Account: ev.GetAccount(), OpenID: ev.GetOpenid(), Conversation: ev.GetConversation(), Number: ev.GetNumber()},
		Change: ev,
	}, err
}

// addPersonMedia puts the files to the messages of a page.
func (q Q) addPersonMedia(ctx context.Context, fans []domain.Fan, entries []PersonEntry) error {
	for _, f := range fans {
		var own []*agentroutingv1.Message
		for _, e := range entries {
			if m := e.Message; m != nil && m.GetAccount() == f.Account && m.GetOpenid() == f.OpenID {
				own = append(own, m)
			}
		}
		slices.SortFunc(own, func(a, b *agentroutingv1.Message) int { return cmp.Compare(a.GetSeq(), b.GetSeq()) })
		if err := q.addMedia(ctx, f.Account, f.OpenID, own); err != nil {
			return err
		}
	}
	return nil
}
