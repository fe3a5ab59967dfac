// Package image makes OCI images of static Go binaries, without a container engine: one layer with certificate
// authorities and users, one with the binary and its bill of materials. The same binary gives the same digest on
// every machine, because nothing of the machine goes in.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"debug/buildinfo"
	"debug/elf"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// User is the user and group of every image. It owns only /data and its home; it has no shell.
const User = 65532

// zoneTag is the build tag that puts the time zones into a Go binary.
const zoneTag = "timetzdata"

// Spec says what goes into an image.
type Spec struct {
	// Binary is the path of a static Linux binary, built with the tag timetzdata. Its base name is the command.
	Binary string
	// Title and Description are labels.
	Title, Description string
	// Version and Revision are labels: of the release and of the commit.
	Version, Revision string
	// Created is the time of the commit, so that an image does not change with the hour of its build.
	Created time.Time
}

// File is one entry of a layer.
type File struct {
	Name string // absolute
	Mode int64
	UID  int // and GID
	Dir  bool
	Data []byte
	Link string // target when it is a symbolic link
}

// Build returns the image of a binary and its bill of materials as CycloneDX JSON. It fails when the binary would
// not run alone: when it is linked dynamically or lacks the time zones.
func Build(s Spec) (v1.Image, []byte, error) {
	info, err := inspect(s.Binary)
	if err != nil {
		return nil, nil, err
	}
	content, err := os.ReadFile(s.Binary)
	if err != nil {
		return nil, nil, fmt.Errorf("read binary: %w", err)
	}
	bom, err := billOfMaterials(s, info, content)
	if err != nil {
		return nil, nil, err
	}
	name := path.Base(filepath.ToSlash(s.Binary))
	img, err := Assemble(platform(info), s.Created,
		platformFiles(),
		[]File{
			{Name: "/usr/bin", Mode: 0o755, Dir: true},
			{Name: "/usr/bin/" + name, Mode: 0o755, Data: content},
			{Name: "/usr/share/sbom", Mode: 0o755, Dir: true},
			{Name: "/usr/share/sbom/" + name + ".cdx.json", Mode: 0o644, Data: bom},
		})
	if err != nil {
		return nil, nil, err
	}
	img, err = Configure(img, v1.Config{
		User: fmt.Sprintf("%d:%d", User, User), WorkingDir: "/data",
		Env:        []string{"PATH=/usr/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"},
		Entrypoint: []string{"/usr/bin/" + name}, StopSignal: "SIGTERM", Labels: labels(s),
	})
	return img, bom, err
}

func labels(s Spec) map[string]string {
	const prefix = "org.opencontainers.image."
	return map[string]string{
		prefix + "title": s.Title, prefix + "description": s.Description, prefix + "version": s.Version, prefix + "revision": s.Revision,
		prefix + "created": s.Created.UTC().Format(time.RFC3339), prefix + "licenses": "Apache-2.0",
		prefix + "source": "https://github.com/wxbus/wxbus", prefix + "vendor": "wxbus",
	}
}

// inspect reads how the binary was built.
func inspect(binary string) (*buildinfo.BuildInfo, error) {
	f, err := elf.Open(binary)
	if err != nil {
		return nil, fmt.Errorf("%s: not a Linux binary: %w", binary, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return nil, fmt.Errorf("%s: linked dynamically; build it with CGO_ENABLED=0", binary)
		}
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("%s: not a Go binary: %w", binary, err)
	}
	if !slices.Contains(strings.Split(setting(info, "-tags"), ","), zoneTag) {
		return nil, fmt.Errorf("%s: has no time zones; build it with -tags %s", binary, zoneTag)
	}
	if setting(info, "-trimpath") != "true" {
		return nil, fmt.Errorf("%s: names folders of this machine; build it with -trimpath", binary)
	}
	return info, nil
}

func setting(info *buildinfo.BuildInfo, key string) string {
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

func platform(info *buildinfo.BuildInfo) v1.Platform {
	return v1.Platform{OS: "linux", Architecture: setting(info, "GOARCH")}
}

// platformFiles is what every binary expects to find: authorities, a user with a name, folders to write to.
func platformFiles() []File {
	return []File{
		{Name: "/data", Mode: 0o700, UID: User, Dir: true},
		{Name: "/etc", Mode: 0o755, Dir: true},
		{Name: "/etc/group", Mode: 0o644, Data: fmt.Appendf(nil, "root:x:0:\nnonroot:x:%d:\n", User)},
		{Name: "/etc/passwd", Mode: 0o644, Data: fmt.Appendf(nil, "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:%d:%d:nonroot:/data:/sbin/nologin\n", User, User)},
		{Name: "/etc/ssl/certs", Mode: 0o755, Dir: true},
		{Name: "/etc/ssl/certs/ca-certificates.crt", Mode: 0o644, Data: Authorities()},
		{Name: "/tmp", Mode: 0o1777, Dir: true},
	}
}

// Authorities returns Mozilla's certificate authorities as PEM, in the version that go.sum pins. Those with
// limits that a PEM file cannot express are left out.
func Authorities() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if _, err := x509.ParseCertificate(root.Certificate); err != nil {
			continue
		}
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // a buffer takes everything
	}
	return b.Bytes()
}

// Assemble returns an image with one layer for each list of files.
func Assemble(p v1.Platform, created time.Time, layers ...[]File) (v1.Image, error) {
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	for _, files := range layers {
		content, err := archive(files, created)
		if err != nil {
			return nil, err
		}
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
			tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return nil, fmt.Errorf("make layer: %w", err)
		}
		img, err = mutate.Append(img, mutate.Addendum{Layer: layer, MediaType: types.OCILayer,
			History: v1.History{Created: v1.Time{Time: created}, CreatedBy: "make images"}})
		if err != nil {
			return nil, fmt.Errorf("add layer: %w", err)
		}
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = p.OS, p.Architecture, v1.Time{Time: created}
	return mutate.ConfigFile(img, config)
}

// Configure sets how the image is run.
func Configure(img v1.Image, c v1.Config) (v1.Image, error) {
	img, err := mutate.Config(img, c)
	if err != nil {
		return nil, fmt.Errorf("configure image: %w", err)
	}
	return img, nil
}

// archive writes the files in their order, with the parents that they lack.
func archive(files []File, created time.Time) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	made := map[string]bool{"/": true}
	add := func(f File) error {
		h := &tar.Header{Name: strings.TrimPrefix(f.Name, "/"), Mode: f.Mode, Uid: f.UID, Gid: f.UID, Size: int64(len(f.Data)),
			ModTime: created, Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		switch {
		case f.Dir:
			h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
			made[f.Name] = true
		case f.Link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.Link
		}
		if err := w.WriteHeader(h); err != nil {
			return fmt.Errorf("write %s: %w", f.Name, err)
		}
		_, err := w.Write(f.Data)
		return err
	}
	for _, f := range files {
		for _, dir := range parents(f.Name) {
			if made[dir] {
				continue
			}
			if err := add(File{Name: dir, Mode: 0o755, Dir: true}); err != nil {
				return nil, err
			}
		}
		if f.Dir && made[f.Name] {
			continue
		}
		if err := add(f); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("write layer: %w", err)
	}
	return b.Bytes(), nil
}

// parents returns the folders above a file, the outermost first.
func parents(name string) []string {
	var out []string
	for dir := path.Dir(name); dir != "/" && dir != "."; dir = path.Dir(dir) {
		out = append(out, dir)
	}
	slices.Reverse(out)
	return out
}

// Write puts the image into an OCI layout below dir, under its name, in place of what was there.
func Write(dir, ref string, img v1.Image) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("clear %s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	l, err := layout.Write(dir, mutate.IndexMediaType(empty.Index, types.OCIImageIndex))
	if err != nil {
		return fmt.Errorf("write layout %s: %w", dir, err)
	}
	_, tag, ok := strings.Cut(path.Base(ref), ":")
	if !ok {
		return errors.New("image name has no tag: " + ref)
	}
	err = l.AppendImage(img, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": tag,
		"io.containerd.image.name":          ref,
	}))
	if err != nil {
		return fmt.Errorf("write image %s: %w", ref, err)
	}
	return nil
}
