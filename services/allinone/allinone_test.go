package allinone_test

import (
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/process"
	"github.com/wxbus/wxbus/services/allinone"
)

func load(t *testing.T, opts config.LoadOptions) (config.Shared, error) {
	t.Helper()
	var sections []config.Section
	for _, m := range allinone.Modules() {
		sections = append(sections, m.Section)
	}
	var shared config.Shared
	return shared, config.Load(t.Context(), opts, &shared, sections...)
}

func TestTargets(t *testing.T) {
	names := func(modules []process.Module) string {
		var out []string
		for _, m := range modules {
			out = append(out, m.Name)
		}
		return strings.Join(out, ",")
	}
	for target, want := range map[string]string{
		"":                    "token,sender,agent-routing,rule,console,gateway,simulator",
		"all":                 "token,sender,agent-routing,rule,console,gateway,simulator",
		"gateway":             "gateway",
		"gateway,token":       "token,gateway",
		"rule, agent-routing": "agent-routing,rule",
		"all,simulator":       "token,sender,agent-routing,rule,console,gateway,simulator",
	} {
		modules, err := allinone.Select(target)
		require.NoError(t, err, target)
		require.Equal(t, want, names(modules), target)
	}
	_, err := allinone.Select("gatway")
	require.ErrorContains(t, err, `"gatway"`)
	require.ErrorContains(t, err, "gateway")
}

func TestModulesAreInStartOrder(t *testing.T) {
	var got []string
	for _, m := range allinone.Modules() {
		got = append(got, m.Name)
	}
	require.Equal(t, process.Names(), got)
}

func TestTheSimulatorRunsOnlyForAccountsThatHaveItAsTheirWeChat(t *testing.T) {
	modules, err := allinone.Select("all")
	require.NoError(t, err)
	wanted := modules[len(modules)-1].Wanted
	dir := t.TempDir()
	content, err := allinone.DemoConfig(dir)
	require.NoError(t, err)
	var demo config.Shared
	require.NoError(t, config.Load(t.Context(), config.LoadOptions{Content: content, File: "demo"}, &demo, modules[len(modules)-1].Section))
	require.True(t, wanted(&demo))
	for i := range demo.Accounts {
		demo.Accounts[i].APIBase = "https://api.weixin.qq.com"
	}
	require.False(t, wanted(&demo))
}

func TestTheDemoKeepsItsKeyAndItsRules(t *testing.T) {
	dir := t.TempDir()
	first, err := allinone.DemoConfig(dir)
	require.NoError(t, err)
	key, err := os.ReadFile(dir + "/master.key")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(dir+"/rules.yaml", []byte("rules: []\n"), 0o600))
	second, err := allinone.DemoConfig(dir)
	require.NoError(t, err)
	require.Equal(t, string(first), string(second))
	again, err := os.ReadFile(dir + "/master.key")
	require.NoError(t, err)
	require.Equal(t, key, again)
	rules, err := os.ReadFile(dir + "/rules.yaml")
	require.NoError(t, err)
	require.Equal(t, "rules: []\n", string(rules))
	_, err = load(t, config.LoadOptions{Content: first, File: "demo"})
	require.NoError(t, err)
}

func TestTheEmbeddedServerListensWhereTheFileSays(t *testing.T) {
	for listen, want := range map[string]string{
		`"-1"`: "nats://127.0.0.1:", "-1": "nats://127.0.0.1:", `"127.0.0.1:-1"`: "nats://127.0.0.1:", `""`: "",
	} {
		t.Run(listen, func(t *testing.T) {
			shared, err := load(t, config.LoadOptions{Content: []byte("data: " + t.TempDir() + "\nnats: {listen: " + listen + ", max_store: 64MiB}\n"), File: "test"})
			require.NoError(t, err)
			server, err := allinone.Embed(t.Context(), shared, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			require.NoError(t, server.Start(t.Context()))
			url := server.ClientURL()
			require.NoError(t, server.Stop(t.Context()))
			require.True(t, strings.HasPrefix(url, want) && (want != "" || url == ""), "%q", url)
		})
	}
}

func TestTheProductionExampleIsValid(t *testing.T) {
	_, err := load(t, config.LoadOptions{File: "../../deploy/example/wxbus.yaml", Env: []string{
		"MASTER_KEY=" + strings.Repeat("ab", 32), "SHOP_TOKEN=token123", "SHOP_SECRET=secret",
		"SHOP_AES_KEY=abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
	}})
	require.NoError(t, err)
}

func TestTheNATSSettingsAreWhatThePromiseNeeds(t *testing.T) {
	opts, err := server.ProcessConfigFile("../../deploy/nats/server.conf")
	require.NoError(t, err)
	require.True(t, opts.SyncAlways, "sync_interval: always")
	require.Positive(t, opts.JetStreamMaxStore)
	require.Len(t, opts.Routes, 3)
}
