package gateway

import (
	"context"

	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/process"
)

// Module returns the service as a part of a process.
func Module() process.Module {
	cfg := DefaultConfig()
	return process.Module{
		Name:    "gateway",
		Section: config.Section{Name: "gateway", Into: &cfg},
		// A gateway keeps a few megabytes alive and makes garbage fast: collecting each time that doubles costs more than a
		// tenth of its CPU.
		GCPercent: 400,
		Build: func(_ context.Context, rt *process.Runtime) (lifecycle.Component, error) {
			s, err := New(cfg, Deps{
				Accounts: rt.Accounts, Bus: rt.Bus, Topology: rt.Topology,
				Tel: rt.Tel, Log: rt.Log, Now: rt.Now, Instance: rt.Instance,
			})
			if err != nil {
				return nil, err
			}
			rt.HTTPDirect("gateway", cfg.Listen, s.Handler())
			return s, nil
		},
	}
}
