package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// tokens is the part of the design tokens that a stylesheet can use.
type tokens struct {
	Color  map[string]shade `json:"color"`
	Shadow map[string]shade `json:"shadow"`
	Radius map[string]int   `json:"radius"`
	Type   struct {
		Family string `json:"family"`
		Mono   string `json:"mono"`
	} `json:"type"`
}

type shade struct {
	Light string `json:"light"`
	Dark  string `json:"dark"`
}

// stylesheet turns tokens.json into custom properties, so that the design tokens have one home and
// no screen holds a raw colour.
func stylesheet(raw []byte) ([]byte, error) {
	var t tokens
	if err := json.Unmarshal(raw, &t); err != nil {
		return nil, fmt.Errorf("read design tokens: %w", err)
	}
	var light, dark bytes.Buffer
	for _, group := range []map[string]shade{t.Color, t.Shadow} {
		for _, name := range slices.Sorted(maps.Keys(group)) {
			fmt.Fprintf(&light, "  --%s: %s;\n", name, group[name].Light)
			fmt.Fprintf(&dark, "  --%s: %s;\n", name, group[name].Dark)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Radius)) {
		fmt.Fprintf(&light, "  --r-%s: %dpx;\n", name, t.Radius[name])
	}
	var css bytes.Buffer
	fmt.Fprintf(&css, ":root {\n  color-scheme: light;\n  --font: %s;\n  --mono: %s;\n%s}\n", t.Type.Family, t.Type.Mono, light.Bytes())
	fmt.Fprintf(&css, ":root[data-theme=dark] {\n  color-scheme: dark;\n%s}\n", dark.Bytes())
	return css.Bytes(), nil
}
