package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// operatorAtWork publishes, tries out and rolls back rules by the command line, while the system runs.
func operatorAtWork(t *testing.T, w *world) {
	out, err := w.CLI(t, "rules", "test", "--account", secureXML, "--text", "我要退货")
	require.NoError(t, err, out)
	require.Contains(t, out, "returns")
	require.Contains(t, out, "aftersales")

	out, err = w.CLI(t, "rules", "list")
	require.NoError(t, err, out)
	before := regexp.MustCompile(`(?m)^(\S+)\s.*\slive`).FindStringSubmatch(out)
	require.Len(t, before, 2, out)

	broken := filepath.Join(w.Dir, "broken.yaml")
	require.NoError(t, os.WriteFile(broken, []byte("rules: [{name: a, match: {regex: ['(']}, do: [{rply: {text: x}}]}]\n"), 0o600))
	out, err = w.CLI(t, "rules", "apply", "-f", broken)
	require.Error(t, err)
	require.Contains(t, out, "rules[0]")
	require.Contains(t, out, "rply")

	fresh := filepath.Join(w.Dir, "fresh.yaml")
	require.NoError(t, os.WriteFile(fresh, []byte("rules: [{name: new, match: any, do: [{reply: {text: 新规则}}]}]\n"), 0o600))
	out, err = w.CLI(t, "rules", "apply", "-f", fresh, "--note", "test")
	require.NoError(t, err, out)
	answers := func(want string) func() bool {
		return func() bool {
			f := w.newFan(t, secureXML)
			f.says(t, "你好")
			return contains(f.saw(t), want)
		}
	}
	require.True(t, eventually(t, 60*time.Second, answers("passive:新规则")), "every replica switches")

	out, err = w.CLI(t, "rules", "rollback", before[1])
	require.NoError(t, err, out)
	require.True(t, eventually(t, 60*time.Second, answers("passive:你好，朋友")))

	out, err = w.CLI(t, "dlq", "list")
	require.NoError(t, err, out)
	require.Contains(t, out, "no dead letters")
}
