package draft

import (
	"context"
	"strconv"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

// Edit is a change of one rule.
type Edit struct {
	Actor    string
	ID       string // empty creates a rule
	Revision int64  // that the change is based on
	Body     string
	Enabled  *bool  // nil leaves it, and enables a new rule
	After    string // id of the rule that a new one follows; empty is the end
}

// Save creates or changes a rule. It fails with Invalid, naming every mistake, and with Conflict when somebody
// else changed the rule first.
func (s *Store) Save(ctx context.Context, e Edit) (*Item, error) {
	p, err := s.checked(ctx, e.Body)
	if err != nil {
		return nil, err
	}
	var saved *Item
	err = s.change(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		if e.ID == "" {
			saved, err = s.create(ctx, tx, e, p)
			return err
		}
		saved, err = s.update(ctx, tx, e, p)
		return err
	})
	return saved, err
}

// checked reads a rule, beside the sections as they are here.
func (s *Store) checked(ctx context.Context, body string) (part, error) {
	if len(body) > MaxBody {
		return part{}, fault.Errorf(fault.Invalid, "yaml: %d bytes, at most %d are allowed", len(body), MaxBody)
	}
	sections, err := s.sections(ctx)
	if err != nil {
		return part{}, err
	}
	if err := s.check.Rule([]byte(body), sections); err != nil {
		return part{}, err
	}
	node, err := decode([]byte(body))
	if err != nil {
		return part{}, err
	}
	return rulePart(node, "", nil)
}

// sections returns the top-level sections as they are here, as a rule file without rules.
func (s *Store) sections(ctx context.Context) ([]byte, error) {
	if err := s.Follow(ctx); err != nil {
		return nil, err
	}
	items, err := all(ctx, s.db.Querier, "section = 1 AND digest <> '' ORDER BY name")
	if err != nil {
		return nil, err
	}
	f := &file{}
	for _, i := range items {
		f.sections = append(f.sections, i.part())
	}
	return f.compose(), nil
}

func (s *Store) create(ctx context.Context, tx *sqldb.Tx, e Edit, p part) (*Item, error) {
	i := &Item{ID: newID(p), Enabled: e.Enabled == nil || *e.Enabled, liveIndex: -1}
	i.use(p)
	if err := s.locate(ctx, tx, i, e.After, true); err != nil {
		return nil, err
	}
	s.stamp(i, e.Actor)
	if err := insert(ctx, tx, []*Item{i}); err != nil {
		return nil, err
	}
	return i, s.note(ctx, tx, entryOf(i, ActionCreated, "", i.Body), e.Actor)
}

func (s *Store) update(ctx context.Context, tx *sqldb.Tx, e Edit, p part) (*Item, error) {
	i, err := s.at(ctx, tx, e.ID, e.Revision)
	if err != nil {
		return nil, err
	}
	if i.Section {
		return nil, fault.New(fault.NotFound, "there is no such rule")
	}
	before, was := i.Body, *i
	i.use(p)
	i.Conflict = false
	if e.Enabled != nil {
		i.Enabled = *e.Enabled
	}
	if same(i, &was) {
		return i, nil
	}
	s.stamp(i, e.Actor)
	if err := put(ctx, tx, i); err != nil {
		return nil, err
	}
	if i.Enabled != was.Enabled {
		action := ActionDisabled
		if i.Enabled {
			action = ActionEnabled
		}
		if err := s.note(ctx, tx, entryOf(i, action, "", ""), e.Actor); err != nil || before == i.Body {
			return i, err
		}
	}
	return i, s.note(ctx, tx, entryOf(i, ActionChanged, before, i.Body), e.Actor)
}

// at returns an item at the revision that the caller has seen.
func (s *Store) at(ctx context.Context, tx *sqldb.Tx, id string, revision int64) (*Item, error) {
	i, err := find(ctx, tx.Querier, id)
	if err != nil {
		return nil, err
	}
	if i.Revision != revision {
		return nil, stale(i, revision)
	}
	return i, nil
}

// staleError tells an editor what somebody else made of an item meanwhile, in words and in the details of the status.
type staleError struct {
	error
	conflict *rulev1.RevisionConflict
}

func stale(i *Item, revision int64) error {
	return &staleError{
		fault.Errorf(fault.Conflict, "%q is at revision %d, not %d: %s changed it at %s; read it again",
			i.Name, i.Revision, revision, i.By, i.Changed.Format("2006-01-02 15:04:05Z")),
		&rulev1.RevisionConflict{
			Id: i.ID, Name: i.Name, Revision: i.Revision, RequestedRevision: revision, ChangedBy: i.By, ChangedUnixMs: i.Changed.UnixMilli(),
		},
	}
}

func (e *staleError) Unwrap() error { return e.error }

// StatusDetails makes fault.Status send the conflict along.
func (e *staleError) StatusDetails() []proto.Message { return []proto.Message{e.conflict} }

func (s *Store) stamp(i *Item, actor string) {
	i.Revision, i.By, i.Changed = i.Revision+1, actor, s.now()
}

func (s *Store) note(ctx context.Context, tx *sqldb.Tx, e Entry, actor string) error {
	e.At, e.Actor = s.now(), actor
	return note(ctx, tx, e, "")
}

// Delete removes a rule. One that is live stays live until the draft is published.
func (s *Store) Delete(ctx context.Context, actor, id string, revision int64) error {
	return s.change(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		i, err := s.at(ctx, tx, id, revision)
		if err != nil {
			return err
		}
		if i.Section {
			return fault.New(fault.NotFound, "there is no such rule")
		}
		return s.delete(ctx, tx, i, actor, ActionDeleted)
	})
}

// delete notes that an item goes, and empties it.
func (s *Store) delete(ctx context.Context, tx *sqldb.Tx, i *Item, actor string, action Action) error {
	if !i.Deleted() {
		if err := s.note(ctx, tx, entryOf(i, action, i.Body, ""), actor); err != nil {
			return err
		}
	}
	return s.empty(ctx, tx, i, actor)
}

// empty empties the edited side, and removes the row when nothing of it is live.
func (s *Store) empty(ctx context.Context, tx *sqldb.Tx, i *Item, actor string) error {
	if i.liveDigest == "" {
		return remove(ctx, tx, i.ID)
	}
	i.Body, i.digest, i.Conflict = "", "", false
	s.stamp(i, actor)
	return put(ctx, tx, i)
}

// Place is where Move puts a rule; one field is set.
type Place struct {
	Priority      *int32
	Before, After string // id of another rule, whose priority it gets
}

// Move changes when a rule is considered.
func (s *Store) Move(ctx context.Context, actor, id string, revision int64, to Place) (*Item, error) {
	var moved *Item
	err := s.change(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		i, err := s.at(ctx, tx, id, revision)
		if err != nil {
			return err
		}
		if i.Section || i.Deleted() {
			return fault.New(fault.NotFound, "there is no such rule")
		}
		before := i.Body
		if err := s.moveTo(ctx, tx, i, to); err != nil {
			return err
		}
		s.stamp(i, actor)
		moved = i
		if err := put(ctx, tx, i); err != nil {
			return err
		}
		return s.note(ctx, tx, entryOf(i, ActionMoved, before, i.Body), actor)
	})
	return moved, err
}

func (s *Store) moveTo(ctx context.Context, tx *sqldb.Tx, i *Item, to Place) error {
	if to.Priority != nil {
		return i.setPriority(*to.Priority)
	}
	id, after := to.After, true
	if to.Before != "" {
		id, after = to.Before, false
	}
	if id == "" || id == i.ID {
		return fault.New(fault.Invalid, "to: a priority or another rule is required")
	}
	other, err := find(ctx, tx.Querier, id)
	if err != nil || other.Section {
		return fault.Errorf(fault.NotFound, "to: there is no rule %q", id)
	}
	if err := i.setPriority(other.Priority); err != nil {
		return err
	}
	i.Moved = i.liveDigest != ""
	return s.locate(ctx, tx, i, id, after)
}

func (i *Item) setPriority(priority int32) error {
	if i.Priority == priority {
		return nil
	}
	return i.edit(func(node *yaml.Node) { setField(node, "priority", "!!int", strconv.Itoa(int(priority))) })
}

// locate gives an item a position directly after or before another one, or at the end when id is empty.
func (s *Store) locate(ctx context.Context, tx *sqldb.Tx, i *Item, id string, after bool) error {
	for range 2 {
		low, high, err := around(ctx, tx, id, after)
		if err != nil {
			return err
		}
		if high-low > 1 {
			i.position = low + (high-low)/2
			return nil
		}
		if err := respace(ctx, tx); err != nil {
			return err
		}
	}
	return fault.New(fault.Internal, "no place between two rules")
}

// around returns the positions between which an item is to be put.
func around(ctx context.Context, tx *sqldb.Tx, id string, after bool) (low, high int64, err error) {
	if id == "" {
		err = tx.Row(ctx, "SELECT COALESCE(MAX(position), 0) FROM rules WHERE section = 0", nil, &low)
		return low, low + 2*gap, err
	}
	other, err := find(ctx, tx.Querier, id)
	if err != nil || other.Section {
		return 0, 0, fault.Errorf(fault.NotFound, "after: there is no rule %q", id)
	}
	if after {
		low = other.position
		err = tx.Row(ctx, "SELECT COALESCE(MIN(position), ?) FROM rules WHERE section = 0 AND position > ?", []any{low + 2*gap, low}, &high)
		return low, high, err
	}
	high = other.position
	err = tx.Row(ctx, "SELECT COALESCE(MAX(position), 0) FROM rules WHERE section = 0 AND position < ?", []any{high}, &low)
	return low, high, err
}

// respace gives all rules positions with room between them; it is needed after some thirty rules were put at the
// same place one after the other.
func respace(ctx context.Context, tx *sqldb.Tx) error {
	var ids []string
	err := tx.Each(ctx, "SELECT id FROM rules WHERE section = 0 ORDER BY position, id", nil, func(row sqldb.Scanner) error {
		var id string
		err := row.Scan(&id)
		ids = append(ids, id)
		return err
	})
	for n, id := range ids {
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE rules SET position = ? WHERE id = ?", int64(n+1)*gap, id)
	}
	return err
}

// SaveSection creates or changes a top-level section; an empty body removes it.
func (s *Store) SaveSection(ctx context.Context, actor, name string, revision int64, body string) (*Item, error) {
	if name == "" || name == "rules" || len(body) > MaxBody {
		return nil, fault.Errorf(fault.Invalid, "section: the name must not be empty or rules, and the value at most %d bytes", MaxBody)
	}
	node, err := decode([]byte(body))
	if err != nil {
		return nil, err
	}
	p := part{section: true, name: name}
	if node != nil {
		if err := s.check.File([]byte(key(name) + ":\n" + indented(body) + "rules: []\n")); err != nil {
			return nil, err
		}
		if p, err = sectionPart(name, node); err != nil {
			return nil, err
		}
	}
	var saved *Item
	err = s.change(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		saved, err = s.saveSection(ctx, tx, actor, p, revision)
		return err
	})
	return saved, err
}

func (s *Store) saveSection(ctx context.Context, tx *sqldb.Tx, actor string, p part, revision int64) (*Item, error) {
	i, err := s.at(ctx, tx, newID(p), revision)
	if err != nil && (fault.KindOf(err) != fault.NotFound || revision != 0 || p.digest == "") {
		return nil, err
	}
	if err != nil {
		i = &Item{ID: newID(p), Enabled: true, liveIndex: -1}
		i.use(p)
		s.stamp(i, actor)
		if err := insert(ctx, tx, []*Item{i}); err != nil {
			return nil, err
		}
		return i, s.note(ctx, tx, entryOf(i, ActionCreated, "", i.Body), actor)
	}
	if p.digest == "" {
		return i, s.delete(ctx, tx, i, actor, ActionDeleted)
	}
	before := i.Body
	i.use(p)
	i.Conflict = false
	s.stamp(i, actor)
	if err := put(ctx, tx, i); err != nil {
		return nil, err
	}
	return i, s.note(ctx, tx, entryOf(i, ActionChanged, before, i.Body), actor)
}

// Discard takes drafts back to what is live: those with the given ids, or all when there is none. It returns
// how many there were.
func (s *Store) Discard(ctx context.Context, actor string, ids []string) (int, error) {
	discarded := 0
	err := s.change(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		discarded = 0
		w := where{}
		w.and("(" + draftSQL + " OR conflict = 1)")
		if len(ids) > 0 {
			args := make([]any, len(ids))
			for n, id := range ids {
				args[n] = id
			}
			w.and("id IN ("+sqldb.In(len(args))+")", args...)
		}
		items, err := all(ctx, tx.Querier, w.String(), w.args...)
		if err != nil {
			return err
		}
		for _, i := range items {
			if err := s.discard(ctx, tx, i, actor); err != nil {
				return err
			}
		}
		discarded = len(items)
		return nil
	})
	return discarded, err
}

func (s *Store) discard(ctx context.Context, tx *sqldb.Tx, i *Item, actor string) error {
	if err := s.note(ctx, tx, entryOf(i, ActionDiscarded, i.Body, i.Live), actor); err != nil {
		return err
	}
	if i.liveDigest == "" {
		return remove(ctx, tx, i.ID)
	}
	moved := i.Moved
	if err := i.goLive(); err != nil {
		return err
	}
	if moved {
		if err := s.locateLive(ctx, tx, i); err != nil {
			return err
		}
	}
	s.stamp(i, actor)
	return put(ctx, tx, i)
}

// goLive makes the edited side that which is live.
func (i *Item) goLive() error {
	node, err := decode([]byte(i.Live))
	if err != nil {
		return err
	}
	var p part
	if i.Section {
		p, err = sectionPart(i.liveName, node)
	} else {
		p, err = rulePart(node, i.liveName, nil)
	}
	if err != nil {
		return err
	}
	i.clean(p)
	return nil
}

// locateLive puts a rule back behind the nearest one that was live before it and did not move.
func (s *Store) locateLive(ctx context.Context, tx *sqldb.Tx, i *Item) error {
	before, err := one(ctx, tx.Querier,
		"section = 0 AND live_digest <> '' AND moved = 0 AND live_index < ? ORDER BY live_index DESC LIMIT 1", i.liveIndex)
	if err == nil {
		return s.locate(ctx, tx, i, before.ID, true)
	}
	if fault.KindOf(err) != fault.NotFound {
		return err
	}
	first, err := one(ctx, tx.Querier, "section = 0 AND id <> ? ORDER BY position LIMIT 1", i.ID)
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return nil //nolint:nilerr // there is no other rule
	}
	if err != nil {
		return err
	}
	return s.locate(ctx, tx, i, first.ID, false)
}
