package draft

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

// maxFlow is the longest list of texts in bytes that is written in one line.
const maxFlow = 80

// firstKeys are the keys of a rule that come first, in this order; do comes last.
var firstKeys = []string{"name", "account", "priority", "on", "match"}

// decode reads the only document of a text. It returns nil for an empty one.
func decode(text []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	err := decoder.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, fault.Errorf(fault.Invalid, "read YAML: %w", err)
	case !errors.Is(decoder.Decode(&second), io.EOF):
		return nil, fault.New(fault.Invalid, "one YAML document is expected")
	case doc.Kind != yaml.DocumentNode || len(doc.Content) != 1:
		return nil, nil
	}
	return doc.Content[0], nil
}

// encode writes a node in the one form in which bodies are kept: no comments, lists of short texts in one
// line, everything else in blocks. The node is changed.
func encode(node *yaml.Node) (string, error) {
	plain(node)
	text, err := write(node)
	if err != nil || !isOdd(node) || readsBack(text, node) {
		return text, err
	}
	// Block texts with odd white space do not read back as what was written.
	quoted(node)
	if text, err = write(node); err == nil && !readsBack(text, node) {
		err = fault.New(fault.Invalid, "it holds a text that YAML cannot keep")
	}
	return text, err
}

// isOdd tells whether a text of a node may not survive being written.
func isOdd(node *yaml.Node) bool {
	if node.Kind == yaml.ScalarNode {
		return strings.TrimSpace(node.Value) != node.Value || strings.ContainsFunc(node.Value, func(r rune) bool { return !unicode.IsPrint(r) })
	}
	return slices.ContainsFunc(node.Content, isOdd)
}

func readsBack(text string, node *yaml.Node) bool {
	again, err := decode([]byte(text))
	return err == nil && again != nil && digestOf(again) == digestOf(node)
}

func write(node *yaml.Node) (string, error) {
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(node); err != nil {
		return "", fault.Errorf(fault.Invalid, "write YAML: %w", err)
	}
	if err := encoder.Close(); err != nil {
		return "", fault.Errorf(fault.Invalid, "write YAML: %w", err)
	}
	return b.String(), nil
}

// plain removes what has no meaning: comments, and styles other than ours.
func plain(node *yaml.Node) {
	node.HeadComment, node.LineComment, node.FootComment, node.Anchor = "", "", "", ""
	node.Style &= yaml.TaggedStyle
	if node.Kind == yaml.SequenceNode && isShort(node) {
		node.Style = yaml.FlowStyle
	}
	for _, child := range node.Content {
		plain(child)
	}
}

// quoted writes every text between double quotes.
func quoted(node *yaml.Node) {
	if node.Kind == yaml.ScalarNode && node.ShortTag() == "!!str" {
		node.Style = yaml.DoubleQuotedStyle
	}
	for _, child := range node.Content {
		quoted(child)
	}
}

func isShort(list *yaml.Node) bool {
	size := 0
	for _, item := range list.Content {
		if item.Kind != yaml.ScalarNode || strings.Contains(item.Value, "\n") {
			return false
		}
		size += len(item.Value) + 2
	}
	return size <= maxFlow
}

// digestOf identifies what a node says, whatever the order of its keys and the style of its texts.
func digestOf(node *yaml.Node) string {
	h := sha256.New()
	hashNode(h, node)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func hashNode(h hash.Hash, node *yaml.Node) {
	put := func(kind, text string) {
		_, _ = io.WriteString(h, kind+strconv.Itoa(len(text))+":"+text) // a hash takes everything
	}
	switch node.Kind {
	case yaml.ScalarNode:
		if node.ShortTag() == "!!null" {
			put("n", "")
			return
		}
		put("s", node.Value)
	case yaml.MappingNode:
		put("m", strconv.Itoa(len(node.Content)/2))
		for _, i := range sortedByKey(node) {
			put("k", node.Content[i].Value)
			hashNode(h, node.Content[i+1])
		}
	case yaml.SequenceNode:
		put("l", strconv.Itoa(len(node.Content)))
		for _, child := range node.Content {
			hashNode(h, child)
		}
	default:
		put("?", node.Value)
	}
}

// sortedByKey returns the indexes of the keys of a mapping in the order of their names.
func sortedByKey(node *yaml.Node) []int {
	var at []int
	for i := 0; i+1 < len(node.Content); i += 2 {
		at = append(at, i)
	}
	slices.SortStableFunc(at, func(a, b int) int { return strings.Compare(node.Content[a].Value, node.Content[b].Value) })
	return at
}

// field returns the value of a key of a mapping, or nil.
func field(node *yaml.Node, key string) *yaml.Node {
	if node == nil || node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i+1]
		}
	}
	return nil
}

// setField sets a key of a mapping to a scalar.
func setField(node *yaml.Node, key, tag, value string) {
	if old := field(node, key); old != nil {
		*old = yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
		return
	}
	node.Content = append(node.Content,
		&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value})
}

// ordered puts the keys of a rule in the order in which people read them.
func ordered(rule *yaml.Node) {
	rank := func(key string) int {
		if i := slices.Index(firstKeys, key); i >= 0 {
			return i
		}
		if key == "do" {
			return len(firstKeys) + 1
		}
		return len(firstKeys)
	}
	type pair struct{ key, value *yaml.Node }
	pairs := make([]pair, 0, len(rule.Content)/2)
	for i := 0; i+1 < len(rule.Content); i += 2 {
		pairs = append(pairs, pair{rule.Content[i], rule.Content[i+1]})
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return rank(a.key.Value) - rank(b.key.Value) })
	content := make([]*yaml.Node, 0, len(rule.Content))
	for _, p := range pairs {
		content = append(content, p.key, p.value)
	}
	rule.Content = content
}

// part is a rule or a section as it is kept: its text, its identity, and what lists are searched by.
type part struct {
	section  bool
	name     string
	priority int32
	accounts []string
	kinds    []string
	body     string
	digest   string
}

// bodies are bodies that are known by their digests, so that they need not be written again.
type bodies map[string]string

// of returns the body and the digest of a node.
func (b bodies) of(node *yaml.Node) (body, digest string, err error) {
	digest = digestOf(node)
	if body, ok := b[digest]; ok {
		return body, digest, nil
	}
	body, err = encode(node)
	return body, digest, err
}

// rulePart reads a rule. fallback is its name when it has none.
func rulePart(node *yaml.Node, fallback string, known bodies) (part, error) {
	if node == nil || node.Kind != yaml.MappingNode {
		return part{}, fault.New(fault.Invalid, "a rule must be a mapping")
	}
	name := fallback
	if n := field(node, "name"); n != nil && n.Kind == yaml.ScalarNode && n.Value != "" {
		name = n.Value
	}
	if name == "" {
		return part{}, fault.New(fault.Invalid, "name: is required")
	}
	setField(node, "name", "!!str", name)
	ordered(node)
	body, digest, err := known.of(node)
	if err != nil {
		return part{}, fmt.Errorf("rule %q: %w", name, err)
	}
	p := part{name: name, body: body, digest: digest, accounts: texts(field(node, "account")), kinds: texts(field(node, "on"))}
	if len(p.kinds) == 0 {
		p.kinds = ruleset.DefaultKinds(field(node, "match"))
	}
	if n := field(node, "priority"); n != nil {
		if value, err := strconv.ParseInt(n.Value, 0, 32); err == nil {
			p.priority = int32(value)
		}
	}
	return p, nil
}

// sectionPart reads a top-level section.
func sectionPart(name string, node *yaml.Node) (part, error) {
	body, err := encode(node)
	if err != nil {
		return part{}, fmt.Errorf("section %q: %w", name, err)
	}
	return part{section: true, name: name, body: body, digest: digestOf(node)}, nil
}

// texts returns a text or a list of texts as a list.
func texts(node *yaml.Node) []string {
	if node == nil {
		return nil
	}
	if node.Kind == yaml.ScalarNode {
		return []string{node.Value}
	}
	var out []string
	for _, child := range node.Content {
		if child.Kind == yaml.ScalarNode {
			out = append(out, child.Value)
		}
	}
	return out
}
