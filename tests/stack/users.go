package stack

import (
	"bufio"
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

// login is the environment with which a process logs in as a user.
func (s *Stack) login(user string) []string {
	if len(s.passwords) == 0 {
		return nil
	}
	return []string{"WXBUS_NATS_USER=" + user, "WXBUS_NATS_PASSWORD=" + user}
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
