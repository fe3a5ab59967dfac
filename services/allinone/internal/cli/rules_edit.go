package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

// ruleStates are the states of rules as they are typed and printed.
var ruleStates = map[string]rulev1.RuleState{
	"live": rulev1.RuleState_RULE_STATE_LIVE, "added": rulev1.RuleState_RULE_STATE_ADDED, "changed": rulev1.RuleState_RULE_STATE_CHANGED,
	"removed": rulev1.RuleState_RULE_STATE_REMOVED, "parked": rulev1.RuleState_RULE_STATE_PARKED,
}

func stateName(s rulev1.RuleState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "RULE_STATE_"))
}

func (a *app) rulesSearch(with withRules) *cobra.Command {
	req := &rulev1.ListRulesRequest{PageSize: 200}
	var states []string
	cmd := &cobra.Command{
		Use: "search [TEXT]", Short: "List rules of the working copy with their state and hits", Args: atMostArgs(1, "the text to look for"),
		Example: `  wxbus rules search 退货
  wxbus rules search --account shop --state added,changed
  wxbus rules search --conflicts --json`,
		RunE: with(func(ctx context.Context, c rulev1.RuleServiceClient, args []string) error {
			if len(args) == 1 {
				req.Search = args[0]
			}
			for _, name := range states {
				state, ok := ruleStates[name]
				if !ok {
					return usagef("--state: %q is not one of live, added, changed, removed, parked", name)
				}
				req.States = append(req.States, state)
			}
			all, err := everyRule(ctx, c, req)
			if err != nil {
				return err
			}
			if a.json {
				return a.printProto(all)
			}
			return printRules(a.stdout, all)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&req.Account, "account", "", "rules that decide for this account")
	f.StringVar(&req.Kind, "on", "", "rules that want this kind: text, click, …")
	f.StringSliceVar(&states, "state", nil, "live, added, changed, removed, parked")
	f.BoolVar(&req.Conflicts, "conflicts", false, "rules that were changed here and by others")
	f.Int32Var(&req.Hours, "hours", 168, "window of the hits, at most 720")
	return cmd
}

// everyRule reads all pages of a list.
func everyRule(ctx context.Context, c rulev1.RuleServiceClient, req *rulev1.ListRulesRequest) (*rulev1.ListRulesResponse, error) {
	var all *rulev1.ListRulesResponse
	for {
		page, err := c.ListRules(ctx, req)
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = page
		} else {
			all.Rules = append(all.Rules, page.GetRules()...)
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			all.NextPageToken = ""
			return all, nil
		}
	}
}

func printRules(w io.Writer, all *rulev1.ListRulesResponse) error {
	tw := tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "PRIORITY\tRULE\tACCOUNTS\tON\tSTATE\tHITS\tLAST HIT\tCHANGED BY")
	for _, r := range all.GetRules() {
		state := stateName(r.GetState())
		if r.GetConflict() {
			state += ", conflict"
		}
		accounts := strings.Join(r.GetAccounts(), ",")
		if accounts == "" {
			accounts = "all"
		}
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", r.GetPriority(), r.GetName(), accounts, strings.Join(r.GetKinds(), ","), state,
			r.GetHits(), timeOf(r.GetLastHitUnixMs()), r.GetChangedBy())
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	printSummary(w, all.GetDraft())
	return nil
}

func printSummary(w io.Writer, d *rulev1.DraftSummary) {
	if d.GetAdded()+d.GetChanged()+d.GetRemoved()+d.GetSections()+d.GetConflicts() == 0 {
		fmt.Fprintf(w, "\nno draft: everything is as in version %s\n", orNone(d.GetLiveVersion()))
		return
	}
	fmt.Fprintf(w, "\ndraft on version %s: %d added, %d changed, %d removed, %d sections", orNone(d.GetLiveVersion()),
		d.GetAdded(), d.GetChanged(), d.GetRemoved(), d.GetSections())
	if d.GetConflicts() > 0 {
		fmt.Fprintf(w, ", %d conflicts to resolve", d.GetConflicts())
	}
	fmt.Fprintln(w)
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

func (a *app) rulesDiff(with withRules) *cobra.Command {
	var file string
	var exitCode bool
	cmd := &cobra.Command{
		Use: "diff [VERSION [VERSION]]", Short: "Show what differs: the draft, a file or a version, compared with the live rules", Args: atMostArgs(2, "two versions"),
		Long: `Without arguments: what publishing the draft would change. With -f: what applying the file would change.
With one version: what has changed since it was live. With two: what changed from the first to the second.`,
		Example: `  wxbus rules diff
  wxbus rules diff -f rules.yaml --exit-code    # exit code 3 when something differs
  wxbus rules diff 3f9a1c00-7 5b2c7d11-8`,
		RunE: with(func(ctx context.Context, c rulev1.RuleServiceClient, args []string) error {
			req, err := diffRequest(file, args)
			if err != nil {
				return err
			}
			resp, err := c.DiffRuleSets(ctx, req)
			if err != nil {
				return err
			}
			if a.json {
				err = a.printProto(resp)
			} else {
				printDiff(a.stdout, resp)
			}
			if err == nil && exitCode && len(resp.GetChanges())+len(resp.GetSections()) > 0 {
				return errProblems
			}
			return err
		}),
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "rule file, - for standard input")
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 3 when something differs")
	return cmd
}

func diffRequest(file string, args []string) (*rulev1.DiffRuleSetsRequest, error) {
	version := func(v string) *rulev1.RuleSetRef {
		return &rulev1.RuleSetRef{Set: &rulev1.RuleSetRef_Version{Version: v}}
	}
	switch {
	case file != "" && len(args) > 0:
		return nil, usagef("rules diff takes a file or versions, not both")
	case file != "":
		yaml, err := readFile(file)
		return &rulev1.DiffRuleSetsRequest{After: &rulev1.RuleSetRef{Set: &rulev1.RuleSetRef_Yaml{Yaml: yaml}}}, err
	case len(args) == 2:
		return &rulev1.DiffRuleSetsRequest{Before: version(args[0]), After: version(args[1])}, nil
	case len(args) == 1:
		return &rulev1.DiffRuleSetsRequest{Before: version(args[0])}, nil
	default:
		return &rulev1.DiffRuleSetsRequest{After: &rulev1.RuleSetRef{Set: &rulev1.RuleSetRef_Draft{Draft: true}}}, nil
	}
}

func printDiff(w io.Writer, resp *rulev1.DiffRuleSetsResponse) {
	printChanges(w, resp.GetChanges(), resp.GetMore(), resp.GetSections())
	switch {
	case resp.GetReordered():
		fmt.Fprintln(w, "rules of the same priority changed places")
	case len(resp.GetChanges())+len(resp.GetSections()) == 0:
		fmt.Fprintln(w, "nothing differs")
	}
}

// printChanges prints rules that differ, field by field.
func printChanges(w io.Writer, changes []*rulev1.RuleChange, more int32, sections []*rulev1.FieldChange) {
	for _, s := range sections {
		fmt.Fprintf(w, "~ section %s\n", s.GetPath())
		printField(w, s)
	}
	for _, c := range changes {
		switch c.GetKind() {
		case rulev1.RuleState_RULE_STATE_ADDED:
			fmt.Fprintf(w, "+ %s\n", c.GetName())
			printLines(w, "    + ", c.GetAfter())
		case rulev1.RuleState_RULE_STATE_REMOVED:
			fmt.Fprintf(w, "- %s\n", c.GetName())
		default:
			fmt.Fprintf(w, "~ %s\n", c.GetName())
			for _, f := range c.GetFields() {
				fmt.Fprintf(w, "    %s\n", f.GetPath())
				printField(w, f)
			}
		}
	}
	if more > 0 {
		fmt.Fprintf(w, "and %d more rules\n", more)
	}
}

func printField(w io.Writer, f *rulev1.FieldChange) {
	if len(f.GetAdded())+len(f.GetRemoved()) > 0 {
		for _, item := range f.GetRemoved() {
			fmt.Fprintf(w, "      - %s\n", item)
		}
		for _, item := range f.GetAdded() {
			fmt.Fprintf(w, "      + %s\n", item)
		}
		return
	}
	printLines(w, "      - ", f.GetBefore())
	printLines(w, "      + ", f.GetAfter())
}

func printLines(w io.Writer, prefix, text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintf(w, "%s%s\n", prefix, strings.TrimSuffix(line, "\n"))
	}
}

func (a *app) rulesImport(with withRules) *cobra.Command {
	var file, wechat string
	var replace bool
	req := &rulev1.ImportRulesRequest{}
	cmd := &cobra.Command{
		Use: "import", Short: "Read rules into the draft: a rule file, or WeChat's own automatic replies", Args: noArgs,
		Long: `Adds and changes rules of the working copy, by name; nothing becomes live. --from-wechat takes the JSON answer of
GET /cgi-bin/get_current_autoreply_info; what rules cannot do is listed with the reason.`,
		Example: `  wxbus rules import -f rules.yaml --dry-run
  wxbus rules import -f rules.yaml --replace        # the draft becomes the file
  wxbus rules import --from-wechat autoreply.json --account shop`,
		RunE: with(func(ctx context.Context, c rulev1.RuleServiceClient, _ []string) error {
			if (file == "") == (wechat == "") {
				return usagef("rules import needs one of --file and --from-wechat")
			}
			name := file
			if wechat != "" {
				name, req.Format = wechat, rulev1.ImportFormat_IMPORT_FORMAT_WECHAT_AUTOREPLY
			}
			if wechat != "" && req.GetAccount() == "" {
				return usagef("rules import --from-wechat needs --account")
			}
			if replace {
				req.Mode = rulev1.ImportMode_IMPORT_MODE_REPLACE
			}
			var err error
			if req.Content, err = readFile(name); err != nil {
				return err
			}
			resp, err := c.ImportRules(ctx, req)
			if err != nil {
				return err
			}
			if a.json {
				return a.printProto(resp)
			}
			printImport(a.stdout, resp, req.GetDryRun())
			return nil
		}),
	}
	f := cmd.Flags()
	f.StringVarP(&file, "file", "f", "", "rule file, - for standard input")
	f.StringVar(&wechat, "from-wechat", "", "answer of get_current_autoreply_info, - for standard input")
	f.StringVar(&req.Account, "account", "", "account whose replies --from-wechat reads")
	f.BoolVar(&replace, "replace", false, "also delete rules that the file lacks; with --from-wechat those for this account alone")
	f.BoolVar(&req.DryRun, "dry-run", false, "show what would change and change nothing")
	return cmd
}

func printImport(w io.Writer, resp *rulev1.ImportRulesResponse, dryRun bool) {
	printChanges(w, resp.GetChanges(), resp.GetMore(), resp.GetSections())
	for _, l := range resp.GetLeftOut() {
		mark := "not carried over"
		if l.GetApproximated() {
			mark = "differs"
		}
		fmt.Fprintf(w, "! %s: %s %s: %s\n", mark, l.GetPath(), l.GetRule(), l.GetReason())
	}
	verb := "changed in the draft"
	if dryRun {
		verb = "would change in the draft"
	}
	fmt.Fprintf(w, "%d rules %s, %d are there already\n", len(resp.GetChanges())+int(resp.GetMore()), verb, resp.GetUnchanged())
}

func (a *app) rulesExport(with withRules) *cobra.Command {
	var draft bool
	var version string
	cmd := &cobra.Command{
		Use: "export", Short: "Print the live rules, the draft or a version as a rule file", Args: noArgs,
		Example: `  wxbus rules export > live.yaml
  wxbus rules export --draft > draft.yaml
  wxbus rules export --version 3f9a1c00-7`,
		RunE: with(func(ctx context.Context, c rulev1.RuleServiceClient, _ []string) error {
			ref := &rulev1.RuleSetRef{}
			switch {
			case draft && version != "":
				return usagef("rules export takes one of --draft and --version")
			case draft:
				ref.Set = &rulev1.RuleSetRef_Draft{Draft: true}
			case version != "":
				ref.Set = &rulev1.RuleSetRef_Version{Version: version}
			}
			resp, err := c.ExportRules(ctx, &rulev1.ExportRulesRequest{Set: ref})
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
	cmd.Flags().BoolVar(&draft, "draft", false, "the working copy as it would be published")
	cmd.Flags().StringVar(&version, "version", "", "a kept version")
	return cmd
}

func (a *app) rulesDelete(with withRules) *cobra.Command {
	return &cobra.Command{
		Use: "delete RULE", Short: "Delete a rule in the draft; a live one stays live until the draft is published", Args: oneArg("the name or id of a rule"),
		Example: `  wxbus rules delete "spring sale"`,
		RunE: with(func(ctx context.Context, c rulev1.RuleServiceClient, args []string) error {
			got, err := c.GetRule(ctx, &rulev1.GetRuleRequest{Rule: args[0]})
			if err != nil {
				return err
			}
			resp, err := c.DeleteRule(ctx, &rulev1.DeleteRuleRequest{Id: got.GetRule().GetId(), Revision: got.GetRule().GetRevision()})
			if err != nil {
				return err
			}
			if a.json {
				return a.printProto(resp)
			}
			fmt.Fprintf(a.stdout, "%s is deleted in the draft\n", got.GetRule().GetName())
			return nil
		}),
	}
}

func (a *app) rulesDiscard(with withRules) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "discard [RULE…]", Short: "Take drafts back to what is live", Args: cobra.ArbitraryArgs,
		Example: `  wxbus rules discard "spring sale"
  wxbus rules discard --all`,
		RunE: with(func(ctx context.Context, c rulev1.RuleServiceClient, args []string) error {
			if all == (len(args) > 0) {
				return usagef("rules discard needs rules, or --all")
			}
			req := &rulev1.DiscardDraftRequest{}
			for _, name := range args {
				got, err := c.GetRule(ctx, &rulev1.GetRuleRequest{Rule: name})
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				req.Ids = append(req.Ids, got.GetRule().GetId())
			}
			resp, err := c.DiscardDraft(ctx, req)
			if err != nil {
				return err
			}
			if a.json {
				return a.printProto(resp)
			}
			fmt.Fprintf(a.stdout, "%d drafts are discarded\n", resp.GetDiscarded())
			return nil
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "discard every draft")
	return cmd
}

func (a *app) rulesPublish(with withRules) *cobra.Command {
	req := &rulev1.PublishDraftRequest{}
	cmd := &cobra.Command{
		Use: "publish", Short: "Make the draft live everywhere at once", Args: noArgs,
		Example: `  wxbus rules publish --note "spring sale"
  wxbus rules publish --expect 3f9a1c00-7`,
		RunE: with(func(ctx context.Context, c rulev1.RuleServiceClient, _ []string) error {
			resp, err := c.PublishDraft(ctx, req)
			if err != nil {
				return err
			}
			return a.printPublished(resp, resp.GetRuleSet(), resp.GetUnchanged())
		}),
	}
	cmd.Flags().StringVar(&req.Note, "note", "", "why, for the history")
	cmd.Flags().StringVar(&req.ExpectedVersion, "expect", "", "fail unless this version is live now")
	return cmd
}

func atMostArgs(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return usagef("%s takes %s only", cmd.CommandPath(), what)
		}
		return nil
	}
}
