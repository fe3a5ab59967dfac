package draft

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wxbus/wxbus/pkg/fault"
)

// file is a rule file taken apart: its sections by name, and its rules in order.
type file struct {
	sections []part
	rules    []part
	// unnamed is the number of rules that the file gives no name.
	unnamed int
}

// split takes a rule file apart. What its parts say is not checked here.
func split(text []byte) (*file, error) { return splitKnown(text, nil) }

// splitKnown is split with bodies that need not be written again.
func splitKnown(text []byte, known bodies) (*file, error) {
	root, err := decode(text)
	if err != nil {
		return nil, err
	}
	if root == nil {
		return &file{}, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, fault.New(fault.Invalid, "a rule file must be a mapping")
	}
	f := &file{}
	for _, i := range sortedByKey(root) {
		key, value := root.Content[i].Value, root.Content[i+1]
		if key == "rules" {
			err = f.readRules(value, known)
		} else {
			var p part
			p, err = sectionPart(key, value)
			f.sections = append(f.sections, p)
		}
		if err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *file) readRules(list *yaml.Node, known bodies) error {
	if list.Kind != yaml.SequenceNode {
		return fault.New(fault.Invalid, "rules: must be a list")
	}
	for i, node := range list.Content {
		if field(node, "name") == nil {
			f.unnamed++
		}
		p, err := rulePart(node, "rule "+strconv.Itoa(i+1), known)
		if err != nil {
			return err
		}
		f.rules = append(f.rules, p)
	}
	return nil
}

// parts returns sections and rules.
func (f *file) parts() []part { return append(append([]part(nil), f.sections...), f.rules...) }

// compose is the inverse of split.
func (f *file) compose() []byte {
	var b strings.Builder
	for _, s := range f.sections {
		b.WriteString(key(s.name) + ":\n")
		indent(&b, "  ", "  ", s.body)
	}
	if len(f.rules) == 0 {
		b.WriteString("rules: []\n")
		return []byte(b.String())
	}
	b.WriteString("rules:\n")
	for _, r := range f.rules {
		indent(&b, "  - ", "    ", r.body)
	}
	return []byte(b.String())
}

// key writes the name of a section as a key.
func key(name string) string {
	text, err := write(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name})
	if err != nil {
		return strconv.Quote(name)
	}
	return strings.TrimSuffix(text, "\n")
}

// indent writes a body one level deeper. Empty lines stay empty: they belong to block texts.
func indent(b *strings.Builder, first, rest, body string) {
	prefix := first
	for line := range strings.Lines(body) {
		if line != "\n" {
			b.WriteString(prefix)
		}
		b.WriteString(line)
		prefix = rest
	}
	if !strings.HasSuffix(body, "\n") {
		b.WriteByte('\n')
	}
}

// indented returns a body one level deeper.
func indented(body string) string {
	var b strings.Builder
	indent(&b, "  ", "  ", body)
	return b.String()
}

// merge puts the parts of other over those of f, by name. New ones come last.
func (f *file) merge(other *file) *file {
	over := func(mine, theirs []part) []part {
		out := append([]part(nil), mine...)
		at := make(map[string]int, len(out))
		for i, p := range out {
			at[p.name] = i
		}
		for _, p := range theirs {
			if i, ok := at[p.name]; ok {
				out[i] = p
				continue
			}
			out = append(out, p)
		}
		return out
	}
	return &file{sections: over(f.sections, other.sections), rules: over(f.rules, other.rules)}
}

// Canonical returns a rule file in the form in which it would be published from here.
func Canonical(text []byte) ([]byte, error) {
	f, err := split(text)
	if err != nil {
		return nil, err
	}
	return f.compose(), nil
}

// Contains tells whether a rule file has every rule and section of another one, so that merging changes nothing.
func Contains(base, other []byte) (bool, error) {
	merged, err := Merge(base, other)
	if err != nil {
		return false, err
	}
	diff, err := Compare(base, merged)
	if err != nil {
		return false, err
	}
	return len(diff.Changes)+len(diff.Sections) == 0, nil
}

// Merge returns a rule file with the rules and sections of both, where those of over win by name. Every rule of
// over needs a name of its own.
func Merge(base, over []byte) ([]byte, error) {
	under, err := split(base)
	if err != nil {
		return nil, err
	}
	top, err := split(over)
	if err != nil {
		return nil, err
	}
	if top.unnamed > 0 {
		return nil, fault.Errorf(fault.Invalid, "rules: %d of them have no name: rules are merged by their names", top.unnamed)
	}
	return under.merge(top).compose(), nil
}
