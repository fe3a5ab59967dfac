// Package draft keeps the working copy of the rules in SQL: what people edit until they publish it.
//
// Each rule, and each top-level section of the rule file beside its rules, is a row that holds two sides: what
// is edited, and what is live. A draft is where the sides differ. What is live is decided by package publish
// alone; whatever was published, by whomever, is taken over into the rows before they are next used (follow).
// Changes here that a publication by others touches are kept and marked as conflicts.
//
// A body is a YAML document that package ruleset understands; nothing here depends on what it may say beyond
// name, account, priority and on, which lists are searched by.
package draft

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/services/rule/internal/publish"
)

// Limits of the working copy.
const (
	MaxBody  = 1 << 20 // bytes of one rule or section
	MaxActor = 100     // characters
	// gap between the positions of neighbours, so that rules can be put between them.
	gap = 1 << 32
)

// Published is where live rules come from and go to: a publish.Store.
type Published interface {
	Pointer(ctx context.Context) (publish.Pointer, uint64, error)
	File(ctx context.Context, info publish.Info) ([]byte, error)
}

// Check says what is wrong with the rules.
type Check interface {
	// Rule checks one rule beside the sections of a file. Its error is Invalid; paths are those in the rule.
	Rule(body, sections []byte) error
	// File checks a whole rule file. Its error is Invalid.
	File(text []byte) error
}

// Store is the working copy. It is safe for concurrent use, also by several processes on one database.
type Store struct {
	db    *sqldb.DB
	live  Published
	check Check
	now   func() time.Time
}

// New returns a store on open tables.
func New(db *sqldb.DB, live Published, check Check, now func() time.Time) *Store {
	return &Store{db: db, live: live, check: check, now: now}
}

// Item is a rule or a section of the working copy.
type Item struct {
	ID       string
	Section  bool
	Name     string
	Priority int32
	Accounts []string // empty means every account
	Kinds    []string
	Body     string // YAML; empty when it was deleted here
	Live     string // YAML; empty when it is not live
	Enabled  bool
	Moved    bool
	Conflict bool
	Revision int64
	Changed  time.Time
	By       string

	position   int64
	digest     string
	liveName   string
	liveDigest string
	liveIndex  int
}

// Deleted tells whether the item is live and was deleted here.
func (i *Item) Deleted() bool { return i.digest == "" }

// State compares the two sides.
func (i *Item) State() State {
	switch {
	case i.liveDigest == "" && !i.Enabled:
		return StateParked
	case i.liveDigest == "":
		return StateAdded
	case i.Deleted() || !i.Enabled:
		return StateRemoved
	case i.digest != i.liveDigest || i.Moved:
		return StateChanged
	default:
		return StateLive
	}
}

// stateSQL is Item.State as an expression, and draftSQL is true for what publishing would change.
const (
	stateSQL = `CASE WHEN live_digest = '' AND enabled = 0 THEN 5 WHEN live_digest = '' THEN 2
WHEN digest = '' OR enabled = 0 THEN 4 WHEN digest <> live_digest OR moved = 1 THEN 3 ELSE 1 END`
	draftSQL = `(live_digest = '' AND enabled = 1 OR live_digest <> '' AND (digest <> live_digest OR enabled = 0 OR moved = 1))`
)

// use takes an edited part over.
func (i *Item) use(p part) {
	i.Section, i.Name, i.Priority, i.Accounts, i.Kinds, i.Body, i.digest = p.section, p.name, p.priority, p.accounts, p.kinds, p.body, p.digest
}

// useLive takes over what is live, at its place in the live file.
func (i *Item) useLive(p part, index int) {
	i.liveName, i.Live, i.liveDigest, i.liveIndex = p.name, p.body, p.digest, index
}

// part returns the edited side as a part.
func (i *Item) part() part {
	return part{section: i.Section, name: i.Name, priority: i.Priority, accounts: i.Accounts, kinds: i.Kinds, body: i.Body, digest: i.digest}
}

// clean gives up what differs from what is live.
func (i *Item) clean(live part) {
	i.use(live)
	i.Enabled, i.Moved, i.Conflict = true, false, false
}

const columns = `id, section, name, priority, position, accounts, kinds, body, digest, enabled,
live_name, live_body, live_digest, live_index, moved, conflict, revision, changed_by, changed_ms`

func scanItem(row sqldb.Scanner) (*Item, error) {
	var i Item
	var accounts, kinds string
	var changed int64
	var section, enabled, moved, conflict int
	err := row.Scan(&i.ID, &section, &i.Name, &i.Priority, &i.position, &accounts, &kinds, &i.Body, &i.digest, &enabled,
		&i.liveName, &i.Live, &i.liveDigest, &i.liveIndex, &moved, &conflict, &i.Revision, &i.By, &changed)
	i.Section, i.Enabled, i.Moved, i.Conflict = section == 1, enabled == 1, moved == 1, conflict == 1
	i.Accounts, i.Kinds, i.Changed = unjoin(accounts), unjoin(kinds), time.UnixMilli(changed).UTC()
	return &i, err
}

// values returns what is stored in columns, and search.
func (i *Item) values() []any {
	return []any{
		i.ID, bit(i.Section), i.Name, i.Priority, i.position, join(i.Accounts), join(i.Kinds), i.Body, i.digest, bit(i.Enabled),
		i.liveName, i.Live, i.liveDigest, i.liveIndex, bit(i.Moved), bit(i.Conflict), i.Revision, i.By, i.Changed.UnixMilli(),
		strings.ToLower(i.Name + "\n" + i.Body),
	}
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// join keeps names so that one of them can be looked for with LIKE.
func join(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "|" + strings.Join(names, "|") + "|"
}

func unjoin(joined string) []string {
	if joined == "" {
		return nil
	}
	return strings.Split(strings.Trim(joined, "|"), "|")
}

// put writes an item over the one with its id.
func put(ctx context.Context, tx *sqldb.Tx, i *Item) error {
	values := i.values()
	_, err := tx.Exec(ctx, `UPDATE rules SET section = ?, name = ?, priority = ?, position = ?, accounts = ?, kinds = ?, body = ?, digest = ?,
enabled = ?, live_name = ?, live_body = ?, live_digest = ?, live_index = ?, moved = ?, conflict = ?, revision = ?, changed_by = ?, changed_ms = ?,
search = ? WHERE id = ?`, append(values[1:], i.ID)...)
	return nameTaken(err, i.Name)
}

// insertRows is how many items one statement adds; SQLite allows 32 766 parameters.
const insertRows = 200

// insert adds items.
func insert(ctx context.Context, tx *sqldb.Tx, items []*Item) error {
	for batch := range slices.Chunk(items, insertRows) {
		var values []any
		for _, i := range batch {
			values = append(values, i.values()...)
		}
		row := ", (" + sqldb.In(len(values)/len(batch)) + ")"
		_, err := tx.Exec(ctx, "INSERT INTO rules ("+columns+", search) VALUES "+strings.Repeat(row, len(batch))[2:], values...)
		if err != nil {
			return nameTaken(err, batch[0].Name)
		}
	}
	return nil
}

func nameTaken(err error, name string) error {
	if sqldb.IsUnique(err) {
		return fault.Errorf(fault.Invalid, "name: %q is the name of another rule", name)
	}
	return err
}

func remove(ctx context.Context, tx *sqldb.Tx, id string) error {
	_, err := tx.Exec(ctx, "DELETE FROM rules WHERE id = ?", id)
	return err
}

// state is the row that every change locks.
type state struct {
	version  string // that the live sides are of; "" before the first publication
	revision uint64 // of the pointer that was followed last
}

func lockState(ctx context.Context, tx *sqldb.Tx) (state, error) {
	var s state
	err := tx.Row(ctx, "SELECT version, revision FROM copy_state WHERE id = 1"+tx.ForUpdate(), nil, &s.version, &s.revision)
	return s, err
}

func (s *Store) state(ctx context.Context) (state, error) {
	var out state
	err := s.db.Row(ctx, "SELECT version, revision FROM copy_state WHERE id = 1", nil, &out.version, &out.revision)
	return out, err
}

// change runs an edit, one at a time over all processes, on rows that follow what is live.
func (s *Store) change(ctx context.Context, edit func(context.Context, *sqldb.Tx) error) error {
	if err := s.Follow(ctx); err != nil {
		return err
	}
	return s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if _, err := lockState(ctx, tx); err != nil {
			return err
		}
		return edit(ctx, tx)
	})
}

// find returns the item with an id.
func find(ctx context.Context, q sqldb.Querier, id string) (*Item, error) {
	return one(ctx, q, "id = ?", id)
}

func one(ctx context.Context, q sqldb.Querier, where string, args ...any) (*Item, error) {
	var found *Item
	err := q.Each(ctx, "SELECT "+columns+" FROM rules WHERE "+where, args, func(row sqldb.Scanner) (err error) {
		found, err = scanItem(row)
		return err
	})
	if err == nil && found == nil {
		err = fault.New(fault.NotFound, "there is no such rule")
	}
	return found, err
}

func all(ctx context.Context, q sqldb.Querier, where string, args ...any) ([]*Item, error) {
	var items []*Item
	err := q.Each(ctx, "SELECT "+columns+" FROM rules WHERE "+where, args, func(row sqldb.Scanner) error {
		i, err := scanItem(row)
		items = append(items, i)
		return err
	})
	return items, err
}
