package cli

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wxbus/wxbus/pkg/process"

	allinone "github.com/wxbus/wxbus/services/allinone"
)

func (a *app) upCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run all services in one process, or some of them",
		Long: `Runs the services of --target in one process until SIGINT or SIGTERM. A second signal ends it at once.

Without NATS URLs an embedded NATS with a file store under --data is started. With --nats (or nats.urls)
the given servers are used; run "wxbus provision" against them first. Ready when GET /readyz is 200 on every admin port.`,
		Example: `  wxbus up --demo
  wxbus up --config wxbus.yaml --data /var/lib/wxbus
  wxbus up --target gateway --config wxbus.yaml --nats nats://nats-0:4222,nats://nats-1:4222
  wxbus up --target rule,sender,token --config wxbus.yaml --nats nats://nats:4222`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.up(cmd) },
	}
	f := cmd.Flags()
	f.StringVarP(&a.target, "target", "t", allinone.TargetAll, "all, or a list of "+strings.Join(process.Names(), ", "))
	f.StringVar(&a.data, "data", "", "directory for the embedded NATS and keys (default: data of the file)")
	f.BoolVar(&a.demo, "demo", false, "two demo accounts with rules, and a simulated WeChat")
	f.BoolVar(&a.dev, "dev", false, "do not fsync every message: faster, and lost with the power")
	return cmd
}

func (a *app) up(cmd *cobra.Command) error {
	modules, err := allinone.Select(a.target)
	if err != nil {
		return usageError{err}
	}
	opts, err := a.options()
	if err != nil {
		return err
	}
	return process.Run(cmd.Context(), process.Spec{
		Name:    "wxbus",
		Modules: modules,
		Load:    opts,
		Embed:   allinone.Embed,
		OnReady: func(p *process.Process) { a.printURLs(p) },
		Log:     a.stderr,
	})
}

// printURLs tells where to look. It is the last thing before the process waits for its signal.
func (a *app) printURLs(p *process.Process) {
	var b strings.Builder
	fmt.Fprintf(&b, "\nwxbus %s is ready.\n\n", process.Version)
	for _, row := range p.URLs() {
		fmt.Fprintf(&b, "  %-22s %s\n", row.Name, row.URL)
	}
	if a.demo {
		fmt.Fprintf(&b, "\n  Be a fan:   open the phone, send 你好, 退货, 订单 12345, an image, anything else; follow; tap the menu.\n")
		fmt.Fprintf(&b, "  Try rules:  bin/wxbus rules test --account shop --text 我要退货\n")
		fmt.Fprintf(&b, "  Data:       %s\n", filepath.Clean(p.Shared().Data))
	}
	fmt.Fprintf(&b, "\n  Ctrl-C stops.\n\n")
	fmt.Fprint(a.stdout, b.String())
}

func (a *app) provisionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "provision",
		Short: "Create or update streams, consumers and buckets on NATS",
		Long: `Creates what is missing and updates what differs: streams, durable consumers, KV buckets and object stores.
Safe to repeat. Services only check at start; this is the one identity that needs the right to create streams.`,
		Example: `  wxbus provision --nats nats://nats-0:4222,nats://nats-1:4222,nats://nats-2:4222 --config wxbus.yaml`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			shared, _, err := a.load(cmd.Context())
			if err != nil {
				return err
			}
			if len(shared.NATS.URLs) == 0 {
				return usagef("provision needs --nats or nats.urls; an embedded NATS is provisioned by up")
			}
			conn, err := process.ConnectBus(cmd.Context(), shared, "provision")
			if err != nil {
				return err
			}
			defer conn.Close(cmd.Context()) //nolint:errcheck // the work is done and confirmed by then
			topo, err := process.NewTopology(shared)
			if err != nil {
				return err
			}
			if err := topo.Ensure(cmd.Context(), conn.JS()); err != nil {
				return fmt.Errorf("provision: %w", err)
			}
			fmt.Fprintf(a.stdout, "provisioned %d streams, %d consumers, %d buckets, %d object stores\n",
				len(topo.Streams()), len(topo.Consumers()), len(topo.Buckets()), len(topo.ObjectStores()))
			return nil
		},
	}
}
