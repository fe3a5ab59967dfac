package gateway_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/services/gateway"
)

func TestDefaultConfigIsValid(t *testing.T) {
	require.NoError(t, gateway.DefaultConfig().Validate())
	require.NoError(t, quick().Validate())
}

func TestConfigNamesEveryWrongValue(t *testing.T) {
	tests := []struct {
		name   string
		change func(*gateway.Config)
		want   string
	}{
		{"no listener", func(c *gateway.Config) { c.Listen = "" }, "listen: must be set"},
		{"a wait that leaves WeChat no time", func(c *gateway.Config) { c.PassiveDeadline = 4900 * time.Millisecond }, "passive_deadline: must be more than 0 and at most 4.65s"},
		{"storing longer than waiting", func(c *gateway.Config) { c.Publish.Total = 5 * time.Second }, "publish.total: must be less than passive_deadline"},
		{"no time left for the spill stream", func(c *gateway.Config) { c.Publish.PrimaryTimeout = 4 * time.Second }, "publish.primary_timeout: must be more than 0 and less than publish.total"},
		{"a body without a bound", func(c *gateway.Config) { c.MaxBody = 2 << 20 }, "max_body: must be 4096 to 1048576"},
		{"no room", func(c *gateway.Config) { c.MaxInFlight, c.MaxWaits, c.OutcomeMemory = 0, 0, 0 }, "max_in_flight: must be at least 1\nmax_waits: must be at least 1\noutcome_memory: must be at least 1"},
		{"a tolerance that refuses retries", func(c *gateway.Config) { c.TimestampTolerance = time.Second }, "timestamp_tolerance: must be 0 or at least 1m"},
		{"no mover", func(c *gateway.Config) { c.Spill = gateway.SpillConfig{} }, "spill.max_in_flight: must be at least 1\nspill.patience: must be at least 1s"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			cfg := gateway.DefaultConfig()
			tc.change(&cfg)
			require.ErrorContains(t, cfg.Validate(), tc.want)
		})
	}
}

func TestAccountsMustFitTheGateway(t *testing.T) {
	r := newRig(t)
	for deadline, want := range map[time.Duration]string{
		4900 * time.Millisecond: "account shop: passive_deadline: must be at most 4.65s",
		time.Second:             "account shop: passive_deadline: must be more than gateway.publish.total",
	} {
		directory, err := account.NewDirectory([]account.Account{shop(func(a *account.Account) { a.PassiveDeadline = deadline })})
		require.NoError(t, err)
		_, err = gateway.New(gateway.DefaultConfig(), gateway.Deps{
			Accounts: directory, Bus: r.env.Conn, Topology: r.env.Topology, Tel: r.tel.Telemetry, Instance: "gw",
		})
		require.ErrorContains(t, err, want)
	}
}

func TestDeadlineOfTheAccount(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, quick(), shop(func(a *account.Account) { a.Reply, a.PassiveDeadline = account.ReplyPassive, 1400*time.Millisecond }))
	g.push(t, message{id: "1", content: "x"})
	e := r.nextEvent(t)
	require.Equal(t, int64(1400), e.GetPassiveDeadlineUnixMs()-e.GetReceivedUnixMs())
}
