package k8s

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// schemas compiles the schemas of testdata by kind: "apps/v1/Deployment".
func schemas(t *testing.T) map[string]*jsonschema.Schema {
	t.Helper()
	b, err := os.ReadFile("testdata/kinds.json")
	require.NoError(t, err)
	var file struct{ Kinds map[string]string }
	require.NoError(t, json.Unmarshal(b, &file))
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft4)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	require.NoError(t, err)
	require.NoError(t, c.AddResource("kinds.json", doc))
	out := map[string]*jsonschema.Schema{}
	for kind, name := range file.Kinds {
		out[kind], err = c.Compile("kinds.json#/definitions/" + name)
		require.NoError(t, err, kind)
	}
	for kind, schema := range customKinds(t) {
		require.NoError(t, c.AddResource(kind, schema))
		out[kind], err = c.Compile(kind)
		require.NoError(t, err, kind)
	}
	return out
}

// customKinds returns the schemas in the definitions of custom resources. Like the server with strict validation they
// refuse fields that they do not know.
func customKinds(t *testing.T) map[string]any {
	t.Helper()
	files, err := filepath.Glob("testdata/crds/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	out := map[string]any{}
	for _, name := range files {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		var crd struct {
			Spec struct {
				Group    string
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Schema struct {
						OpenAPIV3Schema map[string]any `yaml:"openAPIV3Schema"`
					}
				}
			}
		}
		require.NoError(t, yaml.Unmarshal(b, &crd), name)
		for _, v := range crd.Spec.Versions {
			schema, _ := closed(v.Schema.OpenAPIV3Schema).(map[string]any)
			text, err := json.Marshal(schema)
			require.NoError(t, err)
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
			require.NoError(t, err)
			out[crd.Spec.Group+"/"+v.Name+"/"+crd.Spec.Names.Kind] = doc
		}
	}
	return out
}

func closed(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if v["x-kubernetes-int-or-string"] == true {
			return map[string]any{"type": []any{"integer", "string"}}
		}
		out := map[string]any{}
		for key, child := range v {
			if key != "format" {
				out[key] = closed(child)
			}
		}
		_, hasFields := out["properties"].(map[string]any)
		if hasFields && out["type"] == "object" && out["additionalProperties"] == nil && v["x-kubernetes-preserve-unknown-fields"] != true {
			out["additionalProperties"] = false
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, child := range v {
			out[i] = closed(child)
		}
		return out
	}
	return v
}

func TestEveryObjectFitsItsSchema(t *testing.T) {
	known := schemas(t)
	each(t, func(t *testing.T, objects []object) {
		for _, o := range objects {
			schema := known[o.APIVersion+"/"+o.Kind]
			require.NotNil(t, schema, "no schema for %s %s: see tests/cmd/kubeschemas", o.APIVersion, o.Kind)
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(o.raw))
			require.NoError(t, err)
			require.NoError(t, schema.Validate(doc), o.id())
		}
	})
}

func TestASchemaRefusesWhatTheServerWould(t *testing.T) {
	known := schemas(t)
	for kind, wrong := range map[string]string{
		"autoscaling/v2/HorizontalPodAutoscaler": `{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","spec":{"maxReplicas":2,"scaleTargetRef":{"kind":"Deployment","name":"x"},"maxReplica":3}}`,
		"apps/v1/Deployment":                     `{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":"two","selector":{},"template":{}}}`,
		"keda.sh/v1alpha1/ScaledObject":          `{"apiVersion":"keda.sh/v1alpha1","kind":"ScaledObject","spec":{"scaleTargetRef":{"name":"x"},"triggers":[{"type":"cpu","metadata":{}}],"pollInterval":5}}`,
	} {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(wrong)))
		require.NoError(t, err)
		require.Error(t, known[kind].Validate(doc), kind)
	}
}
