package cli

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

func (a *app) sendMass(f *sendFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mass",
		Short: "Send one message to every follower, to a tag or to a list by WeChat's mass API",
		Long: `WeChat sends a mass message by itself and tells the result by an event. A service account has four of them a month for each
fan, a subscription account one a day. The same --key never sends twice. For a message with variables, with a canary, or one
that must be paused, use "wxbus campaign".`,
		Example: `  wxbus send mass preview --account shop --openid OPENID --text 周五八折
  wxbus send mass tag 100 --account shop --text 周五八折 --key friday --yes
  wxbus send mass list openids.txt --account shop --text 周五八折 --wait
  wxbus send mass jobs --account shop
  wxbus send mass status SEND_ID --account shop
  wxbus send mass delete SEND_ID --account shop
  wxbus send mass speed 4 --account shop`,
	}
	cmd.AddCommand(a.massAll(f), a.massTag(f), a.massList(f), a.massPreview(f), a.massJobs(f), a.massStatus(f), a.massDelete(f), a.massSpeed(f))
	return cmd
}

// massFlags are the message of a mass send.
type massFlags struct {
	text, images, news, file string
}

func (m *massFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&m.text, "text", "", "text to send")
	cmd.Flags().StringVar(&m.images, "images", "", "images to send, comma-separated media ids")
	cmd.Flags().StringVar(&m.news, "news", "", "article to send, a media id of the material store")
	cmd.Flags().StringVar(&m.file, "message", "", "file with the message as JSON of wxbus.sender.v1.MassMessage, without its target")
	cmd.MarkFlagsMutuallyExclusive("text", "images", "news", "message")
}

func (m *massFlags) message() (*senderv1.MassMessage, error) {
	switch {
	case m.text != "":
		return &senderv1.MassMessage{Body: &senderv1.MassMessage_Text{Text: &eventv1.TextContent{Content: m.text}}}, nil
	case m.images != "":
		return &senderv1.MassMessage{Body: &senderv1.MassMessage_Images{Images: &senderv1.MassImages{MediaIds: strings.Split(m.images, ",")}}}, nil
	case m.news != "":
		return &senderv1.MassMessage{Body: &senderv1.MassMessage_MpNews{MpNews: &eventv1.MpNewsContent{MediaId: m.news}}}, nil
	case m.file == "":
		return nil, usagef("one of --text, --images, --news and --message is required")
	}
	data, err := os.ReadFile(m.file)
	if err != nil {
		return nil, err
	}
	out := &senderv1.MassMessage{}
	if err := protojson.Unmarshal(data, out); err != nil {
		return nil, usagef("--message %s: %v", m.file, err)
	}
	if out.GetTarget() != nil {
		return nil, usagef("--message %s: the command says who gets it, not the file", m.file)
	}
	return out, nil
}

func (a *app) massAll(f *sendFlags) *cobra.Command {
	return a.massSend(f, &cobra.Command{
		Use: "all", Short: "Send to every follower", Args: noArgs,
		Example: `  wxbus send mass all --account shop --text 周五八折 --key friday`,
	}, func(m *senderv1.MassMessage, _ []string) (string, error) {
		m.Target = &senderv1.MassMessage_ToAll{ToAll: true}
		return "every follower", nil
	})
}

func (a *app) massTag(f *sendFlags) *cobra.Command {
	return a.massSend(f, &cobra.Command{
		Use: "tag TAG_ID", Short: "Send to the fans with a tag", Args: oneArg("the id of a tag"),
		Example: `  wxbus send mass tag 100 --account shop --text 周五八折 --key friday
  wxbus send mass tag 100 --account shop --images MEDIA_ID --yes --wait --json`,
	}, func(m *senderv1.MassMessage, args []string) (string, error) {
		tag, err := strconv.ParseInt(args[0], 10, 32)
		if err != nil {
			return "", usagef("%q is no id of a tag", args[0])
		}
		m.Target = &senderv1.MassMessage_TagId{TagId: int32(tag)}
		return "every fan with the tag " + args[0], nil
	})
}

func (a *app) massList(f *sendFlags) *cobra.Command {
	return a.massSend(f, &cobra.Command{
		Use: "list FILE", Short: "Send to the 2 to 10000 fans of a file, one openid on a line", Args: oneArg("a FILE"),
		Example: `  wxbus send mass list openids.txt --account shop --text 周五八折 --key friday`,
	}, func(m *senderv1.MassMessage, args []string) (string, error) {
		data, err := os.ReadFile(args[0])
		if err != nil {
			return "", err
		}
		openids := lines(data)
		m.Target = &senderv1.MassMessage_Openids{Openids: &senderv1.MassOpenIDs{Openids: openids}}
		return fmt.Sprintf("%d fans", len(openids)), nil
	})
}

// lines returns the lines of a text file without empty ones.
func lines(data []byte) []string {
	var out []string
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		if line := strings.TrimSpace(s.Text()); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// massSend makes cmd send a message; target sets who gets it and says so in words.
func (a *app) massSend(f *sendFlags, cmd *cobra.Command, target func(m *senderv1.MassMessage, args []string) (string, error)) *cobra.Command {
	var body massFlags
	var yes bool
	var name string
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		m, err := body.message()
		if err != nil {
			return err
		}
		whom, err := target(m, args)
		if err != nil {
			return err
		}
		return a.onMass(cmd.Context(), f, func(ctx context.Context, c senderv1.SenderServiceClient) error {
			if err := a.confirmed(yes, fmt.Sprintf("Send to %s of %s?", whom, f.account)); err != nil {
				return err
			}
			req := &senderv1.SendMassRequest{Account: f.account, IdempotencyKey: f.key, Message: m, Name: name}
			if req.IdempotencyKey == "" {
				req.IdempotencyKey = "cli-" + randomKey()
			}
			resp, err := c.SendMass(ctx, req)
			if err != nil {
				return err
			}
			return a.taken(ctx, c, f, resp.GetId(), resp.GetRecord())
		})
	}
	body.add(cmd)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().StringVar(&name, "name", "", "name under which \"wxbus send mass jobs\" lists it")
	return cmd
}

func (a *app) massJobs(f *sendFlags) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "jobs", Short: "The mass messages of the last seven days and what became of them, newest first", Args: noArgs,
		Example: `  wxbus send mass jobs --account shop
  wxbus send mass jobs --account shop --name 周五八折 --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.onMass(cmd.Context(), f, func(ctx context.Context, c senderv1.SenderServiceClient) error {
				resp, err := c.ListMassJobs(ctx, &senderv1.ListMassJobsRequest{Account: f.account, Name: name})
				if err != nil {
					return err
				}
				if a.json {
					resp = proto.CloneOf(resp)
					for _, job := range resp.GetJobs() {
						job.GetRecord().RequestHash = nil
					}
					return a.printProto(resp)
				}
				return a.printMassJobs(resp.GetJobs())
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "only those with this name")
	return cmd
}

func (a *app) printMassJobs(jobs []*senderv1.MassJob) error {
	tw := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "ID\tNAME\tTO\tACCEPTED\tSTATE\tSENT\tFAILED\tREASON")
	for _, job := range jobs {
		rec, sent, failed := job.GetRecord(), "", ""
		if r := rec.GetResult(); r != nil {
			sent, failed = fmt.Sprint(r.GetSentCount()), fmt.Sprint(r.GetErrorCount())
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			rec.GetId(), job.GetName(), job.GetTarget(), clock(rec.GetAcceptedUnixMs()), stateWord(rec.GetState()), sent, failed, rec.GetReason())
	}
	return tw.Flush()
}

func (a *app) massPreview(f *sendFlags) *cobra.Command {
	var body massFlags
	var name string
	cmd := &cobra.Command{
		Use: "preview", Short: "Show the message to one fan at once, for a look; 100 a day", Args: noArgs,
		Example: `  wxbus send mass preview --account shop --openid OPENID --text 周五八折
  wxbus send mass preview --account shop --wechat-name zhangsan --news MEDIA_ID`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := body.message()
			if err != nil {
				return err
			}
			if f.openid == "" && name == "" {
				return usagef("--openid or --wechat-name is required")
			}
			return a.onMass(cmd.Context(), f, func(ctx context.Context, c senderv1.SenderServiceClient) error {
				resp, err := c.PreviewMass(ctx, &senderv1.PreviewMassRequest{Account: f.account, Openid: f.openid, WechatName: name, Message: m})
				if err != nil {
					return err
				}
				return a.printOr(resp, "shown\n")
			})
		},
	}
	body.add(cmd)
	cmd.Flags().StringVar(&name, "wechat-name", "", "WeChat id of who looks, instead of --openid")
	return cmd
}

func (a *app) massStatus(f *sendFlags) *cobra.Command {
	return &cobra.Command{
		Use: "status SEND_ID", Short: "What became of a mass message, and what WeChat says about it", Args: oneArg("the id that the send printed"),
		Example: `  wxbus send mass status SEND_ID --account shop
  wxbus send mass status SEND_ID --account shop --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onMass(cmd.Context(), f, func(ctx context.Context, c senderv1.SenderServiceClient) error {
				resp, err := c.GetMassStatus(ctx, &senderv1.GetMassStatusRequest{Account: f.account, Id: args[0]})
				if err != nil {
					return err
				}
				if a.json {
					resp = proto.CloneOf(resp)
					resp.GetRecord().RequestHash = nil
					return a.printProto(resp)
				}
				a.printMass(resp)
				return nil
			})
		},
	}
}

func (a *app) printMass(resp *senderv1.GetMassStatusResponse) {
	rec := resp.GetRecord()
	fmt.Fprintf(a.stdout, "%s  %s", rec.GetId(), stateWord(rec.GetState()))
	if rec.GetReason() != "" {
		fmt.Fprintf(a.stdout, ": %s", rec.GetReason())
	}
	fmt.Fprintln(a.stdout)
	if resp.GetWechatStatus() != "" {
		fmt.Fprintf(a.stdout, "  WeChat says %s\n", resp.GetWechatStatus())
	}
	if r := rec.GetResult(); r != nil {
		fmt.Fprintf(a.stdout, "  meant for %d, after filters %d, sent %d, failed %d\n", r.GetTotalCount(), r.GetFilterCount(), r.GetSentCount(), r.GetErrorCount())
	}
}

func (a *app) massDelete(f *sendFlags) *cobra.Command {
	var article int32
	cmd := &cobra.Command{
		Use: "delete SEND_ID", Short: "Take a mass message back: WeChat does it for articles and videos only", Args: oneArg("the id that the send printed"),
		Example: `  wxbus send mass delete SEND_ID --account shop
  wxbus send mass delete SEND_ID --account shop --article 2`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onMass(cmd.Context(), f, func(ctx context.Context, c senderv1.SenderServiceClient) error {
				resp, err := c.DeleteMass(ctx, &senderv1.DeleteMassRequest{Account: f.account, Id: args[0], ArticleIndex: article})
				if err != nil {
					return err
				}
				return a.printOr(resp, "deleted\n")
			})
		},
	}
	cmd.Flags().Int32Var(&article, "article", 0, "number of the one article to delete, from 1 (default: all)")
	return cmd
}

func (a *app) massSpeed(f *sendFlags) *cobra.Command {
	return &cobra.Command{
		Use: "speed [0-4]", Short: "How fast WeChat sends mass messages: 0 is 800000 a minute, 4 is 100000", Args: cobra.MaximumNArgs(1),
		Example: `  wxbus send mass speed --account shop
  wxbus send mass speed 4 --account shop`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onMass(cmd.Context(), f, func(ctx context.Context, c senderv1.SenderServiceClient) error {
				if len(args) == 1 {
					speed, err := strconv.ParseInt(args[0], 10, 32)
					if err != nil {
						return usagef("%q is no speed: 0 to 4", args[0])
					}
					if _, err := c.SetMassSpeed(ctx, &senderv1.SetMassSpeedRequest{Account: f.account, Speed: int32(speed)}); err != nil {
						return err
					}
				}
				resp, err := c.GetMassSpeed(ctx, &senderv1.GetMassSpeedRequest{Account: f.account})
				if err != nil {
					return err
				}
				return a.printOr(resp, fmt.Sprintf("speed %d: %d messages a minute\n", resp.GetSpeed(), resp.GetPerMinute()))
			})
		},
	}
}

// onMass runs what a command asks of the sender, after the checks that all of them share.
func (a *app) onMass(ctx context.Context, f *sendFlags, run func(context.Context, senderv1.SenderServiceClient) error) error {
	switch {
	case f.account == "":
		return usagef("--account is required")
	case f.fallback != "" || f.notBefore != "":
		return usagef("--fallback and --not-before are for messages to one fan")
	}
	return a.withSender(ctx, f.address, run)
}

// printOr prints a response as JSON, or the text for people.
func (a *app) printOr(m proto.Message, text string) error {
	if a.json {
		return a.printProto(m)
	}
	_, err := fmt.Fprint(a.stdout, text)
	return err
}
