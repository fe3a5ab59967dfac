package config

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// EnvPrefix starts the name of every variable that is configuration.
const EnvPrefix = "WXBUS_"

// kubernetesEnv matches what Kubernetes sets for every Service in the namespace: a Service named
// wxbus-gateway gives WXBUS_GATEWAY_SERVICE_HOST and more.
var kubernetesEnv = regexp.MustCompile(`_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`)

// kubernetesPort is the value of the remaining one, WXBUS_GATEWAY_PORT.
var kubernetesPort = regexp.MustCompile(`^(tcp|udp|sctp)://`)

// envName returns the variable for a key, for example WXBUS_NATS_LISTEN for nats.listen.
func envName(path string) string { return EnvPrefix + envPart(path) }

// envPart spells a key in upper case with _ for everything that is no letter or digit.
func envPart(key string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		default:
			return '_'
		}
	}, key)
}

// fromEnv sets what the environment has into a copy of the layers below.
func (l *loader) fromEnv(base map[string]any) (map[string]any, error) {
	env := slices.Clone(l.opts.Env)
	slices.Sort(env) // so that of a list and its element always the same one wins: the element
	for _, entry := range env {
		name, text, ok := strings.Cut(entry, "=")
		rest, ours := strings.CutPrefix(name, EnvPrefix)
		if !ok || !ours || l.ignoresEnv(name) {
			continue
		}
		segments, n := resolveEnv(l.root, base, rest)
		switch {
		case n != nil:
			l.set(base, segments, envValue(n, text), name)
		case l.skipsEnv(rest), kubernetesEnv.MatchString(name), strings.HasSuffix(name, "_PORT") && kubernetesPort.MatchString(text):
		default:
			l.problems.add(name, unknown("variable", name, envNames(l.root, "")))
		}
	}
	return base, nil
}

func (l *loader) ignoresEnv(name string) bool {
	for _, pattern := range slices.Concat(l.opts.IgnoreEnv, []string{"WXBUS_CONFIG", "WXBUS_TEST_*"}) {
		prefix, open := strings.CutSuffix(pattern, "*")
		if name == pattern || open && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// skipsEnv reports whether rest belongs to a section of another process.
func (l *loader) skipsEnv(rest string) bool {
	for name := range l.root.skipped {
		if part := envPart(name); rest == part || strings.HasPrefix(rest, part+"_") {
			return true
		}
	}
	return false
}

// resolveEnv finds the value that the rest of a variable name spells, as path segments. Names
// are tried longest first, because "a_b" may be one key or two; raw tells how long lists are and which
// keys maps have.
func resolveEnv(n *node, raw any, rest string) ([]string, *node) {
	switch n.shape {
	case object:
		fields := slices.Clone(n.fields)
		slices.SortFunc(fields, func(a, b field) int { return cmp.Compare(len(b.name), len(a.name)) })
		for _, f := range fields {
			if segments, leaf := resolveChild(f.node, f.name, raw, rest); leaf != nil {
				return segments, leaf
			}
		}
	case list:
		items, _ := raw.([]any)
		digits, _, _ := strings.Cut(rest, "_")
		if i, err := strconv.Atoi(digits); err == nil && i >= 0 && i < len(items) && strconv.Itoa(i) == digits {
			return resolveInto(n.elem, digits, items[i], rest)
		}
	case dict:
		for _, key := range dictKeys(n, raw) {
			if segments, leaf := resolveChild(n.elem, key, raw, rest); leaf != nil {
				return segments, leaf
			}
		}
		if n.keys == nil && n.elem.shape == scalar && rest != "" {
			return []string{strings.ToLower(rest)}, n.elem
		}
	case scalar: // nothing is below it
	}
	return nil, nil
}

// resolveChild goes on below the key of a mapping.
func resolveChild(n *node, key string, raw any, rest string) ([]string, *node) {
	m, _ := raw.(map[string]any)
	return resolveInto(n, key, m[key], rest)
}

func resolveInto(n *node, key string, raw any, rest string) ([]string, *node) {
	part := envPart(key)
	if rest == part {
		return []string{key}, n
	}
	below, ok := strings.CutPrefix(rest, part+"_")
	if !ok {
		return nil, nil
	}
	segments, leaf := resolveEnv(n, raw, below)
	return append([]string{key}, segments...), leaf
}

// dictKeys returns the keys that a map may have or has, the longest first.
func dictKeys(n *node, raw any) []string {
	keys := slices.Clone(n.keys)
	if m, ok := raw.(map[string]any); ok {
		keys = slices.AppendSeq(keys, maps.Keys(m))
	}
	if n.value.IsValid() {
		for _, k := range n.value.MapKeys() {
			keys = append(keys, k.String())
		}
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return slices.Compact(keys)
}

// envValue converts the text of a variable: YAML for maps, YAML or commas for lists.
func envValue(n *node, text string) any {
	if n.shape == scalar {
		return text
	}
	trimmed := strings.TrimSpace(text)
	if n.shape == list && n.elem.shape == scalar && !strings.HasPrefix(trimmed, "[") {
		if trimmed == "" {
			return []any{}
		}
		var items []any
		for part := range strings.SplitSeq(trimmed, ",") {
			items = append(items, strings.TrimSpace(part))
		}
		return items
	}
	p := yamlParser{report: func(string, string) {}, origin: func(string, int) {}}
	root, err := parseYAML([]byte(text))
	if err != nil || root == nil {
		return text // the decoder says what it must be
	}
	v, err := p.value(root, "", 0)
	if err != nil {
		return text
	}
	return v
}

// envNames lists the variables of all values outside lists, for suggestions.
func envNames(n *node, path string) []string {
	if n.shape != object {
		return []string{envName(path)}
	}
	var names []string
	for _, f := range n.fields {
		names = append(names, envNames(f.node, join(path, f.name))...)
	}
	return names
}

// lookupIn returns a lookup in an environment in the form of os.Environ.
func lookupIn(env []string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := len(env) - 1; i >= 0; i-- {
			if v, ok := strings.CutPrefix(env[i], name+"="); ok {
				return v, true
			}
		}
		return "", false
	}
}
