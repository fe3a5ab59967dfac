package draft

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/services/rule/internal/publish"
)

// how a publication meets the working copy.
type how struct {
	// ours is set for a publication of this working copy: what differs from it was edited meanwhile, and is no
	// conflict.
	ours bool
	// prune makes the working copy equal to the publication.
	prune bool
}

// Follow takes over what was published since the working copy was used last. It costs one read of the pointer
// when nothing was.
func (s *Store) Follow(ctx context.Context) error { return s.follow(ctx, how{}) }

// Prune is Follow that also drops every draft and every disabled rule.
func (s *Store) Prune(ctx context.Context) error { return s.follow(ctx, how{prune: true}) }

// FollowOurs is Follow after a publication of this working copy.
func (s *Store) FollowOurs(ctx context.Context) error { return s.follow(ctx, how{ours: true}) }

func (s *Store) follow(ctx context.Context, h how) error {
	pointer, revision, err := s.live.Pointer(ctx)
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return nil //nolint:nilerr // nothing is published yet
	}
	if err != nil {
		return err
	}
	now, err := s.state(ctx)
	if err != nil || now.revision == revision && !h.prune {
		return err
	}
	info, _ := pointer.Find(pointer.Live)
	text, err := s.live.File(ctx, info)
	if err != nil {
		return err
	}
	return s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		now, err := lockState(ctx, tx)
		if err != nil || now.revision == revision && !h.prune {
			return err
		}
		if revision < now.revision {
			// The answer of a server that lags behind, unless the bucket was made anew.
			if known, err := knows(ctx, tx, pointer.Sets[0]); err != nil || known {
				return err
			}
		}
		if err := s.noteVersions(ctx, tx, pointer); err != nil {
			return err
		}
		if err := s.takeOver(ctx, tx, text, info, h); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE copy_state SET version = ?, revision = ? WHERE id = 1", pointer.Live, int64(revision))
		return err
	})
}

// knows tells whether a version was noted.
func knows(ctx context.Context, tx *sqldb.Tx, info publish.Info) (bool, error) {
	var n int
	err := tx.Row(ctx, "SELECT COUNT(*) FROM versions WHERE version = ? AND published_ms = ?", []any{info.Version, info.Published.UnixMilli()}, &n)
	return n > 0, err
}

// noteVersions adds kept versions that are new here to the history, and a roll-back to the audit.
func (s *Store) noteVersions(ctx context.Context, tx *sqldb.Tx, pointer publish.Pointer) error {
	for _, info := range slices.Backward(pointer.Sets) {
		n, err := tx.Exec(ctx, `INSERT INTO versions (version, published_ms, published_by, source, note, rules) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (version) DO NOTHING`, info.Version, info.Published.UnixMilli(), info.By, info.Source, info.Note, info.Rules)
		if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		e := Entry{At: info.Published, Actor: info.By, Action: ActionPublished, Version: info.Version, Note: info.Note}
		if e.Actor == "" {
			e.Actor = info.Source
		}
		if err := note(ctx, tx, e, "version "+info.Version); err != nil {
			return err
		}
	}
	if back := pointer.RolledBack; back != nil {
		return note(ctx, tx, Entry{At: back.At, Actor: back.By, Action: ActionRolledBack, Version: pointer.Live},
			"back "+pointer.Live+" "+back.At.UTC().Format("20060102150405.000000"))
	}
	return nil
}

// takeOver makes the live sides those of a file, and decides for each item what that means for its other side.
func (s *Store) takeOver(ctx context.Context, tx *sqldb.Tx, text []byte, info publish.Info, h how) error {
	items, err := all(ctx, tx.Querier, "1 = 1 ORDER BY section, position, id")
	if err != nil {
		return err
	}
	known := make(bodies, len(items))
	for _, i := range items {
		known[i.digest], known[i.liveDigest] = i.Body, i.Live
	}
	f, err := splitKnown(text, known)
	if err != nil {
		return err
	}
	t := &takeover{how: h, known: items, found: map[*Item]bool{}, old: map[*Item]*Item{}, dropped: map[*Item]bool{}}
	for _, i := range items {
		was := *i
		t.old[i] = &was
	}
	t.match(f.parts())
	for n, p := range f.parts() {
		t.meet(p, n-len(f.sections))
	}
	t.lack()
	place(t.order())
	return s.save(ctx, tx, t, info)
}

// takeover is one takeOver at work.
type takeover struct {
	how
	known   []*Item           // that were there, in their order
	items   map[partKey]*Item // the item of each part of the file
	found   map[*Item]bool    // known items that have a part
	old     map[*Item]*Item   // known items as they were
	fresh   []*Item           // items that are new
	dropped map[*Item]bool    // known items that go
	live    []*Item           // items of the rules of the file, in its order
}

type partKey struct {
	section bool
	name    string
}

// match finds the item of each part: the one that was published as it is, else the one whose live side has the
// name, else the one that has it here.
func (t *takeover) match(parts []part) {
	t.items = make(map[partKey]*Item, len(parts))
	here, live := map[partKey]*Item{}, map[partKey]*Item{}
	for _, i := range t.known {
		if !i.Deleted() {
			here[partKey{i.Section, i.Name}] = i
		}
		if i.liveDigest != "" {
			live[partKey{i.Section, i.liveName}] = i
		}
	}
	take := func(p part, i *Item, ok bool) {
		k := partKey{p.section, p.name}
		if ok && !t.found[i] && t.items[k] == nil {
			t.items[k], t.found[i] = i, true
		}
	}
	for _, p := range parts {
		i := here[partKey{p.section, p.name}]
		take(p, i, i != nil && i.digest == p.digest)
	}
	for _, from := range []map[partKey]*Item{live, here} {
		for _, p := range parts {
			i := from[partKey{p.section, p.name}]
			take(p, i, i != nil)
		}
	}
}

// meet decides about the item of a part of the file.
func (t *takeover) meet(p part, index int) {
	i := t.items[partKey{p.section, p.name}]
	switch {
	case i == nil:
		i = &Item{ID: newID(p)}
		i.clean(p)
		t.fresh = append(t.fresh, i)
	case t.prune, i.digest == p.digest && (i.Enabled || i.liveDigest == ""):
		moved := i.Moved && !t.ours && !t.prune
		i.clean(p)
		i.Moved = moved
	case i.Enabled && i.liveDigest != "" && i.digest == i.liveDigest: // at most moved here
		moved := i.Moved
		i.clean(p)
		i.Moved = moved
	case i.liveDigest == "" && !i.Enabled:
		i.Enabled, i.Conflict = true, true // it is live now, and what was parked here is its draft
	case p.digest != i.liveDigest && !t.ours:
		i.Conflict = true
	}
	i.useLive(p, index)
	if !p.section {
		t.live = append(t.live, i)
	}
}

// lack decides about the items that the file lacks.
func (t *takeover) lack() {
	for _, i := range t.known {
		if t.found[i] {
			continue
		}
		switch state := i.State(); {
		case t.prune, state == StateLive, i.Deleted(), state == StateChanged && i.digest == i.liveDigest:
			t.dropped[i] = true
			continue
		case t.ours:
		case state == StateRemoved: // disabled here, and now live no more
			i.Conflict = i.Conflict || i.digest != i.liveDigest
		case state == StateChanged:
			i.Conflict = true
		}
		i.liveName, i.Live, i.liveDigest, i.liveIndex, i.Moved = "", "", "", -1, false
	}
}

// order returns the rules in their new order: that of the file, and the others each behind the rule that it was
// behind.
func (t *takeover) order() []*Item {
	behind := map[*Item][]*Item{}
	anchored := map[*Item]bool{}
	for _, i := range t.live {
		anchored[i] = !i.Moved
	}
	var last *Item
	for _, i := range t.known {
		if i.Section || t.dropped[i] {
			continue
		}
		if !anchored[i] {
			behind[last] = append(behind[last], i)
			continue
		}
		last = i
	}
	order := slices.Clone(behind[nil])
	for _, i := range t.live {
		if anchored[i] {
			order = append(append(order, i), behind[i]...)
		}
	}
	return order
}

// place gives rules positions in the given order, and changes as few as it can.
func place(order []*Item) {
	var last int64
	for n, i := range order {
		if i.position <= last {
			next := last + 2*gap
			if n+1 < len(order) && order[n+1].position > last+1 {
				next = order[n+1].position
			}
			i.position = last + (next-last)/2
		}
		last = i.position
	}
}

// save writes what changed.
func (s *Store) save(ctx context.Context, tx *sqldb.Tx, t *takeover, info publish.Info) error {
	actor := info.By
	if actor == "" {
		actor = info.Source
	}
	stamp := func(i *Item) { i.Revision, i.By, i.Changed = i.Revision+1, actor, s.now() }
	if err := t.freeNames(); err != nil {
		return err
	}
	var changed []*Item
	for _, i := range t.known {
		was := t.old[i]
		switch {
		case t.dropped[i]:
			if err := s.drop(ctx, tx, i, actor, info.Version); err != nil {
				return err
			}
			continue
		case same(i, was):
			continue
		case i.digest != was.digest || i.Enabled != was.Enabled || i.Conflict != was.Conflict:
			stamp(i)
		}
		changed = append(changed, i)
	}
	if err := s.write(ctx, tx, t, changed, actor, info.Version); err != nil {
		return err
	}
	for _, i := range t.fresh {
		stamp(i)
	}
	return insert(ctx, tx, t.fresh)
}

// drop removes an item. A draft that goes with it stays in the audit.
func (s *Store) drop(ctx context.Context, tx *sqldb.Tx, i *Item, actor, version string) error {
	if i.digest != "" && i.digest != i.liveDigest {
		e := entryOf(i, ActionDiscarded, i.Body, i.Live)
		e.At, e.Actor, e.Version = s.now(), actor, version
		if err := note(ctx, tx, e, ""); err != nil {
			return err
		}
	}
	return remove(ctx, tx, i.ID)
}

// write updates items. Names are unique, so items that get another one first get a name that nobody uses.
func (s *Store) write(ctx context.Context, tx *sqldb.Tx, t *takeover, changed []*Item, actor, version string) error {
	for _, i := range changed {
		if i.Name != t.old[i].Name {
			if _, err := tx.Exec(ctx, "UPDATE rules SET name = ? WHERE id = ?", i.ID, i.ID); err != nil {
				return err
			}
		}
	}
	for _, i := range changed {
		if err := put(ctx, tx, i); err != nil {
			return err
		}
		if i.Conflict && !t.old[i].Conflict {
			e := entryOf(i, ActionConflicted, i.Live, i.Body)
			e.At, e.Actor, e.Version = s.now(), actor, version
			if err := note(ctx, tx, e, ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// freeNames renames drafts whose names the publication uses for other rules, and marks them as conflicts.
func (t *takeover) freeNames() error {
	used := map[string]bool{}
	for _, i := range t.live {
		if i.digest == i.liveDigest {
			used[i.Name] = true
		}
	}
	for _, i := range t.known {
		if i.Section || i.Deleted() || i.digest == i.liveDigest || t.dropped[i] || !used[i.Name] {
			continue
		}
		name := i.Name
		for used[name] {
			name += " (draft)"
		}
		if err := i.rename(name); err != nil {
			return err
		}
		i.Conflict, used[name] = true, true
	}
	return nil
}

// same tells whether nothing that is stored differs.
func same(a, b *Item) bool {
	return a.digest == b.digest && a.Name == b.Name && a.Body == b.Body && a.Enabled == b.Enabled && a.Moved == b.Moved &&
		a.Conflict == b.Conflict && a.position == b.position && a.liveDigest == b.liveDigest && a.liveName == b.liveName &&
		a.Live == b.Live && a.liveIndex == b.liveIndex
}

// rename gives an item another name.
func (i *Item) rename(name string) error {
	return i.edit(func(node *yaml.Node) { setField(node, "name", "!!str", name) })
}

// edit changes the body of a rule.
func (i *Item) edit(change func(*yaml.Node)) error {
	node, err := decode([]byte(i.Body))
	if err != nil {
		return err
	}
	change(node)
	p, err := rulePart(node, "", nil)
	if err != nil {
		return err
	}
	i.use(p)
	return nil
}

// SectionID returns the id of the section with a name.
func SectionID(name string) string { return "section:" + name }

// newID returns the id of a new item. Sections have one that says which.
func newID(p part) string {
	if p.section {
		return SectionID(p.name)
	}
	return strings.ToLower(rand.Text()[:16])
}
