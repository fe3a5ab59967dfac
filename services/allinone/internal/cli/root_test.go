package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(args, []string{"HOME=" + t.TempDir()}, &out, &errs)
	return code, out.String(), errs.String()
}

func TestExitCodesTellUseFromFailure(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.yaml")
	require.NoError(t, os.WriteFile(good, []byte("accounts:\n  - {name: shop, appid: wx0000000000000001, token: abc123, encoding_aes_key: abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG}\n"), 0o600))
	noPort := filepath.Join(dir, "noport.yaml")
	require.NoError(t, os.WriteFile(noPort, []byte("nats: {listen: \"\"}\n"), 0o600))
	bad := filepath.Join(dir, "bad.yaml")
	require.NoError(t, os.WriteFile(bad, []byte("gatewy: {}\naccounts: [{name: Shop!, appid: x}]\n"), 0o600))

	for name, tc := range map[string]struct {
		args           []string
		code           int
		stdout, stderr []string
	}{
		"version":              {[]string{"version"}, exitOK, []string{"wxbus "}, nil},
		"version as JSON":      {[]string{"version", "--json"}, exitOK, []string{`"version"`}, nil},
		"valid file":           {[]string{"config", "check", "--config", good}, exitOK, []string{"1 accounts"}, nil},
		"one dash is accepted": {[]string{"config", "check", "-config=" + good}, exitOK, []string{"1 accounts"}, nil},
		"every mistake at once": {[]string{"config", "check", "-c", bad}, exitProblems, nil,
			[]string{"gatewy", "gateway", "accounts[0].name", "accounts[0].token"}},
		"unknown flag":             {[]string{"up", "--nope"}, exitUsage, nil, []string{"--nope", "--help"}},
		"unknown target":           {[]string{"up", "-target=gatway", "--demo", "--data", dir}, exitUsage, nil, []string{"gatway", "gateway"}},
		"surplus argument":         {[]string{"doctor", "now"}, exitUsage, nil, []string{"now"}},
		"missing argument":         {[]string{"dlq", "show"}, exitUsage, nil, []string{"SEQ"}},
		"missing file":             {[]string{"config", "check", "-c", filepath.Join(dir, "none.yaml")}, exitProblems, nil, []string{"none.yaml"}},
		"campaign without account": {[]string{"campaign", "list", "now"}, exitUsage, nil, []string{"now"}},
		"campaign of no account":   {[]string{"campaign", "status", "spring"}, exitUsage, nil, []string{"--account"}},
		"campaign without source":  {[]string{"campaign", "create", "spring", "--account", "shop", "--text", "x", "--address", "127.0.0.1:1"}, exitUsage, nil, []string{"--csv"}},
		"campaign without message": {[]string{"campaign", "create", "spring", "--account", "shop", "--address", "127.0.0.1:1"}, exitUsage, nil, []string{"--text"}},
		"campaign with odd canary": {[]string{"campaign", "start", "spring", "--account", "shop", "--canary", "few", "--address", "127.0.0.1:1"}, exitUsage, nil, []string{"few"}},
		"campaign with odd state":  {[]string{"campaign", "recipients", "spring", "--account", "shop", "--state", "lost", "--address", "127.0.0.1:1"}, exitUsage, nil, []string{"ambiguous"}},
		"campaign help":            {[]string{"campaign", "start", "--help"}, exitOK, []string{"Examples:", "--canary", "--yes"}, nil},
		"mass without message":     {[]string{"send", "mass", "all", "--account", "shop", "--address", "127.0.0.1:1"}, exitUsage, nil, []string{"--text"}},
		"mass without yes":         {[]string{"send", "mass", "tag", "100", "--account", "shop", "--text", "x", "--address", "127.0.0.1:1"}, exitUsage, nil, []string{"--yes"}},
		"mass with odd tag":        {[]string{"send", "mass", "tag", "friends", "--account", "shop", "--text", "x"}, exitUsage, nil, []string{"friends"}},
		"mass with fallback":       {[]string{"send", "mass", "all", "--account", "shop", "--text", "x", "--fallback", "{}"}, exitUsage, nil, []string{"--fallback"}},
		"mass preview for nobody":  {[]string{"send", "mass", "preview", "--account", "shop", "--text", "x"}, exitUsage, nil, []string{"--openid"}},
		"mass help":                {[]string{"send", "mass", "list", "--help"}, exitOK, []string{"Examples:", "openids.txt", "--yes", "--json"}, nil},
		"send at an odd time":      {[]string{"send", "text", "--account", "shop", "--openid", "o", "x", "--not-before", "soon"}, exitUsage, nil, []string{"soon", "90m"}},
		"trace of nobody":          {[]string{"trace", "--account", "shop"}, exitUsage, nil, []string{"--openid", "--send"}},
		"trace without a port":     {[]string{"trace", "--account", "shop", "--openid", "o", "-c", noPort}, exitUsage, nil, []string{"nats.listen", "--nats"}},
		"bench at falling rates":   {[]string{"bench", "--rates", "200,100"}, exitUsage, nil, []string{"200,100", "rising"}},
		"bench of nothing":         {[]string{"bench", "--simulator", "http://127.0.0.1:1"}, exitFailed, nil, []string{"is the simulator running at http://127.0.0.1:1?"}},
		"help has examples":        {[]string{"rules", "test", "--help"}, exitOK, []string{"Examples:", "--event-key"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := run(t, tc.args...)
			require.Equal(t, tc.code, code, "stdout: %s\nstderr: %s", stdout, stderr)
			for _, want := range tc.stdout {
				require.Contains(t, stdout, want)
			}
			for _, want := range tc.stderr {
				require.Contains(t, stderr, want)
			}
		})
	}
}

func TestPrintedConfigurationHidesSecrets(t *testing.T) {
	dir := t.TempDir()
	code, stdout, stderr := run(t, "config", "print", "-c", writeDemo(t, dir))
	require.Equal(t, exitOK, code, stderr)
	require.Contains(t, stdout, "[redacted]")
	require.NotContains(t, stdout, "demoshoptoken")
	require.NotContains(t, stdout, "demo-shop-app-secret")
}

func writeDemo(t *testing.T, dir string) string {
	t.Helper()
	content, err := os.ReadFile("../../demo/wxbus.yaml")
	require.NoError(t, err)
	name := filepath.Join(dir, "wxbus.yaml")
	require.NoError(t, os.WriteFile(name, content, 0o600))
	return name
}

func TestEveryCommandHasAnExample(t *testing.T) {
	a := &app{}
	var missing []string
	for _, c := range allCommands(a.root()) {
		if c.Example == "" && !c.Hidden {
			missing = append(missing, c.CommandPath())
		}
	}
	require.Empty(t, missing)
}

func allCommands(c *cobra.Command) []*cobra.Command {
	out := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		if sub.Name() != "help" && sub.Name() != "completion" {
			out = append(out, allCommands(sub)...)
		}
	}
	return out
}

func TestTimesOfMessages(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"90m":                       now.Add(90 * time.Minute),
		"2026-12-12T08:00":          time.Date(2026, 12, 12, 0, 0, 0, 0, time.UTC),
		"2026-12-12T08:00:00+01:00": time.Date(2026, 12, 12, 7, 0, 0, 0, time.UTC),
	} {
		got, err := moment(text, "Asia/Shanghai", now)
		require.NoError(t, err, text)
		require.True(t, want.Equal(got), "%s: %s", text, got)
	}
	_, err := moment("2026-12-12T08:00", "Mars/Olympus", now)
	require.ErrorContains(t, err, "Mars/Olympus")
}
