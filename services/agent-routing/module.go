package agentrouting

import (
	"context"

	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/process"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

// Module returns the service as a part of a process.
func Module() process.Module {
	cfg := DefaultConfig()
	return process.Module{
		Name:    "agent-routing",
		Section: config.Section{Name: "agent_routing", Into: &cfg},
		Build: func(ctx context.Context, rt *process.Runtime) (lifecycle.Component, error) {
			conn, err := rt.Dial(ctx, "sender")
			if err != nil {
				return nil, err
			}
			s, err := New(cfg, Deps{
				Accounts: rt.Accounts, Bus: rt.Bus, Topology: rt.Topology, Sender: senderv1.NewSenderServiceClient(conn),
				Tel: rt.Tel, Log: rt.Log, Now: rt.Now,
			})
			if err != nil {
				return nil, err
			}
			s.RegisterGRPC(rt.GRPC())
			rt.Ready.Add(s.Name(), s.Ready)
			return s, nil
		},
	}
}
