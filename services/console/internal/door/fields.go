package door

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// values returns the texts at a path of a message: one, or one for each element of the lists on the way. An unset
// message on the way gives one empty text, so that nothing slips through for being absent.
func values(m protoreflect.Message, path string) []string {
	name, rest, more := strings.Cut(path, ".")
	f := m.Descriptor().Fields().ByName(protoreflect.Name(name))
	if f == nil {
		return []string{""}
	}
	v := m.Get(f)
	switch {
	case f.IsList() && more:
		var out []string
		for i := range v.List().Len() {
			out = append(out, values(v.List().Get(i).Message(), rest)...)
		}
		return out
	case f.IsList():
		var out []string
		for i := range v.List().Len() {
			out = append(out, v.List().Get(i).String())
		}
		return out
	case more:
		return values(v.Message(), rest)
	default:
		return []string{v.String()}
	}
}

// fill sets a text at a path where it is empty. Lists are left alone: an empty list has nothing to fill.
func fill(m protoreflect.Message, path, value string) {
	name, rest, more := strings.Cut(path, ".")
	f := m.Descriptor().Fields().ByName(protoreflect.Name(name))
	switch {
	case f == nil:
	case f.IsList() && more:
		for i := range m.Get(f).List().Len() {
			fill(m.Get(f).List().Get(i).Message(), rest, value)
		}
	case f.IsList():
		if m.Get(f).List().Len() == 0 {
			m.Mutable(f).List().Append(protoreflect.ValueOfString(value))
		}
	case more:
		fill(m.Mutable(f).Message(), rest, value)
	case m.Get(f).String() == "":
		m.Set(f, protoreflect.ValueOfString(value))
	}
}

// keep removes the elements of a list whose text at the rest of the path is not wanted.
func keep(m proto.Message, path string, wanted func(string) bool) {
	name, rest, _ := strings.Cut(path, ".")
	r := m.ProtoReflect()
	f := r.Descriptor().Fields().ByName(protoreflect.Name(name))
	if f == nil || !f.IsList() {
		return
	}
	list := r.Mutable(f).List()
	kept := 0
	for i := range list.Len() {
		if wanted(values(list.Get(i).Message(), rest)[0]) {
			list.Set(kept, list.Get(i))
			kept++
		}
	}
	list.Truncate(kept)
}
