// Command kubeschemas cuts what the tests of the manifests need out of large files of others, without the descriptions:
//
//	kubeschemas openapi SWAGGER.JSON apps/v1/Deployment v1/Service … > testdata/kinds.json
//	kubeschemas crd CRD.YAML v1 > testdata/crds/NAME.yaml
//
// The small files are in the repository, because the large ones are 60 MB of downloads that CI would need each time.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "kubeschemas:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	switch {
	case len(args) >= 3 && args[0] == "openapi":
		return openAPI(args[1], args[2:], out)
	case len(args) == 3 && args[0] == "crd":
		return definition(args[1], args[2], out)
	}
	return errors.New("usage: kubeschemas openapi FILE KIND... | crd FILE VERSION")
}

// kinds is the output: JSON schemas by kind, "apps/v1/Deployment", over shared definitions.
type kinds struct {
	Kinds       map[string]string         `json:"kinds"`
	Definitions map[string]map[string]any `json:"definitions"`
}

func openAPI(file string, wanted []string, out io.Writer) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read OpenAPI file: %w", err)
	}
	var all struct{ Definitions map[string]map[string]any }
	if err := json.Unmarshal(b, &all); err != nil {
		return fmt.Errorf("read OpenAPI file: %w", err)
	}
	result := kinds{map[string]string{}, map[string]map[string]any{}}
	for name, d := range all.Definitions {
		for _, gvk := range asList(d["x-kubernetes-group-version-kind"]) {
			m, _ := gvk.(map[string]any)
			kind := strings.TrimPrefix(fmt.Sprintf("%s/%s/%s", m["group"], m["version"], m["kind"]), "/")
			for _, w := range wanted {
				if w == kind {
					result.Kinds[kind] = name
					collect(all.Definitions, name, result.Definitions)
				}
			}
		}
	}
	for _, w := range wanted {
		if result.Kinds[w] == "" {
			return fmt.Errorf("no kind %s", w)
		}
	}
	return json.NewEncoder(out).Encode(result)
}

func asList(v any) []any {
	list, _ := v.([]any)
	return list
}

// collect adds a definition and everything that it refers to.
func collect(all map[string]map[string]any, name string, into map[string]map[string]any) {
	if _, there := into[name]; there {
		return
	}
	strict, _ := tighten(all[name]).(map[string]any)
	switch {
	case strings.HasSuffix(name, ".Quantity"):
		strict = map[string]any{"type": []string{"string", "number"}}
	case strings.HasSuffix(name, ".IntOrString"):
		strict = map[string]any{"type": []string{"string", "integer"}}
	}
	into[name] = strict
	for _, ref := range references(strict) {
		collect(all, ref, into)
	}
}

func references(v any) []string {
	var out []string
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			out = append(out, strings.TrimPrefix(ref, "#/definitions/"))
		}
		for _, child := range v {
			out = append(out, references(child)...)
		}
	case []any:
		for _, child := range v {
			out = append(out, references(child)...)
		}
	}
	return out
}

// tighten drops what is only for readers, and forbids fields that the schema does not know.
func tighten(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, child := range v {
			_, isText := child.(string)
			if (key == "description" && isText) || strings.HasPrefix(key, "x-kubernetes") || key == "format" || key == "default" {
				continue
			}
			out[key] = tighten(child)
		}
		if _, ok := out["properties"].(map[string]any); ok && out["additionalProperties"] == nil && out["type"] != nil {
			out["additionalProperties"] = false
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, child := range v {
			out[i] = tighten(child)
		}
		return out
	}
	return v
}

// definition writes a CustomResourceDefinition with one version and without descriptions.
func definition(file, version string, out io.Writer) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read definition: %w", err)
	}
	var crd map[string]any
	if err := yaml.Unmarshal(b, &crd); err != nil {
		return fmt.Errorf("read definition: %w", err)
	}
	spec, _ := crd["spec"].(map[string]any)
	var keep []any
	for _, v := range asList(spec["versions"]) {
		if m, _ := v.(map[string]any); m["name"] == version {
			m["storage"], m["served"] = true, true
			delete(m, "additionalPrinterColumns")
			delete(m, "deprecated")
			delete(m, "deprecationWarning")
			keep = append(keep, quiet(m))
		}
	}
	if len(keep) == 0 {
		return fmt.Errorf("%s: no version %s", file, version)
	}
	spec["versions"] = keep
	delete(spec, "conversion") // it would need a webhook
	delete(crd, "status")
	meta, _ := crd["metadata"].(map[string]any)
	annotations, _ := meta["annotations"].(map[string]any)
	crd["metadata"] = map[string]any{"name": meta["name"]}
	if approved, ok := annotations["api-approved.kubernetes.io"]; ok {
		crd["metadata"] = map[string]any{"name": meta["name"], "annotations": map[string]any{"api-approved.kubernetes.io": approved}}
	}
	enc := yaml.NewEncoder(out)
	enc.SetIndent(1)
	return errors.Join(enc.Encode(crd), enc.Close())
}

// quiet drops descriptions, and rules in CEL: they need the server.
func quiet(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, child := range v {
			if _, isText := child.(string); (key == "description" && isText) || key == "x-kubernetes-validations" {
				delete(v, key)
				continue
			}
			v[key] = quiet(child)
		}
	case []any:
		for i := range v {
			v[i] = quiet(v[i])
		}
	}
	return v
}
