package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

// filterFlags select recipients.
type filterFlags struct {
	states   []string
	errcodes []int32
	openid   string
}

func (s *filterFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&s.states, "state", nil, "states: "+strings.Join(recipientWords(), ", "))
	f.Int32SliceVar(&s.errcodes, "errcode", nil, "errcodes of WeChat")
	f.StringVar(&s.openid, "openid", "", "one recipient")
}

func (s *filterFlags) filter() (*senderv1.RecipientFilter, error) {
	out := &senderv1.RecipientFilter{Errcodes: s.errcodes, Openid: s.openid}
	for _, name := range s.states {
		n, ok := senderv1.RecipientState_value["RECIPIENT_STATE_"+strings.ToUpper(name)]
		if !ok || n == 0 {
			return nil, usagef("--state %q: want one of %s", name, strings.Join(recipientWords(), ", "))
		}
		out.States = append(out.States, senderv1.RecipientState(n))
	}
	return out, nil
}

func recipientWord(s senderv1.RecipientState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "RECIPIENT_STATE_"))
}

func recipientWords() []string {
	var out []string
	for n := range senderv1.RecipientState_name {
		if n != 0 {
			out = append(out, recipientWord(senderv1.RecipientState(n)))
		}
	}
	slices.Sort(out)
	return out
}

func (a *app) campaignRecipients(c *campaignFlags) *cobra.Command {
	var s filterFlags
	var size uint32
	var token string
	cmd := &cobra.Command{
		Use: "recipients ID", Short: "List recipients with what became of them", Args: oneArg("the id of a campaign"),
		Example: `  wxbus campaign recipients spring --account shop --state failed --errcode 45047
  wxbus campaign recipients spring --account shop --openid oAbc --json`,
		RunE: a.onCampaign(c, func(ctx context.Context, api senderv1.CampaignServiceClient, id string) error {
			filter, err := s.filter()
			if err != nil {
				return err
			}
			resp, err := api.ListRecipients(ctx, &senderv1.ListRecipientsRequest{Account: c.account, Id: id, Filter: filter, PageSize: size, PageToken: token})
			if err != nil {
				return err
			}
			if a.json {
				return a.printProto(resp)
			}
			tw := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', 0)
			fmt.Fprintln(tw, "NUMBER\tOPENID\tSTATE\tERRCODE\tROUND\tSEND\tREASON")
			for _, r := range resp.GetRecipients() {
				fmt.Fprintf(tw, "%d\t%s\t%s\t%d\t%d\t%s\t%s\n", r.GetNumber(), r.GetOpenid(), recipientWord(r.GetState()), r.GetErrcode(), r.GetRound(), r.GetSendId(), r.GetReason())
			}
			if err := tw.Flush(); err != nil {
				return err
			}
			if next := resp.GetNextPageToken(); next != "" {
				fmt.Fprintf(a.stderr, "more: --page %s\n", next)
			}
			return nil
		}),
	}
	s.add(cmd)
	cmd.Flags().Uint32Var(&size, "page-size", 100, "recipients in the answer, at most 1000")
	cmd.Flags().StringVar(&token, "page", "", "page that the last answer named")
	return cmd
}

func (a *app) campaignReplay(c *campaignFlags) *cobra.Command {
	var errcodes []int32
	var yes, follow bool
	cmd := &cobra.Command{
		Use: "replay ID", Short: "Count, confirm and send to the failures of some errcodes once more", Args: oneArg("the id of a campaign"),
		Long: `Count, confirm and send to the failures of some errcodes once more. The code 0 stands for recipients that were refused before
WeChat was asked. Recipients whose outcome nobody knows are left out: they may have the message.`,
		Example: `  wxbus campaign replay spring --account shop --errcode 45009,-1
  wxbus campaign replay spring --account shop --errcode 45047 --yes --follow`,
		RunE: a.onCampaign(c, func(ctx context.Context, api senderv1.CampaignServiceClient, id string) error {
			if len(errcodes) == 0 {
				return usagef("campaign replay needs --errcode")
			}
			count, err := api.CountReplay(ctx, &senderv1.CountReplayRequest{Account: c.account, Id: id, Errcodes: errcodes})
			if err != nil {
				return err
			}
			if !a.json {
				if err := printFailures(a.stderr, count.GetGroups()); err != nil {
					return err
				}
			}
			question := fmt.Sprintf("Send to %d recipients once more, in about %s?", count.GetCount(), (time.Duration(count.GetDurationMs()) * time.Millisecond).Round(time.Second))
			if err := a.confirmed(yes, question); err != nil {
				return err
			}
			resp, err := api.ReplayFailures(ctx, &senderv1.ReplayFailuresRequest{Account: c.account, Id: id, Errcodes: errcodes, ExpectedCount: count.GetCount(), Actor: a.actor()})
			if err != nil {
				return err
			}
			if follow {
				return a.followCampaign(ctx, api, c.account, id)
			}
			return a.printCampaign(resp.GetCampaign())
		}),
	}
	cmd.Flags().Int32SliceVar(&errcodes, "errcode", nil, "errcodes of WeChat, comma-separated")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&follow, "follow", false, "show progress until it has ended")
	return cmd
}

func (a *app) campaignExport(c *campaignFlags) *cobra.Command {
	var s filterFlags
	var file string
	cmd := &cobra.Command{
		Use: "export ID", Short: "Write recipients with what became of them as a CSV file", Args: oneArg("the id of a campaign"),
		Example: `  wxbus campaign export spring --account shop -o spring.csv
  wxbus campaign export spring --account shop --state failed --errcode 43004 | head`,
		RunE: a.onCampaign(c, func(ctx context.Context, api senderv1.CampaignServiceClient, id string) error {
			filter, err := s.filter()
			if err != nil {
				return err
			}
			stream, err := api.ExportRecipients(ctx, &senderv1.ExportRecipientsRequest{Account: c.account, Id: id, Filter: filter})
			if err != nil {
				return err
			}
			first, err := stream.Recv() // a wrong id must not leave an empty file behind
			if err != nil {
				return err
			}
			w, closeFile, err := a.writeTo(file)
			if err != nil {
				return err
			}
			return errors.Join(copyExport(w, first, stream.Recv), closeFile())
		}),
	}
	s.add(cmd)
	cmd.Flags().StringVarP(&file, "output", "o", "-", "file to write, - for standard output")
	return cmd
}

func copyExport(w io.Writer, part *senderv1.ExportRecipientsResponse, next func() (*senderv1.ExportRecipientsResponse, error)) error {
	for {
		if _, err := w.Write(part.GetData()); err != nil {
			return err
		}
		var err error
		if part, err = next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func (a *app) campaignList(c *campaignFlags) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List campaigns, newest first", Args: noArgs,
		Example: `  wxbus campaign list --account shop`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withCampaigns(cmd.Context(), c.address, func(ctx context.Context, api senderv1.CampaignServiceClient) error {
				resp, err := api.ListCampaigns(ctx, &senderv1.ListCampaignsRequest{Account: c.account, PageSize: 200})
				if err != nil {
					return err
				}
				if a.json {
					return a.printProto(resp)
				}
				tw := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', 0)
				fmt.Fprintln(tw, "ACCOUNT\tID\tSTATE\tRECIPIENTS\tSENT\tFAILED\tCREATED\tNAME")
				for _, rec := range resp.GetCampaigns() {
					p := rec.GetProgress()
					fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", rec.GetAccount(), rec.GetId(), campaignWord(rec.GetState()), rec.GetAudience().GetRecipients(),
						p.GetSent(), p.GetFailed()+p.GetAmbiguous(), time.UnixMilli(rec.GetCreatedUnixMs()).UTC().Format(time.RFC3339), rec.GetName())
				}
				return tw.Flush()
			})
		},
	}
}
