package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/topology"

	allinone "github.com/wxbus/wxbus/services/allinone"
)

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check, print or describe the configuration",
		Example: `  wxbus config check --config wxbus.yaml
  wxbus config print --config wxbus.yaml
  wxbus config schema > wxbus.schema.json`,
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "check", Short: "Report every mistake with its path", Args: noArgs,
			Example: `  wxbus config check --config wxbus.yaml && echo fine`,
			RunE: func(cmd *cobra.Command, _ []string) error {
				shared, _, err := a.load(cmd.Context())
				if err != nil {
					fmt.Fprintln(a.stderr, err)
					return errProblems
				}
				fmt.Fprintf(a.stdout, "configuration is valid: %d accounts\n", len(shared.Accounts))
				return nil
			},
		},
		&cobra.Command{
			Use: "print", Short: "Print the effective configuration, secrets redacted", Args: noArgs,
			Example: `  WXBUS_GATEWAY_LISTEN=:9000 wxbus config print`,
			RunE: func(cmd *cobra.Command, _ []string) error {
				shared, modules, err := a.load(cmd.Context())
				if err != nil {
					return err
				}
				return config.Print(a.stdout, &shared, sections(modules)...)
			},
		},
		&cobra.Command{
			Use: "schema", Short: "Print the JSON schema of the file, for editors", Args: noArgs,
			Example: `  wxbus config schema > wxbus.schema.json`,
			RunE: func(*cobra.Command, []string) error {
				shared := config.DefaultShared()
				return config.Schema(a.stdout, &shared, sections(allinone.Modules())...)
			},
		},
	)
	return cmd
}

// docsCommand prints the generated documents; scripts/docs.sh uses it.
func (a *app) docsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "docs configuration|events|permissions", Short: "Print a generated document", Hidden: true,
		Args: oneArg("configuration, events or permissions"),
		RunE: func(_ *cobra.Command, args []string) error {
			switch args[0] {
			case "configuration":
				shared := config.DefaultShared()
				return config.Reference(a.stdout, &shared, sections(allinone.Modules())...)
			case "events":
				topo, err := topology.New(topology.Options{})
				if err != nil {
					return err
				}
				_, err = fmt.Fprint(a.stdout, topo.EventReference())
				return err
			case "permissions":
				// As many partitions as a cluster has; permissions for more than there are do no harm.
				topo, err := topology.New(topology.Options{Partitions: 32})
				if err != nil {
					return err
				}
				users, err := topo.ServerUsers()
				if err != nil {
					return err
				}
				_, err = fmt.Fprint(a.stdout, users)
				return err
			default:
				return usagef("unknown document %q", args[0])
			}
		},
	}
}
