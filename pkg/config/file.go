package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds against YAML that grows when aliases are followed.
const (
	maxDepth = 32
	maxNodes = 200_000
)

// fromFile parses the file and records the line of every key.
func (l *loader) fromFile(content []byte) (map[string]any, error) {
	name := l.opts.File
	if name == "" {
		name = "configuration"
	}
	p := yamlParser{
		report: l.problems.add,
		origin: func(path string, line int) { l.origins[path] = fmt.Sprintf("%s:%d", name, line) },
	}
	m, err := p.document(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

// yamlParser turns YAML into maps, lists, strings and nil. Strings are as written.
type yamlParser struct {
	report func(path, text string)
	origin func(path string, line int)
	nodes  int
}

var errTooLarge = errors.New("is too large or too deeply nested")

// document parses exactly one document, which must be a mapping or empty.
func (p *yamlParser) document(content []byte) (map[string]any, error) {
	root, err := parseYAML(content)
	if err != nil || root == nil {
		return map[string]any{}, err
	}
	v, err := p.value(root, "", 0)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok && v != nil {
		return nil, errors.New("must be a mapping of keys at the top")
	}
	if m == nil {
		m = map[string]any{}
	}
	return m, nil
}

// parseYAML returns the node of the only document, or nil when there is none.
func parseYAML(content []byte) (*yaml.Node, error) {
	if len(content) > maxFileSize {
		return nil, fmt.Errorf("is larger than %d bytes", maxFileSize)
	}
	dec := yaml.NewDecoder(bytes.NewReader(content))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, yamlError(err)
	}
	switch err := dec.Decode(&more); {
	case err == nil:
		return nil, errors.New("must hold one YAML document, found a second one")
	case !errors.Is(err, io.EOF):
		return nil, yamlError(err)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, nil
	}
	return doc.Content[0], nil
}

func yamlError(err error) error { return errors.New(strings.TrimPrefix(err.Error(), "yaml: ")) }

func (p *yamlParser) value(n *yaml.Node, path string, depth int) (any, error) {
	if p.nodes++; p.nodes > maxNodes || depth > maxDepth {
		return nil, errTooLarge
	}
	switch n.Kind {
	case yaml.AliasNode:
		return p.value(n.Alias, path, depth+1)
	case yaml.MappingNode:
		return p.mapping(n, path, depth)
	case yaml.SequenceNode:
		items := make([]any, len(n.Content))
		for i, c := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			p.origin(at, c.Line)
			v, err := p.value(c, at, depth+1)
			if err != nil {
				return nil, err
			}
			items[i] = v
		}
		return items, nil
	default:
		if n.ShortTag() == "!!null" {
			return nil, nil
		}
		return n.Value, nil
	}
}

func (p *yamlParser) mapping(n *yaml.Node, path string, depth int) (any, error) {
	m := make(map[string]any, len(n.Content)/2)
	lines := make(map[string]int, len(n.Content)/2)
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch {
		case key.Kind != yaml.ScalarNode:
			p.report(path, fmt.Sprintf("has a key that is not plain text in line %d", n.Content[i].Line))
			continue
		case key.ShortTag() == "!!merge":
			merged = append(merged, val)
			continue
		}
		at := join(path, key.Value)
		if first, twice := lines[key.Value]; twice {
			p.report(at, fmt.Sprintf("is given twice, in lines %d and %d", first, n.Content[i].Line))
			continue
		}
		lines[key.Value] = n.Content[i].Line
		p.origin(at, n.Content[i].Line)
		v, err := p.value(val, at, depth+1)
		if err != nil {
			return nil, err
		}
		m[key.Value] = v
	}
	for _, src := range merged {
		if err := p.merge(m, src, path, depth+1); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// merge adds the keys of "<<: *anchor" (or a list of anchors) that m does not have.
func (p *yamlParser) merge(m map[string]any, src *yaml.Node, path string, depth int) error {
	quiet := yamlParser{report: p.report, origin: func(string, int) {}, nodes: p.nodes}
	v, err := quiet.value(src, path, depth)
	p.nodes = quiet.nodes
	if err != nil {
		return err
	}
	sources, ok := v.([]any)
	if !ok {
		sources = []any{v}
	}
	for _, s := range sources {
		add, ok := s.(map[string]any)
		if !ok {
			p.report(path, "merge key << needs a mapping")
			continue
		}
		for k, x := range add {
			if _, has := m[k]; !has {
				m[k] = x
			}
		}
	}
	return nil
}
