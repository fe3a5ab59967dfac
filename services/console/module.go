package console

import (
	"context"

	"google.golang.org/grpc"

	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/process"
	"github.com/wxbus/wxbus/pkg/sqldb"
)

// Module returns the service as a part of a process.
func Module() process.Module {
	cfg := DefaultConfig()
	return process.Module{
		Name:    "console",
		Section: config.Section{Name: "console", Into: &cfg},
		Build: func(ctx context.Context, rt *process.Runtime) (lifecycle.Component, error) {
			deps := Deps{
				Accounts: rt.Accounts, Bus: rt.Bus, Topology: rt.Topology, Health: map[string]func(context.Context) error{},
				Services: map[string]grpc.ClientConnInterface{}, SQL: sqlOptions(rt.Shared), Sealer: rt.Sealer, Instance: rt.Instance, Data: rt.Shared.Data,
				Tel: rt.Tel, Log: rt.Log, Now: rt.Now, Version: rt.Version,
			}
			for name := range backends {
				conn, err := rt.Dial(ctx, name)
				if err != nil {
					return nil, err
				}
				deps.Services[name], deps.Health[name] = conn, process.HealthCheck(conn)
			}
			s, err := New(cfg, deps)
			if err != nil {
				return nil, err
			}
			rt.HTTP("console", cfg.Listen, s.Handler())
			return s, nil
		},
	}
}

// sqlOptions says where the console's tables are.
func sqlOptions(shared config.Shared) sqldb.Options {
	return sqldb.Options{Service: "console", URL: shared.SQL.URL, Dir: shared.SQLDir()}
}
