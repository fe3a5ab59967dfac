package content

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"
)

// object reads the members of a JSON object strictly: each read takes note of the name, and
// rejectOthers reports what nobody asked for.
type object struct {
	path     string // with a dot at its end, or empty for the root
	members  map[string]json.RawMessage
	problems *FieldErrors
	read     map[string]bool
}

func (o *object) at(name string) (json.RawMessage, bool) {
	if o.read == nil {
		o.read = make(map[string]bool)
	}
	o.read[name] = true
	value, ok := o.members[name]
	return value, ok && string(value) != "null"
}

// text reads a string; absent and null are empty.
func (o *object) text(name string) string {
	value, ok := o.at(name)
	if !ok {
		return ""
	}
	var s string
	if json.Unmarshal(value, &s) != nil {
		o.problems.add(o.path+name, "must be a string")
		return ""
	}
	return dropControl(s)
}

// textOrNumber reads a string, or a number as it is spelled.
func (o *object) textOrNumber(name string) string {
	value, ok := o.at(name)
	if !ok {
		return ""
	}
	var n json.Number
	if value[0] != '"' && json.Unmarshal(value, &n) == nil {
		return n.String()
	}
	return o.text(name)
}

// object reads an object; absent and null have no members.
func (o *object) object(name string) object {
	child := object{path: o.path + name + ".", problems: o.problems}
	value, ok := o.at(name)
	if !ok {
		return child
	}
	if json.Unmarshal(value, &child.members) != nil {
		o.problems.add(o.path+name, "must be an object")
		child.members = nil
	}
	return child
}

// list reads a list of at most limit objects.
func (o *object) list(name string, limit int) []object {
	value, ok := o.at(name)
	if !ok {
		return nil
	}
	var values []json.RawMessage
	if json.Unmarshal(value, &values) != nil {
		o.problems.add(o.path+name, "must be a list")
		return nil
	}
	if len(values) > limit {
		o.problems.add(o.path+name, "at most %d, has %d", limit, len(values))
		return nil
	}
	objects := make([]object, 0, len(values))
	for i, value := range values {
		child := object{path: fmt.Sprintf("%s%s[%d].", o.path, name, i), problems: o.problems}
		if json.Unmarshal(value, &child.members) != nil || child.members == nil {
			o.problems.add(strings.TrimSuffix(child.path, "."), "must be an object")
			continue
		}
		objects = append(objects, child)
	}
	return objects
}

// rejectOthers reports the members that were not read, in the order of their names.
func (o *object) rejectOthers() {
	var others []string
	for name := range o.members {
		if !o.read[name] {
			others = append(others, name)
		}
	}
	sort.Strings(others)
	for _, name := range others {
		o.problems.add(o.path+shortened(name), "unknown field")
	}
}

// shortened bounds a name that somebody else chose.
func shortened(name string) string {
	const most = 64
	runes := []rune(name)
	if len(runes) <= most {
		return name
	}
	return string(runes[:most]) + "…"
}

// dropControl leaves out the control characters that a request body cannot hold as they are.
func dropControl(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' {
			return -1
		}
		return r
	}, s)
}
