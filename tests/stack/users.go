package stack

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/topology"
)

// useUsers gives NATS the users of deploy/k8s, so that every row of the tests also shows that each service may do what
// it needs. A subject that was denied fails the test at its end: elsewhere it would only be a timeout. It returns
// what the configuration of a server includes. Tests run in a folder below tests.
func (s *Stack) useUsers(t testing.TB) string {
	t.Helper()
	users, err := os.ReadFile(filepath.Join("..", "..", "deploy", "k8s", "platform", "nats", "users.conf"))
	require.NoError(t, err)
	s.write(t, "users.conf", users)
	for _, user := range topology.Users() {
		s.passwords = append(s.passwords, topology.PasswordVariable(user)+"="+user)
	}
	t.Cleanup(func() { s.checkNothingWasDenied(t) })
	return `include "users.conf"`
}

// Login is the environment with which a process is a user: its password and its certificate, when there are any.
func (s *Stack) Login(t testing.TB, user string) []string {
	t.Helper()
	var env []string
	if len(s.passwords) > 0 {
		env = append(env, "WXBUS_NATS_USER="+user, "WXBUS_NATS_PASSWORD="+user)
	}
	if s.Certificates == nil {
		return env
	}
	files := s.Certificates.Files("grpc", user)
	if _, err := os.Stat(files.Cert); err != nil {
		files = s.Certificates.Issue(t, "grpc", user)
	}
	for _, section := range []string{"WXBUS_GRPC_", "WXBUS_NATS_"} {
		env = append(env, section+"TLS_CERT_FILE="+files.Cert, section+"TLS_KEY_FILE="+files.Key, section+"TLS_CA_FILE="+files.CA)
	}
	return env
}

// natsTLS is what makes a NATS server, and its routes, want certificates; empty in plain text.
func (s *Stack) natsTLS(t testing.TB) string {
	t.Helper()
	if s.Certificates == nil {
		return ""
	}
	f := s.Certificates.Issue(t, "nats", "nats")
	return fmt.Sprintf("tls: { cert_file: %q, key_file: %q, ca_file: %q, verify: true, timeout: 30 }", f.Cert, f.Key, f.CA)
}

// Operator is how a test itself connects to NATS.
func (s *Stack) Operator() nats.Option {
	if len(s.passwords) == 0 {
		return func(*nats.Options) error { return nil }
	}
	return nats.UserInfo(topology.UserOperator, topology.UserOperator)
}

func (s *Stack) checkNothingWasDenied(t testing.TB) {
	logs, err := filepath.Glob(filepath.Join(s.Dir, "*.log"))
	require.NoError(t, err)
	for _, name := range logs {
		f, err := os.Open(name)
		require.NoError(t, err)
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if strings.Contains(strings.ToLower(lines.Text()), "permissions violation") {
				t.Errorf("%s: %s", filepath.Base(name), lines.Text())
				break
			}
		}
		_ = f.Close() // only read
	}
}
