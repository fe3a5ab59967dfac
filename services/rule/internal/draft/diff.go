package draft

import (
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFields bounds the differing fields of one rule.
const maxFields = 100

// Field is one field that differs between two bodies.
type Field struct {
	Path           string
	Before, After  string   // YAML; empty when it is not there
	Added, Removed []string // when both are lists of texts
}

// State is how a rule differs from what is live.
type State int

// The states; see the proto for what they mean.
const (
	StateLive State = iota + 1
	StateAdded
	StateChanged
	StateRemoved
	StateParked
)

// Change is one rule that differs between two sets.
type Change struct {
	State         State
	Name          string
	Before, After string
	Fields        []Field
	Item          *Item // in the working copy; nil when two files were compared
}

// Difference is what differs between two files.
type Difference struct {
	Changes   []Change // in the order of the second file; removed ones last
	Sections  []Field
	Reordered bool
}

// Fields compares two bodies field by field. Either may be empty.
func Fields(before, after string) []Field {
	a, errA := decode([]byte(before))
	b, errB := decode([]byte(after))
	if errA != nil || errB != nil {
		return nil // bodies were read when they were kept
	}
	var d fieldDiff
	d.compare("", a, b)
	return d.fields
}

type fieldDiff struct{ fields []Field }

func (d *fieldDiff) add(f Field) {
	if len(d.fields) < maxFields {
		d.fields = append(d.fields, f)
	}
}

func (d *fieldDiff) compare(path string, a, b *yaml.Node) {
	switch {
	case a == nil && b == nil:
	case a == nil || b == nil || a.Kind != b.Kind:
		if path == "" && (a == nil || a.Kind == yaml.MappingNode) && (b == nil || b.Kind == yaml.MappingNode) {
			d.compareKeys(path, a, b)
			return
		}
		d.add(Field{Path: path, Before: textOf(a), After: textOf(b)})
	case digestOf(a) == digestOf(b):
	case a.Kind == yaml.MappingNode:
		d.compareKeys(path, a, b)
	case a.Kind == yaml.SequenceNode && (!isTexts(a) || !isTexts(b)):
		d.compareItems(path, a, b)
	default:
		f := Field{Path: path, Before: textOf(a), After: textOf(b)}
		if a.Kind == yaml.SequenceNode {
			f.Added, f.Removed = minus(texts(b), texts(a)), minus(texts(a), texts(b))
		}
		d.add(f)
	}
}

func (d *fieldDiff) compareKeys(path string, a, b *yaml.Node) {
	seen := map[string]bool{}
	for _, node := range []*yaml.Node{a, b} {
		if node == nil {
			continue
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := node.Content[i].Value
			if seen[key] {
				continue
			}
			seen[key] = true
			child := key
			if path != "" {
				child = path + "." + key
			}
			d.compare(child, field(a, key), field(b, key))
		}
	}
}

func (d *fieldDiff) compareItems(path string, a, b *yaml.Node) {
	for i := range max(len(a.Content), len(b.Content)) {
		d.compare(path+"["+strconv.Itoa(i)+"]", item(a, i), item(b, i))
	}
}

func item(list *yaml.Node, i int) *yaml.Node {
	if i < len(list.Content) {
		return list.Content[i]
	}
	return nil
}

func isTexts(list *yaml.Node) bool {
	return !slices.ContainsFunc(list.Content, func(n *yaml.Node) bool { return n.Kind != yaml.ScalarNode })
}

// minus returns the texts of a that b lacks.
func minus(a, b []string) []string {
	there := make(map[string]bool, len(b))
	for _, text := range b {
		there[text] = true
	}
	var out []string
	for _, text := range a {
		if !there[text] {
			out = append(out, text)
		}
	}
	return out
}

// textOf returns a node as YAML, or "" for none.
func textOf(node *yaml.Node) string {
	if node == nil {
		return ""
	}
	text, err := write(node)
	if err != nil {
		return node.Value
	}
	return strings.TrimSuffix(text, "\n")
}

// Compare tells what differs between two rule files, rule by rule.
func Compare(before, after []byte) (*Difference, error) {
	a, err := split(before)
	if err != nil {
		return nil, err
	}
	b, err := split(after)
	if err != nil {
		return nil, err
	}
	return a.compare(b), nil
}

func (f *file) compare(other *file) *Difference {
	d := &Difference{}
	old := byName(f.rules)
	var order []string // of the rules that both have, as in other
	for _, p := range other.rules {
		was, ok := old[p.name]
		if ok {
			order = append(order, p.name)
		}
		if was.digest != p.digest {
			d.Changes = append(d.Changes, changeOf(was.body, p.body, p.name))
		}
	}
	now := byName(other.rules)
	next := 0
	for _, p := range f.rules {
		if _, ok := now[p.name]; !ok {
			d.Changes = append(d.Changes, changeOf(p.body, "", p.name))
			continue
		}
		d.Reordered = d.Reordered || next >= len(order) || order[next] != p.name
		next++
	}
	d.Sections = compareSections(f.sections, other.sections)
	return d
}

func changeOf(before, after, name string) Change {
	state := StateChanged
	switch {
	case before == "":
		state = StateAdded
	case after == "":
		state = StateRemoved
	}
	return Change{State: state, Name: name, Before: before, After: after, Fields: Fields(before, after)}
}

func compareSections(before, after []part) []Field {
	var out []Field
	now := byName(after)
	old := byName(before)
	for _, p := range before {
		if n := now[p.name]; n.digest != p.digest {
			out = append(out, Field{Path: p.name, Before: p.body, After: n.body})
		}
	}
	for _, p := range after {
		if _, ok := old[p.name]; !ok {
			out = append(out, Field{Path: p.name, After: p.body})
		}
	}
	return out
}

func byName(parts []part) map[string]part {
	out := make(map[string]part, len(parts))
	for _, p := range parts {
		out[p.name] = p
	}
	return out
}
