package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/process"

	"github.com/wxbus/wxbus/services/console"
)

func (a *app) traceCommand() *cobra.Command {
	var address string
	req := &consolev1.GetTimelineRequest{}
	cmd := &cobra.Command{
		Use: "trace", Short: "Tell what happened to one message: push, rule, claim, calls to WeChat, end", Args: noArgs,
		Long: `Reads the stored facts about a push and everything that answered it, or about a message that was sent and the push
that it answered, and draws them in the order of time. Texts of messages are not shown. Needs no running console.

With --openid alone: the newest push of that fan. Ids are in the answers of the API, in events out, and in the logs as event_id.
The trace ids at the end find the spans in your trace store.

Exit codes: 0 everything was read, 3 a part could not be read just now.`,
		Example: `  wxbus trace --account shop --openid OPENID
  wxbus trace --account shop --openid OPENID --event EVENT_ID
  wxbus trace --account shop --send SEND_ID --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case req.Account == "":
				return usagef("trace needs --account")
			case (req.SendId == "") == (req.Openid == ""):
				return usagef("trace needs --send, or --openid with or without --event")
			case req.SendId != "" && req.EventId != "":
				return usagef("trace takes one of --send and --event")
			}
			return a.withBus(cmd.Context(), "trace", func(ctx context.Context, shared config.Shared, conn *bus.Conn) error {
				return a.trace(ctx, shared, conn, address, req)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&req.Account, "account", "", "account of the message")
	f.StringVar(&req.Openid, "openid", "", "fan who pushed")
	f.StringVar(&req.EventId, "event", "", "id of a push of that fan (default: the newest)")
	f.StringVar(&req.SendId, "send", "", "id of a message that was sent")
	f.StringVar(&address, "address", "", "gRPC address of the sender (default: grpc.addresses.sender of the file)")
	return cmd
}

func (a *app) trace(ctx context.Context, shared config.Shared, conn *bus.Conn, address string, req *consolev1.GetTimelineRequest) error {
	topo, err := process.NewTopology(shared)
	if err != nil {
		return err
	}
	sender, err := process.DialService(ctx, shared, "sender", address)
	if err != nil {
		return err
	}
	defer sender.Close() //nolint:errcheck // nothing is left to lose when the command ends
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	got, err := console.ReadTimeline(ctx, conn, topo, sender, req)
	if err != nil {
		return err
	}
	if a.json {
		err = a.printProto(got)
	} else {
		err = a.printTimeline(got)
	}
	if err == nil && len(got.GetPartial()) > 0 {
		fmt.Fprintf(a.stderr, "could not be read just now: %s\n", strings.Join(got.GetPartial(), ", "))
		return errProblems
	}
	return err
}

// printTimeline draws a step as a bar from its begin to its end, within the time of all of them.
func (a *app) printTimeline(r *consolev1.GetTimelineResponse) error {
	var first, last int64 // µs
	for i, step := range r.GetSteps() {
		begin, end := spanOf(step)
		if i == 0 || begin < first {
			first = begin
		}
		last = max(last, end)
	}
	tw := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', 0)
	traces := map[string]bool{}
	for _, step := range r.GetSteps() {
		begin, end := spanOf(step)
		detail := []string{step.GetDetail()}
		if step.GetErrcode() != 0 {
			detail = append(detail, fmt.Sprintf("errcode %d", step.GetErrcode()))
		}
		for _, name := range slices.Sorted(maps.Keys(step.GetFacts())) {
			detail = append(detail, name+"="+step.GetFacts()[name])
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", time.Duration(begin-first)*time.Microsecond, track(begin-first, end-first, last-first),
			step.GetService(), step.GetOutcome(), strings.Join(detail, " "))
		if id := step.GetTraceId(); id != "" {
			traces[id] = true
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(traces)) {
		fmt.Fprintln(a.stdout, "trace", id)
	}
	return nil
}

// spanOf returns when a step began and ended, in microseconds: facts are stamped when they are over.
func spanOf(step *consolev1.TimelineStep) (begin, end int64) {
	end = step.GetAtUnixMs() * 1000
	return end - step.GetTookUs(), end
}

// track draws begin to end of a whole of total. Nothing is too short to be seen.
func track(begin, end, total int64) string {
	const width = 30
	from, to := int64(0), int64(1)
	if total > 0 {
		from = min(begin*width/total, width-1)
		to = max(end*width/total, from+1)
	}
	return strings.Repeat("·", int(from)) + strings.Repeat("█", int(to-from)) + strings.Repeat("·", int(width-to))
}
