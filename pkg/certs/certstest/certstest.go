// Package certstest makes certificates for tests, as files that a test replaces as a renewal does.
package certstest

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/certs"
)

// Valid is how long certificates are valid.
const Valid = 30 * 24 * time.Hour

// Authority is an authority with a folder for the files of its certificates.
type Authority struct {
	*certs.Authority
	dir string
}

// New makes an authority that is valid for a year.
func New(t testing.TB) *Authority {
	t.Helper()
	a, err := certs.NewAuthority("test", time.Now(), 365*24*time.Hour)
	require.NoError(t, err)
	return &Authority{Authority: a, dir: t.TempDir()}
}

// Issue writes a certificate for a name, valid from now, and returns its files with the authority. A name that was
// issued before gets new files at the same place. Hosts are 127.0.0.1 and localhost when none are given.
func (a *Authority) Issue(t testing.TB, section, name string, hosts ...string) certs.Files {
	t.Helper()
	return a.IssueAt(t, time.Now(), section, name, hosts...)
}

// IssueAt is Issue at another time: the certificate is valid from then.
func (a *Authority) IssueAt(t testing.TB, now time.Time, section, name string, hosts ...string) certs.Files {
	t.Helper()
	if len(hosts) == 0 {
		hosts = []string{"localhost", "127.0.0.1"}
	}
	pair, err := a.Authority.Issue(hosts, now, Valid)
	require.NoError(t, err)
	files := a.Files(section, name)
	for path, content := range map[string][]byte{files.Cert: pair.Cert, files.Key: pair.Key, files.CA: a.PEM().Cert} {
		require.NoError(t, os.WriteFile(path+".new", content, 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	return files
}

// Files returns where Issue writes.
func (a *Authority) Files(section, name string) certs.Files {
	at := func(file string) string { return filepath.Join(a.dir, file) }
	return certs.Files{Section: section, Cert: at(name + ".crt"), Key: at(name + ".key"), CA: at("ca.crt")}
}
