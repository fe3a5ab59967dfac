package draft_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/sqldb/sqldbtest"
	"github.com/wxbus/wxbus/services/rule/internal/draft"
	"github.com/wxbus/wxbus/services/rule/internal/publish"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
	"github.com/wxbus/wxbus/services/rule/internal/tables"
)

func TestMain(m *testing.M) { sqldbtest.Main(m) }

// desk is a working copy beside published rules that are played.
type desk struct {
	*testing.T
	db    *sqldb.DB
	live  *played
	store *draft.Store
}

// onEach runs a test on both engines.
func onEach(t *testing.T, test func(d *desk)) {
	sqldbtest.Each(t, tables.Migrations(), func(t *testing.T, db *sqldb.DB) {
		d := &desk{T: t, db: db, live: &played{files: map[string][]byte{}}}
		d.store = d.another()
		test(d)
	})
}

// another returns the store of another process on the same tables.
func (d *desk) another() *draft.Store { return draft.New(d.db, d.live, checker{}, time.Now) }

// played is what package publish is to the working copy.
type played struct {
	mu       sync.Mutex // guards the fields below
	pointer  publish.Pointer
	files    map[string][]byte
	revision uint64
}

func (p *played) Pointer(context.Context) (publish.Pointer, uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.revision == 0 {
		return publish.Pointer{}, 0, fault.New(fault.NotFound, "nothing is published")
	}
	return p.pointer, p.revision, nil
}

func (p *played) File(_ context.Context, info publish.Info) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.files[info.Version], nil
}

// publish makes a file live, as somebody else would.
func (p *played) publish(by, file string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revision++
	version := fmt.Sprintf("v%d", p.revision)
	info := publish.Info{Version: version, Published: time.UnixMilli(int64(p.revision)), By: by, Source: publish.SourceAPI, Note: "note of " + version}
	p.files[version] = []byte(file)
	p.pointer = publish.Pointer{Live: version, Sequence: p.revision, Sets: append([]publish.Info{info}, p.pointer.Sets...)}
	return version
}

func (p *played) rollBack(by, version string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revision++
	p.pointer.Live, p.pointer.RolledBack = version, &publish.RollBack{By: by, At: time.UnixMilli(int64(p.revision))}
}

type checker struct{}

func (checker) Rule(body, sections []byte) error {
	return ruleset.CheckRule(body, sections, ruleset.Options{})
}

func (checker) File(text []byte) error {
	_, err := ruleset.Parse(text, ruleset.Options{})
	return err
}

// rule returns a rule as YAML, keyword and answer being its name.
func rule(name string, extra ...string) string {
	text := fmt.Sprintf("name: %s\nmatch: {contains: [%s]}\ndo: [{reply: about %s}]\n", name, name, name)
	for _, line := range extra {
		text += line + "\n"
	}
	return text
}

// rules returns a rule file with rules of these names, in order.
func rules(names ...string) string {
	var text strings.Builder
	text.WriteString("rules:\n")
	for _, name := range names {
		fmt.Fprintf(&text, "  - {name: %s, match: {contains: [%s]}, do: [{reply: about %s}]}\n", name, name, name)
	}
	return text.String()
}

func (d *desk) save(e draft.Edit) *draft.Item {
	d.Helper()
	if e.Actor == "" {
		e.Actor = "li"
	}
	i, err := d.store.Save(d.Context(), e)
	require.NoError(d, err)
	return i
}

// change saves a rule of the working copy with another body.
func (d *desk) change(name, body string) *draft.Item {
	d.Helper()
	i := d.get(name)
	return d.save(draft.Edit{ID: i.ID, Revision: i.Revision, Body: body})
}

func (d *desk) get(name string) *draft.Item {
	d.Helper()
	i, err := d.store.Get(d.Context(), name)
	require.NoError(d, err, name)
	return i
}

// states returns "name state" of each rule in the order of the list, with a ! for conflicts.
func (d *desk) states() []string {
	d.Helper()
	items, next, total, err := d.store.List(d.Context(), draft.Query{Limit: 1000})
	require.NoError(d, err)
	require.Empty(d, next)
	require.Len(d, items, int(total))
	names := map[draft.State]string{
		draft.StateLive: "live", draft.StateAdded: "added", draft.StateChanged: "changed", draft.StateRemoved: "removed", draft.StateParked: "parked",
	}
	var out []string
	for _, i := range items {
		text := i.Name + " " + names[i.State()]
		if i.Conflict {
			text += "!"
		}
		out = append(out, text)
	}
	return out
}

// publish publishes the working copy, as the service does.
func (d *desk) publish() string {
	d.Helper()
	snapshot, err := d.store.Snapshot(d.Context())
	require.NoError(d, err)
	version := d.live.publish("li", string(snapshot.File))
	require.NoError(d, d.store.FollowOurs(d.Context()))
	return version
}
