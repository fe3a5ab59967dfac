package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/wxbus/wxbus/pkg/process"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

// campaignCall bounds one call; a dry count of a large audience takes seconds.
const campaignCall = 2 * time.Minute

func (a *app) campaignCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "campaign",
		Short: "Send one message to many recipients: counted first, in steps, never twice to one of them",
		Long: `Send one message to many recipients.

A campaign is created with a message and an audience, counted, and started. It goes out in steps, pauses itself when too
much fails, survives restarts, and keeps what became of everybody. Failures can be sent to once more, by errcode.`,
		Example: `  wxbus campaign create spring --account shop --text "{{name}}，春天好" --csv fans.csv
  wxbus campaign count spring --account shop
  wxbus campaign start spring --account shop --canary 1% --hold 10m --ramp 10%:10m --max-failures 5 --follow
  wxbus campaign status spring --account shop --follow
  wxbus campaign replay spring --account shop --errcode 45009
  wxbus campaign export spring --account shop --state failed -o failed.csv`,
	}
	var c campaignFlags
	f := cmd.PersistentFlags()
	f.StringVar(&c.account, "account", "", "account that sends")
	f.StringVar(&c.address, "address", "", "gRPC address of the sender (default: grpc.addresses.sender of the file)")
	cmd.AddCommand(a.campaignCreate(&c), a.campaignCount(&c), a.campaignStart(&c), a.campaignPause(&c), a.campaignResume(&c),
		a.campaignCancel(&c), a.campaignStatus(&c), a.campaignRecipients(&c), a.campaignReplay(&c), a.campaignExport(&c), a.campaignList(&c))
	return cmd
}

// campaignFlags are those of every command below campaign.
type campaignFlags struct{ account, address string }

// onCampaign runs a command on one campaign.
func (a *app) onCampaign(c *campaignFlags, run func(ctx context.Context, api senderv1.CampaignServiceClient, id string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if c.account == "" {
			return usagef("%s needs --account", cmd.CommandPath())
		}
		id := ""
		if len(args) > 0 {
			id = args[0]
		}
		return a.withCampaigns(cmd.Context(), c.address, func(ctx context.Context, api senderv1.CampaignServiceClient) error {
			return run(ctx, api, id)
		})
	}
}

func (a *app) withCampaigns(ctx context.Context, address string, run func(context.Context, senderv1.CampaignServiceClient) error) error {
	shared, err := a.loadShared(ctx)
	if err != nil {
		return err
	}
	conn, err := process.DialService(ctx, shared, "sender", address)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is left to lose when the command ends
	return run(ctx, senderv1.NewCampaignServiceClient(conn))
}

// confirmed asks on a terminal, and elsewhere wants --yes: a script must say that it means it.
func (a *app) confirmed(yes bool, question string) error {
	if yes {
		return nil
	}
	if !isTerminal(a.stderr) {
		return usagef("%s Add --yes to confirm.", question)
	}
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return errors.New("not confirmed: nothing was done")
	}
	return nil
}

func (a *app) campaignCreate(c *campaignFlags) *cobra.Command {
	var name, text, file string
	var source audienceFlags
	cmd := &cobra.Command{
		Use: "create ID", Short: "Make a campaign with its message and audience", Args: oneArg("an id of a-z, 0-9 and -"),
		Long: `Make a campaign with its message and audience. Texts may hold {{variable}}; the CSV file has a column openid and one for each variable.

The same id with the same message is the same campaign: called again, the command gives it another audience, until it is started.`,
		Example: `  wxbus campaign create spring --account shop --text "{{name}}，春天好" --csv fans.csv
  wxbus campaign create spring --account shop --message template.json --tag 100
  wxbus campaign create spring --account shop --text 你好 --openid oAbc,oDef`,
		RunE: a.onCampaign(c, func(ctx context.Context, api senderv1.CampaignServiceClient, id string) error {
			m, err := campaignMessage(text, file)
			if err != nil {
				return err
			}
			if err := source.check(); err != nil {
				return err
			}
			if name == "" {
				name = id
			}
			if _, err := api.CreateCampaign(ctx, &senderv1.CreateCampaignRequest{Account: c.account, Id: id, Name: name, Message: m, Actor: a.actor()}); err != nil {
				return err
			}
			rec, report, err := source.send(ctx, api, c.account, id)
			if err != nil {
				return err
			}
			return a.printAudience(rec, report)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "name for people (default: the id)")
	f.StringVar(&text, "text", "", "text of the message")
	f.StringVar(&file, "message", "", "file with the message as JSON (wxbus.sender.v1.CampaignMessage), for every other kind; - for standard input")
	source.add(cmd)
	return cmd
}

func campaignMessage(text, file string) (*senderv1.CampaignMessage, error) {
	switch {
	case (text == "") == (file == ""):
		return nil, usagef("campaign create needs --text or --message")
	case text != "":
		return &senderv1.CampaignMessage{Content: &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: text}}}}, nil
	}
	data, err := readFile(file)
	if err != nil {
		return nil, err
	}
	m := &senderv1.CampaignMessage{}
	if err := protojson.Unmarshal(data, m); err != nil {
		return nil, usagef("%s: %v", file, err)
	}
	return m, nil
}

// audienceFlags say where recipients come from.
type audienceFlags struct {
	csv     string
	openids []string
	tag     int64
	strict  bool
}

func (s *audienceFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.csv, "csv", "", "file with the recipients; the first line names the columns; - for standard input")
	f.StringSliceVar(&s.openids, "openid", nil, "recipients, comma-separated")
	f.Int64Var(&s.tag, "tag", 0, "recipients are the fans with this tag of WeChat now")
	f.BoolVar(&s.strict, "strict", false, "change nothing when any line cannot be used")
}

func (s *audienceFlags) check() error {
	sources := 0
	for _, set := range []bool{s.csv != "", len(s.openids) > 0, s.tag != 0} {
		if set {
			sources++
		}
	}
	if sources != 1 {
		return usagef("campaign create needs one of --csv, --openid and --tag")
	}
	return nil
}

func (s *audienceFlags) send(ctx context.Context, api senderv1.CampaignServiceClient, account, id string) (*senderv1.CampaignRecord, *senderv1.AudienceReport, error) {
	if s.csv != "" {
		return s.upload(ctx, api, account, id)
	}
	req := &senderv1.SetAudienceRequest{Account: account, Id: id, Strict: s.strict, Source: &senderv1.SetAudienceRequest_TagId{TagId: s.tag}}
	if len(s.openids) > 0 {
		req.Source = &senderv1.SetAudienceRequest_List{List: &senderv1.OpenIDList{Openids: s.openids}}
	}
	ctx, cancel := context.WithTimeout(ctx, campaignCall)
	defer cancel()
	resp, err := api.SetAudience(ctx, req)
	return resp.GetCampaign(), resp.GetReport(), err
}

func (s *audienceFlags) upload(ctx context.Context, api senderv1.CampaignServiceClient, account, id string) (*senderv1.CampaignRecord, *senderv1.AudienceReport, error) {
	in := io.Reader(os.Stdin)
	if s.csv != "-" {
		file, err := os.Open(s.csv)
		if err != nil {
			return nil, nil, err
		}
		defer file.Close() //nolint:errcheck // it was only read
		in = file
	}
	stream, err := api.UploadAudience(ctx)
	if err != nil {
		return nil, nil, err
	}
	req := &senderv1.UploadAudienceRequest{Account: account, Id: id, Strict: s.strict}
	part := make([]byte, 256<<10)
	for {
		n, err := io.ReadFull(in, part)
		req.Data = part[:n]
		if sendErr := stream.Send(req); errors.Is(sendErr, io.EOF) {
			break // the answer says why
		} else if sendErr != nil {
			return nil, nil, sendErr
		}
		req = &senderv1.UploadAudienceRequest{}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
	}
	resp, err := stream.CloseAndRecv()
	return resp.GetCampaign(), resp.GetReport(), err
}

// printAudience prints what was found; nothing that can be used is a problem, bad lines beside good ones are not.
func (a *app) printAudience(rec *senderv1.CampaignRecord, report *senderv1.AudienceReport) error {
	if a.json {
		if err := a.printProto(&senderv1.SetAudienceResponse{Campaign: rec, Report: report}); err != nil {
			return err
		}
	} else {
		tw := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', 0)
		for _, p := range report.GetProblems() {
			fmt.Fprintf(tw, "line %d\t%s\t%s\t%s\n", p.GetLine(), p.GetKind(), p.GetOpenid(), p.GetText())
		}
		if err := tw.Flush(); err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "%d of %d lines can be used\n", report.GetAccepted(), report.GetLines())
	}
	if !report.GetFrozen() {
		fmt.Fprintln(a.stderr, "the audience was not changed")
		return errProblems
	}
	return nil
}

func (a *app) campaignCount(c *campaignFlags) *cobra.Command {
	var rate float64
	cmd := &cobra.Command{
		Use: "count ID", Short: "Tell how many would get it now, and why the others would not; sends nothing", Args: oneArg("the id of a campaign"),
		Example: `  wxbus campaign count spring --account shop`,
		RunE: a.onCampaign(c, func(ctx context.Context, api senderv1.CampaignServiceClient, id string) error {
			ctx, cancel := context.WithTimeout(ctx, campaignCall)
			defer cancel()
			resp, err := api.DryCount(ctx, &senderv1.DryCountRequest{Account: c.account, Id: id, Rate: rate})
			if err != nil {
				return err
			}
			if a.json {
				return a.printProto(resp)
			}
			return printCount(a.stdout, resp.GetCampaign().GetCount())
		}),
	}
	cmd.Flags().Float64Var(&rate, "rate", 0, "messages a second to reckon with (default: the pace of the account)")
	return cmd
}

func printCount(w io.Writer, count *senderv1.CampaignCount) error {
	tw := tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	fmt.Fprintf(tw, "recipients\t%d\n", count.GetRecipients())
	fmt.Fprintf(tw, "would get it\t%d\n", count.GetReachable())
	for _, r := range count.GetUnreachable() {
		fmt.Fprintf(tw, "  would not\t%d\t%s\n", r.GetRecipients(), r.GetText())
	}
	fmt.Fprintf(tw, "takes about\t%s\tat %g a second\n", (time.Duration(count.GetDurationMs()) * time.Millisecond).Round(time.Second), count.GetRate())
	if count.GetBudgetLeft() >= 0 {
		fmt.Fprintf(tw, "budget of today\t%d\n", count.GetBudgetLeft())
	}
	for _, warning := range count.GetWarnings() {
		fmt.Fprintf(tw, "note\t%s\n", warning)
	}
	return tw.Flush()
}
