package store

import (
	"cmp"
	"context"
	"strings"
	"time"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
)

// near is how many of the newest messages are looked through for a page before the index of pairs is asked. A word of which a page is
// not found among so many is rare enough for the index.
const near = 50_000

// Find says what to search.
type Find struct {
	Words, Grams           []string
	Account, OpenID, Agent string
	From, To               time.Time
	// Before continues after the last hit of the page before.
	Before Cursor
	Limit  int
	// Near replaces the number of the newest messages that are looked through first; it changes the time and never the answer.
	Near int
}

// Cursor is a place in the order newest first.
type Cursor struct {
	AtMs            int64
	Account, OpenID string
	Seq             uint64
}

// newestFirst is the order of hits; an index has it.
const newestFirst = " ORDER BY m.at_ms DESC, m.account DESC, m.openid DESC, m.seq DESC LIMIT ?"

// Search returns messages that contain every word, newest first. Two ways lead there, and each is slow where the other is fast: walking
// from the newest message finds words that are everywhere, the index of pairs those that are rare.
func (q Q) Search(ctx context.Context, f Find) ([]*agentroutingv1.Message, error) {
	if f.OpenID == "" { // what one fan said is little, and the index of pairs is ordered by fans
		found, err := q.searchNewest(ctx, f)
		if err != nil || len(found) == f.Limit {
			return found, err
		}
	}
	return q.searchIndex(ctx, f)
}

func (q Q) searchNewest(ctx context.Context, f Find) ([]*agentroutingv1.Message, error) {
	var within, where conditions
	f.span(&within)
	f.words(&where)
	f.whose(&where)
	query := "SELECT m.body FROM (SELECT m.account, m.openid, m.seq, m.author, m.at_ms, m.folded, m.body FROM messages m WHERE " + within.sql() + newestFirst +
		") m WHERE " + where.sql() + newestFirst
	args := append(append(within.args, cmp.Or(f.Near, near)), where.args...)
	return collect(ctx, q, query, append(args, f.Limit), scanMessage)
}

func (q Q) searchIndex(ctx context.Context, f Find) ([]*agentroutingv1.Message, error) {
	var where conditions
	for _, g := range f.Grams {
		const with = "EXISTS (SELECT 1 FROM grams g WHERE g.account = m.account AND g.openid = m.openid AND g.seq = m.seq AND "
		if len([]rune(g)) == 1 {
			where.also(with+"g.gram >= ? AND g.gram < ?)", g, g+"\U0010FFFF")
		} else {
			where.also(with+"g.gram = ?)", g)
		}
	}
	f.words(&where)
	f.whose(&where)
	f.span(&where)
	return collect(ctx, q, "SELECT m.body FROM messages m WHERE "+where.sql()+newestFirst, append(where.args, f.Limit), scanMessage)
}

func (f Find) words(c *conditions) {
	for _, w := range f.Words {
		c.also("m.folded LIKE ? ESCAPE '!'", "%"+likeLiteral.Replace(w)+"%")
	}
}

func (f Find) whose(c *conditions) {
	for _, eq := range []struct{ column, value string }{{"account", f.Account}, {"openid", f.OpenID}, {"author", f.Agent}} {
		if eq.value != "" {
			c.also("m."+eq.column+" = ?", eq.value)
		}
	}
}

func (f Find) span(c *conditions) {
	if !f.From.IsZero() {
		c.also("m.at_ms >= ?", millis(f.From))
	}
	if !f.To.IsZero() {
		c.also("m.at_ms < ?", millis(f.To))
	}
	if b := f.Before; b.AtMs != 0 {
		// The first part is in the second one too; alone it says where in the index to begin.
		c.also("m.at_ms <= ?", b.AtMs)
		c.also("(m.at_ms < ? OR (m.at_ms = ? AND (m.account < ? OR (m.account = ? AND (m.openid < ? OR (m.openid = ? AND m.seq < ?))))))",
			b.AtMs, b.AtMs, b.Account, b.Account, b.OpenID, b.OpenID, int64(b.Seq))
	}
}

// conditions must all hold; none holds always.
type conditions struct {
	parts []string
	args  []any
}

func (c *conditions) also(sql string, args ...any) {
	c.parts = append(c.parts, sql)
	c.args = append(c.args, args...)
}

func (c *conditions) sql() string {
	if len(c.parts) == 0 {
		return "1 = 1"
	}
	return strings.Join(c.parts, " AND ")
}

var likeLiteral = strings.NewReplacer("!", "!!", "%", "!%", "_", "!_")
