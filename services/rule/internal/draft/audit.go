package draft

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
)

// Action is what was done; the numbers are stored and those of the proto.
type Action int

// The actions.
const (
	ActionCreated Action = iota + 1
	ActionChanged
	ActionDeleted
	ActionMoved
	ActionEnabled
	ActionDisabled
	ActionDiscarded
	ActionImported
	ActionPublished
	ActionRolledBack
	ActionConflicted
)

// Entry is one line of the audit.
type Entry struct {
	ID            int64
	At            time.Time
	Actor         string
	Action        Action
	Section       bool
	RuleID, Name  string
	Before, After string
	Version, Note string
}

func entryOf(i *Item, action Action, before, after string) Entry {
	return Entry{Action: action, Section: i.Section, RuleID: i.ID, Name: i.Name, Before: before, After: after}
}

const auditColumns = "at_ms, actor, action, section, rule_id, name, before, after, version, note"

func (e Entry) values() []any {
	return []any{e.At.UnixMilli(), e.Actor, int(e.Action), bit(e.Section), e.RuleID, e.Name, e.Before, e.After, e.Version, e.Note}
}

// note adds an entry. With a ref it is added once.
func note(ctx context.Context, tx *sqldb.Tx, e Entry, ref string) error {
	var once any
	if ref != "" {
		once = ref
	}
	_, err := tx.Exec(ctx, "INSERT INTO audit ("+auditColumns+", ref) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (ref) DO NOTHING",
		append(e.values(), once)...)
	return err
}

// noteAll adds many entries.
func noteAll(ctx context.Context, tx *sqldb.Tx, entries []Entry) error {
	for batch := range slices.Chunk(entries, insertRows) {
		var values []any
		for _, e := range batch {
			values = append(values, e.values()...)
		}
		row := ", (" + sqldb.In(len(values)/len(batch)) + ")"
		if _, err := tx.Exec(ctx, "INSERT INTO audit ("+auditColumns+") VALUES "+strings.Repeat(row, len(batch))[2:], values...); err != nil {
			return err
		}
	}
	return nil
}

// AuditQuery says which entries to list.
type AuditQuery struct {
	Rule         string // id or name
	Actor        string
	Actions      []Action
	Since, Until time.Time // zero means open
	Limit        int
	Token        string
}

// Audit lists entries, newest first, and returns the token of the next page.
func (s *Store) Audit(ctx context.Context, q AuditQuery) (entries []Entry, next string, err error) {
	if err := s.Follow(ctx); err != nil && fault.KindOf(err) != fault.NotFound {
		return nil, "", err
	}
	w := where{}
	if q.Token != "" {
		before, err := strconv.ParseInt(q.Token, 10, 64)
		if err != nil {
			return nil, "", fault.New(fault.Invalid, "page_token: is not one of ours")
		}
		w.and("id < ?", before)
	}
	if q.Rule != "" {
		w.and("(rule_id = ? OR name = ?)", q.Rule, q.Rule)
	}
	if q.Actor != "" {
		w.and("actor = ?", q.Actor)
	}
	if len(q.Actions) > 0 {
		args := make([]any, len(q.Actions))
		for i, a := range q.Actions {
			args[i] = int(a)
		}
		w.and("action IN ("+sqldb.In(len(args))+")", args...)
	}
	if !q.Since.IsZero() {
		w.and("at_ms >= ?", q.Since.UnixMilli())
	}
	if !q.Until.IsZero() {
		w.and("at_ms < ?", q.Until.UnixMilli())
	}
	err = s.db.Each(ctx, "SELECT id, "+auditColumns+" FROM audit WHERE "+
		w.String()+" ORDER BY id DESC LIMIT ?", append(w.args, q.Limit+1), func(row sqldb.Scanner) error {
		var e Entry
		var at int64
		var action, section int
		err := row.Scan(&e.ID, &at, &e.Actor, &action, &section, &e.RuleID, &e.Name, &e.Before, &e.After, &e.Version, &e.Note)
		e.At, e.Action, e.Section = time.UnixMilli(at).UTC(), Action(action), section == 1
		entries = append(entries, e)
		return err
	})
	if err == nil && len(entries) > q.Limit {
		entries = entries[:q.Limit]
		next = strconv.FormatInt(entries[q.Limit-1].ID, 10)
	}
	return entries, next, err
}

// where collects conditions.
type where struct {
	conditions []string
	args       []any
}

func (w *where) and(condition string, args ...any) {
	w.conditions = append(w.conditions, condition)
	w.args = append(w.args, args...)
}

func (w *where) String() string {
	if len(w.conditions) == 0 {
		return "1 = 1"
	}
	return strings.Join(w.conditions, " AND ")
}
