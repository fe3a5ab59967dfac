package draft_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/services/rule/internal/draft"
)

func TestWhatIsLiveIsTheWorkingCopyUntilItIsEdited(t *testing.T) {
	onEach(t, func(d *desk) {
		require.Empty(d, d.states(), "nothing is published yet")
		d.live.publish("cli", "fold: {ignore_traditional: true}\n"+rules("apple", "pear"))
		require.Equal(d, []string{"apple live", "pear live"}, d.states())
		snapshot, err := d.store.Snapshot(d.Context())
		require.NoError(d, err)
		require.True(d, snapshot.Empty())
		diff, err := draft.Compare(d.live.files["v1"], snapshot.File)
		require.NoError(d, err)
		require.Empty(d, diff.Changes)
		require.Empty(d, diff.Sections)
		require.False(d, diff.Reordered)
	})
}

func TestADraftIsWhatDiffers(t *testing.T) {
	onEach(t, func(d *desk) {
		d.live.publish("cli", rules("apple", "pear", "fig"))
		d.change("apple", "name: apple\nmatch: {contains: [apple, 苹果]}\ndo: [{reply: new}]\n")
		fig := d.get("fig")
		require.NoError(d, d.store.Delete(d.Context(), "li", fig.ID, fig.Revision))
		d.save(draft.Edit{Body: rule("plum")})
		off := false
		d.save(draft.Edit{Body: rule("nut"), Enabled: &off})
		require.Equal(d, []string{"apple changed", "pear live", "fig removed", "plum added", "nut parked"}, d.states())

		changes, sections, sum, err := d.store.Draft(d.Context(), 100)
		require.NoError(d, err)
		require.Empty(d, sections)
		require.Equal(d, draft.Summary{Version: "v1", Added: 1, Changed: 1, Removed: 1}, sum)
		require.Len(d, changes, 3)
		require.Equal(d, "apple", changes[0].Name)
		require.Equal(d, []draft.Field{
			{Path: "match.contains", Before: "[apple]", After: "[apple, 苹果]", Added: []string{"苹果"}},
			{Path: "do[0].reply", Before: "about apple", After: "new"},
		}, changes[0].Fields)
		require.Equal(d, "fig", changes[1].Name)
		require.Empty(d, changes[1].After)
		require.Contains(d, changes[1].Before, "about fig")
		require.Empty(d, changes[2].Before)

		v2 := d.publish()
		require.Equal(d, []string{"apple live", "pear live", "plum live", "nut parked"}, d.states())
		file := string(d.live.files[v2])
		require.Contains(d, file, "苹果")
		require.NotContains(d, file, "nut", "a disabled rule is not published")
		require.NotContains(d, file, "fig")
	})
}

func TestASecondEditorIsToldWhatHappened(t *testing.T) {
	onEach(t, func(d *desk) {
		d.live.publish("cli", rules("apple"))
		seen := d.get("apple")
		d.save(draft.Edit{Actor: "wang", ID: seen.ID, Revision: seen.Revision, Body: rule("apple", "priority: 3")})
		_, err := d.store.Save(d.Context(), draft.Edit{Actor: "li", ID: seen.ID, Revision: seen.Revision, Body: rule("apple", "priority: 4")})
		require.Equal(d, fault.Conflict, fault.KindOf(err))
		require.ErrorContains(d, err, "revision 2, not 1: wang changed it")
		require.Equal(d, fault.Conflict, fault.KindOf(d.store.Delete(d.Context(), "li", seen.ID, seen.Revision)))
		_, err = d.store.Move(d.Context(), "li", seen.ID, seen.Revision, draft.Place{Priority: new(int32)})
		require.Equal(d, fault.Conflict, fault.KindOf(err))
		require.EqualValues(d, 3, d.get("apple").Priority)

		_, err = d.store.Save(d.Context(), draft.Edit{ID: "nobody", Body: rule("x")})
		require.Equal(d, fault.NotFound, fault.KindOf(err))
		_, err = d.store.Save(d.Context(), draft.Edit{Body: rule("apple")})
		require.Equal(d, fault.Invalid, fault.KindOf(err))
		require.ErrorContains(d, err, `"apple" is the name of another rule`)
		same := d.change("apple", "priority: 3\n"+rule("apple"))
		require.EqualValues(d, 2, same.Revision, "the same in another order is no change")
	})
}

func TestOfManyEditorsOfOneRevisionOneWins(t *testing.T) {
	onEach(t, func(d *desk) {
		d.live.publish("cli", rules("apple"))
		seen := d.get("apple")
		const editors = 8
		won := make([]bool, editors)
		group, ctx := errgroup.WithContext(d.Context())
		for n := range editors {
			store := d.another()
			group.Go(func() error {
				_, err := store.Save(ctx, draft.Edit{Actor: fmt.Sprint(n), ID: seen.ID, Revision: seen.Revision, Body: rule("apple", fmt.Sprintf("priority: %d", n+1))})
				if err != nil && fault.KindOf(err) == fault.Conflict {
					return nil
				}
				won[n] = err == nil
				return err
			})
		}
		require.NoError(d, group.Wait())
		winners := 0
		for n, w := range won {
			if w {
				winners++
				require.EqualValues(d, n+1, d.get("apple").Priority)
			}
		}
		require.Equal(d, 1, winners)
	})
}

func TestMistakesAreNamedByTheirPathInTheRule(t *testing.T) {
	onEach(t, func(d *desk) {
		for body, want := range map[string]string{
			"name: a\nmatch: {regex: ['(']}\ndo: []":                                 "match.regex[0]: ",
			"name: a\nwhat: 1\nmatch: any\ndo: [{reply: x}]":                         "what: unknown key",
			"match: any\ndo: [{reply: x}]":                                           "name: is required",
			"- a list":                                                               "must be a mapping",
			"name: a\nmatch: any\ndo: [{reply: &x y}, {reply: *x}]":                  "aliases are not supported",
			"name: a\nmatch: any\ndo: [{reply: " + strings.Repeat("x", 1<<20) + "}]": "at most",
		} {
			_, err := d.store.Save(d.Context(), draft.Edit{Body: body})
			require.Equal(d, fault.Invalid, fault.KindOf(err), "%.40s", body)
			require.ErrorContains(d, err, want)
			require.NotContains(d, err.Error(), "rules[0]")
		}
		_, err := d.store.Save(d.Context(), draft.Edit{Body: "name: a\nmatch: any\nwhat: 1\ndo: [{reply: x}]"})
		require.ErrorContains(d, err, "(line 3)")
	})
}

func TestAPublicationByOthersKeepsDraftsAndMarksConflicts(t *testing.T) {
	onEach(t, func(d *desk) {
		d.live.publish("cli", rules("apple", "pear", "fig", "date", "kiwi", "lime"))
		d.change("apple", rule("apple", "priority: 1")) // and others do not touch it
		d.change("pear", rule("pear", "priority: 1"))   // and others change it differently
		d.change("fig", rule("fig", "priority: 2"))     // and others change it the same way
		d.change("date", rule("date", "priority: 1"))   // and others remove it
		kiwi := d.get("kiwi")                           // deleted here, changed by others
		require.NoError(d, d.store.Delete(d.Context(), "li", kiwi.ID, kiwi.Revision))
		d.save(draft.Edit{Body: rule("plum", "priority: 1")}) // and others add one of that name
		d.save(draft.Edit{Body: rule("nut")})

		d.live.publish("wang", rules("apple")+
			"  - {name: pear, priority: 9, match: any, do: [{reply: theirs}]}\n"+
			"  - {name: fig, priority: 2, match: {contains: [fig]}, do: [{reply: about fig}]}\n"+
			"  - {name: kiwi, match: any, do: [{reply: theirs}]}\n"+
			"  - {name: lime, match: any, do: [{reply: theirs}]}\n"+
			"  - {name: plum, match: any, do: [{reply: theirs}]}\n")
		require.ElementsMatch(d, []string{
			"apple changed", "pear changed!", "fig live", "date added!", "kiwi removed!", "lime live", "plum changed!", "nut added",
		}, d.states())
		require.Contains(d, d.get("pear").Body, "about pear", "the draft is kept")
		require.Contains(d, d.get("pear").Live, "theirs")
		require.Contains(d, d.get("lime").Body, "theirs")
		_, _, sum, err := d.store.Draft(d.Context(), 100)
		require.NoError(d, err)
		require.Equal(d, 4, sum.Conflict)

		d.change("pear", rule("pear", "priority: 1"))
		require.False(d, d.get("pear").Conflict, "saving it again resolves the conflict")
		entries, _, err := d.store.Audit(d.Context(), draft.AuditQuery{Rule: "pear", Actions: []draft.Action{draft.ActionConflicted}, Limit: 10})
		require.NoError(d, err)
		require.Len(d, entries, 1)
		require.Contains(d, entries[0].After, "about pear")
		require.Equal(d, "wang", entries[0].Actor)
	})
}

func TestADraftWhoseNameOthersTakeGetsAnother(t *testing.T) {
	onEach(t, func(d *desk) {
		d.live.publish("cli", rules("apple"))
		d.change("apple", "name: pear\nmatch: any\ndo: [{reply: mine}]\n")
		d.live.publish("wang", rules("apple", "pear"))
		require.ElementsMatch(d, []string{"pear (draft) changed!", "pear live"}, d.states())
		require.Contains(d, d.get("pear (draft)").Body, "mine")
		require.Equal(d, "apple", d.get("pear (draft)").LiveName())
	})
}

func TestOursIsNoConflict(t *testing.T) {
	onEach(t, func(d *desk) {
		d.live.publish("cli", rules("apple", "pear"))
		d.change("apple", rule("apple", "priority: 1"))
		snapshot, err := d.store.Snapshot(d.Context())
		require.NoError(d, err)
		d.change("apple", rule("apple", "priority: 2")) // somebody goes on while it is published
		d.live.publish("li", string(snapshot.File))
		require.NoError(d, d.store.FollowOurs(d.Context()))
		require.Equal(d, []string{"apple changed", "pear live"}, d.states())
		require.EqualValues(d, 2, d.get("apple").Priority)
		require.Contains(d, d.get("apple").Live, "priority: 1")
	})
}

func TestARollBackIsFollowedAndAudited(t *testing.T) {
	onEach(t, func(d *desk) {
		first := d.live.publish("cli", rules("apple"))
		require.Equal(d, []string{"apple live"}, d.states())
		d.live.publish("cli", rules("pear"))
		require.Equal(d, []string{"pear live"}, d.states())
		d.live.rollBack("wang", first)
		require.Equal(d, []string{"apple live"}, d.states())
		require.NoError(d, d.store.Follow(d.Context()))
		entries, next, err := d.store.Audit(d.Context(), draft.AuditQuery{Limit: 10})
		require.NoError(d, err)
		require.Empty(d, next)
		require.Len(d, entries, 3, "each is noted once")
		require.Equal(d, draft.ActionRolledBack, entries[0].Action)
		require.Equal(d, []string{"wang", first}, []string{entries[0].Actor, entries[0].Version})
		require.Equal(d, draft.ActionPublished, entries[2].Action)
		require.Equal(d, "note of "+first, entries[2].Note)
	})
}

func TestAnAnswerThatLagsBehindIsNotFollowed(t *testing.T) {
	onEach(t, func(d *desk) {
		d.live.publish("cli", rules("apple"))
		old, oldRevision := d.live.pointer, d.live.revision
		d.live.publish("cli", rules("pear"))
		require.Equal(d, []string{"pear live"}, d.states())
		now, revision := d.live.pointer, d.live.revision
		d.live.pointer, d.live.revision = old, oldRevision
		require.Equal(d, []string{"pear live"}, d.states())
		d.live.pointer, d.live.revision = now, revision

		// A bucket that was made anew begins again, and is followed.
		d.live.pointer.Sets, d.live.revision = nil, 0
		d.live.publish("cli", rules("fig"))
		d.live.pointer.Sets[0].Published = time.UnixMilli(1234567)
		require.Equal(d, []string{"fig live"}, d.states())
	})
}

func TestPruneLeavesWhatWasPublished(t *testing.T) {
	onEach(t, func(d *desk) {
		d.live.publish("cli", rules("apple", "pear"))
		d.change("apple", rule("apple", "priority: 7"))
		d.save(draft.Edit{Body: rule("plum")})
		off := false
		d.save(draft.Edit{Body: rule("nut"), Enabled: &off})
		d.live.publish("cli", rules("apple", "fig"))
		require.NoError(d, d.store.Prune(d.Context()))
		require.Equal(d, []string{"apple live", "fig live"}, d.states())
		require.NoError(d, d.store.Prune(d.Context()), "twice is once")
		require.Equal(d, []string{"apple live", "fig live"}, d.states())
		entries, _, err := d.store.Audit(d.Context(), draft.AuditQuery{Actions: []draft.Action{draft.ActionDiscarded}, Limit: 10})
		require.NoError(d, err)
		require.Len(d, entries, 2, "what was dropped stays in the audit")
	})
}

func TestRulesAreMovedAndMovedBack(t *testing.T) {
	onEach(t, func(d *desk) {
		d.live.publish("cli", rules("a", "b", "c", "d"))
		move := func(name string, to draft.Place) {
			i := d.get(name)
			_, err := d.store.Move(d.Context(), "li", i.ID, i.Revision, to)
			require.NoError(d, err)
		}
		move("d", draft.Place{Before: d.get("a").ID})
		require.Equal(d, []string{"d changed", "a live", "b live", "c live"}, d.states())
		move("a", draft.Place{After: d.get("c").ID})
		require.Equal(d, []string{"d changed", "b live", "c live", "a changed"}, d.states())
		five := int32(5)
		move("c", draft.Place{Priority: &five})
		require.Equal(d, []string{"c changed", "d changed", "b live", "a changed"}, d.states())
		move("b", draft.Place{After: d.get("c").ID})
		require.EqualValues(d, 5, d.get("b").Priority, "beside a rule means its priority too")

		n, err := d.store.Discard(d.Context(), "li", []string{d.get("b").ID, d.get("c").ID})
		require.NoError(d, err)
		require.Equal(d, 2, n)
		n, err = d.store.Discard(d.Context(), "li", nil)
		require.NoError(d, err)
		require.Equal(d, 2, n)
		require.Equal(d, []string{"a live", "b live", "c live", "d live"}, d.states())

		move("d", draft.Place{Before: d.get("b").ID})
		file := string(d.live.files[d.publish()])
		require.Less(d, strings.Index(file, "name: d"), strings.Index(file, "name: b"))
		require.Equal(d, []string{"a live", "d live", "b live", "c live"}, d.states())
		_, err = d.store.Move(d.Context(), "li", d.get("a").ID, d.get("a").Revision, draft.Place{After: "nobody"})
		require.Equal(d, fault.NotFound, fault.KindOf(err))
	})
}

func TestManyRulesFitAtOnePlace(t *testing.T) {
	onEach(t, func(d *desk) {
		d.live.publish("cli", rules("first", "last"))
		after := d.get("first").ID
		var want []string
		for n := range 70 {
			name := fmt.Sprintf("r%02d", n)
			d.save(draft.Edit{Body: rule(name), After: after})
			want = append([]string{name + " added"}, want...)
		}
		require.Equal(d, append(append([]string{"first live"}, want...), "last live"), d.states())
	})
}

func TestDraftsStayAtTheirPlaceWhenOthersPublish(t *testing.T) {
	onEach(t, func(d *desk) {
		d.live.publish("cli", rules("a", "b", "c"))
		d.save(draft.Edit{Body: rule("x"), After: d.get("b").ID})
		d.live.publish("cli", rules("n", "a", "b", "m", "c"))
		require.Equal(d, []string{"n live", "a live", "b live", "x added", "m live", "c live"}, d.states())
	})
}

func TestSectionsAreEditedLikeRules(t *testing.T) {
	onEach(t, func(d *desk) {
		d.live.publish("cli", "fold: {ignore_case: false}\n"+rules("a"))
		_, sections, _, err := d.store.Draft(d.Context(), 10)
		require.NoError(d, err)
		require.Len(d, sections, 1)
		fold := sections[0]
		_, err = d.store.SaveSection(d.Context(), "li", "fold", fold.Revision, "{ignore_case: maybe}")
		require.Equal(d, fault.Invalid, fault.KindOf(err))
		_, err = d.store.SaveSection(d.Context(), "li", "fold", fold.Revision+1, "{ignore_width: false}")
		require.Equal(d, fault.Conflict, fault.KindOf(err))
		saved, err := d.store.SaveSection(d.Context(), "li", "fold", fold.Revision, "{ignore_width: false}")
		require.NoError(d, err)
		require.Equal(d, draft.StateChanged, saved.State())
		require.Contains(d, string(d.live.files[d.publish()]), "ignore_width: false")
		_, err = d.store.SaveSection(d.Context(), "li", "fold", saved.Revision, "")
		require.NoError(d, err)
		require.NotContains(d, string(d.live.files[d.publish()]), "fold")
		_, err = d.store.SaveSection(d.Context(), "li", "unknown", 0, "1")
		require.Equal(d, fault.Invalid, fault.KindOf(err))
		_, err = d.store.SaveSection(d.Context(), "li", "fold", 0, "{ignore_traditional: true}")
		require.NoError(d, err)
		_, _, sum, err := d.store.Draft(d.Context(), 10)
		require.NoError(d, err)
		require.Equal(d, 1, sum.Sections)
	})
}

func TestRulesAreFound(t *testing.T) {
	onEach(t, func(d *desk) {
		d.live.publish("cli", `rules:
  - {name: everyone, priority: 5, match: {contains: [100%_sure]}, do: [{reply: Hello}]}
  - {name: shop only, account: shop, on: [image], do: [{reply: x}]}
  - {name: two, account: [shop, club], on: subscribe, do: [{reply: 您好}]}
`)
		find := func(q draft.Query) []string {
			q.Limit = 10
			items, _, total, err := d.store.List(d.Context(), q)
			require.NoError(d, err)
			require.EqualValues(d, len(items), total)
			var names []string
			for _, i := range items {
				names = append(names, i.Name)
			}
			return names
		}
		require.Equal(d, []string{"everyone", "two"}, find(draft.Query{Account: "club"}))
		require.Equal(d, []string{"shop only"}, find(draft.Query{Kinds: []string{"image"}}))
		require.Equal(d, []string{"everyone"}, find(draft.Query{Kinds: []string{"text"}}), "text is the kind of a rule that names none")
		require.Equal(d, []string{"everyone"}, find(draft.Query{Search: "100%_S"}))
		require.Empty(d, find(draft.Query{Search: "100x_s"}))
		require.Equal(d, []string{"everyone"}, find(draft.Query{Search: "hello"}))
		require.Equal(d, []string{"two"}, find(draft.Query{Search: "您好"}))
		require.Empty(d, find(draft.Query{States: []draft.State{draft.StateAdded}}))
		d.save(draft.Edit{Body: rule("new")})
		require.Equal(d, []string{"new"}, find(draft.Query{States: []draft.State{draft.StateAdded, draft.StateRemoved}}))
		off := false
		require.Empty(d, find(draft.Query{Enabled: &off}))
		require.Empty(d, find(draft.Query{Conflicts: true}))

		var paged []string
		for token := ""; ; {
			items, next, total, err := d.store.List(d.Context(), draft.Query{Limit: 1, Token: token})
			require.NoError(d, err)
			require.EqualValues(d, 4, total)
			for _, i := range items {
				paged = append(paged, i.Name)
			}
			if token = next; token == "" {
				break
			}
		}
		require.Equal(d, []string{"everyone", "shop only", "two", "new"}, paged)
		_, _, _, err := d.store.List(d.Context(), draft.Query{Limit: 1, Token: "%"})
		require.Equal(d, fault.Invalid, fault.KindOf(err))
	})
}

func TestAnImportGoesIntoTheDraft(t *testing.T) {
	onEach(t, func(d *desk) {
		d.live.publish("cli", "fold: {ignore_case: false}\n"+rules("apple", "pear")+"  - {name: mine, account: shop, match: any, do: [none]}\n")
		file := []byte("fold: {ignore_case: true}\n" + rules("apple", "fig") + "  - {name: pear, match: any, do: [none]}\n")
		dry, err := d.store.Import(d.Context(), draft.Import{Actor: "li", File: file, DryRun: true})
		require.NoError(d, err)
		require.Equal(d, []string{"apple live", "pear live", "mine live"}, d.states(), "a dry run changes nothing")
		done, err := d.store.Import(d.Context(), draft.Import{Actor: "li", File: file})
		require.NoError(d, err)
		require.Equal(d, dry, done)
		require.Equal(d, 1, done.Unchanged)
		require.Len(d, done.Sections, 1)
		require.Equal(d, []string{"apple live", "pear changed", "mine live", "fig added"}, d.states())
		again, err := d.store.Import(d.Context(), draft.Import{Actor: "li", File: file})
		require.NoError(d, err)
		require.Empty(d, again.Changes, "twice is once")

		_, err = d.store.Import(d.Context(), draft.Import{Actor: "li", File: []byte(rules("fig")), Replace: true, OnlyAccount: "shop"})
		require.NoError(d, err)
		require.Equal(d, []string{"apple live", "pear changed", "mine removed", "fig added"}, d.states())
		_, err = d.store.Import(d.Context(), draft.Import{Actor: "li", File: []byte(rules("pear", "mine")), Replace: true})
		require.NoError(d, err)
		require.Equal(d, []string{"apple removed", "pear live", "mine changed"}, d.states())

		_, err = d.store.Import(d.Context(), draft.Import{File: []byte("rules: [{match: any, do: [none]}]")})
		require.ErrorContains(d, err, "have no name")
		_, err = d.store.Import(d.Context(), draft.Import{File: []byte("rules: [{name: x, match: any, do: [what]}]")})
		require.Equal(d, fault.Invalid, fault.KindOf(err))
		entries, _, err := d.store.Audit(d.Context(), draft.AuditQuery{Actions: []draft.Action{draft.ActionImported}, Rule: "fig", Actor: "li", Limit: 10})
		require.NoError(d, err)
		require.Len(d, entries, 2, "it came, and went with the one that replaced everything")
	})
}

func TestTheAuditHasPagesAndTimes(t *testing.T) {
	onEach(t, func(d *desk) {
		for n := range 5 {
			d.save(draft.Edit{Body: rule(fmt.Sprintf("r%d", n)), Actor: fmt.Sprintf("a%d", n%2)})
		}
		var names []string
		token := ""
		for {
			entries, next, err := d.store.Audit(d.Context(), draft.AuditQuery{Limit: 2, Token: token})
			require.NoError(d, err)
			for _, e := range entries {
				names = append(names, e.Name)
			}
			if token = next; token == "" {
				break
			}
		}
		require.Equal(d, []string{"r4", "r3", "r2", "r1", "r0"}, names)
		entries, _, err := d.store.Audit(d.Context(), draft.AuditQuery{Limit: 9, Until: time.Now().Add(-time.Hour)})
		require.NoError(d, err)
		require.Empty(d, entries)
		entries, _, err = d.store.Audit(d.Context(), draft.AuditQuery{Limit: 9, Since: time.Now().Add(-time.Hour), Actor: "a1"})
		require.NoError(d, err)
		require.Len(d, entries, 2)
		_, _, err = d.store.Audit(d.Context(), draft.AuditQuery{Limit: 9, Token: "x"})
		require.Equal(d, fault.Invalid, fault.KindOf(err))
	})
}
