package config_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/testkit"
)

func section(gw *gatewayConfig) config.Section { return config.Section{Name: "gateway", Into: gw} }

// What Print writes, Load reads again to the same values, whatever text is in them.
func TestPrintRoundTrip(t *testing.T) {
	text := rapid.OneOf(
		rapid.SampledFrom([]string{"", "null", "~", "0123", "yes", "1e3", "a: b", "# x", "- x", "<<", "*a", "&a", "|", "\n", " x ", "[redacted", "'", "\"", "消息", "!!int 3"}),
		rapid.StringMatching(`[ -~]{0,12}`),
	)
	rapid.Check(t, func(rt *rapid.T) {
		shared, gw := config.DefaultShared(), defaultGateway()
		shared.Data = "d" + text.Draw(rt, "data")
		gw.Note = text.Draw(rt, "note")
		if gw.Note == "bad" {
			gw.Note = ""
		}
		gw.PassiveDeadline = time.Duration(rapid.Int64().Draw(rt, "deadline"))
		gw.MaxBody = config.Bytes(rapid.Int64Min(0).Draw(rt, "body"))
		gw.Trusted = rapid.SliceOfN(text, 0, 3).Draw(rt, "trusted")
		if len(gw.Trusted) == 0 {
			gw.Trusted = nil
		}
		gw.Weights = rapid.MapOfN(text, rapid.Float64(), 1, 3).Draw(rt, "weights")
		gw.Inline.Inlined = rapid.Int().Draw(rt, "inlined")
		strict := rapid.Bool().Draw(rt, "strict")
		gw.Strict = &strict

		var out bytes.Buffer
		require.NoError(rt, config.Print(&out, &shared, section(&gw)))
		gotShared, gotGW, err := load(t, out.String())
		require.NoError(rt, err, out.String())
		require.Equal(rt, shared, gotShared)
		require.Equal(rt, gw, gotGW, out.String())
	})
}

func TestPrintShowsTheSourceOfASecretAndNeverTheSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte("canary1\n"), 0o600))
	shared, gw, err := load(t, `
accounts: [{name: shop, appid: wx01, mode: plaintext, token: "file:`+path+`", app_secret: canary2}]
gateway: {secret: "env:GW_SECRET"}`, "GW_SECRET=canary3")
	require.NoError(t, err)
	require.Equal(t, "canary1", shared.Accounts[0].Token.Reveal())
	require.Equal(t, "canary3", gw.Secret.Reveal())

	var out bytes.Buffer
	require.NoError(t, config.Print(&out, &shared, section(&gw)))
	require.NotContains(t, out.String(), "canary")
	require.Contains(t, out.String(), "token: file:"+path)
	require.Contains(t, out.String(), "secret: env:GW_SECRET")
	require.Contains(t, out.String(), "app_secret: '[redacted]'")

	_, _, err = load(t, out.String(), "GW_SECRET=canary3")
	require.ErrorContains(t, err, "accounts[0].app_secret: is the printed form of a secret")
	_, again, err := load(t, strings.ReplaceAll(out.String(), "'[redacted]'", "other"), "GW_SECRET=canary3")
	require.NoError(t, err)
	require.Equal(t, gw, again)
}

func TestExampleLoads(t *testing.T) {
	shared, gw := config.DefaultShared(), defaultGateway()
	shared.Accounts = []account.Account{{Name: "shop", AppID: "wx0123456789abcdef"}}
	shared.Accounts[0].SetDefaults()
	shared.Accounts[0].Mode = account.ModePlaintext
	shared.Accounts[0].Token = secret.New("AAAAA")
	var out bytes.Buffer
	require.NoError(t, config.Example(&out, &shared, section(&gw)))
	testkit.Golden(t, "example.golden.yaml", gatewayPart(t, out.String(), "\ngateway:\n"))
	got, gotGW, err := load(t, strings.Replace(out.String(), "'[redacted]'", "AAAAA", 1))
	require.NoError(t, err)
	require.Equal(t, shared, got)
	require.Equal(t, gw, gotGW)
}

func TestReference(t *testing.T) {
	shared, gw := config.DefaultShared(), defaultGateway()
	shared.MasterKey = secret.New("canary")
	var out bytes.Buffer
	require.NoError(t, config.Reference(&out, &shared, section(&gw)))
	require.NotContains(t, out.String(), "canary")
	testkit.Golden(t, "reference.golden.md", gatewayPart(t, out.String(), "\n## Section gateway\n"))
	require.Contains(t, out.String(), "| `accounts[].kind` | service, subscription, miniprogram | `service` | `WXBUS_ACCOUNTS_N_KIND` |")
}

func TestSchema(t *testing.T) {
	shared, gw := config.DefaultShared(), defaultGateway()
	gw.Secret = secret.New("canary")
	var out bytes.Buffer
	require.NoError(t, config.Schema(&out, &shared, section(&gw)))
	require.NotContains(t, out.String(), "canary")
	var schema struct {
		Schema     string `json:"$schema"`
		Additional bool   `json:"additionalProperties"`
		Properties map[string]json.RawMessage
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &schema))
	require.Equal(t, "https://json-schema.org/draft/2020-12/schema", schema.Schema)
	require.False(t, schema.Additional)
	for _, name := range append(config.KnownSections(), "nats", "accounts", "master_key") {
		require.Contains(t, schema.Properties, name)
	}
	require.JSONEq(t, `{"type":"object"}`, string(schema.Properties["rule"]), "sections of others are accepted as they are")
	testkit.Golden(t, "schema.golden.json", []byte(schema.Properties["gateway"]))
}

// gatewayPart cuts off what belongs to all processes: its texts are not the business of these tests.
func gatewayPart(t *testing.T, text, from string) string {
	t.Helper()
	_, part, ok := strings.Cut(text, from)
	require.True(t, ok)
	return part
}

// Every key of every process is documented.
func TestSharedKeysHaveDescriptions(t *testing.T) {
	shared := config.DefaultShared()
	var out bytes.Buffer
	require.NoError(t, config.Reference(&out, &shared))
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "| `") {
			require.NotContains(t, line, "|  |\n", line)
		}
	}
}

// Any bytes as file and any text in a variable give values or errors, never a panic; and what loads
// can be printed and loaded again.
func FuzzLoad(f *testing.F) {
	f.Add([]byte("nats: {urls: [nats://a]}"), "GATEWAY_RETRY_MAX", "3")
	f.Add([]byte("accounts: [{name: a, appid: wx01, token: AAA, mode: plaintext}]"), "ACCOUNTS_0_TOKEN", "BBB")
	f.Add([]byte("gateway: {classes: {a: {rate: 1}}, budget: {x: 1}}"), "GATEWAY_CLASSES", "{b: {}}")
	f.Add([]byte("a: &a [*a]\n<<: *a"), "GATEWAY_CLASSES_AGENT_RATE", "NaN")
	f.Add([]byte("? {a: b}\n: c"), "ACCOUNTS", "[[[[")
	f.Add([]byte("data: !!binary aGVsbG8="), "GRPC_ADDRESSES_AGENT_ROUTING", "x")
	f.Fuzz(func(t *testing.T, file []byte, name, value string) {
		if strings.Contains(string(file)+value, "file:") {
			t.Skip("reads files")
		}
		shared, gw, err := load(t, string(file), "WXBUS_"+name+"="+value)
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := config.Print(&out, &shared, section(&gw)); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), secret.Redacted) {
			return
		}
		if _, _, err := load(t, out.String()); err != nil {
			t.Fatalf("printed configuration does not load: %v\n%s", err, out.String())
		}
	})
}
