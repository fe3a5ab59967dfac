package cli

import (
	"context"
	"path/filepath"

	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/process"

	allinone "github.com/wxbus/wxbus/services/allinone"
)

// overrides turns the flags into configuration paths.
func (a *app) overrides() map[string]any {
	out := map[string]any{}
	if a.nats != "" {
		out["nats.urls"] = process.URLList(a.nats)
	}
	if a.data != "" {
		out["data"] = a.data
	}
	if a.dev {
		out["nats.sync_always"] = false
	}
	return out
}

// options returns where configuration comes from: the named file, or the built-in demo.
func (a *app) options() (config.LoadOptions, error) {
	opts := config.LoadOptions{Env: a.env, Overrides: a.overrides(), File: a.configFile()}
	if a.demo && a.file == "" {
		content, err := allinone.DemoConfig(a.dataDir())
		if err != nil {
			return config.LoadOptions{}, err
		}
		opts.File, opts.Content = "demo configuration", content
	}
	return opts, nil
}

func (a *app) dataDir() string {
	switch {
	case a.data != "":
		return a.data
	case a.demo:
		return filepath.Join("data", "demo")
	default:
		return "data"
	}
}

// load reads the configuration with every section, so that a mistake anywhere is found.
func (a *app) load(ctx context.Context) (config.Shared, []process.Module, error) {
	opts, err := a.options()
	if err != nil {
		return config.Shared{}, nil, err
	}
	modules := allinone.Modules()
	shared := config.Shared{}
	if err := config.Load(ctx, opts, &shared, sections(modules)...); err != nil {
		return config.Shared{}, nil, err
	}
	return shared, modules, nil
}

func sections(modules []process.Module) []config.Section {
	out := make([]config.Section, 0, len(modules))
	for _, m := range modules {
		out = append(out, m.Section)
	}
	return out
}

// loadShared reads the shared part only, for commands that talk to running services.
func (a *app) loadShared(ctx context.Context) (config.Shared, error) {
	shared, _, err := a.load(ctx)
	return shared, err
}
