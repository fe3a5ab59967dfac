package draft

import (
	"context"
	"errors"
	"slices"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
)

// Import is a rule file that is read into the working copy.
type Import struct {
	Actor string
	File  []byte
	// Replace also deletes the rules that the file lacks: all of them and the sections, or, with OnlyAccount,
	// those that are for this account alone.
	Replace     bool
	OnlyAccount string
	// DryRun changes nothing.
	DryRun bool
}

// Imported is what an import did or would do.
type Imported struct {
	Changes   []Change
	Sections  []Field
	Unchanged int
}

// errDryRun rolls a dry run back.
var errDryRun = errors.New("dry run")

// Import reads a rule file into the working copy. Nothing becomes live.
func (s *Store) Import(ctx context.Context, im Import) (*Imported, error) {
	f, err := split(im.File)
	if err != nil {
		return nil, err
	}
	if f.unnamed > 0 && !im.Replace {
		return nil, fault.Errorf(fault.Invalid, "rules: %d of them have no name: rules are merged by their names", f.unnamed)
	}
	if err := s.checkImport(ctx, f, im); err != nil {
		return nil, err
	}
	var out *Imported
	err = s.change(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		out = &Imported{}
		if err := s.importFile(ctx, tx, f, im, out); err != nil {
			return err
		}
		if im.DryRun {
			return errDryRun
		}
		return nil
	})
	if errors.Is(err, errDryRun) {
		err = nil
	}
	return out, err
}

// checkImport checks the file beside the sections that it will live with.
func (s *Store) checkImport(ctx context.Context, f *file, im Import) error {
	whole := f
	if !im.Replace || im.OnlyAccount != "" {
		text, err := s.sections(ctx)
		if err != nil {
			return err
		}
		here, err := split(text)
		if err != nil {
			return err
		}
		whole = here.merge(f)
	}
	return s.check.File(whole.compose())
}

func (s *Store) importFile(ctx context.Context, tx *sqldb.Tx, f *file, im Import, out *Imported) error {
	items, err := all(ctx, tx.Querier, "1 = 1 ORDER BY section, position")
	if err != nil {
		return err
	}
	w := &importer{Store: s, Import: im, out: out, here: make(map[partKey]*Item, len(items))}
	for _, i := range items {
		if w.last = max(w.last, i.position); i.Deleted() {
			w.here[partKey{i.Section, i.liveName}] = i
		}
	}
	for _, i := range items {
		if !i.Deleted() {
			w.here[partKey{i.Section, i.Name}] = i
		}
	}
	for _, p := range f.parts() {
		if err := w.take(ctx, tx, p); err != nil {
			return err
		}
	}
	if im.Replace {
		if err := w.lack(ctx, tx, items); err != nil {
			return err
		}
	}
	if err := insert(ctx, tx, w.fresh); err != nil {
		return err
	}
	return noteAll(ctx, tx, w.entries)
}

// importer is one import at work.
type importer struct {
	*Store
	Import
	out     *Imported
	here    map[partKey]*Item // items by name; those that the import has are taken out
	last    int64             // the last position
	fresh   []*Item
	entries []Entry
}

// take creates or changes the item of a part.
func (w *importer) take(ctx context.Context, tx *sqldb.Tx, p part) error {
	i, known := w.here[partKey{p.section, p.name}], true
	delete(w.here, partKey{p.section, p.name})
	if i == nil {
		i, known = &Item{ID: newID(p), liveIndex: -1}, false
		if !p.section {
			w.last += gap
			i.position = w.last
		}
		w.fresh = append(w.fresh, i)
	}
	if i.digest == p.digest && i.Enabled {
		w.out.Unchanged++
		return nil
	}
	before := i.Body
	i.use(p)
	i.Enabled, i.Conflict = true, false
	w.stamp(i, w.Actor)
	w.note(i, before, i.Body)
	if !known {
		return nil
	}
	return put(ctx, tx, i)
}

// lack deletes what the import lacks.
func (w *importer) lack(ctx context.Context, tx *sqldb.Tx, items []*Item) error {
	for _, i := range items {
		if i.Deleted() || w.here[partKey{i.Section, i.Name}] != i || w.OnlyAccount != "" && !slices.Equal(i.Accounts, []string{w.OnlyAccount}) {
			continue
		}
		w.note(i, i.Body, "")
		if err := w.empty(ctx, tx, i, w.Actor); err != nil {
			return err
		}
	}
	return nil
}

// note notes a change for the answer and the audit.
func (w *importer) note(i *Item, before, after string) {
	e := entryOf(i, ActionImported, before, after)
	e.At, e.Actor = w.now(), w.Actor
	w.entries = append(w.entries, e)
	if i.Section {
		w.out.Sections = append(w.out.Sections, Field{Path: i.Name, Before: before, After: after})
		return
	}
	w.out.Changes = append(w.out.Changes, changeOf(before, after, i.Name))
}
