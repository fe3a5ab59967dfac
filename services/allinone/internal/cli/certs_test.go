package cli

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/certs"
)

// holder loads what the command made for one holder.
func holder(t *testing.T, dir, name string) *certs.Store {
	t.Helper()
	at := func(file string) string { return filepath.Join(dir, name, file) }
	s, err := certs.Load(certs.Options{Files: certs.Files{Section: "grpc", Cert: at("tls.crt"), Key: at("tls.key"), CA: at("ca.crt")}})
	require.NoError(t, err, name)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// trusts tells whether a holder takes the certificate of another one for the given name.
func trusts(t *testing.T, one, other *certs.Store, name string) bool {
	t.Helper()
	leaf, err := x509.ParseCertificate(other.Client("").Certificates[0].Certificate[0])
	require.NoError(t, err)
	_, err = leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: one.Client("").RootCAs, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err == nil
}

func TestCertsMakesOneForEachHolderAndKeepsTheAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	code, out, errs := run(t, "certs", "--to", dir, "--namespace", "desk", "--valid", "48h")
	require.Equal(t, exitOK, code, errs)
	require.Contains(t, out, "9 holders")
	rule, console := holder(t, dir, "rule"), holder(t, dir, "console")
	require.True(t, trusts(t, console, rule, "rule.desk.svc"))
	require.False(t, trusts(t, console, rule, "token"))
	require.True(t, trusts(t, rule, holder(t, dir, "nats"), "nats-2.nats-headless"))
	require.Equal(t, uint16(tls.VersionTLS13), rule.Server().MinVersion)

	secrets, err := os.ReadFile(filepath.Join(dir, "secrets.yaml"))
	require.NoError(t, err)
	for _, h := range holders() {
		require.Contains(t, string(secrets), "name: wxbus-tls-"+h+", namespace: desk")
	}
	key, err := os.Stat(filepath.Join(dir, authorityFile))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), key.Mode().Perm())

	before := rule.Client("").Certificates[0].Certificate[0]
	code, _, errs = run(t, "certs", "--to", dir, "--namespace", "desk", "--json")
	require.Equal(t, exitOK, code, errs)
	require.NotEqual(t, before, rule.Client("").Certificates[0].Certificate[0], "a process that runs shows the renewed one")
	require.True(t, trusts(t, console, rule, "rule"))
}

func TestANewAuthorityIsTrustedBeforeItSigns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	must := func(args ...string) {
		t.Helper()
		code, _, errs := run(t, append([]string{"certs", "--to", dir}, args...)...)
		require.Equal(t, exitOK, code, errs)
	}
	// late is a process that has read the files of the step before only.
	late := func() *certs.Store {
		former := filepath.Join(t.TempDir(), "former")
		require.NoError(t, os.CopyFS(former, os.DirFS(dir)))
		return holder(t, former, "console")
	}
	must()
	first := late()
	must("--new-authority")
	require.True(t, trusts(t, first, holder(t, dir, "rule"), "rule"), "the former one still signs")
	code, _, errs := run(t, "certs", "--to", dir, "--new-authority")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "already")
	second := late()
	must()
	signedByNew := holder(t, dir, "rule")
	require.True(t, trusts(t, second, signedByNew, "rule"))
	require.False(t, trusts(t, first, signedByNew, "rule"))
	require.True(t, trusts(t, signedByNew, second, "console"), "those of the former one are still good")
	third := late()
	must()
	last := holder(t, dir, "rule")
	require.True(t, trusts(t, third, last, "rule"))
	require.False(t, trusts(t, last, first, "console"), "the former authority is forgotten")
}

func TestCertsSaysWhatIsMissing(t *testing.T) {
	for _, args := range [][]string{{"certs"}, {"certs", "--to", "x", "--valid", "0s"}, {"certs", "--to", "x", "--authority-valid", "1h"}} {
		code, _, errs := run(t, args...)
		require.Equal(t, exitUsage, code)
		require.NotEmpty(t, errs)
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, authorityFile), []byte("nothing"), 0o600))
	code, _, errs := run(t, "certs", "--to", dir)
	require.NotEqual(t, exitOK, code)
	require.True(t, strings.Contains(errs, "authority"), errs)
}
