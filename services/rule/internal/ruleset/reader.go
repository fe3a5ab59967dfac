package ruleset

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wxbus/wxbus/pkg/fault"
)

// maxProblems bounds the text of a refusal.
const maxProblems = 25

// reader walks a YAML tree and collects what is wrong with it.
type reader struct {
	problems []error
	more     int
}

// at is a node and its path in the file.
type at struct {
	node *yaml.Node
	path string
}

func (a at) child(key string, node *yaml.Node) at {
	if a.path == "" {
		return at{node, key}
	}
	return at{node, a.path + "." + key}
}

func (a at) item(i int, node *yaml.Node) at {
	return at{node, a.path + "[" + strconv.Itoa(i) + "]"}
}

// refuse notes a mistake. A node of the wrong kind may be an alias, which no field takes: expanded
// aliases would make the size of a file unbounded.
func (r *reader) refuse(a at, format string, args ...any) {
	if a.node.Kind == yaml.AliasNode {
		format, args = "aliases are not supported", nil
	}
	if len(r.problems) == maxProblems {
		r.more++
		return
	}
	r.problems = append(r.problems, fmt.Errorf("%s: %s (line %d)", a.path, fmt.Sprintf(format, args...), a.node.Line))
}

// err returns every mistake as one Invalid error, or nil.
func (r *reader) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	problems := r.problems
	if r.more > 0 {
		problems = append(problems, fmt.Errorf("and %d more", r.more))
	}
	return fault.Wrap(fault.Invalid, errors.Join(problems...))
}

// fields calls the function of each key of a mapping. Unknown and repeated keys are mistakes.
func (r *reader) fields(a at, known map[string]func(at)) {
	if a.node.Kind != yaml.MappingNode {
		r.refuse(a, "must be a mapping with the keys %s", strings.Join(sortedKeys(known), ", "))
		return
	}
	seen := make(map[string]bool, len(a.node.Content)/2)
	for i := 0; i+1 < len(a.node.Content); i += 2 {
		key, value := a.node.Content[i], a.node.Content[i+1]
		child := a.child(key.Value, value)
		read, ok := known[key.Value]
		switch {
		case seen[key.Value]:
			r.refuse(at{key, child.path}, "appears twice")
		case !ok:
			r.refuse(at{key, child.path}, "unknown key, want one of %s", strings.Join(sortedKeys(known), ", "))
		default:
			read(child)
		}
		seen[key.Value] = true
	}
}

func sortedKeys(m map[string]func(at)) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// items calls read for each item of a list.
func (r *reader) items(a at, most int, read func(at)) {
	if a.node.Kind != yaml.SequenceNode {
		r.refuse(a, "must be a list")
		return
	}
	if len(a.node.Content) > most {
		r.refuse(a, "has %d items, at most %d are allowed", len(a.node.Content), most)
		return
	}
	for i, node := range a.node.Content {
		read(a.item(i, node))
	}
}

// text returns a scalar as written: a number or a date in YAML is a keyword like any other.
func (r *reader) text(a at) (string, bool) {
	if a.node.Kind != yaml.ScalarNode || a.node.Tag == "!!null" {
		r.refuse(a, "must be a text")
		return "", false
	}
	return a.node.Value, true
}

// into returns a reader of a text field with at most the given number of bytes.
func (r *reader) into(field *string, most int) func(at) {
	return func(a at) {
		text, ok := r.text(a)
		if ok && len(text) > most {
			r.refuse(a, "is %d bytes long, at most %d are allowed", len(text), most)
			return
		}
		*field = text
	}
}

// texts returns a list of texts; one text may stand for a list of one.
func (r *reader) texts(a at, most int) []string {
	if a.node.Kind == yaml.ScalarNode && a.node.Tag != "!!null" {
		return []string{a.node.Value}
	}
	var texts []string
	r.items(a, most, func(item at) {
		if text, ok := r.text(item); ok {
			texts = append(texts, text)
		}
	})
	return texts
}

func (r *reader) boolean(a at, set func(bool)) {
	var value bool
	if a.node.Kind != yaml.ScalarNode || a.node.Decode(&value) != nil {
		r.refuse(a, "must be true or false")
		return
	}
	set(value)
}
