package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

func (a *app) rulesShadow(with withRules) *cobra.Command {
	req := &rulev1.ShadowRunRequest{}
	var file, version, against string
	cmd := &cobra.Command{
		Use: "shadow", Short: "Try the draft, a file or a version on recorded events, and show what would have been different", Args: noArgs,
		Long: `Reads what fans wrote in the last hours, decides about each with both sets of rules, and prints the difference.
Nothing is sent. The texts were written by fans: keep the output to yourself.`,
		Example: `  wxbus rules shadow
  wxbus rules shadow -f rules.yaml --account shop --hours 72
  wxbus rules shadow --version 3f9a1c00-7 --json`,
		RunE: with(func(ctx context.Context, c rulev1.RuleServiceClient, _ []string) error {
			if file != "" && version != "" {
				return usagef("rules shadow takes one of --file and --version")
			}
			if file != "" {
				yaml, err := readFile(file)
				if err != nil {
					return err
				}
				req.After = &rulev1.RuleSetRef{Set: &rulev1.RuleSetRef_Yaml{Yaml: yaml}}
			}
			if version != "" {
				req.After = &rulev1.RuleSetRef{Set: &rulev1.RuleSetRef_Version{Version: version}}
			}
			if against != "" {
				req.Before = &rulev1.RuleSetRef{Set: &rulev1.RuleSetRef_Version{Version: against}}
			}
			result, err := a.followShadow(ctx, c, req)
			if err != nil {
				return err
			}
			if a.json {
				return a.printProto(result)
			}
			return printShadow(a.stdout, result)
		}),
	}
	f := cmd.Flags()
	f.StringVarP(&file, "file", "f", "", "try this rule file instead of the draft, - for standard input")
	f.StringVar(&version, "version", "", "try this version instead of the draft")
	f.StringVar(&against, "against", "", "compare with this version instead of the live one")
	f.StringVar(&req.Account, "account", "", "events of this account only")
	f.Int32Var(&req.Hours, "hours", 24, "how far to go back, at most 72")
	f.Int32Var(&req.MaxEvents, "max-events", 0, "look at the newest so many events (default 200000)")
	return cmd
}

// followShadow shows progress on a terminal until the result is there.
func (a *app) followShadow(ctx context.Context, c rulev1.RuleServiceClient, req *rulev1.ShadowRunRequest) (*rulev1.ShadowResult, error) {
	stream, err := c.ShadowRun(ctx, req)
	if err != nil {
		return nil, err
	}
	interactive := isTerminal(a.stderr) && !a.json
	if interactive {
		defer fmt.Fprint(a.stderr, "\r\x1b[K")
	}
	for {
		report, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		if report.GetResult() != nil {
			return report.GetResult(), nil
		}
		if p := report.GetProgress(); interactive {
			fmt.Fprintf(a.stderr, "\r%s %d of %d events, %d differ\x1b[K", bar(p.GetRead(), p.GetTotal()), p.GetRead(), p.GetTotal(), p.GetDiffering())
		}
	}
}

// bar draws how much of a whole is done.
func bar(done, total int64) string {
	const width = 24
	full := width
	if total > 0 && done < total {
		full = int(done * width / total)
	}
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", width-full) + "]"
}

func printShadow(w io.Writer, r *rulev1.ShadowResult) error {
	fmt.Fprintf(w, "%d events, %s to %s\n", r.GetEvents(), orNone(timeOf(r.GetFromUnixMs())), orNone(timeOf(r.GetToUnixMs())))
	fmt.Fprintf(w, "%d same, %d changed, %d newly answered, %d newly silent\n", r.GetSame(), r.GetChanged(), r.GetNewlyAnswered(), r.GetNewlySilent())
	if r.GetTruncated() {
		fmt.Fprintln(w, "older events were left out: --max-events")
	}
	tw := tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	if len(r.GetRules()) > 0 {
		fmt.Fprintln(tw, "\nRULE\tBEFORE\tAFTER\tGAINED\tLOST\tOTHER REPLY")
	}
	for _, rule := range r.GetRules() {
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\t%d\n", rule.GetRule(), rule.GetBefore(), rule.GetAfter(), rule.GetGained(), rule.GetLost(), rule.GetChanged())
	}
	if len(r.GetDifferences()) > 0 {
		fmt.Fprintln(tw, "\nEVENTS\tACCOUNT\tTEXT\tBEFORE\tAFTER")
	}
	for _, d := range r.GetDifferences() {
		what := d.GetText()
		if what == "" {
			what = d.GetKind() + " " + d.GetEventKey()
		}
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\n", d.GetEvents(), d.GetAccount(), what, describeOutcome(d.GetBefore()), describeOutcome(d.GetAfter()))
	}
	return tw.Flush()
}

func describeOutcome(o *rulev1.ShadowOutcome) string {
	if o.GetRule() == "" {
		return "no rule"
	}
	what := o.GetReply()
	if o.GetQueue() != "" {
		what = "queue " + o.GetQueue()
	}
	if what == "" {
		what = routeName(o.GetRoute())
	}
	return o.GetRule() + ": " + what
}

func (a *app) rulesCoverage(with withRules) *cobra.Command {
	req := &rulev1.GetCoverageRequest{}
	cmd := &cobra.Command{
		Use: "coverage", Short: "Show the hits of each rule, and the phrases that no rule asks for", Args: noArgs,
		Example: `  wxbus rules coverage
  wxbus rules coverage --account shop --hours 24 --phrases 20
  wxbus rules coverage --json`,
		RunE: with(func(ctx context.Context, c rulev1.RuleServiceClient, _ []string) error {
			resp, err := c.GetCoverage(ctx, req)
			if err != nil {
				return err
			}
			if a.json {
				return a.printProto(resp)
			}
			return printCoverage(a.stdout, resp)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&req.Account, "account", "", "this account only")
	f.Int32Var(&req.Hours, "hours", 168, "window, at most 720")
	f.Int32Var(&req.Phrases, "phrases", 50, "how many phrases, at most 200")
	return cmd
}

func printCoverage(w io.Writer, r *rulev1.GetCoverageResponse) error {
	fmt.Fprintf(w, "%d decisions since %s, counted up to %s\n", r.GetDecided(), timeOf(r.GetFromUnixMs()), orNone(timeOf(r.GetCountedUnixMs())))
	for _, part := range []struct {
		name string
		n    int64
	}{
		{"matched by a rule that asks for it", r.GetMatched()}, {"caught by a rule for everything", r.GetCaught()},
		{"missed by every rule", r.GetMissed()}, {"left to a person", r.GetSilent()},
	} {
		fmt.Fprintf(w, "%9d  %5.1f %%  %s\n", part.n, percent(part.n, r.GetDecided()), part.name)
	}
	tw := tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "\nHITS\tSHARE\tLAST HIT\tRULE")
	for _, rule := range r.GetRules() {
		name := rule.GetRule()
		if !rule.GetLive() {
			name += " (not live)"
		}
		fmt.Fprintf(tw, "%d\t%.1f %%\t%s\t%s\n", rule.GetHits(), percent(rule.GetHits(), r.GetDecided()), orNone(timeOf(rule.GetLastHitUnixMs())), name)
	}
	if len(r.GetPhrases()) > 0 {
		fmt.Fprintln(tw, "\nTEXTS\tACCOUNT\tLAST\tPHRASE THAT NO RULE ASKS FOR")
	}
	for _, p := range r.GetPhrases() {
		count := fmt.Sprint(p.GetCount())
		if p.GetError() > 0 {
			count = fmt.Sprintf("%d to %d", p.GetCount()-p.GetError(), p.GetCount())
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", count, p.GetAccount(), timeOf(p.GetLastUnixMs()), p.GetText())
	}
	return tw.Flush()
}

func percent(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

func (a *app) rulesAudit(with withRules) *cobra.Command {
	req := &rulev1.ListAuditRequest{}
	var since time.Duration
	cmd := &cobra.Command{
		Use: "audit", Short: "Show who changed what, newest first", Args: noArgs,
		Example: `  wxbus rules audit --limit 20
  wxbus rules audit --rule returns --since 168h
  wxbus rules audit --actor li --json`,
		RunE: with(func(ctx context.Context, c rulev1.RuleServiceClient, _ []string) error {
			if since > 0 {
				req.SinceUnixMs = time.Now().Add(-since).UnixMilli()
			}
			resp, err := c.ListAudit(ctx, req)
			if err != nil {
				return err
			}
			if a.json {
				return a.printProto(resp)
			}
			return printAudit(a.stdout, resp)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&req.Rule, "rule", "", "name or id of a rule")
	f.StringVar(&req.Actor, "actor", "", "what this person did")
	f.DurationVar(&since, "since", 0, "how far to go back, for example 168h")
	f.Int32Var(&req.PageSize, "limit", 50, "how many entries, at most 200")
	f.StringVar(&req.PageToken, "page", "", "next_page_token of the page before")
	return cmd
}

func printAudit(w io.Writer, resp *rulev1.ListAuditResponse) error {
	tw := tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "TIME\tWHO\tWHAT\tRULE\tVERSION\tNOTE")
	for _, e := range resp.GetEntries() {
		name := e.GetRule()
		if e.GetSection() {
			name = "section " + name
		}
		action := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(e.GetAction().String(), "AUDIT_ACTION_"), "_", " "))
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", timeOf(e.GetAtUnixMs()), e.GetActor(), action, name, e.GetVersion(), e.GetNote())
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if resp.GetNextPageToken() != "" {
		fmt.Fprintf(w, "\nmore: --page %s\n", resp.GetNextPageToken())
	}
	return nil
}
