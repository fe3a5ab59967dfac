//go:build k8s

package k8s

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/tests/image"
)

// postgresImage makes an image of the Postgres of this machine, because a test cluster may have no registry.
func postgresImage(t *testing.T, ref string) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	require.NoError(t, err)
	require.NotEmpty(t, found, "scripts/postgres.sh installs Postgres")
	home := filepath.Dir(filepath.Dir(slices.Max(found)))
	version := filepath.Base(home)

	p := packer{t: t, have: map[string]bool{}}
	for _, program := range []string{"postgres", "initdb", "pg_isready"} {
		p.file(filepath.Join(home, "bin", program))
	}
	p.tree(filepath.Join(home, "lib"), func(name string) bool { return strings.HasSuffix(name, ".so") && !strings.Contains(name, "/bitcode/") })
	p.tree(filepath.Join("/usr/share/postgresql", version), func(name string) bool {
		return !strings.Contains(name, "/extension/") || strings.Contains(name, "plpgsql")
	})
	for _, zone := range []string{"/usr/share/zoneinfo/UTC", "/usr/share/zoneinfo/Etc/UTC"} {
		p.file(zone)
	}
	p.tree("/usr/lib/locale/C.utf8", func(string) bool { return true })
	p.as("/bin/sh", "/bin/dash")
	p.file("/bin/rm")
	p.files = append(p.files,
		image.File{Name: "/etc/passwd", Mode: 0o644, Data: []byte("root:x:0:0:root:/:/bin/sh\npostgres:x:999:999:postgres:/var/lib/postgresql:/bin/sh\n")},
		image.File{Name: "/etc/group", Mode: 0o644, Data: []byte("root:x:0:\npostgres:x:999:\n")},
		image.File{Name: "/tmp", Mode: 0o1777, Dir: true})
	img, err := image.Assemble(v1.Platform{OS: "linux", Architecture: "amd64"}, time.Unix(0, 0), p.files)
	require.NoError(t, err)
	img, err = image.Configure(img, v1.Config{User: "999:999", Env: []string{"PATH=" + home + "/bin:/bin"}})
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "postgres")
	require.NoError(t, image.Write(dir, ref, img))
	return dir
}

// packer collects files, and for programs the libraries that they are linked with.
type packer struct {
	t     *testing.T
	have  map[string]bool
	files []image.File
}

func (p *packer) file(name string) { p.as(name, name) }

func (p *packer) as(name, from string) {
	if p.have[name] {
		return
	}
	p.have[name] = true
	info, err := os.Stat(from)
	require.NoError(p.t, err)
	b, err := os.ReadFile(from)
	require.NoError(p.t, err)
	p.files = append(p.files, image.File{Name: name, Mode: int64(info.Mode().Perm()), Data: b})
	if strings.HasPrefix(string(b), "\x7fELF") {
		p.libraries(from)
	}
}

var library = regexp.MustCompile(`(?m)(/\S+) \(0x`)

func (p *packer) libraries(program string) {
	out, err := exec.CommandContext(p.t.Context(), "ldd", program).CombinedOutput()
	if err != nil {
		return // linked with nothing
	}
	for _, m := range library.FindAllStringSubmatch(string(out), -1) {
		p.file(m[1])
	}
}

func (p *packer) tree(dir string, want func(string) bool) {
	require.NoError(p.t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && want(name) {
			p.file(name)
		}
		return err
	}))
}
