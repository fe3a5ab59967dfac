package config

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
)

// Schema writes a JSON Schema (draft 2020-12) of the file, for editors. Sections of KnownSections
// that are not passed are accepted as they are.
func Schema(w io.Writer, shared *Shared, sections ...Section) error {
	root, err := rootOf(shared, sections)
	if err != nil {
		return err
	}
	schema := schemaOf(root, reflect.Value{})
	properties := schema["properties"].(map[string]any)
	for _, f := range root.fields {
		properties[f.name] = schemaOf(f.node, f.node.value)
	}
	for name := range skippedSections(nil, sections) {
		properties[name] = map[string]any{"type": "object"}
	}
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "wxbus configuration"
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(schema); err != nil {
		return fmt.Errorf("write schema: %w", err)
	}
	return nil
}

// schemaOf describes a node; v is its default, invalid when it has none.
func schemaOf(n *node, v reflect.Value) map[string]any {
	s := map[string]any{}
	if n.desc != "" {
		s["description"] = n.desc
	}
	switch n.shape {
	case object:
		properties := map[string]any{}
		for _, f := range n.fields {
			properties[f.name] = schemaOf(f.node, childValue(v, f))
		}
		s["type"], s["properties"], s["additionalProperties"] = "object", properties, false
	case list:
		s["type"], s["items"] = "array", schemaOf(n.elem, elementDefault(n))
	case dict:
		s["type"], s["additionalProperties"] = "object", schemaOf(n.elem, reflect.Value{})
		if n.keys != nil {
			s["propertyNames"] = map[string]any{"enum": n.keys}
		}
	default:
		scalarSchema(s, n, v)
	}
	return s
}

func scalarSchema(s map[string]any, n *node, v reflect.Value) {
	s["type"] = "string"
	t := n.plain()
	switch typeName(n) {
	case "boolean":
		s["type"] = "boolean"
	case "whole number":
		s["type"] = "integer"
		if t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64 {
			s["minimum"] = 0
		}
	case "number":
		s["type"] = "number"
	case "duration":
		s["pattern"] = `^(0|-?([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
	case "size":
		s["type"] = []string{"string", "integer"}
	}
	if len(n.enum) > 0 {
		s["enum"] = n.enum
	}
	if !v.IsValid() || v.IsZero() || t == secretType {
		return
	}
	if text, err := scalarText(v); err == nil {
		s["default"] = text
		if s["type"] != "string" && json.Valid([]byte(text)) {
			s["default"] = json.RawMessage(text)
		}
	}
}

// typeName names the type of a scalar for people.
func typeName(n *node) string {
	t := n.plain()
	switch {
	case t == secretType:
		return "secret"
	case t == durationType:
		return "duration"
	case t == reflect.TypeFor[Bytes]():
		return "size"
	case reflect.PointerTo(t).Implements(textUnmarshalerType), t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Bool:
		return "boolean"
	case t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64:
		return "number"
	default:
		return "whole number"
	}
}

// childValue returns the default of a field inside an object with default v.
func childValue(v reflect.Value, f field) reflect.Value {
	if !v.IsValid() || f.index == nil {
		return reflect.Value{}
	}
	return v.FieldByIndex(f.index)
}

// elementDefault returns what an element of a list starts from; see SetDefaults in the package comment.
func elementDefault(n *node) reflect.Value {
	v := reflect.New(n.typ.Elem())
	if s, ok := v.Interface().(interface{ SetDefaults() }); ok {
		s.SetDefaults()
	}
	return v.Elem()
}
