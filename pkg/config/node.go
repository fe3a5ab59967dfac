package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// node describes one value of the configuration: its type, its documentation and its place in a
// config struct. The tree is built from the structs; everything else walks it.
type node struct {
	shape  shape
	typ    reflect.Type
	fields []field
	elem   *node // of lists and dicts
	desc   string
	enum   []string
	keys   []string      // closed set of keys of a dict
	value  reflect.Value // current value, the default before loading; invalid inside lists and dicts

	skipped map[string]bool // root only: sections of other processes
}

type shape uint8

const (
	scalar shape = iota
	object       // struct
	list         // slice
	dict         // map with string keys
)

type field struct {
	name string
	node *node
	// index leads from the struct to the field; nil for the fields of the root, which come from several structs.
	index []int
}

var (
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
	durationType        = reflect.TypeFor[time.Duration]()
	secretType          = reflect.TypeFor[Secret]()
)

// rootOf joins the fields of shared and the sections to one object.
func rootOf(shared *Shared, sections []Section) (*node, error) {
	root, err := nodeOf(reflect.TypeFor[Shared](), reflect.ValueOf(shared).Elem(), "")
	if err != nil {
		return nil, err
	}
	for i := range root.fields {
		root.fields[i].index = nil
	}
	for _, s := range sections {
		v := reflect.ValueOf(s.Into)
		if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
			return nil, fmt.Errorf("section %s: Into must be a pointer to a struct", s.Name)
		}
		if root.field(s.Name) != nil {
			return nil, fmt.Errorf("section %s: the name is taken", s.Name)
		}
		n, err := nodeOf(v.Elem().Type(), v.Elem(), s.Name)
		if err != nil {
			return nil, err
		}
		root.fields = append(root.fields, field{name: s.Name, node: n})
	}
	return root, nil
}

// nodeOf describes type t; path is for errors about structs that cannot be configured.
func nodeOf(t reflect.Type, v reflect.Value, path string) (*node, error) {
	if strings.Count(path, ".") > maxDepth {
		return nil, fmt.Errorf("%s: type %s is nested too deeply", path, t)
	}
	if t.Kind() == reflect.Pointer {
		if isScalar(t.Elem()) {
			return &node{shape: scalar, typ: t, value: v}, nil
		}
		return nil, fmt.Errorf("%s: pointer to %s cannot be configured", path, t.Elem())
	}
	n := &node{typ: t, value: v}
	var err error
	switch {
	case isScalar(t):
		n.shape = scalar
	case t.Kind() == reflect.Struct:
		n.shape = object
		err = n.addFields(t, v, nil, path)
	case t.Kind() == reflect.Slice:
		n.shape = list
		n.elem, err = nodeOf(t.Elem(), reflect.Value{}, path+"[]")
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		n.shape = dict
		n.elem, err = nodeOf(t.Elem(), reflect.Value{}, path+".*")
	default:
		err = fmt.Errorf("%s: type %s cannot be configured", path, t)
	}
	return n, err
}

func (n *node) addFields(t reflect.Type, v reflect.Value, index []int, path string) error {
	for i := range t.NumField() {
		f := t.Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		at := append(slices.Clone(index), i)
		var fv reflect.Value
		if v.IsValid() {
			fv = v.Field(i)
		}
		if option == "inline" && f.Type.Kind() == reflect.Struct {
			if err := n.addFields(f.Type, fv, at, path); err != nil {
				return err
			}
			continue
		}
		if name == "" {
			return fmt.Errorf("%s: field %s has no yaml tag", path, f.Name)
		}
		child, err := nodeOf(f.Type, fv, join(path, name))
		if err != nil {
			return err
		}
		child.desc = f.Tag.Get("desc")
		child.enum = splitTag(f.Tag.Get("enum"))
		child.keys = splitTag(f.Tag.Get("keys"))
		n.fields = append(n.fields, field{name: name, node: child, index: at})
	}
	return nil
}

func isScalar(t reflect.Type) bool {
	if t == durationType || reflect.PointerTo(t).Implements(textUnmarshalerType) {
		return true
	}
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	default:
		return false
	}
}

// plain returns the type behind a pointer to a scalar.
func (n *node) plain() reflect.Type {
	if n.typ.Kind() == reflect.Pointer {
		return n.typ.Elem()
	}
	return n.typ
}

func (n *node) field(name string) *field {
	for i := range n.fields {
		if n.fields[i].name == name {
			return &n.fields[i]
		}
	}
	return nil
}

// names returns the keys of an object.
func (n *node) names() []string {
	names := make([]string, len(n.fields))
	for i, f := range n.fields {
		names[i] = f.name
	}
	return names
}

func splitTag(tag string) []string {
	if tag == "" {
		return nil
	}
	return strings.Split(tag, ",")
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
