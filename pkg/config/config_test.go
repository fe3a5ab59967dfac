package config_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/config"
)

// gatewayConfig stands for the Config of a service, with one field of every supported type.
type gatewayConfig struct {
	Listen             string             `yaml:"listen" desc:"Address for pushes."`
	PassiveDeadline    time.Duration      `yaml:"passive_deadline" desc:"How long | a push is kept."`
	AllowInsecureModes bool               `yaml:"allow_insecure_modes" desc:"Accept plaintext."`
	MaxBody            config.Bytes       `yaml:"max_body" desc:"Largest push."`
	Retry              retryConfig        `yaml:"retry"`
	Trusted            []string           `yaml:"trusted" desc:"Proxies."`
	Routes             []routeConfig      `yaml:"routes" desc:"Routes."`
	Budget             map[string]int     `yaml:"budget" desc:"Calls per minute."`
	Classes            map[string]budget  `yaml:"classes" desc:"Classes."`
	Weights            map[string]float64 `yaml:"weights"`
	Strict             *bool              `yaml:"strict" desc:"Strict."`
	Port               uint16             `yaml:"port" desc:"Port."`
	Secret             config.Secret      `yaml:"secret" desc:"A secret."`
	Inline             inlineConfig       `yaml:",inline"`
	Note               string             `yaml:"note"`
	Hidden             string             `yaml:"-"`
	Level              string             `yaml:"level" enum:"low,high"`
}

type inlineConfig struct {
	Inlined int `yaml:"inlined" desc:"At the same level."`
}

type retryConfig struct {
	Max   int           `yaml:"max" desc:"Tries."`
	Pause time.Duration `yaml:"pause" desc:"Pause."`
}

type routeConfig struct {
	Path string `yaml:"path"`
	Size int    `yaml:"size"`
}

func (r *routeConfig) SetDefaults() { r.Size = 7 }

type budget struct {
	Rate  float64 `yaml:"rate"`
	Burst int     `yaml:"burst"`
}

func defaultGateway() gatewayConfig {
	return gatewayConfig{
		Listen: ":8080", PassiveDeadline: 4500 * time.Millisecond, MaxBody: 64 << 10,
		Retry:   retryConfig{Max: 3, Pause: 5 * time.Minute},
		Budget:  map[string]int{"send": 10},
		Classes: map[string]budget{"agent": {Rate: 1.5, Burst: 4}},
		Level:   "low",
	}
}

func (c gatewayConfig) Validate() error {
	var errs []error
	if c.Retry.Max < 1 {
		errs = append(errs, errors.New("retry.max: must be >= 1"))
	}
	for i, r := range c.Routes {
		if r.Path == "" {
			errs = append(errs, fmt.Errorf("routes[%d].path: must be set", i))
		}
	}
	if c.Note == "bad" {
		errs = append(errs, errors.New("the note is bad"))
	}
	return errors.Join(errs...)
}

// load reads YAML with the section gateway.
func load(t testing.TB, yaml string, env ...string) (config.Shared, gatewayConfig, error) {
	t.Helper()
	return loadWith(t, config.LoadOptions{File: "wxbus.yaml", Content: []byte(yaml), Env: env})
}

func loadWith(t testing.TB, opts config.LoadOptions) (config.Shared, gatewayConfig, error) {
	t.Helper()
	var shared config.Shared
	gw := defaultGateway()
	err := config.Load(t.Context(), opts, &shared, config.Section{Name: "gateway", Into: &gw})
	return shared, gw, err
}

func TestDefaultsAloneAreValid(t *testing.T) {
	shared, gw, err := loadWith(t, config.LoadOptions{})
	require.NoError(t, err)
	require.Equal(t, config.DefaultShared(), shared)
	require.Equal(t, defaultGateway(), gw)
	require.Equal(t, "127.0.0.1:4222", shared.NATS.Listen)
	require.True(t, shared.NATS.Embedded())
}

func TestFileSetsEveryType(t *testing.T) {
	_, gw, err := load(t, `
gateway:
  listen: 127.0.0.1:0
  passive_deadline: 4.2s
  allow_insecure_modes: yes
  max_body: 1MiB
  retry: {max: 0x10}
  trusted: [10.0.0.0/8, "fd00::/8"]
  routes:
    - path: /a
    - {path: /b, size: 9}
  budget: {upload: 5}
  classes:
    agent: {rate: 2}
    rule: {rate: 1, burst: 1}
  strict: false
  port: 8080
  secret: 012345
  inlined: 3
  note: 0123
  level: high
`)
	require.NoError(t, err)
	no := false
	want := defaultGateway()
	want.Listen, want.PassiveDeadline, want.AllowInsecureModes, want.MaxBody = "127.0.0.1:0", 4200*time.Millisecond, true, 1<<20
	want.Retry.Max = 16
	want.Trusted = []string{"10.0.0.0/8", "fd00::/8"}
	want.Routes = []routeConfig{{"/a", 7}, {"/b", 9}}
	want.Budget = map[string]int{"send": 10, "upload": 5}
	want.Classes = map[string]budget{"agent": {2, 4}, "rule": {1, 1}}
	want.Strict, want.Port, want.Inline.Inlined, want.Level = &no, 8080, 3, "high"
	require.Equal(t, "012345", gw.Secret.Reveal(), "digits stay as they were written")
	want.Secret = gw.Secret
	want.Note = "0123"
	require.Equal(t, want, gw)
}

func TestLayers(t *testing.T) {
	shared, gw, err := loadWith(t, config.LoadOptions{
		File: "wxbus.yaml",
		Content: []byte(`
nats: {urls: ["nats://a:4222"], replicas: 3, user: bus}
gateway: {retry: {max: 5, pause: 1s}, listen: ":1"}
`),
		Env: []string{"WXBUS_GATEWAY_RETRY_MAX=6", "WXBUS_GATEWAY_LISTEN=:2", "WXBUS_NATS_REPLICAS=5", "OTHER=x"},
		Overrides: map[string]any{
			"gateway.listen": ":3", "nats.urls": []string{"tls://b:4222"}, "gateway.retry.pause": 2 * time.Second,
			"gateway.allow_insecure_modes": true, "gateway.port": 9, "gateway.strict": nil,
		},
	})
	require.NoError(t, err)
	require.Equal(t, ":3", gw.Listen, "flag over environment over file")
	require.Equal(t, 6, gw.Retry.Max, "environment over file")
	require.Equal(t, 2*time.Second, gw.Retry.Pause)
	require.True(t, gw.AllowInsecureModes)
	require.Equal(t, uint16(9), gw.Port)
	require.Equal(t, 5, shared.NATS.Replicas)
	require.Equal(t, []string{"tls://b:4222"}, shared.NATS.URLs, "lists are replaced")
	require.Equal(t, "bus", shared.NATS.User, "maps are merged")
}

func TestOverrideOfAListElement(t *testing.T) {
	shared, _, err := loadWith(t, config.LoadOptions{
		Content:   []byte("accounts: [{name: shop, appid: wx01, token: AAA, mode: plaintext}]"),
		Overrides: map[string]any{"accounts.0.token": "BBB", "accounts.0.kf_api": true},
	})
	require.NoError(t, err)
	require.Equal(t, "BBB", shared.Accounts[0].Token.Reveal())
	require.True(t, *shared.Accounts[0].KfAPI)

	_, _, err = loadWith(t, config.LoadOptions{
		Content:   []byte("accounts: [{name: shop, appid: wx01, token: AAA, mode: plaintext}]"),
		Overrides: map[string]any{"accounts.1.token": "BBB"},
	})
	require.EqualError(t, err, "accounts[1]: cannot be set by flag: no such place in the configuration")
}

func TestMergeKeysAndAnchors(t *testing.T) {
	shared, _, err := load(t, `
accounts:
  - &first {name: shop, appid: wx01, token: AAA, mode: plaintext, reply: passive}
  - {<<: *first, name: club, appid: wx02}
`)
	require.NoError(t, err)
	require.Equal(t, "club", shared.Accounts[1].Name)
	require.Equal(t, account.ReplyPassive, shared.Accounts[1].Reply)
}

func TestAccountsStartFromTheirDefaults(t *testing.T) {
	shared, _, err := load(t, "accounts: [{name: shop, appid: wx01, token: AAA, mode: plaintext}]")
	require.NoError(t, err)
	require.Equal(t, account.KindService, shared.Accounts[0].Kind)
	require.Equal(t, account.DefaultAPIBase, shared.Accounts[0].APIBase)
}

func TestNullKeepsTheDefault(t *testing.T) {
	shared, gw, err := load(t, "nats:\naccounts: ~\ngateway: {listen: null, retry: }\n", "WXBUS_NATS_REPLICAS=3")
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:4222", shared.NATS.Listen)
	require.Equal(t, 3, shared.NATS.Replicas)
	require.Equal(t, defaultGateway(), gw)
}

func TestFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "wxbus.yaml")
	require.NoError(t, os.WriteFile(path, []byte("data: /var/lib/wxbus\n"), 0o600))
	shared, _, err := loadWith(t, config.LoadOptions{File: path})
	require.NoError(t, err)
	require.Equal(t, "/var/lib/wxbus", shared.Data)

	_, _, err = loadWith(t, config.LoadOptions{File: path + ".missing"})
	require.ErrorIs(t, err, os.ErrNotExist)

	require.NoError(t, os.WriteFile(path, []byte("data: "+strings.Repeat("x", 5<<20)), 0o600))
	_, _, err = loadWith(t, config.LoadOptions{File: path})
	require.ErrorContains(t, err, "is larger than")
}

func TestLoadEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, config.Load(ctx, config.LoadOptions{}, &config.Shared{}), context.Canceled)
}

func TestSectionsOfOtherProcessesAreSkipped(t *testing.T) {
	for _, name := range config.KnownSections() {
		var shared config.Shared
		require.NoError(t, config.Load(t.Context(), config.LoadOptions{Content: []byte(name + ": {anything: [1]}")}, &shared))
	}
	var shared config.Shared
	err := config.Load(t.Context(), config.LoadOptions{Content: []byte("gateway: {}"), Known: []string{}}, &shared)
	require.ErrorContains(t, err, "gateway: unknown key")
}

// Wrong structs are a mistake of the programmer and found by any test that loads them.
func TestStructsThatCannotBeConfigured(t *testing.T) {
	type recursive struct {
		Next []struct {
			Chan chan int `yaml:"chan"`
		} `yaml:"next"`
	}
	for name, s := range map[string]config.Section{
		"no pointer":          {Name: "gateway", Into: gatewayConfig{}},
		"nil":                 {Name: "gateway", Into: nil},
		"channel":             {Name: "gateway", Into: &recursive{}},
		"field without a tag": {Name: "gateway", Into: &struct{ A int }{}},
		"pointer to a struct": {Name: "gateway", Into: &struct {
			A *retryConfig `yaml:"a"`
		}{}},
		"map by number": {Name: "gateway", Into: &struct {
			A map[int]string `yaml:"a"`
		}{}},
		"name of a shared key": {Name: "nats", Into: &retryConfig{}},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorContains(t, config.Load(t.Context(), config.LoadOptions{}, &config.Shared{}, s), s.Name)
		})
	}
}

func TestExplicitValidateIsUsed(t *testing.T) {
	gw := defaultGateway()
	err := config.Load(t.Context(), config.LoadOptions{Content: []byte("gateway: {listen: ':1'}")}, &config.Shared{}, config.Section{
		Name: "gateway", Into: &gw, Validate: func() error { return errors.New("listen: is " + gw.Listen) },
	})
	require.EqualError(t, err, "gateway.listen: is :1 (configuration:1)")
}

func TestListenAddress(t *testing.T) {
	tests := map[string]struct {
		host string
		port int
		ok   bool
	}{
		"":               {"", 0, true},
		"-1":             {"127.0.0.1", -1, true},
		"127.0.0.1:4222": {"127.0.0.1", 4222, true},
		"127.0.0.1:-1":   {"127.0.0.1", -1, true},
		":4222":          {"0.0.0.0", 4222, true},
		"[::1]:4222":     {"::1", 4222, true},
		"4222":           {},
		"host:0":         {},
		"host:70000":     {},
		"host:nats":      {},
	}
	for listen, tt := range tests {
		t.Run(listen, func(t *testing.T) {
			host, port, err := config.NATSConfig{Listen: listen}.ListenAddress()
			require.Equal(t, tt.ok, err == nil)
			require.Equal(t, tt.host, host)
			require.Equal(t, tt.port, port)
		})
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]config.Bytes{
		"0": 0, "10": 10, "10B": 10, "64KiB": 64 << 10, "10GiB": 10 << 30, "1TiB": 1 << 40, "5 MB": 5e6, "1KB": 1000,
	} {
		var b config.Bytes
		require.NoError(t, b.UnmarshalText([]byte(text)), text)
		require.Equal(t, want, b)
		var again config.Bytes
		require.NoError(t, again.UnmarshalText([]byte(b.String())))
		require.Equal(t, b, again)
	}
	for _, text := range []string{"", "-1", "1.5GiB", "GiB", "9999999999TiB", "10 apples"} {
		require.Error(t, new(config.Bytes).UnmarshalText([]byte(text)), text)
	}
}
