package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/process"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

// ruleTimeout is ample for a file of 100 000 rules, which takes seconds to check.
const ruleTimeout = 2 * time.Minute

func (a *app) rulesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "Edit, try out, publish and roll back rules",
		Long: `Rules are published as a file (apply), or edited one by one in a working copy that the console shows too
(import, delete, diff, shadow) and published from there (publish).

What is live is one version; every version can be compared, exported and made live again (list, diff, rollback).`,
		Example: `  wxbus rules apply -f rules.yaml --note "spring sale"
  wxbus rules test --account shop --text 我要退货
  wxbus rules import -f new.yaml && wxbus rules diff && wxbus rules shadow && wxbus rules publish --note "new"
  wxbus rules coverage --account shop
  wxbus rules list
  wxbus rules rollback VERSION`,
	}
	var address string
	cmd.PersistentFlags().StringVar(&address, "address", "", "gRPC address of the rule service (default: grpc.addresses.rule of the file)")
	with := func(run func(ctx context.Context, c rulev1.RuleServiceClient, args []string) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			return a.withRules(cmd.Context(), address, func(ctx context.Context, c rulev1.RuleServiceClient) error { return run(ctx, c, args) })
		}
	}
	cmd.AddCommand(a.rulesApply(with), a.rulesTest(with), a.rulesShow(with), a.rulesList(with), a.rulesRollback(with),
		a.rulesSearch(with), a.rulesDiff(with), a.rulesImport(with), a.rulesExport(with), a.rulesDelete(with), a.rulesDiscard(with),
		a.rulesPublish(with), a.rulesShadow(with), a.rulesCoverage(with), a.rulesAudit(with))
	return cmd
}

type withRules func(run func(context.Context, rulev1.RuleServiceClient, []string) error) func(*cobra.Command, []string) error

func (a *app) rulesApply(with withRules) *cobra.Command {
	var file, note, expect string
	var prune bool
	cmd := &cobra.Command{
		Use: "apply", Short: "Validate a rule file and make it live everywhere at once", Args: noArgs,
		Long: `Makes a rule file live as it is. Applying the same file again changes nothing.

What is not in the file:
  (plain)         stops being live; drafts and disabled rules of the working copy stay there
  --prune         stops being live, and goes from the working copy too: afterwards there is what the file says
  --prune=false   stays: the file's rules and sections are added to the live ones or change them, by name`,
		Example: `  wxbus rules apply -f rules.yaml
  wxbus rules apply -f rules.yaml --prune           # from a repository that is the only source
  wxbus rules apply -f extra.yaml --prune=false     # add and change only
  cat rules.yaml | wxbus rules apply -f -`,
	}
	cmd.RunE = with(func(ctx context.Context, c rulev1.RuleServiceClient, _ []string) error {
		yaml, err := readFile(file)
		if err != nil {
			return err
		}
		mode := rulev1.PublishMode_PUBLISH_MODE_UNSPECIFIED
		switch {
		case prune:
			mode = rulev1.PublishMode_PUBLISH_MODE_PRUNE
		case cmd.Flags().Changed("prune"):
			mode = rulev1.PublishMode_PUBLISH_MODE_MERGE
		}
		resp, err := c.PublishRuleSet(ctx, &rulev1.PublishRuleSetRequest{Yaml: yaml, Note: note, ExpectedVersion: expect, Mode: mode})
		if err != nil {
			return err
		}
		return a.printPublished(resp, resp.GetRuleSet(), resp.GetUnchanged())
	})
	cmd.Flags().BoolVar(&prune, "prune", false, "also remove what the file lacks from the working copy; --prune=false: leave what the file lacks live")
	cmd.Flags().StringVarP(&file, "file", "f", "rules.yaml", "rule file, - for standard input")
	cmd.Flags().StringVar(&note, "note", "", "why, for the history")
	cmd.Flags().StringVar(&expect, "expect", "", "fail unless this version is live now")
	return cmd
}

// printPublished says which version is live now.
func (a *app) printPublished(resp proto.Message, set *rulev1.RuleSetInfo, unchanged bool) error {
	if a.json {
		return a.printProto(resp)
	}
	state := "is live now"
	if unchanged {
		state = "was live already"
	}
	fmt.Fprintf(a.stdout, "version %s with %d rules %s\n", set.GetVersion(), set.GetRules(), state)
	return nil
}

func (a *app) rulesTest(with withRules) *cobra.Command {
	var req rulev1.DryRunRequest
	var file, at string
	cmd := &cobra.Command{
		Use: "test", Short: "Show what the rules would do with a message, and why; sends nothing", Args: noArgs,
		Example: `  wxbus rules test --account shop --text 我要退货
  wxbus rules test --account shop --on click --event-key DEALS
  wxbus rules test --account shop --text hello -f draft.yaml
  wxbus rules test --account shop --text 优惠 --tag vip --at 2026-10-01T20:00:00+08:00
  wxbus rules test --account shop --on location --latitude 39.92 --longitude 116.44`,
		RunE: with(func(ctx context.Context, c rulev1.RuleServiceClient, _ []string) error {
			if req.GetAccount() == "" {
				return usagef("rules test needs --account")
			}
			if file != "" {
				yaml, err := readFile(file)
				if err != nil {
					return err
				}
				req.Yaml = yaml
			}
			if at != "" {
				t, err := time.Parse(time.RFC3339, at)
				if err != nil {
					return usagef("--at must be a time like 2026-10-01T20:00:00+08:00")
				}
				req.AtUnixMs = t.UnixMilli()
			}
			resp, err := c.DryRun(ctx, &req)
			if err != nil {
				return err
			}
			if a.json {
				return a.printProto(resp)
			}
			return printDryRun(a.stdout, resp)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&req.Account, "account", "", "account that receives the message")
	f.StringVar(&req.Text, "text", "", "text of the message")
	f.StringVar(&req.On, "on", "text", "kind: text, image, subscribe, click, scan, location, …")
	f.StringVar(&req.EventKey, "event-key", "", "EventKey of the event")
	f.StringSliceVar(&req.Tags, "tag", nil, "tag that the fan has; may be repeated")
	f.StringVar(&req.Language, "language", "", "language of the fan")
	f.StringVar(&at, "at", "", "time of the message, for example 2026-10-01T20:00:00+08:00 (default now)")
	f.Float64Var(&req.Latitude, "latitude", 0, "latitude of a location")
	f.Float64Var(&req.Longitude, "longitude", 0, "longitude of a location")
	f.StringVarP(&file, "file", "f", "", "try this rule file instead of the live rules")
	return cmd
}

func printDryRun(w io.Writer, r *rulev1.DryRunResponse) error {
	if r.GetRule() == "" {
		fmt.Fprintf(w, "no rule matches (version %s)\n", r.GetVersion())
	} else {
		fmt.Fprintf(w, "rule      %s\n", r.GetRule())
		fmt.Fprintf(w, "matched   %q\n", r.GetMatched())
	}
	fmt.Fprintf(w, "route     %s\n", routeName(r.GetRoute()))
	if r.GetQueue() != "" {
		fmt.Fprintf(w, "queue     %s\n", r.GetQueue())
	}
	for i, c := range r.GetReplies() {
		after := ""
		if i < len(r.GetDelaysMs()) && r.GetDelaysMs()[i] > 0 {
			after = fmt.Sprintf(" (after %s)", time.Duration(r.GetDelaysMs()[i])*time.Millisecond)
		}
		fmt.Fprintf(w, "reply %d   %s%s\n", i+1, describeContent(c), after)
	}
	if len(r.GetTags()) > 0 {
		fmt.Fprintf(w, "tags      %s\n", strings.Join(r.GetTags(), ", "))
	}
	if len(r.GetClearTags()) > 0 {
		fmt.Fprintf(w, "untags    %s\n", strings.Join(r.GetClearTags(), ", "))
	}
	for _, who := range r.GetAsks() {
		fmt.Fprintf(w, "asks      %s (not in a dry run)\n", who)
	}
	if len(r.GetCandidates()) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\ncandidates")
	tw := tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	for _, c := range r.GetCandidates() {
		fmt.Fprintf(tw, "  %s\tpriority %d\t%q\t%s\n", c.GetRule(), c.GetPriority(), c.GetMatched(), c.GetOutcome())
	}
	return tw.Flush()
}

func routeName(r rulev1.Route) string {
	switch r {
	case rulev1.Route_ROUTE_PASSIVE:
		return "passive"
	case rulev1.Route_ROUTE_ASYNC:
		return "async (customer-service API)"
	case rulev1.Route_ROUTE_QUEUE:
		return "queue"
	case rulev1.Route_ROUTE_NATIVE:
		return "native (WeChat's own agents)"
	case rulev1.Route_ROUTE_REFUSED:
		return "refused"
	default:
		return "none"
	}
}

func describeContent(c *eventv1.Content) string {
	if t := c.GetText(); t != nil {
		return fmt.Sprintf("text %q", t.GetContent())
	}
	b, err := protojson.Marshal(c)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (a *app) rulesShow(with withRules) *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Print the live rule file", Args: noArgs,
		Example: `  wxbus rules show > live.yaml`,
		RunE: with(func(ctx context.Context, c rulev1.RuleServiceClient, _ []string) error {
			resp, err := c.GetRuleSet(ctx, &rulev1.GetRuleSetRequest{})
			if err != nil {
				return err
			}
			if a.json {
				return a.printProto(resp)
			}
			_, err = a.stdout.Write(resp.GetYaml())
			return err
		}),
	}
}

func (a *app) rulesList(with withRules) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the kept versions, newest first", Args: noArgs,
		Example: `  wxbus rules list --json`,
		RunE: with(func(ctx context.Context, c rulev1.RuleServiceClient, _ []string) error {
			resp, err := c.ListRuleSets(ctx, &rulev1.ListRuleSetsRequest{})
			if err != nil {
				return err
			}
			if a.json {
				return a.printProto(resp)
			}
			tw := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', 0)
			fmt.Fprintln(tw, "VERSION\tRULES\tPUBLISHED\tBY\tLIVE\tNOTE")
			for _, s := range resp.GetRuleSets() {
				live := ""
				if s.GetLive() {
					live = "live"
				}
				fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t%s\t%s\n", s.GetVersion(), s.GetRules(), timeOf(s.GetPublishedUnixMs()), s.GetPublishedBy(), live, s.GetNote())
			}
			return tw.Flush()
		}),
	}
}

func (a *app) rulesRollback(with withRules) *cobra.Command {
	return &cobra.Command{
		Use: "rollback VERSION", Short: "Make a kept version live again", Args: oneArg("the version from wxbus rules list"),
		Example: `  wxbus rules rollback 7-3f9a1c`,
		RunE: with(func(ctx context.Context, c rulev1.RuleServiceClient, args []string) error {
			resp, err := c.RollBackRuleSet(ctx, &rulev1.RollBackRuleSetRequest{Version: args[0]})
			if err != nil {
				return err
			}
			if a.json {
				return a.printProto(resp)
			}
			fmt.Fprintf(a.stdout, "version %s is live now\n", resp.GetRuleSet().GetVersion())
			return nil
		}),
	}
}

// timeOf writes a time in Unix milliseconds; empty for none.
func timeOf(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format(time.RFC3339)
}

func (a *app) withRules(ctx context.Context, address string, run func(context.Context, rulev1.RuleServiceClient) error) error {
	shared, err := a.loadShared(ctx)
	if err != nil {
		return err
	}
	conn, err := process.DialService(ctx, shared, "rule", address)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is left to lose when the command ends
	ctx, cancel := context.WithTimeout(ctx, ruleTimeout)
	defer cancel()
	return run(ctx, rulev1.NewRuleServiceClient(conn))
}

func (a *app) printProto(m proto.Message) error {
	b, err := protojson.MarshalOptions{Multiline: true, UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.stdout, string(b))
	return err
}

func readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(os.Stdin, 32<<20))
	}
	return os.ReadFile(name)
}
