package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	"github.com/wxbus/wxbus/services/console"
)

// withConsole opens the console's database for a command.
func (a *app) withConsole(ctx context.Context, run func(context.Context, *console.Admin) error) error {
	shared, err := a.loadShared(ctx)
	if err != nil {
		return err
	}
	admin, err := console.OpenAdmin(ctx, shared)
	if err != nil {
		return err
	}
	defer admin.Close(ctx) //nolint:errcheck // every change is committed by then
	return run(ctx, admin)
}

func (a *app) usersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "users",
		Short: "Make users of the console and help those who are locked out",
		Long: `Works on the database of the configuration, with or without a running console: whoever may read the configuration may
make an administrator. Every change is in the audit log as "command line".`,
		Example: `  wxbus users create alice --role admin,agent
  wxbus users reset-password alice
  wxbus users list --json`,
	}
	cmd.PersistentFlags().StringVar(&a.data, "data", "", "folder of local data (default: data of the file)")
	cmd.AddCommand(a.usersList(), a.usersCreate(), a.usersReset())
	return cmd
}

func roleText(roles []consolev1.Role) string {
	var out []string
	for _, r := range roles {
		out = append(out, strings.ToLower(strings.TrimPrefix(r.String(), "ROLE_")))
	}
	return strings.Join(out, ",")
}

func (a *app) usersList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List users by name", Args: noArgs, Example: "  wxbus users list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withConsole(cmd.Context(), func(ctx context.Context, admin *console.Admin) error {
				users, err := admin.Users(ctx)
				if err != nil || a.json {
					return firstError(err, func() error { return a.printJSON(users) })
				}
				tw := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', 0)
				fmt.Fprintln(tw, "NAME\tROLES\tACCOUNTS\tSTATE\tLAST LOG-IN")
				for _, u := range users {
					state, last := "active", "never"
					if u.GetDisabled() {
						state = "disabled"
					}
					if ms := u.GetLastLogInUnixMs(); ms > 0 {
						last = time.UnixMilli(ms).UTC().Format(time.RFC3339)
					}
					fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", u.GetName(), roleText(u.GetRoles()), strings.Join(u.GetAccounts(), ","), state, last)
				}
				return tw.Flush()
			})
		},
	}
}

// firstError returns err, or what then returns when there is none.
func firstError(err error, then func() error) error {
	if err != nil {
		return err
	}
	return then()
}

func (a *app) usersCreate() *cobra.Command {
	var display string
	var roles, accounts []string
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a user and print a password that must be changed at the first log-in", Args: oneArg("the name to log in with"),
		Example: "  wxbus users create alice --role admin,agent --account shop,club",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withConsole(cmd.Context(), func(ctx context.Context, admin *console.Admin) error {
				made, err := admin.CreateUser(ctx, args[0], display, roles, accounts)
				if err != nil {
					return err
				}
				return a.printPassword(args[0], made)
			})
		},
	}
	cmd.Flags().StringVar(&display, "display-name", "", "name that colleagues see (default: NAME)")
	cmd.Flags().StringSliceVar(&roles, "role", []string{"agent"}, "roles: agent, supervisor, operator, admin")
	cmd.Flags().StringSliceVar(&accounts, "account", []string{"*"}, "accounts that the user may see; * for all")
	return cmd
}

func (a *app) usersReset() *cobra.Command {
	return &cobra.Command{
		Use: "reset-password NAME", Short: "Print a new password, end all sessions and the lock-out", Args: oneArg("the name of the user"),
		Example: "  wxbus users reset-password alice",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withConsole(cmd.Context(), func(ctx context.Context, admin *console.Admin) error {
				made, err := admin.ResetPassword(ctx, args[0])
				if err != nil {
					return err
				}
				return a.printPassword(args[0], made)
			})
		},
	}
}

func (a *app) printPassword(name, made string) error {
	if a.json {
		return a.printJSON(map[string]string{"name": name, "password": made})
	}
	fmt.Fprintf(a.stdout, "user      %s\npassword  %s\nIt must be changed at the next log-in.\n", name, made)
	return nil
}

func (a *app) keysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Make and end API keys of business systems",
		Long:  `Works on the database of the configuration. The secret of a key is printed once and stored as a hash.`,
		Example: `  wxbus keys create crm --scope messages:write,messages:read --account shop
  wxbus keys list
  wxbus keys revoke wxk_0123456789abcdef`,
	}
	cmd.PersistentFlags().StringVar(&a.data, "data", "", "folder of local data (default: data of the file)")
	cmd.AddCommand(a.keysList(), a.keysCreate(), a.keysRevoke())
	return cmd
}

func (a *app) keysList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List keys, newest first", Args: noArgs, Example: "  wxbus keys list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withConsole(cmd.Context(), func(ctx context.Context, admin *console.Admin) error {
				keys, err := admin.Keys(ctx)
				if err != nil || a.json {
					return firstError(err, func() error { return a.printJSON(keys) })
				}
				tw := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', 0)
				fmt.Fprintln(tw, "ID\tNAME\tSCOPES\tACCOUNTS\tSTATE")
				for _, k := range keys {
					state := "valid"
					switch {
					case k.GetRevokedUnixMs() > 0:
						state = "revoked"
					case k.GetExpiresUnixMs() > 0 && k.GetExpiresUnixMs() <= time.Now().UnixMilli():
						state = "expired"
					}
					fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", k.GetId(), k.GetName(), strings.Join(k.GetScopes(), ","), strings.Join(k.GetAccounts(), ","), state)
				}
				return tw.Flush()
			})
		},
	}
}

func (a *app) keysCreate() *cobra.Command {
	var scopes, accounts []string
	var life time.Duration
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a key and print it once", Args: oneArg("what the key is for"),
		Example: "  wxbus keys create crm --scope messages:write --account shop --expires 2160h",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withConsole(cmd.Context(), func(ctx context.Context, admin *console.Admin) error {
				k, secret, err := admin.CreateKey(ctx, args[0], scopes, accounts, life)
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(map[string]any{"id": k.GetId(), "key": secret, "scopes": k.GetScopes(), "accounts": k.GetAccounts()})
				}
				fmt.Fprintf(a.stdout, "id   %s\nkey  %s\nIt is shown only now.\n", k.GetId(), secret)
				return nil
			})
		},
	}
	cmd.Flags().StringSliceVar(&scopes, "scope", nil, "scopes, for example messages:write; * for all")
	cmd.Flags().StringSliceVar(&accounts, "account", nil, "accounts that the key may use; * for all")
	cmd.Flags().DurationVar(&life, "expires", 0, "life of the key (default: for ever)")
	return cmd
}

func (a *app) keysRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "End a key; every replica refuses it within seconds", Args: oneArg("the ID of wxbus keys list"),
		Example: "  wxbus keys revoke wxk_0123456789abcdef",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withConsole(cmd.Context(), func(ctx context.Context, admin *console.Admin) error {
				if err := admin.RevokeKey(ctx, args[0]); err != nil {
					return err
				}
				fmt.Fprintf(a.stdout, "revoked %s\n", args[0])
				return nil
			})
		},
	}
}
