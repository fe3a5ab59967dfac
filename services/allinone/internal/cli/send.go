package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/content"
	"github.com/wxbus/wxbus/pkg/process"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

// sendTimeout bounds a command that asks the sender; uploads are the longest.
const sendTimeout = time.Minute

// sendFlags are what the commands below "send" share.
type sendFlags struct {
	address, account, openid, key string
	fallback, notBefore, zone     string
	wait                          bool
	limit                         time.Duration
}

func (a *app) sendCommand() *cobra.Command {
	var f sendFlags
	cmd := &cobra.Command{
		Use:   "send",
		Short: "Send one message to a fan",
		Long: `The message is stored before the command returns, and sent in order. The same --key never sends twice.
A closed window is refused before WeChat is asked; --fallback says what to send instead.

Exit codes: 0 accepted (with --wait: sent), 1 refused or failed, 2 wrong use, 3 --wait ended before the message did, or
nobody knows whether the fan has it.`,
		Example: `  wxbus send text --account shop --openid OPENID "您的订单已发货"
  wxbus send image --account shop --openid OPENID photo.jpg --wait
  wxbus send template --account shop --openid OPENID --template TEMPLATE_ID --set thing1=已发货 --url https://example.com/o/1
  wxbus send subscribe --account mini --openid OPENID --template TEMPLATE_ID --set phrase1=已发货 --page pages/order
  wxbus send text --account shop --openid OPENID 明早见 --not-before 2026-12-12T08:00
  wxbus send mass tag 100 --account shop --text 周五八折
  wxbus send text --account shop --openid OPENID 已发货 --fallback '{"msgtype":"template","template":{"template_id":"T","data":{"thing1":{"value":"已发货"}}}}'`,
	}
	p := cmd.PersistentFlags()
	p.StringVar(&f.address, "address", "", "gRPC address of the sender (default: grpc.addresses.sender of the file)")
	p.StringVar(&f.account, "account", "", "account that sends")
	p.StringVar(&f.openid, "openid", "", "fan who receives")
	p.StringVar(&f.key, "key", "", "idempotency key (default: a new one)")
	p.StringVar(&f.fallback, "fallback", "", "message to send when this one is refused, as JSON")
	p.StringVar(&f.notBefore, "not-before", "", "earliest time of the message: 2006-01-02T15:04, RFC 3339, or from now like 90m; at most 72h ahead")
	p.StringVar(&f.zone, "zone", "Asia/Shanghai", "time zone of --not-before")
	p.BoolVar(&f.wait, "wait", false, "wait until the message has come to its end")
	p.DurationVar(&f.limit, "wait-limit", 30*time.Second, "longest wait")
	cmd.AddCommand(a.sendText(&f), a.sendImage(&f), a.sendTemplate(&f), a.sendSubscribe(&f), a.sendMass(&f))
	return cmd
}

func (a *app) sendText(f *sendFlags) *cobra.Command {
	return &cobra.Command{
		Use: "text TEXT", Short: "Send a text; a long one arrives in parts", Args: oneArg("the TEXT"),
		Example: `  wxbus send text --account shop --openid OPENID "您的订单已发货" --key order-1-shipped --wait`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.send(cmd.Context(), f, func(context.Context, senderv1.SenderServiceClient) (*eventv1.Content, error) {
				return &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: args[0]}}}, nil
			})
		},
	}
}

func (a *app) sendImage(f *sendFlags) *cobra.Command {
	return &cobra.Command{
		Use: "image FILE", Short: "Upload an image and send it; the same file is uploaded once", Args: oneArg("a FILE"),
		Example: `  wxbus send image --account shop --openid OPENID photo.jpg`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.send(cmd.Context(), f, func(ctx context.Context, c senderv1.SenderServiceClient) (*eventv1.Content, error) {
				data, err := os.ReadFile(args[0])
				if err != nil {
					return nil, err
				}
				a.note("uploading %s", filepath.Base(args[0]))
				up, err := c.UploadMedia(ctx, &senderv1.UploadMediaRequest{
					Account: f.account, Type: senderv1.MediaType_MEDIA_TYPE_IMAGE, Filename: filepath.Base(args[0]), Content: data,
				})
				if err != nil {
					return nil, err
				}
				return &eventv1.Content{Body: &eventv1.Content_Image{Image: &eventv1.ImageContent{MediaId: up.GetMediaId()}}}, nil
			})
		},
	}
}

// noticeFlags are what template and subscription messages share.
type noticeFlags struct {
	template string
	set      []string
}

func (n *noticeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&n.template, "template", "", "template id")
	cmd.Flags().StringArrayVar(&n.set, "set", nil, "field of the template as NAME=VALUE; may be given several times")
}

func (n *noticeFlags) data() (map[string]*eventv1.TemplateValue, error) {
	out := map[string]*eventv1.TemplateValue{}
	for _, pair := range n.set {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, usagef("--set needs NAME=VALUE, got %q", pair)
		}
		out[name] = &eventv1.TemplateValue{Value: value}
	}
	return out, nil
}

func (a *app) sendTemplate(f *sendFlags) *cobra.Command {
	var n noticeFlags
	var url string
	cmd := &cobra.Command{
		Use: "template", Short: "Send a template message of a service account", Args: noArgs,
		Example: `  wxbus send template --account shop --openid OPENID --template TEMPLATE_ID --set thing1=已发货 --set time2=2026-11-28`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, err := n.data()
			if err != nil {
				return err
			}
			return a.send(cmd.Context(), f, func(context.Context, senderv1.SenderServiceClient) (*eventv1.Content, error) {
				t := &eventv1.TemplateContent{TemplateId: n.template, Url: url, Data: data}
				return &eventv1.Content{Body: &eventv1.Content_Template{Template: t}}, nil
			})
		},
	}
	n.add(cmd)
	cmd.Flags().StringVar(&url, "url", "", "page that opens on a tap")
	return cmd
}

func (a *app) sendSubscribe(f *sendFlags) *cobra.Command {
	var n noticeFlags
	var page string
	cmd := &cobra.Command{
		Use: "subscribe", Short: "Send a subscription message that the fan agreed to", Args: noArgs,
		Example: `  wxbus send subscribe --account mini --openid OPENID --template TEMPLATE_ID --set phrase1=已发货 --page pages/order`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, err := n.data()
			if err != nil {
				return err
			}
			return a.send(cmd.Context(), f, func(context.Context, senderv1.SenderServiceClient) (*eventv1.Content, error) {
				s := &eventv1.SubscribeContent{TemplateId: n.template, Page: page, Data: data}
				return &eventv1.Content{Body: &eventv1.Content_Subscribe{Subscribe: s}}, nil
			})
		},
	}
	n.add(cmd)
	cmd.Flags().StringVar(&page, "page", "", "page that opens on a tap")
	return cmd
}

// send builds the content, sends it and, if asked, waits for its end.
func (a *app) send(ctx context.Context, f *sendFlags, build func(context.Context, senderv1.SenderServiceClient) (*eventv1.Content, error)) error {
	if f.account == "" || f.openid == "" {
		return usagef("--account and --openid are required")
	}
	req := &senderv1.SendRequest{Account: f.account, Openid: f.openid, IdempotencyKey: f.key}
	if req.IdempotencyKey == "" {
		req.IdempotencyKey = "cli-" + randomKey()
	}
	if f.notBefore != "" {
		at, err := moment(f.notBefore, f.zone, time.Now())
		if err != nil {
			return err
		}
		req.NotBeforeUnixMs = at.UnixMilli()
	}
	if f.fallback != "" {
		other, err := fallback(f.fallback, f.openid)
		if err != nil {
			return err
		}
		req.Fallback = []*eventv1.Content{other}
	}
	return a.withSender(ctx, f.address, func(ctx context.Context, c senderv1.SenderServiceClient) error {
		var err error
		if req.Content, err = build(ctx, c); err != nil {
			return err
		}
		resp, err := c.Send(ctx, req)
		if err != nil {
			return err
		}
		return a.taken(ctx, c, f, resp.GetId(), resp.GetRecord())
	})
}

// taken prints a message that the sender has taken, after its end when that is wanted.
func (a *app) taken(ctx context.Context, c senderv1.SenderServiceClient, f *sendFlags, id string, rec *senderv1.SendRecord) error {
	if f.wait {
		var err error
		if rec, err = a.settled(ctx, c, f, id); err != nil {
			return err
		}
	}
	return a.printSend(f, id, rec)
}

// moment reads the time of --not-before.
func moment(text, zone string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(d), nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return time.Time{}, usagef("--zone %q: unknown time zone", zone)
	}
	at, err := time.ParseInLocation("2006-01-02T15:04", text, loc)
	if err != nil {
		return time.Time{}, usagef("--not-before %q: want 2006-01-02T15:04, RFC 3339, or a time from now like 90m", text)
	}
	return at, nil
}

// fallback reads a message in the form of the HTTP API, without touser.
func fallback(text, openid string) (*eventv1.Content, error) {
	inner := strings.TrimPrefix(strings.TrimSpace(text), "{")
	_, c, _, err := content.FromJSON([]byte(fmt.Sprintf(`{"touser":%q,%s`, openid, inner)))
	if err != nil {
		return nil, usagef("--fallback: %v", err)
	}
	return c, nil
}

func randomKey() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// pollEvery is how often --wait looks.
const pollEvery = 200 * time.Millisecond

// settled waits for the end of a message, or returns its state when the wait is over.
func (a *app) settled(ctx context.Context, c senderv1.SenderServiceClient, f *sendFlags, id string) (*senderv1.SendRecord, error) {
	limit := time.NewTimer(f.limit)
	defer limit.Stop()
	for {
		resp, err := c.GetSend(ctx, &senderv1.GetSendRequest{Account: f.account, Id: id})
		if err != nil {
			return nil, err
		}
		rec := resp.GetRecord()
		a.note("%s, %d attempts", stateWord(rec.GetState()), rec.GetAttempts())
		if isEnd(rec.GetState()) {
			return rec, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-limit.C:
			return rec, nil
		case <-time.After(pollEvery):
		}
	}
}

func isEnd(s senderv1.SendState) bool {
	switch s {
	case senderv1.SendState_SEND_STATE_SENT, senderv1.SendState_SEND_STATE_FAILED,
		senderv1.SendState_SEND_STATE_REFUSED, senderv1.SendState_SEND_STATE_AMBIGUOUS:
		return true
	default:
		return false
	}
}

func stateWord(s senderv1.SendState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "SEND_STATE_"))
}

// printSend prints what came of a message and returns the error that gives the exit code.
func (a *app) printSend(f *sendFlags, id string, rec *senderv1.SendRecord) error {
	a.note("")
	if a.json {
		shown := proto.CloneOf(rec)
		shown.RequestHash = nil
		if err := a.printProto(shown); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(a.stdout, "%s  %s", id, stateWord(rec.GetState()))
		if rec.GetReason() != "" {
			fmt.Fprintf(a.stdout, ": %s", rec.GetReason())
		}
		if rec.GetState() == senderv1.SendState_SEND_STATE_PARKED && rec.GetNotBeforeUnixMs() != 0 {
			fmt.Fprintf(a.stdout, " until %s", clock(rec.GetNotBeforeUnixMs()))
		}
		fmt.Fprintln(a.stdout)
		for _, step := range rec.GetSteps() {
			fmt.Fprintf(a.stdout, "  before that, %s %s: %s\n", endpointWord(step.GetEndpoint()), stateWord(step.GetState()), step.GetReason())
		}
	}
	switch rec.GetState() {
	case senderv1.SendState_SEND_STATE_FAILED, senderv1.SendState_SEND_STATE_REFUSED:
		return fmt.Errorf("not sent: %s", rec.GetReason())
	case senderv1.SendState_SEND_STATE_SENT:
		return nil
	case senderv1.SendState_SEND_STATE_AMBIGUOUS:
		return errProblems
	default: // not settled yet
	}
	if f.wait {
		return errProblems
	}
	return nil
}

// note shows progress on a terminal; an empty text clears it.
func (a *app) note(format string, args ...any) {
	if isTerminal(a.stderr) && !a.json {
		fmt.Fprintf(a.stderr, "\r%s\x1b[K", fmt.Sprintf(format, args...))
	}
}

func (a *app) withSender(ctx context.Context, address string, run func(context.Context, senderv1.SenderServiceClient) error) error {
	shared, err := a.loadShared(ctx)
	if err != nil {
		return err
	}
	conn, err := process.DialService(ctx, shared, "sender", address)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is left to lose when the command ends
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	return run(ctx, senderv1.NewSenderServiceClient(conn))
}
