package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/wxbus/wxbus/pkg/process"
	"github.com/wxbus/wxbus/pkg/topology"
	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"
)

// accountTimeout bounds one call: a first ticket needs a token, and that a replica's lease.
const accountTimeout = 60 * time.Second

type withAccounts func(run func(context.Context, tokenv1.AccountServiceClient, []string) error) func(*cobra.Command, []string) error

func (a *app) accountsCommand() *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use:   "accounts",
		Short: "Manage accounts while everything runs",
		Long: `Accounts of the configuration file are shown and cannot be changed here; all others are created, changed and deleted
without a restart (ADR 0026). Every change is stored with who made it.

Secrets never stand in the arguments, where every user of the machine can read them: give file:PATH, env:NAME, or
stdin for one line of the standard input.`,
		Example: `  wxbus accounts list
  wxbus accounts create club --appid wx0123456789abcdef --token env:CLUB_TOKEN --aes-key file:club.key --app-secret file:club.secret
  wxbus accounts rotate-keys club --aes-key file:new.key --overlap 24h
  wxbus accounts disable club --reason "moved to another system"
  wxbus accounts status club`,
	}
	cmd.PersistentFlags().StringVar(&address, "address", "", "gRPC address of the token service (default: grpc.addresses.token of the file)")
	with := func(run func(context.Context, tokenv1.AccountServiceClient, []string) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			return a.withAccounts(cmd.Context(), address, func(ctx context.Context, c tokenv1.AccountServiceClient) error {
				return run(ctx, c, args)
			})
		}
	}
	cmd.AddCommand(a.accountsList(with), a.accountsCreate(with), a.accountsUpdate(with),
		a.accountsDisable(with), a.accountsEnable(with), a.accountsDelete(with), a.accountsRotate(with),
		a.accountsSetSecret(with), a.accountsReseal(with), a.accountsStatus(with), a.accountsTickets(with))
	return cmd
}

// withAccounts connects to the token service and says who asks.
func (a *app) withAccounts(ctx context.Context, address string, run func(context.Context, tokenv1.AccountServiceClient) error) error {
	shared, err := a.loadShared(ctx)
	if err != nil {
		return err
	}
	conn, err := process.DialService(ctx, shared, "token", address)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is left to lose when the command ends
	ctx, cancel := context.WithTimeout(ctx, accountTimeout)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "wxbus-actor", a.actor())
	return run(ctx, tokenv1.NewAccountServiceClient(conn))
}

// actor names the user of the machine.
func (a *app) actor() string {
	for _, name := range []string{"SUDO_USER=", "USER=", "LOGNAME="} {
		for _, kv := range a.env {
			if v, ok := strings.CutPrefix(kv, name); ok && v != "" {
				return "cli:" + v
			}
		}
	}
	return fmt.Sprintf("cli:uid-%d", os.Getuid())
}

var accountArg = oneArg("the name of the account")

func (a *app) accountsList(with withAccounts) *cobra.Command {
	var filter string
	cmd := &cobra.Command{
		Use: "list", Short: "List all accounts, never their secrets", Args: noArgs,
		Long: "Lists the accounts of the file and of the API by name. Fingerprints tell equal secrets from different ones.",
		Example: `  wxbus accounts list
  wxbus accounts list --filter club --json | jq -r '.accounts[].settings.appid'`,
		RunE: with(func(ctx context.Context, c tokenv1.AccountServiceClient, _ []string) error {
			all := &tokenv1.ListAccountsResponse{}
			for page := ""; ; {
				resp, err := c.ListAccounts(ctx, &tokenv1.ListAccountsRequest{PageSize: 1000, PageToken: page, Filter: filter})
				if err != nil {
					return err
				}
				all.Accounts, all.Total = append(all.Accounts, resp.GetAccounts()...), resp.GetTotal()
				if page = resp.GetNextPageToken(); page == "" {
					break
				}
			}
			if a.json {
				return a.printProto(all)
			}
			return a.printAccounts(all.GetAccounts())
		}),
	}
	cmd.Flags().StringVar(&filter, "filter", "", "only accounts whose name, appid or original id contains it")
	return cmd
}

func (a *app) printAccounts(list []*tokenv1.Account) error {
	tw := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "NAME\tAPPID\tKIND\tMODE\tREPLY\tFROM\tSTATE\tSECRETS\tCHANGED")
	for _, x := range list {
		s := x.GetSettings()
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.GetName(), s.GetAppid(), enumWord(s.GetKind()), enumWord(s.GetMode()),
			enumWord(s.GetReply()), enumWord(x.GetSource()), accountState(x), secretsOf(x), changed(x))
	}
	return tw.Flush()
}

// enumWord is the last part of an enum's name, in lower case: SERVICE of ACCOUNT_KIND_SERVICE.
func enumWord(e fmt.Stringer) string {
	name := e.String()
	return strings.ToLower(name[strings.LastIndexByte(name, '_')+1:])
}

func accountState(x *tokenv1.Account) string {
	switch {
	case x.GetProblem() != "":
		return "left out: " + x.GetProblem()
	case x.GetDisabled():
		return "disabled"
	case x.GetPreviousUntil() != nil:
		return "rotating until " + clockTime(x.GetPreviousUntil())
	default:
		return "served"
	}
}

func secretsOf(x *tokenv1.Account) string {
	var out []string
	for _, one := range []struct {
		name  string
		state *tokenv1.SecretState
	}{{"token", x.GetToken()}, {"key", x.GetEncodingAesKey()}, {"secret", x.GetAppSecret()}} {
		if one.state.GetSet() {
			out = append(out, one.name+":"+one.state.GetFingerprint())
		}
	}
	return strings.Join(out, " ")
}

func changed(x *tokenv1.Account) string {
	if x.GetUpdatedAt() == nil {
		return ""
	}
	return clockTime(x.GetUpdatedAt()) + " by " + x.GetUpdatedBy()
}

func clockTime(t *timestamppb.Timestamp) string {
	if t == nil {
		return "never"
	}
	return t.AsTime().UTC().Format(time.RFC3339)
}

// accountDone prints what a change has made of an account.
func (a *app) accountDone(what string, x *tokenv1.Account) error {
	if a.json {
		return a.printProto(x)
	}
	fmt.Fprintf(a.stdout, "%s %s (revision %d)\n", what, x.GetSettings().GetName(), x.GetRevision())
	return nil
}

func (a *app) accountsStatus(with withAccounts) *cobra.Command {
	return &cobra.Command{
		Use: "status NAME", Short: "Tell about the access token of an account, without it", Args: accountArg,
		Long: `Shows generation, age and end of the access token and of tickets, the refreshes of today, what is left of WeChat's budget of
forced refreshes, the troubles of the last day, and the evidence when another system refreshes with the same AppSecret. Exit code 3 when there is one.`,
		Example: `  wxbus accounts status shop`,
		RunE: with(func(ctx context.Context, c tokenv1.AccountServiceClient, args []string) error {
			resp, err := c.GetTokenStatus(ctx, &tokenv1.GetTokenStatusRequest{Account: args[0]})
			if err != nil {
				return err
			}
			if a.json {
				err = a.printProto(resp)
			} else {
				a.printTokenStatus(resp)
			}
			if err == nil && (resp.GetOutsideAlarm() || len(resp.GetAlarms()) > 0) {
				return errProblems
			}
			return err
		}),
	}
}

func (a *app) printTokenStatus(s *tokenv1.GetTokenStatusResponse) {
	a.printCredential("token", s.GetToken())
	for _, t := range s.GetTickets() {
		a.printCredential(strings.ToLower(strings.TrimPrefix(t.GetKind().String(), "TICKET_KIND_")), t.GetStatus())
	}
	fmt.Fprintf(a.stdout, "forced      %d of %d left in 24 hours\n", s.GetForcedLeft(), s.GetForcedLimit())
	if s.GetNextForcedAt() != nil {
		fmt.Fprintf(a.stdout, "            the next one from %s on\n", clockTime(s.GetNextForcedAt()))
	}
	fmt.Fprintf(a.stdout, "addresses   WeChat's list fetched %s\n", clockTime(s.GetCallbackIpsFetchedAt()))
	for _, al := range s.GetAlarms() {
		fmt.Fprintf(a.stdout, "alarm       %s, %d times from %s to %s: %s\n", topology.AlarmToken(al.GetKind()), al.GetCount(),
			clockTime(al.GetFirstSeenAt()), clockTime(al.GetLastSeenAt()), al.GetDetail())
	}
	if s.GetOutsideRefreshes() == 0 {
		return
	}
	fmt.Fprintf(a.stdout, "outside     %d times another system refreshed with this AppSecret\n", s.GetOutsideRefreshes())
	for _, e := range s.GetOutside() {
		fmt.Fprintf(a.stdout, "            generation %d, fetched %s, died %s with errcode %d, had %s left\n", e.GetGeneration(),
			clockTime(e.GetFetchedAt()), clockTime(e.GetDiedAt()), e.GetErrcode(), e.GetRemaining().AsDuration().Round(time.Second))
	}
}

func (a *app) printCredential(name string, c *tokenv1.CredentialStatus) {
	fmt.Fprintf(a.stdout, "%-11s generation %d, fetched %s, ends %s, %d new today\n", name, c.GetGeneration(),
		clockTime(c.GetFetchedAt()), clockTime(c.GetExpiresAt()), c.GetRefreshesToday())
	if c.GetLastError() != "" {
		fmt.Fprintf(a.stdout, "            last error: %s\n", c.GetLastError())
	}
}

func (a *app) accountsTickets(with withAccounts) *cobra.Command {
	var page string
	cmd := &cobra.Command{
		Use: "tickets NAME", Short: "Tell about tickets of the JS-SDK, or sign a page", Args: accountArg,
		Long: "Shows the state of the tickets. With --sign it prints what wx.config of the JS-SDK wants for a page.",
		Example: `  wxbus accounts tickets shop
  wxbus accounts tickets shop --sign https://shop.example.com/page --json`,
		RunE: with(func(ctx context.Context, c tokenv1.AccountServiceClient, args []string) error {
			if page != "" {
				return a.signPage(ctx, c, args[0], page)
			}
			resp, err := c.GetTokenStatus(ctx, &tokenv1.GetTokenStatusRequest{Account: args[0]})
			if err != nil {
				return err
			}
			if a.json {
				return a.printProto(&tokenv1.GetTokenStatusResponse{Tickets: resp.GetTickets()})
			}
			if len(resp.GetTickets()) == 0 {
				fmt.Fprintln(a.stdout, "nobody has asked for a ticket yet")
			}
			for _, t := range resp.GetTickets() {
				a.printCredential(strings.ToLower(strings.TrimPrefix(t.GetKind().String(), "TICKET_KIND_")), t.GetStatus())
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&page, "sign", "", "address of a page to sign")
	return cmd
}

func (a *app) signPage(ctx context.Context, c tokenv1.AccountServiceClient, account, page string) error {
	resp, err := c.SignJSAPI(ctx, &tokenv1.SignJSAPIRequest{Account: account, Url: page})
	if err != nil {
		return err
	}
	if a.json {
		return a.printProto(resp)
	}
	fmt.Fprintf(a.stdout, "appId      %s\ntimestamp  %d\nnonceStr   %s\nsignature  %s\nurl        %s\n",
		resp.GetAppid(), resp.GetTimestamp(), resp.GetNonceStr(), resp.GetSignature(), resp.GetUrl())
	return nil
}
