package config

import (
	"fmt"
	"io"
	"reflect"
	"strings"
)

// Reference writes the documentation of every key as Markdown: a table for the keys of all
// processes and one for each section.
func Reference(w io.Writer, shared *Shared, sections ...Section) error {
	root, err := rootOf(shared, sections)
	if err != nil {
		return err
	}
	own := map[string]bool{}
	for _, s := range sections {
		own[s.Name] = true
	}
	var b strings.Builder
	b.WriteString("## Every process\n\n" + tableHead)
	for _, f := range root.fields {
		if !own[f.name] {
			rows(&b, f.node, f.node.value, f.name)
		}
	}
	for _, f := range root.fields {
		if own[f.name] {
			fmt.Fprintf(&b, "\n## Section %s\n\n%s", f.name, tableHead)
			rows(&b, f.node, f.node.value, f.name)
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write reference: %w", err)
	}
	return nil
}

const tableHead = "| Key | Type | Default | Environment | Meaning |\n|---|---|---|---|---|\n"

// rows writes one line for a scalar, a list of scalars or a map of scalars, and goes down otherwise.
func rows(b *strings.Builder, n *node, v reflect.Value, path string) {
	switch {
	case n.shape == object:
		for _, f := range n.fields {
			rows(b, f.node, childValue(v, f), join(path, f.name))
		}
	case n.shape == list && n.elem.shape != scalar:
		row(b, path, "list", "", n.desc)
		rows(b, n.elem, elementDefault(n), path+"[]")
	case n.shape == dict && n.elem.shape != scalar:
		row(b, path, "map", defaultText(n, v), n.desc)
		rows(b, n.elem, reflect.Value{}, path+".*")
	default:
		row(b, path, describeType(n), defaultText(n, v), n.desc)
	}
}

func row(b *strings.Builder, path, typ, def, desc string) {
	if def != "" {
		def = "`" + def + "`"
	}
	env := envName(strings.NewReplacer("[]", ".N", "*", "NAME").Replace(path))
	escape := strings.NewReplacer("|", `\|`, "\n", " ").Replace
	fmt.Fprintf(b, "| `%s` | %s | %s | `%s` | %s |\n", path, escape(typ), escape(def), env, escape(desc))
}

func describeType(n *node) string {
	switch {
	case n.shape == list:
		return "list of " + typeName(n.elem)
	case n.shape == dict && n.keys != nil:
		return "map of " + typeName(n.elem) + ", keys: " + strings.Join(n.keys, ", ")
	case n.shape == dict:
		return "map of " + typeName(n.elem)
	case len(n.enum) > 0:
		return strings.Join(n.enum, ", ")
	default:
		return typeName(n)
	}
}

// defaultText renders a default on one line; zero text, secrets and nil stay empty.
func defaultText(n *node, v reflect.Value) string {
	if !v.IsValid() {
		return ""
	}
	switch n.shape {
	case list:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = defaultText(n.elem, v.Index(i))
		}
		return strings.Join(items, ", ")
	case dict:
		var items []string
		for _, k := range sortedKeys(v) {
			items = append(items, k.String()+": "+defaultText(n.elem, v.MapIndex(k)))
		}
		return strings.Join(items, ", ")
	case object:
		return "…"
	default:
		text, err := scalarText(v)
		if err != nil || n.plain() == secretType {
			return ""
		}
		return text
	}
}
