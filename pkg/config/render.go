package config

import (
	"encoding"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Print writes the configuration as YAML that Load reads again. A secret appears as the file: or
// env: it came from; a literal one as "[redacted]", which Load refuses with a clear message.
func Print(w io.Writer, shared *Shared, sections ...Section) error {
	return render(w, shared, sections, false)
}

// Example is Print with a comment above every key.
func Example(w io.Writer, shared *Shared, sections ...Section) error {
	return render(w, shared, sections, true)
}

func render(w io.Writer, shared *Shared, sections []Section, comments bool) error {
	root, err := rootOf(shared, sections)
	if err != nil {
		return err
	}
	r := renderer{comments: comments}
	doc := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range root.fields {
		if err := r.add(doc, f, f.node.value); err != nil {
			return err
		}
	}
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(doc); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if err := enc.Close(); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

type renderer struct{ comments bool }

func (r renderer) add(doc *yaml.Node, f field, v reflect.Value) error {
	key := textNode(f.name)
	if r.comments {
		key.HeadComment = f.node.desc
	}
	val, err := r.node(f.node, v)
	if err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	doc.Content = append(doc.Content, key, val)
	return nil
}

func (r renderer) node(n *node, v reflect.Value) (*yaml.Node, error) {
	switch n.shape {
	case object:
		out := &yaml.Node{Kind: yaml.MappingNode}
		for _, f := range n.fields {
			if err := r.add(out, f, v.FieldByIndex(f.index)); err != nil {
				return nil, err
			}
		}
		return out, nil
	case list:
		out := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			item, err := r.node(n.elem, v.Index(i))
			if err != nil {
				return nil, err
			}
			out.Content = append(out.Content, item)
		}
		if v.Len() == 0 {
			out.Style = yaml.FlowStyle
		}
		return out, nil
	case dict:
		out := &yaml.Node{Kind: yaml.MappingNode}
		for _, k := range sortedKeys(v) {
			if err := r.add(out, field{name: k.String(), node: n.elem}, v.MapIndex(k)); err != nil {
				return nil, err
			}
		}
		if v.Len() == 0 {
			out.Style = yaml.FlowStyle
		}
		return out, nil
	default:
		return scalarNode(v)
	}
}

func scalarNode(v reflect.Value) (*yaml.Node, error) {
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
	}
	text, err := scalarText(v)
	if err != nil {
		return nil, err
	}
	if isText(v.Type()) {
		return textNode(text), nil
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: text}, nil
}

// textNode quotes what would be read as something else than text.
func textNode(text string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	if text == "<<" { // the merge key is the one case that the encoder forgets
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// isText reports whether values of t may hold any text.
func isText(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.String {
		return true
	}
	_, ok := reflect.Zero(t).Interface().(encoding.TextMarshaler)
	return ok && t != reflect.TypeFor[Bytes]()
}

// scalarText returns the written form of a scalar; that of a nil pointer is empty.
func scalarText(v reflect.Value) (string, error) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "", nil
		}
		v = v.Elem()
	}
	switch x := v.Interface().(type) {
	case Secret:
		if x.Source() != "" {
			return x.Source(), nil
		}
		return x.String(), nil
	case time.Duration:
		return durationText(x), nil
	case encoding.TextMarshaler:
		b, err := x.MarshalText()
		return string(b), err
	default:
		return fmt.Sprint(x), nil
	}
}

// durationText is Duration.String without the zero parts at the end: 5m, not 5m0s.
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func sortedKeys(v reflect.Value) []reflect.Value {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	return keys
}
