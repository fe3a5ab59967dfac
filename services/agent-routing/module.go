package agentrouting

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/process"
	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/tokens"
	"github.com/wxbus/wxbus/pkg/topology"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"
)

// Module returns the service as a part of a process.
func Module() process.Module {
	cfg := DefaultConfig()
	return process.Module{
		Name:    "agent-routing",
		Section: config.Section{Name: "agent_routing", Into: &cfg},
		Build: func(ctx context.Context, rt *process.Runtime) (lifecycle.Component, error) {
			sender, err := rt.Dial(ctx, "sender")
			if err != nil {
				return nil, err
			}
			rules, err := rt.Dial(ctx, "rule")
			if err != nil {
				return nil, err
			}
			token, err := rt.Dial(ctx, "token")
			if err != nil {
				return nil, err
			}
			kv, err := rt.Bus.JS().KeyValue(ctx, topology.BucketTokens)
			if err != nil {
				return nil, fmt.Errorf("open bucket %s: %w", topology.BucketTokens, err)
			}
			client := tokens.New(tokens.Options{
				KV: kv, Sealer: rt.Sealer, Token: tokenv1.NewTokenServiceClient(token), Accounts: rt.Accounts, Now: rt.Now, Log: rt.Log,
			})
			files := cfg.FilesDir
			if files == "" {
				files = filepath.Join(rt.Shared.Data, "files")
			}
			s, err := New(cfg, Deps{
				Accounts: rt.Accounts, Bus: rt.Bus, Topology: rt.Topology, Sender: senderv1.NewSenderServiceClient(sender), Tokens: client,
				Rules: rulev1.NewRuleServiceClient(rules),
				SQL:   sqldb.Options{Service: "agent-routing", URL: rt.Shared.SQL.URL, Dir: rt.Shared.SQLDir()}, Files: files,
				Tel: rt.Tel, Log: rt.Log, Now: rt.Now,
			})
			if err != nil {
				return nil, err
			}
			s.RegisterGRPC(rt.GRPC())
			return lifecycle.NewGroup(rt.Log, client, s).With(lifecycle.Options{Name: "agent-routing"}), nil
		},
	}
}
