package match

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/wxbus/wxbus/services/rule/internal/rest"
)

// compiler collects what rules ask for, then ranks it and builds the set.
type compiler struct {
	rest    *rest.Rest
	set     *Set
	entries []entry
	scopes  map[string]*draft
	order   []string // names of scopes in the order of their first use
	kept    map[string]string
}

// draft is a scope before its ranks are known: outs hold numbers of entries instead of ranks.
type draft struct {
	any    []trigger
	near   []trigger
	keys   []keyUse
	scenes []keyUse // by how they begin
	groups map[Fold]*groupDraft
}

type trigger struct {
	name  string
	entry uint32
}

type keyUse struct {
	ref   keyRef
	entry uint32
}

type groupDraft struct {
	texts   [3][]pattern // by Exact, Prefix, Contains
	regexes []regexRule
}

// Compile builds a set as fast as it can. See CompileGently.
func Compile(rules []Rule) (*Set, error) {
	return CompileGently(Of(rules), nil)
}

// CompileGently builds a set and rests between its steps. It keeps no rule and no text of one. It fails for a pattern that is empty, longer than 512 characters or that
// holds NUL, and for more than 32 different triggers of text rules.
func CompileGently(rules Source, r *rest.Rest) (*Set, error) {
	c := &compiler{
		rest: r, entries: make([]entry, 0, rules.Len+rules.Len/8),
		set:    &Set{count: rules.Len, bits: map[string]uint32{}, accounts: map[string]*scope{}},
		scopes: map[string]*draft{}, kept: map[string]string{},
	}
	c.draft("")
	for i := range rules.Len {
		one := rules.Rule(i)
		if err := c.add(uint32(i), &one); err != nil {
			return nil, fmt.Errorf("rule %q: %w", one.Name, err)
		}
		c.rest.Step()
	}
	ranks := c.rank()
	for _, name := range c.order {
		built := c.build(c.scopes[name], ranks)
		if name == "" {
			c.set.every = built
			continue
		}
		c.set.accounts[name] = built
	}
	return c.set, nil
}

// keep returns a text of its own, which stays when the one that it was made from, part of a longer one maybe, is gone.
func (c *compiler) keep(text string) string {
	own, ok := c.kept[text]
	if !ok {
		own = strings.Clone(text)
		c.kept[own] = own
	}
	return own
}

func (c *compiler) draft(account string) *draft {
	d := c.scopes[account]
	if d == nil {
		account = c.keep(account)
		d = &draft{groups: map[Fold]*groupDraft{}}
		c.scopes[account] = d
		c.order = append(c.order, account)
	}
	return d
}

func (c *compiler) add(index uint32, r *Rule) error {
	accounts := r.Accounts
	if len(accounts) == 0 {
		accounts = []string{""}
	}
	first := len(c.entries)
	entryOf := func(class Class, length int) uint32 {
		e := entry{priority: r.Priority, rule: index, class: class, length: uint32(length), conditional: r.Conditional}
		for i := first; i < len(c.entries); i++ {
			if c.entries[i] == e {
				return uint32(i)
			}
		}
		c.entries = append(c.entries, e)
		return uint32(len(c.entries) - 1)
	}
	mask, err := c.mask(r)
	if err != nil {
		return err
	}
	for _, account := range accounts {
		d := c.draft(account)
		for _, name := range r.Triggers {
			c.addKeys(d, r, c.keep(name), entryOf)
		}
		if err := d.addTexts(r, mask, entryOf); err != nil {
			return err
		}
	}
	return nil
}

// addKeys adds what the rule matches beside text, for one of its triggers.
func (c *compiler) addKeys(d *draft, r *Rule, name string, entryOf func(Class, int) uint32) {
	if r.Any {
		d.any = append(d.any, trigger{name, entryOf(Any, 0)})
	}
	if r.Near {
		d.near = append(d.near, trigger{name, entryOf(Near, 0)})
	}
	for of, keys := range [...][]string{eventKey: r.EventKeys, scene: r.Scenes, media: r.Media} {
		for _, key := range keys {
			d.keys = append(d.keys, keyUse{keyRef{keySpace(of), name, c.keep(key)}, entryOf(Exact, 0)})
		}
	}
	for _, begin := range r.ScenePrefixes {
		d.scenes = append(d.scenes, keyUse{keyRef{scene, name, c.keep(begin)}, entryOf(Prefix, utf8.RuneCountInString(begin))})
	}
}

// mask returns the bits of the triggers of a rule that matches text.
func (c *compiler) mask(r *Rule) (uint32, error) {
	if len(r.Exact)+len(r.Prefix)+len(r.Contains)+len(r.Regex) == 0 {
		return 0, nil
	}
	var mask uint32
	for _, name := range r.Triggers {
		bit := c.set.bits[name]
		if bit == 0 {
			if len(c.set.bits) == 32 {
				return 0, fmt.Errorf("more than 32 kinds of events are matched by text")
			}
			bit = 1 << len(c.set.bits)
			c.set.bits[c.keep(name)] = bit
		}
		mask |= bit
	}
	return mask, nil
}

// addTexts adds what the rule matches in texts. entryOf returns the number of one of its entries.
func (d *draft) addTexts(r *Rule, mask uint32, entryOf func(Class, int) uint32) error {
	if mask == 0 {
		return nil
	}
	g := d.groups[r.Fold]
	if g == nil {
		g = &groupDraft{}
		d.groups[r.Fold] = g
	}
	for i, texts := range [3][]string{Exact: r.Exact, Prefix: r.Prefix, Contains: r.Contains} {
		class := Class(i)
		for _, raw := range texts {
			text := normal(r.Fold, class, raw)
			if !Usable(text) {
				return fmt.Errorf("%s %q: must have 1 to %d characters and no NUL", class, raw, MaxPatternRunes)
			}
			length := 0
			if class != Exact {
				length = utf8.RuneCountInString(text)
			}
			g.texts[class] = append(g.texts[class], pattern{text: text, out: out{rank: entryOf(class, length), mask: mask}, sure: !r.Conditional})
		}
	}
	for _, re := range r.Regex {
		g.regexes = append(g.regexes, regexRule{re: re, rank: entryOf(RegexClass, 0), mask: mask})
	}
	return nil
}

// normal folds a pattern and drops the white space that a trimmed text cannot have.
func normal(f Fold, class Class, text string) string {
	text = f.String(text)
	switch class {
	case Exact:
		return strings.TrimSpace(text)
	case Prefix:
		return strings.TrimLeftFunc(text, unicode.IsSpace)
	default:
		return text
	}
}

// rank sorts the entries of the set and returns the rank of each entry of the compiler.
func (c *compiler) rank() []uint32 {
	order := make([]uint32, len(c.entries))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(x, y uint32) int {
		c.rest.Step()
		return c.entries[x].compare(c.entries[y])
	})
	ranks := make([]uint32, len(order))
	c.set.entries = make([]entry, len(order))
	for rank, i := range order {
		ranks[i] = uint32(rank)
		c.set.entries[rank] = c.entries[i]
		c.rest.Step()
	}
	return ranks
}

func (c *compiler) build(d *draft, ranks []uint32) *scope {
	s := &scope{
		any: c.ranksOf(d.any, ranks), near: c.ranksOf(d.near, ranks),
		keys: c.ranksOfKeys(d.keys, ranks), scenes: c.ranksOfKeys(d.scenes, ranks),
	}
	for _, use := range d.scenes {
		if !slices.Contains(s.sceneLengths, len(use.ref.key)) {
			s.sceneLengths = append(s.sceneLengths, len(use.ref.key))
		}
	}
	for fold, g := range d.groups {
		s.groups = append(s.groups, g.build(fold, ranks, c.rest))
	}
	return s
}

// ranksOf returns the ranks that may win for each trigger, best first: conditional ones, and the first
// that no condition can keep from winning.
func (c *compiler) ranksOf(uses []trigger, ranks []uint32) map[string][]uint32 {
	byTrigger := make(map[string][]uint32, len(uses))
	for _, use := range uses {
		byTrigger[use.name] = append(byTrigger[use.name], ranks[use.entry])
	}
	for name, list := range byTrigger {
		byTrigger[name] = c.winnable(list)
	}
	return byTrigger
}

// ranksOfKeys is ranksOf for keys.
func (c *compiler) ranksOfKeys(uses []keyUse, ranks []uint32) map[keyRef][]uint32 {
	byKey := make(map[keyRef][]uint32, len(uses))
	for _, use := range uses {
		byKey[use.ref] = append(byKey[use.ref], ranks[use.entry])
	}
	for ref, list := range byKey {
		byKey[ref] = c.winnable(list)
		c.rest.Step()
	}
	return byKey
}

func (c *compiler) winnable(list []uint32) []uint32 {
	slices.Sort(list)
	list = slices.Compact(list)
	sure := slices.IndexFunc(list, func(rank uint32) bool { return !c.set.entries[rank].conditional })
	if sure >= 0 {
		list = list[:sure+1]
	}
	return slices.Clip(list)
}

func (g *groupDraft) build(fold Fold, ranks []uint32, r *rest.Rest) *group {
	for _, patterns := range g.texts {
		for i := range patterns {
			patterns[i].out.rank = ranks[patterns[i].out.rank]
			r.Step()
		}
	}
	built := &group{fold: fold, prefix: build(g.texts[Prefix], false, r)}
	built.addExact(g.texts[Exact], r)
	for i := range g.regexes {
		g.regexes[i].rank = ranks[g.regexes[i].rank]
	}
	slices.SortStableFunc(g.regexes, func(x, y regexRule) int { return cmp.Compare(x.rank, y.rank) })
	built.contains = build(append(g.texts[Contains], built.addRegexes(g.regexes)...), true, r)
	return built
}

func (g *group) addExact(patterns []pattern, r *rest.Rest) {
	if len(patterns) == 0 {
		return
	}
	g.exact = newTexts(patterns)
	for text, uses := range textsOf(patterns, r) {
		first := uint32(len(g.outs))
		g.outs = appendOuts(g.outs, uses)
		g.exact.put(text, span{first, uint32(len(g.outs))})
	}
}

// addRegexes makes the lists of expressions by required text and returns the texts as patterns.
func (g *group) addRegexes(regexes []regexRule) []pattern {
	if len(regexes) == 0 {
		return nil
	}
	g.regexes, g.lists = regexes, make([][]uint32, 1)
	lists := map[string]uint32{}
	var patterns []pattern
	for i, r := range regexes {
		at := uint32(i)
		if len(r.re.required) == 0 {
			g.lists[0] = append(g.lists[0], at)
		}
		for _, text := range r.re.required {
			list, ok := lists[text]
			if !ok {
				list = uint32(len(g.lists))
				lists[text] = list
				g.lists = append(g.lists, nil)
				patterns = append(patterns, pattern{text: text, out: out{rank: r.rank, mask: ^uint32(0), regex: list}})
			}
			g.lists[list] = append(g.lists[list], at)
		}
	}
	return patterns
}
