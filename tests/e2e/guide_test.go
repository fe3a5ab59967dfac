package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// editingCommands returns the commands of the section about editing of a guide, in order.
func editingCommands(t *testing.T, name string) []string {
	t.Helper()
	guide, err := os.ReadFile(filepath.Join("..", "..", "docs", "guides", name))
	require.NoError(t, err)
	section := regexp.MustCompile(`(?s)<!-- editing:begin -->(.*)<!-- editing:end -->`).FindSubmatch(guide)
	require.Len(t, section, 2, "%s has no section about editing", name)
	var commands []string
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(section[1], -1) {
		for line := range bytes.Lines(block[1]) {
			if command := strings.TrimSpace(string(line)); command != "" {
				commands = append(commands, command)
			}
		}
	}
	return commands
}

// guideWorks runs the commands of the operator's guide about editing as they stand, one after the other.
func guideWorks(t *testing.T, w *world) {
	commands := editingCommands(t, "operator.en.md")
	require.NotEmpty(t, commands)
	require.Equal(t, commands, editingCommands(t, "operator.zh-CN.md"), "the guides say the same in both languages")

	before := liveVersion(t, w)
	sample, err := os.ReadFile("../../services/rule/internal/autoreply/testdata/wechatpy_get_current_autoreply_info.json")
	require.NoError(t, err)
	for name, content := range map[string]string{
		"rules.yaml":     rules(w.webhook), // as at the start
		"new.yaml":       "rules:\n  - {name: greeting, match: {exact: [hey]}, do: [{reply: hello}]}\n  - {name: tea, match: {contains: [tea]}, do: [{reply: It is on its way.}]}\n",
		"extra.yaml":     "rules:\n  - {name: greeting, match: {exact: [hey]}, do: [{reply: hello}]}\n",
		"autoreply.json": string(sample),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(w.Dir, name), []byte(content), 0o600))
	}
	for _, command := range commands {
		if strings.Contains(command, "delete greeting") { // somebody has added it again
			w.shell(t, "wxbus rules import -f extra.yaml")
		}
		if strings.Contains(command, "discard tea") { // and somebody edits tea
			w.shell(t, "wxbus rules import -f new.yaml")
		}
		w.shell(t, strings.NewReplacer("VERSION", before, "--account shop", "--account "+secureXML).Replace(command))
	}
	require.True(t, eventually(t, 60*time.Second, func() bool {
		f := w.newFan(t, secureXML)
		f.says(t, "你好")
		return contains(f.saw(t), "passive:你好，朋友")
	}), "the rules are as before")
}

// shell runs a line of a guide.
func (w *world) shell(t *testing.T, line string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", line)
	cmd.Dir = w.Dir
	cmd.Env = append(os.Environ(), "PATH="+w.BinDir()+":"+os.Getenv("PATH"), "WXBUS_CONFIG="+w.File)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", line, out)
}

// liveVersion returns the version that is live.
func liveVersion(t *testing.T, w *world) string {
	t.Helper()
	out, err := w.CLI(t, "rules", "list", "--json")
	require.NoError(t, err, out)
	var list struct {
		RuleSets []struct {
			Version string `json:"version"`
			Live    bool   `json:"live"`
		} `json:"rule_sets"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &list), out)
	for _, s := range list.RuleSets {
		if s.Live {
			return s.Version
		}
	}
	require.Fail(t, "no version is live", out)
	return ""
}
