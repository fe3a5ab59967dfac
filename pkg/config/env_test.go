package config_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/config"
)

func TestEnvironment(t *testing.T) {
	const accounts = "accounts:\n- {name: shop, appid: wx0123456789abcdef, token: AAAAA, mode: plaintext}\n"
	tests := map[string]struct {
		env   string
		check func(*testing.T, config.Shared, gatewayConfig)
	}{
		"list of plain values": {"WXBUS_GATEWAY_TRUSTED=a, b", func(t *testing.T, _ config.Shared, g gatewayConfig) {
			require.Equal(t, []string{"a", "b"}, g.Trusted)
		}},
		"list as YAML": {`WXBUS_GATEWAY_TRUSTED=["a,b"]`, func(t *testing.T, _ config.Shared, g gatewayConfig) {
			require.Equal(t, []string{"a,b"}, g.Trusted)
		}},
		"list of structs as YAML": {`WXBUS_GATEWAY_ROUTES=[{path: /x}]`, func(t *testing.T, _ config.Shared, g gatewayConfig) {
			require.Equal(t, []routeConfig{{"/x", 7}}, g.Routes)
		}},
		"element of a list": {"WXBUS_ACCOUNTS_0_TOKEN=BBBBB", func(t *testing.T, s config.Shared, _ gatewayConfig) {
			require.Equal(t, "BBBBB", s.Accounts[0].Token.Reveal())
			require.Equal(t, "shop", s.Accounts[0].Name)
		}},
		"whole list": {`WXBUS_ACCOUNTS=[{name: club, appid: wx01, token: CCC, mode: plaintext}]`, func(t *testing.T, s config.Shared, _ gatewayConfig) {
			require.Len(t, s.Accounts, 1)
			require.Equal(t, "club", s.Accounts[0].Name)
		}},
		"known key of a map": {"WXBUS_GRPC_ADDRESSES_AGENT_ROUTING=dns:///a:1", func(t *testing.T, s config.Shared, _ gatewayConfig) {
			require.Equal(t, map[string]string{"agent-routing": "dns:///a:1"}, s.GRPC.Addresses)
		}},
		"free key of a map": {"WXBUS_GATEWAY_BUDGET_UPLOAD_IMG=5", func(t *testing.T, _ config.Shared, g gatewayConfig) {
			require.Equal(t, map[string]int{"send": 10, "upload_img": 5}, g.Budget)
		}},
		"field below a default key of a map": {"WXBUS_GATEWAY_CLASSES_AGENT_BURST=9", func(t *testing.T, _ config.Shared, g gatewayConfig) {
			require.Equal(t, map[string]budget{"agent": {1.5, 9}}, g.Classes)
		}},
		"master key": {"WXBUS_MASTER_KEY=" + strings.Repeat("ab", 32), func(t *testing.T, s config.Shared, _ gatewayConfig) {
			_, err := s.Sealer()
			require.NoError(t, err)
		}},
		"empty value": {"WXBUS_NATS_LISTEN=", func(t *testing.T, s config.Shared, _ gatewayConfig) {
			require.Empty(t, s.NATS.Listen)
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			shared, gw, err := load(t, accounts, tt.env)
			require.NoError(t, err)
			tt.check(t, shared, gw)
		})
	}
}

func TestVariablesThatAreNoConfiguration(t *testing.T) {
	_, _, err := loadWith(t, config.LoadOptions{
		IgnoreEnv: []string{"WXBUS_IMAGE", "WXBUS_CI_*"},
		Env: []string{
			"WXBUS_CONFIG=wxbus.yaml", "WXBUS_TEST_POSTGRES=x", "WXBUS_IMAGE=x", "WXBUS_CI_RUN=1",
			// what Kubernetes sets for a Service wxbus-web and wxbus-gateway
			"WXBUS_WEB_SERVICE_HOST=10.0.0.1", "WXBUS_WEB_SERVICE_PORT=80", "WXBUS_WEB_SERVICE_PORT_HTTP=80",
			"WXBUS_WEB_PORT=tcp://10.0.0.1:80", "WXBUS_WEB_PORT_80_TCP=tcp://10.0.0.1:80", "WXBUS_WEB_PORT_80_TCP_ADDR=10.0.0.1",
			"WXBUS_GATEWAY_SERVICE_HOST=10.0.0.1",
			"WXBUS_SENDER_LANES=4", "WXBUS_AGENT_ROUTING_CAPACITY=3", // sections of other processes
		},
	})
	require.NoError(t, err)
}
