package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUsersAndKeysAreMadeWithoutARunningConsole(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "wxbus.yaml")
	require.NoError(t, os.WriteFile(file, []byte("data: "+dir+"\n"), 0o600))
	run := func(want int, args ...string) (string, string) {
		var out, errs bytes.Buffer
		require.Equal(t, want, Main(append(args, "--config", file), nil, &out, &errs), errs.String())
		return out.String(), errs.String()
	}
	out, _ := run(exitOK, "users", "create", "alice", "--role", "admin,agent", "--json")
	var made map[string]string
	require.NoError(t, json.Unmarshal([]byte(out), &made))
	require.GreaterOrEqual(t, len(made["password"]), 20)
	_, errs := run(exitFailed, "users", "create", "alice")
	require.Contains(t, errs, "is taken")
	_, errs = run(exitFailed, "users", "create", "bob", "--role", "king")
	require.Contains(t, errs, "supervisor")
	out, _ = run(exitOK, "users", "reset-password", "alice")
	require.NotContains(t, out, made["password"])
	out, _ = run(exitOK, "users", "list")
	require.Contains(t, out, "agent,admin")

	out, _ = run(exitOK, "keys", "create", "crm", "--scope", "messages:write", "--account", "shop", "--json")
	var key map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &key))
	require.True(t, strings.HasPrefix(key["key"].(string), key["id"].(string)+"."))
	_, errs = run(exitFailed, "keys", "create", "crm", "--account", "shop")
	require.Contains(t, errs, "scopes")
	run(exitOK, "keys", "revoke", key["id"].(string))
	out, _ = run(exitOK, "keys", "list")
	require.Contains(t, out, "revoked")
	require.NotContains(t, out, key["key"])
	run(exitUsage, "keys", "revoke")
}
