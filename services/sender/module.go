package sender

import (
	"context"
	"fmt"

	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/process"
	"github.com/wxbus/wxbus/pkg/tokens"
	"github.com/wxbus/wxbus/pkg/topology"
	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"
)

// Module returns the service as a part of a process.
func Module() process.Module {
	cfg := DefaultConfig()
	return process.Module{
		Name:    "sender",
		Section: config.Section{Name: "sender", Into: &cfg},
		Build: func(ctx context.Context, rt *process.Runtime) (lifecycle.Component, error) {
			conn, err := rt.Dial(ctx, "token")
			if err != nil {
				return nil, err
			}
			kv, err := rt.Bus.JS().KeyValue(ctx, topology.BucketTokens)
			if err != nil {
				return nil, fmt.Errorf("open bucket %s: %w", topology.BucketTokens, err)
			}
			client := tokens.New(tokens.Options{
				KV: kv, Sealer: rt.Sealer, Token: tokenv1.NewTokenServiceClient(conn), Accounts: rt.Accounts, Now: rt.Now, Log: rt.Log,
			})
			s, err := New(cfg, Deps{
				Accounts: rt.Accounts, Bus: rt.Bus, Topology: rt.Topology, Tokens: client,
				Tel: rt.Tel, Log: rt.Log, Now: rt.Now, Server: rt.Now, Instance: rt.Instance,
			})
			if err != nil {
				return nil, err
			}
			s.RegisterGRPC(rt.GRPC())
			return lifecycle.NewGroup(rt.Log, client, s).With(lifecycle.Options{Name: "sender"}), nil
		},
	}
}
