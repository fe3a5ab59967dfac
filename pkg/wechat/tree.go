package wechat

import "iter"

// Tree is one element of a push with everything below it, for the fields that have no place in a
// payload type. XML and JSON give the same tree: repeated XML elements and the elements of a JSON
// array are siblings of one name. The zero Tree is an element that does not exist; every method
// works on it. A Tree keeps its push alive.
type Tree struct {
	doc   *document
	index int
}

// Exists reports whether there is such an element.
func (t Tree) Exists() bool { return t.doc != nil }

// Name returns the name of the element; "xml" for the root of either format.
func (t Tree) Name() string {
	if t.doc == nil {
		return ""
	}
	return t.doc.str(t.doc.nodes[t.index].name)
}

// Text returns the decoded text exactly as it was sent, blanks included; a JSON number or boolean as
// it was spelled; "" for an element with children, for null, and for one that does not exist.
func (t Tree) Text() string {
	if t.doc == nil {
		return ""
	}
	return t.doc.str(t.doc.nodes[t.index].value)
}

// IsBranch reports whether the element has children (or is a JSON object without any).
func (t Tree) IsBranch() bool {
	return t.doc != nil && isBranchKind(t.doc.nodes[t.index].kind)
}

// Children yields the children in the order of the body.
func (t Tree) Children() iter.Seq[Tree] {
	return func(yield func(Tree) bool) {
		if t.doc == nil {
			return
		}
		for i, end := t.index+1, int(t.doc.nodes[t.index].next); i < end; i = int(t.doc.nodes[i].next) {
			if t.doc.nodes[i].kind != kindEmptyList && !yield(Tree{t.doc, i}) {
				return
			}
		}
	}
}

// All yields the children of that name: the elements of a list.
func (t Tree) All(name string) iter.Seq[Tree] {
	return func(yield func(Tree) bool) {
		for c := range t.Children() {
			if c.Name() == name && !yield(c) {
				return
			}
		}
	}
}

// Child returns the first child of that name. Of a duplicated element the first one counts.
func (t Tree) Child(name string) Tree {
	for c := range t.All(name) {
		return c
	}
	return Tree{}
}

// At follows a path of names from the element; each step takes the first child of that name.
func (t Tree) At(path ...string) Tree {
	for _, name := range path {
		t = t.Child(name)
	}
	return t
}

// Value returns the element as plain Go values: a string for an element without children, nil for
// null, a map[string]any for one with children, where a name that is repeated or came from a JSON
// array holds a []any. Numbers and booleans are strings, as they were spelled.
func (t Tree) Value() any {
	if t.doc == nil {
		return nil
	}
	switch t.doc.nodes[t.index].kind {
	case kindNull:
		return nil
	case kindBranch:
		return t.branch()
	case kindList:
		return t.branch()[""]
	default:
		return t.Text()
	}
}

func (t Tree) branch() map[string]any {
	members := make(map[string]any)
	for i, end := t.index+1, int(t.doc.nodes[t.index].next); i < end; i = int(t.doc.nodes[i].next) {
		n := t.doc.nodes[i]
		name := t.doc.str(n.name)
		before, repeated := members[name]
		switch {
		case n.kind == kindEmptyList:
			members[name] = []any{}
		case !repeated && n.listed:
			members[name] = []any{Tree{t.doc, i}.Value()}
		case !repeated:
			members[name] = Tree{t.doc, i}.Value()
		default:
			members[name] = append(asList(before), Tree{t.doc, i}.Value())
		}
	}
	return members
}

func isBranchKind(k nodeKind) bool { return k == kindBranch || k == kindList }

func asList(v any) []any {
	if list, ok := v.([]any); ok {
		return list
	}
	return []any{v}
}
