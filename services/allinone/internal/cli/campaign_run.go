package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

// planFlags say when, how fast and in which steps a campaign goes out.
type planFlags struct {
	at, zone, canary string
	hold             time.Duration
	confirm          bool
	ramp             []string
	failures         float64
	results          uint32
	rate             float64
}

func (a *app) campaignStart(c *campaignFlags) *cobra.Command {
	var p planFlags
	var yes, follow bool
	cmd := &cobra.Command{
		Use: "start ID", Short: "Count, confirm and start a campaign, now or at a time", Args: oneArg("the id of a campaign"),
		Example: `  wxbus campaign start spring --account shop
  wxbus campaign start spring --account shop --at 2026-12-12T10:00 --zone Asia/Shanghai --yes
  wxbus campaign start spring --account shop --canary 1% --hold 10m --confirm
  wxbus campaign start spring --account shop --canary 100 --hold 5m --ramp 10%:10m --ramp 50% --max-failures 5 --rate 25 --follow`,
		RunE: a.onCampaign(c, func(ctx context.Context, api senderv1.CampaignServiceClient, id string) error {
			req, err := p.request()
			if err != nil {
				return err
			}
			count, err := api.DryCount(ctx, &senderv1.DryCountRequest{Account: c.account, Id: id, Rate: p.rate})
			if err != nil {
				return err
			}
			n := count.GetCampaign().GetCount()
			if !a.json {
				if err := printCount(a.stderr, n); err != nil {
					return err
				}
			}
			if err := a.confirmed(yes, fmt.Sprintf("Send to %d recipients, of whom %d would get it now?", n.GetRecipients(), n.GetReachable())); err != nil {
				return err
			}
			req.Account, req.Id, req.ExpectedRecipients, req.Actor = c.account, id, n.GetRecipients(), a.actor()
			resp, err := api.StartCampaign(ctx, req)
			if err != nil {
				return err
			}
			if follow {
				return a.followCampaign(ctx, api, c.account, id)
			}
			return a.printCampaign(resp.GetCampaign())
		}),
	}
	f := cmd.Flags()
	f.StringVar(&p.at, "at", "", "local time of the start, 2006-01-02T15:04 (default: now)")
	f.StringVar(&p.zone, "zone", "", "time zone of --at (default: Asia/Shanghai)")
	f.StringVar(&p.canary, "canary", "", "first step: a share of the audience such as 1%, or a number of recipients; a sample, whatever the order of the list")
	f.DurationVar(&p.hold, "hold", 0, "how long the results of the canary are watched")
	f.BoolVar(&p.confirm, "confirm", false, "pause after the canary until somebody resumes the campaign")
	f.StringArrayVar(&p.ramp, "ramp", nil, "further step as SHARE or SHARE:HOLD, for example 10%:5m; may be repeated")
	f.Float64Var(&p.failures, "max-failures", 0, "pause when more than this percentage of the results of a step are failures; 0 never")
	f.Uint32Var(&p.results, "min-results", 0, "results of a step that are needed before its failures are judged (default 20)")
	f.Float64Var(&p.rate, "rate", 0, "most messages a second (default: the pace of the account)")
	f.BoolVarP(&yes, "yes", "y", false, "do not ask")
	f.BoolVar(&follow, "follow", false, "show progress until it has ended")
	return cmd
}

func (p planFlags) request() (*senderv1.StartCampaignRequest, error) {
	req := &senderv1.StartCampaignRequest{StartAt: p.at, TimeZone: p.zone, MaxFailurePercent: p.failures, MinResults: p.results, Rate: p.rate}
	if p.canary == "" && (p.hold != 0 || p.confirm) {
		return nil, usagef("--hold and --confirm need --canary")
	}
	if p.canary != "" {
		req.Canary = &senderv1.Canary{HoldMs: p.hold.Milliseconds(), Confirm: p.confirm}
		if share, isShare := strings.CutSuffix(p.canary, "%"); isShare {
			percent, err := strconv.ParseFloat(share, 64)
			if err != nil {
				return nil, usagef("--canary %q: want a share such as 1%%, or a number", p.canary)
			}
			req.Canary.Size = &senderv1.Canary_Percent{Percent: percent}
		} else {
			n, err := strconv.ParseUint(p.canary, 10, 32)
			if err != nil {
				return nil, usagef("--canary %q: want a share such as 1%%, or a number", p.canary)
			}
			req.Canary.Size = &senderv1.Canary_Count{Count: uint32(n)}
		}
	}
	for _, step := range p.ramp {
		share, hold, _ := strings.Cut(step, ":")
		percent, err := strconv.ParseFloat(strings.TrimSuffix(share, "%"), 64)
		if err != nil {
			return nil, usagef("--ramp %q: want SHARE or SHARE:HOLD, for example 10%%:5m", step)
		}
		one := &senderv1.RampStep{Percent: percent}
		if hold != "" {
			d, err := time.ParseDuration(hold)
			if err != nil {
				return nil, usagef("--ramp %q: %v", step, err)
			}
			one.HoldMs = d.Milliseconds()
		}
		req.Ramp = append(req.Ramp, one)
	}
	return req, nil
}

func (a *app) campaignPause(c *campaignFlags) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "pause ID", Short: "Hand nothing more to the sender; what it has is still sent", Args: oneArg("the id of a campaign"),
		Example: `  wxbus campaign pause spring --account shop --reason "wrong price"`,
		RunE: a.onCampaign(c, func(ctx context.Context, api senderv1.CampaignServiceClient, id string) error {
			resp, err := api.PauseCampaign(ctx, &senderv1.PauseCampaignRequest{Account: c.account, Id: id, Actor: a.actor(), Reason: reason})
			if err != nil {
				return err
			}
			return a.printCampaign(resp.GetCampaign())
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the history")
	return cmd
}

func (a *app) campaignResume(c *campaignFlags) *cobra.Command {
	return &cobra.Command{
		Use: "resume ID", Short: "Go on where it was paused, and confirm a step that waits for it", Args: oneArg("the id of a campaign"),
		Example: `  wxbus campaign resume spring --account shop`,
		RunE: a.onCampaign(c, func(ctx context.Context, api senderv1.CampaignServiceClient, id string) error {
			resp, err := api.ResumeCampaign(ctx, &senderv1.ResumeCampaignRequest{Account: c.account, Id: id, Actor: a.actor()})
			if err != nil {
				return err
			}
			return a.printCampaign(resp.GetCampaign())
		}),
	}
}

func (a *app) campaignCancel(c *campaignFlags) *cobra.Command {
	var reason string
	var yes bool
	cmd := &cobra.Command{
		Use: "cancel ID", Short: "Stop it for good; what the sender has is still sent", Args: oneArg("the id of a campaign"),
		Example: `  wxbus campaign cancel spring --account shop --yes`,
		RunE: a.onCampaign(c, func(ctx context.Context, api senderv1.CampaignServiceClient, id string) error {
			if err := a.confirmed(yes, fmt.Sprintf("Stop campaign %s for good?", id)); err != nil {
				return err
			}
			resp, err := api.CancelCampaign(ctx, &senderv1.CancelCampaignRequest{Account: c.account, Id: id, Actor: a.actor(), Reason: reason})
			if err != nil {
				return err
			}
			return a.printCampaign(resp.GetCampaign())
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the history")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func (a *app) campaignStatus(c *campaignFlags) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use: "status ID", Short: "Show how far it is, and failures by errcode with what to do", Args: oneArg("the id of a campaign"),
		Example: `  wxbus campaign status spring --account shop --follow
  wxbus campaign status spring --account shop --json`,
		RunE: a.onCampaign(c, func(ctx context.Context, api senderv1.CampaignServiceClient, id string) error {
			if follow {
				return a.followCampaign(ctx, api, c.account, id)
			}
			resp, err := api.GetCampaign(ctx, &senderv1.GetCampaignRequest{Account: c.account, Id: id})
			if err != nil {
				return err
			}
			return a.printCampaign(resp.GetCampaign())
		}),
	}
	cmd.Flags().BoolVar(&follow, "follow", false, "show progress until it has ended or is paused")
	return cmd
}

// followCampaign shows progress until the campaign has ended or is paused.
func (a *app) followCampaign(ctx context.Context, api senderv1.CampaignServiceClient, account, id string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := api.WatchCampaign(ctx, &senderv1.WatchCampaignRequest{Account: account, Id: id})
	if err != nil {
		return err
	}
	interactive := isTerminal(a.stderr) && !a.json
	var last *senderv1.CampaignRecord
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		last = resp.GetCampaign()
		if interactive {
			fmt.Fprintf(a.stderr, "\r%s\x1b[K", progressLine(last))
		}
		if last.GetState() == senderv1.CampaignState_CAMPAIGN_STATE_PAUSED && last.GetProgress().GetInFlight() == 0 {
			break
		}
	}
	if interactive {
		fmt.Fprintln(a.stderr)
	}
	return a.printCampaign(last)
}

// barWidth is the width of the progress bar in characters.
const barWidth = 30

func progressLine(rec *senderv1.CampaignRecord) string {
	p, all := rec.GetProgress(), rec.GetAudience().GetRecipients()
	done := p.GetSent() + p.GetFailed() + p.GetRefused() + p.GetAmbiguous() + p.GetSkipped()
	full := 0
	if all > 0 {
		full = int(uint64(done) * barWidth / uint64(all))
	}
	line := fmt.Sprintf("%-9s [%s%s] %d of %d", campaignWord(rec.GetState()), strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), done, all)
	if p.GetRate() > 0 {
		line += fmt.Sprintf(", %.0f/s", p.GetRate())
	}
	if bad := p.GetFailed() + p.GetAmbiguous(); bad > 0 {
		line += fmt.Sprintf(", %d failed", bad)
	}
	if p.GetEtaUnixMs() > 0 {
		line += ", until " + time.UnixMilli(p.GetEtaUnixMs()).Format("15:04:05")
	}
	if p.GetWaiting() != "" {
		line += ", " + p.GetWaiting()
	}
	return line
}

func campaignWord(s senderv1.CampaignState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "CAMPAIGN_STATE_"))
}

func (a *app) printCampaign(rec *senderv1.CampaignRecord) error {
	if a.json {
		return a.printProto(rec)
	}
	p := rec.GetProgress()
	tw := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', 0)
	fmt.Fprintf(tw, "campaign\t%s\t%s\n", rec.GetId(), rec.GetName())
	fmt.Fprintf(tw, "state\t%s\t%s\n", campaignWord(rec.GetState()), rec.GetReason())
	fmt.Fprintf(tw, "recipients\t%d\n", rec.GetAudience().GetRecipients())
	if rec.GetPlan() != nil {
		fmt.Fprintf(tw, "start\t%s\n", time.UnixMilli(rec.GetPlan().GetStartUnixMs()).UTC().Format(time.RFC3339))
		fmt.Fprintf(tw, "step\t%d of %d\n", p.GetStep()+1, len(rec.GetPlan().GetSteps()))
		fmt.Fprintf(tw, "sent\t%d\n", p.GetSent())
		fmt.Fprintf(tw, "on their way\t%d\n", p.GetInFlight())
		fmt.Fprintf(tw, "pending\t%d\n", p.GetPending())
		fmt.Fprintf(tw, "failed\t%d\n", p.GetFailed())
		fmt.Fprintf(tw, "refused\t%d\n", p.GetRefused())
		fmt.Fprintf(tw, "unknown\t%d\n", p.GetAmbiguous())
		if p.GetSkipped() > 0 {
			fmt.Fprintf(tw, "skipped\t%d\n", p.GetSkipped())
		}
		if p.GetWaiting() != "" {
			fmt.Fprintf(tw, "waiting\t%s\n", p.GetWaiting())
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	return printFailures(a.stdout, p.GetFailures())
}

func printFailures(w io.Writer, failures []*senderv1.CampaignFailure) error {
	if len(failures) == 0 {
		return nil
	}
	tw := tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "\nERRCODE\tSTATE\tRECIPIENTS\tMEANING\tWHAT TO DO")
	for _, f := range failures {
		fmt.Fprintf(tw, "%d\t%s\t%d\t%s\t%s\n", f.GetErrcode(), recipientWord(f.GetState()), f.GetRecipients(), f.GetText(), f.GetAdvice())
	}
	return tw.Flush()
}

// writeTo opens a file for output; - is standard output.
func (a *app) writeTo(name string) (io.Writer, func() error, error) {
	if name == "-" {
		return a.stdout, func() error { return nil }, nil
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, nil, err
	}
	return file, file.Close, nil
}
