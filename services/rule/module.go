package rule

import (
	"context"

	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/process"
	"github.com/wxbus/wxbus/pkg/sqldb"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

// Module is the rule service as a process runs it.
func Module() process.Module {
	cfg := DefaultConfig()
	return process.Module{
		Name:    "rule",
		Section: config.Section{Name: "rule", Into: &cfg},
		Build: func(ctx context.Context, rt *process.Runtime) (lifecycle.Component, error) {
			sender, err := rt.Dial(ctx, "sender")
			if err != nil {
				return nil, err
			}
			service, err := New(cfg, Deps{
				Accounts: rt.Accounts, Bus: rt.Bus, Topology: rt.Topology,
				Decisions: decision.NewStore(rt.Bus, rt.Topology).WithClock(rt.Now),
				Sender:    senderv1.NewSenderServiceClient(sender), RulesFile: rt.Shared.RulesFile,
				SQL: sqldb.Options{Service: "rule", URL: rt.Shared.SQL.URL, Dir: rt.Shared.SQLDir()},
				Tel: rt.Tel, Log: rt.Log, Now: rt.Now,
			})
			if err != nil {
				return nil, err
			}
			service.RegisterGRPC(rt.GRPC())
			return service, nil
		},
	}
}
