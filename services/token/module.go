package token

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
		Name:    "token",
		Section: config.Section{Name: "token", Into: &cfg},
		Build: func(_ context.Context, rt *process.Runtime) (lifecycle.Component, error) {
			s, err := New(cfg, Deps{
				Accounts: rt.Accounts, Bus: rt.Bus, Sealer: rt.Sealer,
				Tel: rt.Tel, Log: rt.Log, Now: rt.Now, Instance: rt.Instance,
			})
			if err != nil {
				return nil, err
			}
			s.RegisterGRPC(rt.GRPC())
			return s, nil
		},
	}
}
