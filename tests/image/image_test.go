package image_test

import (
	"archive/tar"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/tests/image"
)

const program = `package main

import "os"

func main() { os.Exit(0) }
`

// compile builds the program in a folder of its own.
func compile(t *testing.T, env []string, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"main.go": program, "go.mod": "module github.com/wxbus/wxbus/probe\n\ngo 1.26.0\n"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"build", "-buildvcs=false"}, flags...), "-o", "probe", ".")...)
	cmd.Dir, cmd.Env = dir, append(append(os.Environ(), "GOWORK=off", "GOFLAGS=", "GOENV=off", "CGO_ENABLED=0"), env...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return filepath.Join(dir, "probe")
}

func spec(binary string) image.Spec {
	return image.Spec{
		Binary: binary, Title: "probe", Description: "does nothing", Version: "v1.2.3", Revision: "abc",
		Created: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC),
	}
}

func contents(t *testing.T, img v1.Image) map[string]*tar.Header {
	t.Helper()
	files := map[string]*tar.Header{}
	layers, err := img.Layers()
	require.NoError(t, err)
	for _, l := range layers {
		r, err := l.Uncompressed()
		require.NoError(t, err)
		for tr := tar.NewReader(r); ; {
			h, err := tr.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			files[h.Name] = h
		}
		require.NoError(t, r.Close())
	}
	return files
}

func TestTheSameSourceGivesTheSameDigest(t *testing.T) {
	var digests []string
	for range 2 {
		img, _, err := image.Build(spec(compile(t, nil, "-trimpath", "-tags", "timetzdata", "-ldflags", "-s -w")))
		require.NoError(t, err)
		digest, err := img.Digest()
		require.NoError(t, err)
		digests = append(digests, digest.String())
	}
	require.Equal(t, digests[0], digests[1])
}

func TestAnImageHoldsTheBinaryAndNoShell(t *testing.T) {
	img, bom, err := image.Build(spec(compile(t, nil, "-trimpath", "-tags", "timetzdata")))
	require.NoError(t, err)
	config, err := img.ConfigFile()
	require.NoError(t, err)
	require.Equal(t, "65532:65532", config.Config.User)
	require.Equal(t, []string{"/usr/bin/probe"}, config.Config.Entrypoint)
	require.Equal(t, "v1.2.3", config.Config.Labels["org.opencontainers.image.version"])
	require.Equal(t, "linux", config.OS)

	files := contents(t, img)
	require.EqualValues(t, 0o755, files["usr/bin/probe"].Mode)
	require.Equal(t, image.User, files["data/"].Uid)
	for name, h := range files {
		require.NotContains(t, []string{"sh", "ash", "bash", "dash", "busybox"}, filepath.Base(name))
		require.Zero(t, h.Mode&0o6000, "%s has a set-user bit", name)
		if h.Typeflag == tar.TypeReg {
			require.Zero(t, h.Mode&0o022, "%s can be changed by others", name)
		}
	}
	var list struct {
		Components []struct{ Name, Version, PURL string }
		Metadata   struct {
			Component struct{ Name, Version string }
		}
	}
	require.NoError(t, json.Unmarshal(bom, &list))
	require.Equal(t, "probe", list.Metadata.Component.Name)
	require.Equal(t, "std", list.Components[0].Name)
	require.Regexp(t, `^1\.\d+`, list.Components[0].Version)
}

func TestTheBillNamesTheDecoderOfVoices(t *testing.T) {
	binary := compile(t, nil, "-trimpath", "-tags", "timetzdata")
	for name, want := range map[string]bool{"agent-routing": true, "wxbus": true, "gateway": false} {
		named := filepath.Join(filepath.Dir(binary), name)
		content, err := os.ReadFile(binary)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(named, content, 0o700))
		_, bom, err := image.Build(spec(named))
		require.NoError(t, err)
		require.Equal(t, want, strings.Contains(string(bom), "pkg:generic/opencore-amr@0.1.6"), name)
	}
}

func TestAuthoritiesAreCertificates(t *testing.T) {
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(image.Authorities()))
	require.Greater(t, strings.Count(string(image.Authorities()), "BEGIN CERTIFICATE"), 100)
}

func TestABinaryThatWouldNotRunAloneIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		binary string
		want   string
	}{
		"no zones":         {compile(t, nil, "-trimpath"), "-tags timetzdata"},
		"folders in it":    {compile(t, nil, "-trimpath=false", "-tags", "timetzdata"), "-trimpath"},
		"not a binary":     {"image_test.go", "not a Linux binary"},
		"another platform": {compile(t, []string{"GOOS=windows"}, "-trimpath", "-tags", "timetzdata"), "not a Linux binary"},
	} {
		_, _, err := image.Build(spec(c.binary))
		require.ErrorContains(t, err, c.want, name)
	}
}

func TestALayoutCanBeReadBack(t *testing.T) {
	img, err := image.Assemble(v1.Platform{OS: "linux", Architecture: "amd64"}, time.Unix(0, 0), []image.File{{Name: "/a/b", Mode: 0o644, Data: []byte("x")}})
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "probe")
	require.NoError(t, image.Write(dir, "wxbus.local/probe:1", img))
	require.NoError(t, image.Write(dir, "wxbus.local/probe:2", img), "in place of the first")
	index, err := layout.ImageIndexFromPath(dir)
	require.NoError(t, err)
	manifest, err := index.IndexManifest()
	require.NoError(t, err)
	require.Len(t, manifest.Manifests, 1)
	require.Equal(t, "wxbus.local/probe:2", manifest.Manifests[0].Annotations["io.containerd.image.name"])
	require.ErrorContains(t, image.Write(dir, "wxbus.local/probe", img), "no tag")
}
