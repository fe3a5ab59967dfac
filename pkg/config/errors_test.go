package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/config"
)

func TestErrorsNameThePathAndTheOrigin(t *testing.T) {
	tests := map[string]struct {
		yaml, env string
		want      string
	}{
		"unknown key":                {yaml: "gateway:\n  passive_deadlin: 4s", want: "gateway.passive_deadlin: unknown key; did you mean passive_deadline? (wxbus.yaml:2)"},
		"unknown key at the top":     {yaml: "gatway: {}", want: "gatway: unknown key; did you mean gateway? (wxbus.yaml:1)"},
		"section of another":         {yaml: "sendr: {}", want: "sendr: unknown key; did you mean sender? (wxbus.yaml:1)"},
		"unknown key, nothing near":  {yaml: "log: {colour: red}", want: "log.colour: unknown key; known are format, level (wxbus.yaml:1)"},
		"unknown key in a list":      {yaml: "accounts:\n- name: shop\n  appid: wx01\n  token: AAA\n  mode: plaintext\n  aes: x", want: "accounts[0].aes: unknown key (wxbus.yaml:6)"},
		"unknown key of a map":       {yaml: "grpc: {addresses: {tokens: x}}", want: "grpc.addresses.tokens: unknown key; did you mean token? (wxbus.yaml:1)"},
		"key given twice":            {yaml: "data: a\nlog: {}\ndata: b", want: "data: is given twice, in lines 1 and 3 (wxbus.yaml:1)"},
		"no duration":                {yaml: "gateway: {passive_deadline: 5}", want: "gateway.passive_deadline: must be a duration such as 4.5s, 30m or 72h (wxbus.yaml:1)"},
		"no number":                  {yaml: "gateway: {retry: {max: many}}", want: "gateway.retry.max: must be a whole number (wxbus.yaml:1)"},
		"number out of range":        {yaml: "gateway: {port: 65536}", want: "gateway.port: must be a whole number from 0 to 65535 (wxbus.yaml:1)"},
		"not a number":               {yaml: "telemetry: {sample_ratio: .nan}", want: "telemetry.sample_ratio: must be a number (wxbus.yaml:1)"},
		"no boolean":                 {yaml: "admin: {pprof: maybe}", want: "admin.pprof: must be true or false (wxbus.yaml:1)"},
		"no size":                    {yaml: "nats: {max_store: huge}", want: "nats.max_store: must be a size such as 512MiB or 10GiB (wxbus.yaml:1)"},
		"not in the list":            {yaml: "gateway: {level: middle}", want: "gateway.level: must be one of low, high (wxbus.yaml:1)"},
		"value where a map belongs":  {yaml: "nats: local", want: "nats: must be a mapping (wxbus.yaml:1)"},
		"map where a value belongs":  {yaml: "data: {a: b}", want: "data: must be a single value (wxbus.yaml:1)"},
		"value where a list belongs": {yaml: "accounts: shop", want: "accounts: must be a list (wxbus.yaml:1)"},
		"empty list element":         {yaml: "gateway: {routes: [null]}", want: "gateway.routes[0]: must not be empty (wxbus.yaml:1)"},
		"validation of a section":    {yaml: "gateway:\n  retry:\n    max: 0", want: "gateway.retry.max: must be >= 1 (wxbus.yaml:3)"},
		"validation without a path":  {yaml: "gateway: {note: bad}", want: "gateway: the note is bad (wxbus.yaml:1)"},
		"validation of an account":   {yaml: "accounts:\n- name: a\n  appid: wx01\n  token: AAA\n  encoding_aes_key: short", want: "accounts[0].encoding_aes_key: must be 43 characters, letters and digits (wxbus.yaml:5)"},
		"wrong variable":             {env: "WXBUS_GATEWAY_PASIVE_DEADLINE=4s", want: "WXBUS_GATEWAY_PASIVE_DEADLINE: unknown variable; did you mean WXBUS_GATEWAY_PASSIVE_DEADLINE?"},
		"account that is not there":  {env: "WXBUS_ACCOUNTS_0_TOKEN=AAA", want: "WXBUS_ACCOUNTS_0_TOKEN: unknown variable"},
		"wrong value in a variable":  {env: "WXBUS_NATS_PARTITIONS=x", want: "nats.partitions: must be a whole number (WXBUS_NATS_PARTITIONS)"},
		"broken YAML in a variable":  {env: "WXBUS_ACCOUNTS=[{", want: "accounts: must be a list (WXBUS_ACCOUNTS)"},
		"secret file missing":        {yaml: "master_key: file:/no/such", want: "master_key: read secret file: open /no/such: no such file or directory (wxbus.yaml:1)"},
		"secret variable missing":    {yaml: "master_key: env:NOPE", want: `master_key: environment variable "NOPE" is not set (wxbus.yaml:1)`},
		"master key too short":       {yaml: "master_key: abc", want: "master_key: must be 32 bytes as base64 or 64 hex digits (wxbus.yaml:1)"},
		"sample ratio":               {yaml: "telemetry: {sample_ratio: 2}", want: "telemetry.sample_ratio: must be between 0 and 1 (wxbus.yaml:1)"},
		"replicas":                   {yaml: "nats: {replicas: 2}", want: "nats.replicas: must be 1, 3 or 5 (wxbus.yaml:1)"},
		"NATS URL":                   {yaml: "nats: {urls: [a]}", want: "nats.urls[0]: must be nats://host:port or tls://host:port (wxbus.yaml:1)"},
		"listen address":             {yaml: "nats: {listen: 4222}", want: "nats.listen: must be host:port, -1 or empty (wxbus.yaml:1)"},
		"two documents":              {yaml: "data: a\n---\ndata: b", want: "wxbus.yaml: must hold one YAML document, found a second one"},
		"no YAML":                    {yaml: "data: [a", want: "wxbus.yaml: line 1: did not find expected ',' or ']'"},
		"a list at the top":          {yaml: "- a", want: "wxbus.yaml: must be a mapping of keys at the top"},
		"alias bomb":                 {yaml: bomb(), want: "wxbus.yaml: is too large or too deeply nested"},
		"alias that contains itself": {yaml: "data: &a [*a]", want: "wxbus.yaml: is too large or too deeply nested"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var env []string
			if tt.env != "" {
				env = []string{tt.env}
			}
			_, _, err := load(t, tt.yaml, env...)
			require.EqualError(t, err, tt.want)
		})
	}
}

func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	return b.String()
}

func TestAllErrorsAtOnceSorted(t *testing.T) {
	var yaml strings.Builder
	yaml.WriteString("nats: {replicas: 2}\naccounts:\n")
	for i := range 12 {
		token := "AAA"
		if i == 2 || i == 10 {
			token = "!"
		}
		fmt.Fprintf(&yaml, "- {name: a%d, appid: wx%03d, mode: plaintext, token: %q}\n", i, i, token)
	}
	yaml.WriteString("gateway: {retry: {max: x, pause: y}}\n")
	_, _, err := load(t, yaml.String())
	require.EqualError(t, err, strings.Join([]string{
		"accounts[2].token: must be 3 to 32 letters and digits (wxbus.yaml:5)",
		"accounts[10].token: must be 3 to 32 letters and digits (wxbus.yaml:13)",
		"gateway.retry.max: must be a whole number (wxbus.yaml:15)",
		"gateway.retry.pause: must be a duration such as 4.5s, 30m or 72h (wxbus.yaml:15)",
		"nats.replicas: must be 1, 3 or 5 (wxbus.yaml:1)",
	}, "\n"))
}

func TestOverrideErrors(t *testing.T) {
	_, _, err := loadWith(t, config.LoadOptions{Overrides: map[string]any{
		"gateway.lisen": ":1", "accounts.0.name": "x", "gateway.port": -1,
	}})
	require.EqualError(t, err, strings.Join([]string{
		"accounts: must be a list",
		"gateway.lisen: unknown key; did you mean listen? (flag)",
		"gateway.port: must be a whole number from 0 to 65535 (flag)",
	}, "\n"))
}
