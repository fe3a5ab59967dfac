package k8s

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/services/allinone"
)

// secretValues are what the keys of the Secrets look like.
var secretValues = map[string]string{
	"MASTER_KEY":           "ZGV2ZWxvcG1lbnQtb25seS1ub3QtYS1zZWNyZXQtMDE=",
	"SQL_URL":              "postgres://wxbus:x@postgres:5432/wxbus",
	"FIRST_ADMIN_PASSWORD": "a-long-password",
}

// environment returns the variables of a container as its process would see them.
func environment(c container) map[string]string {
	env := map[string]string{}
	for _, from := range c.EnvFrom {
		if from.SecretRef.Name != "" {
			maps.Copy(env, accountVariables)
		}
	}
	for _, e := range c.Env {
		value := e.Value
		if key := e.ValueFrom.SecretKeyRef.Key; key != "" {
			if value = secretValues[key]; value == "" {
				value = "password"
			}
		}
		env[e.Name] = value
	}
	return env
}

func TestEveryProcessAcceptsItsConfiguration(t *testing.T) {
	each(t, func(t *testing.T, objects []object) {
		file := []byte(wxbusFile(t, objects))
		for _, m := range allinone.Modules() {
			if m.Name == "simulator" && len(kind(objects, "ExternalSecret")) > 0 {
				continue // production has none
			}
			c := deployment(t, objects, m.Name).main(t)
			var shared config.Shared
			load := config.LoadOptions{File: "wxbus.yaml", Content: file, Env: variables(environment(c))}
			require.NoError(t, config.Load(t.Context(), load, &shared, m.Section), m.Name)
			if m.WithoutBus {
				continue
			}
			require.Equal(t, m.Name, shared.NATS.User, "each service has its own user of NATS")
			require.Equal(t, "NATS_PASSWORD_"+upper(m.Name), passwordKey(c))
			require.False(t, shared.NATS.Embedded(), m.Name)
		}
		var shared config.Shared
		provision := one(t, workloads(t, objects, "Job"), "provision").main(t)
		load := config.LoadOptions{File: "wxbus.yaml", Content: file, Env: variables(environment(provision))}
		sections := []config.Section{}
		for _, m := range allinone.Modules() {
			sections = append(sections, m.Section)
		}
		require.NoError(t, config.Load(t.Context(), load, &shared, sections...))
		require.Equal(t, "provision", shared.NATS.User)
	})
}

func passwordKey(c container) string {
	for _, e := range c.Env {
		if e.Name == "WXBUS_NATS_PASSWORD" {
			return e.ValueFrom.SecretKeyRef.Key
		}
	}
	return ""
}
