package draft

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
)

// Query says which rules to list.
type Query struct {
	Search    string // in names and bodies, without regard to case
	Account   string // also the rules for every account
	Kinds     []string
	Enabled   *bool
	States    []State
	Conflicts bool
	Limit     int
	Token     string
}

const inOrder = " ORDER BY section, priority DESC, position, id"

// List returns rules in the order in which they are considered, the token of the next page, and how many there
// are in all.
func (s *Store) List(ctx context.Context, q Query) (items []*Item, next string, total int64, err error) {
	if err := s.Follow(ctx); err != nil {
		return nil, "", 0, err
	}
	w := q.where()
	if err := s.db.Row(ctx, "SELECT COUNT(*) FROM rules WHERE "+w.String(), w.args, &total); err != nil {
		return nil, "", 0, err
	}
	if q.Token != "" {
		priority, position, id, err := readToken(q.Token)
		if err != nil {
			return nil, "", 0, err
		}
		w.and("(priority < ? OR priority = ? AND (position > ? OR position = ? AND id > ?))", priority, priority, position, position, id)
	}
	items, err = all(ctx, s.db.Querier, w.String()+inOrder+" LIMIT ?", append(w.args, q.Limit+1)...)
	if err == nil && len(items) > q.Limit {
		items = items[:q.Limit]
		next = items[q.Limit-1].token()
	}
	return items, next, total, err
}

func (q Query) where() *where {
	w := &where{}
	w.and("section = 0")
	if q.Search != "" {
		w.and(`search LIKE ? ESCAPE '\'`, "%"+literal(strings.ToLower(q.Search))+"%")
	}
	if q.Account != "" {
		w.and(`(accounts = '' OR accounts LIKE ? ESCAPE '\')`, "%|"+literal(q.Account)+"|%")
	}
	if len(q.Kinds) > 0 {
		var or []string
		var args []any
		for _, kind := range q.Kinds {
			or = append(or, `kinds LIKE ? ESCAPE '\'`)
			args = append(args, "%|"+literal(kind)+"|%")
		}
		w.and("("+strings.Join(or, " OR ")+")", args...)
	}
	if q.Enabled != nil {
		w.and("enabled = ?", bit(*q.Enabled))
	}
	if len(q.States) > 0 {
		args := make([]any, len(q.States))
		for n, state := range q.States {
			args[n] = int(state)
		}
		w.and("("+stateSQL+") IN ("+sqldb.In(len(args))+")", args...)
	}
	if q.Conflicts {
		w.and("conflict = 1")
	}
	return w
}

// literal escapes what LIKE would interpret.
func literal(text string) string {
	return strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(text)
}

func (i *Item) token() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %d %s", i.Priority, i.position, i.ID))
}

func readToken(token string) (priority int32, position int64, id string, err error) {
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		_, err = fmt.Sscanf(string(text), "%d %d %s", &priority, &position, &id)
	}
	if err != nil {
		return 0, 0, "", fault.New(fault.Invalid, "page_token: is not one of ours")
	}
	return priority, position, id, nil
}

// Get returns the rule with an id or a name.
func (s *Store) Get(ctx context.Context, rule string) (*Item, error) {
	if err := s.Follow(ctx); err != nil {
		return nil, err
	}
	return one(ctx, s.db.Querier, "section = 0 AND (id = ? OR name = ? AND digest <> '' OR live_name = ? AND digest = '') ORDER BY digest DESC LIMIT 1",
		rule, rule, rule)
}

// Summary counts what differs from the live version.
type Summary struct {
	Version                                     string
	Added, Changed, Removed, Sections, Conflict int
}

// Empty tells whether nothing differs.
func (s Summary) Empty() bool { return s.Added+s.Changed+s.Removed+s.Sections == 0 }

// Summary counts what differs from the live version.
func (s *Store) Summary(ctx context.Context) (Summary, error) {
	if err := s.Follow(ctx); err != nil {
		return Summary{}, err
	}
	return summarize(ctx, s.db.Querier)
}

func summarize(ctx context.Context, q sqldb.Querier) (Summary, error) {
	var out Summary
	err := q.Row(ctx, "SELECT version FROM copy_state WHERE id = 1", nil, &out.Version)
	if err != nil {
		return out, err
	}
	err = q.Each(ctx, "SELECT section, "+stateSQL+", COUNT(*), SUM(conflict) FROM rules WHERE "+draftSQL+" OR conflict = 1 GROUP BY 1, 2", nil,
		func(row sqldb.Scanner) error {
			var section, n, conflicts int
			var state State
			if err := row.Scan(&section, &state, &n, &conflicts); err != nil {
				return err
			}
			out.Conflict += conflicts
			switch {
			case state == StateLive || state == StateParked:
			case section == 1:
				out.Sections += n
			case state == StateAdded:
				out.Added = n
			case state == StateChanged:
				out.Changed = n
			case state == StateRemoved:
				out.Removed = n
			}
			return nil
		})
	return out, err
}

// Draft returns what publishing would change, at most limit rules, and all sections.
func (s *Store) Draft(ctx context.Context, limit int) (changes []Change, sections []*Item, sum Summary, err error) {
	if sum, err = s.Summary(ctx); err != nil {
		return nil, nil, sum, err
	}
	items, err := all(ctx, s.db.Querier, "section = 0 AND ("+draftSQL+" OR conflict = 1)"+inOrder+" LIMIT ?", limit)
	if err != nil {
		return nil, nil, sum, err
	}
	for _, i := range items {
		changes = append(changes, i.change())
	}
	sections, err = all(ctx, s.db.Querier, "section = 1 ORDER BY name")
	return changes, sections, sum, err
}

// change tells what publishing would change about an item.
func (i *Item) change() Change {
	c := Change{State: i.State(), Name: i.Name, Before: i.Live, After: i.Body, Item: i}
	if c.State == StateRemoved {
		c.Name, c.After = i.liveName, ""
	}
	c.Fields = Fields(c.Before, c.After)
	return c
}

// LiveName is the name under which the item is live; empty when it is not.
func (i *Item) LiveName() string { return i.liveName }

// Snapshot is the working copy as it would be published.
type Snapshot struct {
	Summary
	File []byte
}

// Snapshot composes the enabled rules and the sections into a rule file. Without drafts it is equal in meaning to
// the live one, not in form.
func (s *Store) Snapshot(ctx context.Context) (Snapshot, error) {
	if err := s.Follow(ctx); err != nil {
		return Snapshot{}, err
	}
	var out Snapshot
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if _, err := lockState(ctx, tx); err != nil {
			return err
		}
		var err error
		if out.Summary, err = summarize(ctx, tx.Querier); err != nil {
			return err
		}
		f, err := current(ctx, tx)
		if err != nil {
			return err
		}
		out.File = f.compose()
		return nil
	})
	return out, err
}

// current returns what would be published.
func current(ctx context.Context, tx *sqldb.Tx) (*file, error) {
	items, err := all(ctx, tx.Querier, "digest <> '' AND enabled = 1 ORDER BY position, name")
	if err != nil {
		return nil, err
	}
	f := &file{}
	for _, i := range items {
		if i.Section {
			f.sections = append(f.sections, i.part())
			continue
		}
		f.rules = append(f.rules, i.part())
	}
	slices.SortFunc(f.sections, func(a, b part) int { return strings.Compare(a.name, b.name) })
	return f, nil
}
