// Package k8s checks the manifests below deploy/k8s without a cluster: they render, they are what the API server would take,
// they keep the rules of the house, their configuration is valid, their network policies are the edges of the code, and NATS
// gives each service what it needs and no more. With the build tag k8s it installs them in a real cluster.
package k8s

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/wxbus/wxbus/pkg/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// root is the top of the repository, from the folder where go test runs a test.
func root() string { return filepath.Join("..", "..") }

// overlays are everything that is rendered, by name.
var overlays = map[string]string{
	"dev":          "deploy/k8s/overlays/dev",
	"prod":         "deploy/k8s/overlays/prod",
	"alternatives": "tests/k8s/testdata/variants/alternatives",
	"secured":      secured,
}

// secured is the development overlay with mutual TLS.
const secured = "tests/k8s/testdata/variants/secured"

// object is one rendered manifest.
type object struct {
	APIVersion string
	Kind       string
	Metadata   struct {
		Name, Namespace     string
		Labels, Annotations map[string]string
	}

	raw []byte
}

// id names an object in messages.
func (o object) id() string { return o.Kind + "/" + o.Metadata.Name }

// decode reads the object into a struct; JSON matches the names of Kubernetes without tags.
func (o object) decode(t *testing.T, into any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(o.raw, into), o.id())
}

var rendered sync.Map // by overlay: objects

// render returns what kubectl kustomize would print, rendered once.
func render(t *testing.T, overlay string) []object {
	t.Helper()
	if known, ok := rendered.Load(overlay); ok {
		return known.([]object)
	}
	objects := renderFolder(t, overlays[overlay])
	rendered.Store(overlay, objects)
	return objects
}

func renderFolder(t *testing.T, folder string) []object {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(root(), folder))
	require.NoError(t, err, folder)
	var out []object
	for _, r := range resources.Resources() {
		var o object
		o.raw, err = r.MarshalJSON()
		require.NoError(t, err)
		o.decode(t, &o)
		out = append(out, o)
	}
	require.NotEmpty(t, out, folder)
	return out
}

// each runs a check of an overlay by its name.
func each(t *testing.T, check func(t *testing.T, objects []object)) {
	t.Helper()
	for name := range overlays {
		t.Run(name, func(t *testing.T) { check(t, render(t, name)) })
	}
}

func kind(objects []object, kinds ...string) []object {
	var out []object
	for _, o := range objects {
		for _, k := range kinds {
			if o.Kind == k {
				out = append(out, o)
			}
		}
	}
	return out
}

func find(t *testing.T, objects []object, kind, name string) object {
	t.Helper()
	for _, o := range objects {
		// A generated ConfigMap or Secret ends in a hash.
		if o.Kind == kind && (o.Metadata.Name == name || strings.HasPrefix(o.Metadata.Name, name+"-") && (kind == "ConfigMap" || kind == "Secret")) {
			return o
		}
	}
	t.Fatalf("no %s/%s", kind, name)
	return object{}
}

func TestEachServiceRendersAlone(t *testing.T) {
	folders, err := filepath.Glob(filepath.Join(root(), "deploy/k8s/services/*"))
	require.NoError(t, err)
	require.Len(t, folders, 6)
	owners, err := os.ReadFile(filepath.Join(root(), "CODEOWNERS"))
	require.NoError(t, err)
	for _, folder := range folders {
		name := filepath.Base(folder)
		objects := renderFolder(t, "deploy/k8s/services/"+name)
		find(t, objects, "Deployment", name)
		require.Contains(t, string(owners), "/deploy/k8s/services/"+name+"/ ", "the folder of a service belongs to its team")
	}
}
