package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/process"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

// operatorEdits takes a rule from the draft to the fans and back, by the command line, while the system runs.
func operatorEdits(t *testing.T, w *world) {
	cli := func(args ...string) string {
		t.Helper()
		out, err := w.CLI(t, append([]string{"rules"}, args...)...)
		require.NoError(t, err, out)
		return out
	}
	require.Contains(t, cli("diff"), "nothing differs")
	before := liveVersion(t, w)

	early := w.newFan(t, secureXML)
	early.says(t, "嘘")
	tea := filepath.Join(w.Dir, "tea.yaml")
	require.NoError(t, os.WriteFile(tea, []byte("rules:\n  - {name: tea, priority: 5, match: {exact: [嘘, 茶]}, do: [{reply: {text: 茶来了}}]}\n"), 0o600))
	require.Contains(t, cli("import", "-f", tea, "--dry-run"), "1 rules would change")
	require.Contains(t, cli("import", "-f", tea), "+ tea")
	require.Contains(t, cli("diff"), "+ tea")
	require.Equal(t, before, liveVersion(t, w), "a draft is not live")
	require.Empty(t, early.saw(t))

	out := cli("shadow", "--account", secureXML, "--hours", "1")
	require.Regexp(t, `嘘\s+silence: none\s+tea: 茶来了`, out, "what fans wrote is answered otherwise")
	concurrentEditRefused(t, w)

	require.Contains(t, cli("publish", "--note", "tea time", "--expect", before), "is live now")
	require.True(t, eventually(t, 60*time.Second, func() bool {
		f := w.newFan(t, secureXML)
		f.says(t, "茶")
		return contains(f.saw(t), "passive:茶来了")
	}), "every replica decides by the draft that was published")
	require.Contains(t, cli("list"), "tea time")
	require.Contains(t, cli("diff", before), "+ tea")
	require.True(t, eventually(t, 60*time.Second, func() bool {
		return regexp.MustCompile(`(?m)^[1-9]\d*\s.*\stea$`).MatchString(cli("coverage", "--account", secureXML))
	}), "hits are counted")

	cli("rollback", before)
	require.Equal(t, before, liveVersion(t, w))
	require.True(t, eventually(t, 60*time.Second, func() bool {
		f := w.newFan(t, secureXML)
		f.says(t, "嘘")
		return len(f.saw(t)) == 0
	}), "every replica is back")
	require.Contains(t, cli("diff"), "nothing differs", "the working copy follows")
	audit := cli("audit", "--limit", "4")
	for _, what := range []string{"rolled back", "published", "tea time"} {
		require.Contains(t, audit, what)
	}
}

// concurrentEditRefused lets two people change what both have seen: the second is told.
func concurrentEditRefused(t *testing.T, w *world) {
	conn, err := process.DialPlain(t.Context(), w.Address("rule"))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	api := rulev1.NewRuleServiceClient(conn)
	seen, err := api.GetRule(t.Context(), &rulev1.GetRuleRequest{Rule: "tea"})
	require.NoError(t, err)
	save := func(actor string) error {
		_, err := api.SaveRule(metadata.AppendToOutgoingContext(t.Context(), "wxbus-actor", actor), &rulev1.SaveRuleRequest{
			Id: seen.GetRule().GetId(), Revision: seen.GetRule().GetRevision(),
			Yaml: "name: tea\npriority: 6\nmatch: {exact: [嘘, 茶]}\ndo: [{reply: {text: 茶来了}}]\n",
		})
		return err
	}
	require.NoError(t, save("li"))
	err = save("wang")
	require.Equal(t, fault.Conflict, fault.KindOf(err))
	require.ErrorContains(t, err, "li changed it")
}
