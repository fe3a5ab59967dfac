package simulator

import (
	"context"
	"net"
	"net/url"

	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/process"
)

// Module returns the simulator as a part of a process. A process that was not asked for it by name runs
// it only when an account has it as its WeChat.
func Module() process.Module {
	cfg := DefaultConfig()
	return process.Module{
		Name:       "simulator",
		Section:    config.Section{Name: "simulator", Into: &cfg},
		Wanted:     func(shared *config.Shared) bool { return isWeChatOf(shared, cfg.Listen) },
		WithoutBus: true,
		Build: func(_ context.Context, rt *process.Runtime) (lifecycle.Component, error) {
			s, err := New(cfg, Deps{Accounts: rt.Accounts.All(), Log: rt.Log})
			if err != nil {
				return nil, err
			}
			rt.HTTP("phone", cfg.Listen, s.Handler())
			return s, nil
		},
	}
}

// isWeChatOf reports whether an account's api_base is the simulator's own address.
func isWeChatOf(shared *config.Shared, listen string) bool {
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	for _, a := range shared.Accounts {
		u, err := url.Parse(a.APIBase)
		if err != nil || u.Port() != port {
			continue
		}
		if ip := net.ParseIP(u.Hostname()); u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
			return true
		}
	}
	return false
}
