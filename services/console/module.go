package console

import (
	"context"

	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/process"
	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
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
				Tel: rt.Tel, Log: rt.Log, Now: rt.Now, Version: rt.Version,
			}
			for _, service := range []string{"rule", "token", "sender", "agent-routing"} {
				conn, err := rt.Dial(ctx, service)
				if err != nil {
					return nil, err
				}
				deps.Health[service] = process.HealthCheck(conn)
				switch service {
				case "rule":
					deps.Rules = rulev1.NewRuleServiceClient(conn)
				case "sender":
					deps.Sender = senderv1.NewSenderServiceClient(conn)
				case "agent-routing":
					deps.Conversations = agentroutingv1.NewConversationServiceClient(conn)
				}
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
