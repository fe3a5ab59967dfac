package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/process"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/allinone/internal/replay"
)

// replayFlags select what is replayed, and how.
type replayFlags struct {
	account, from, to   string
	really, shadow, yes bool
	rate                float64
	address             string

	span  replay.Span
	hours int32 // of a shadow run
	now   func() time.Time
	conn  *bus.Conn
	topo  *topology.Topology
}

func (a *app) replayCommand() *cobra.Command {
	r := &replayFlags{now: time.Now}
	cmd := &cobra.Command{
		Use: "replay", Short: "Count stored pushes without a decision, and give them to the rules once more", Args: noArgs,
		Long: `Reads the stored pushes of an account and counts those that have a decision and those that have none: no rule asked
for them, or something went wrong when they came.

  (plain)    counts, changes nothing
  --shadow   decides about all of them with the draft and with the live rules, and prints the difference; sends nothing
  --really   counts, asks, and gives those without a decision to the rule service, in order, at a bounded rate

A push with a decision is never given again, and one push is decided once whoever asks, so repeating a replay answers
nobody twice. What fans get late goes by API, within their window.`,
		Example: `  wxbus replay --account shop --from 2h
  wxbus replay --account shop --from 2026-11-28T20:00:00+08:00 --to 2026-11-28T21:00:00+08:00 --really --rate 20
  wxbus replay --account shop --from 24h --shadow`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.read(); err != nil {
				return err
			}
			if r.shadow {
				return a.withRules(cmd.Context(), r.address, r.compare(a))
			}
			return a.replay(cmd.Context(), r)
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.account, "account", "", "account whose pushes are read")
	f.StringVar(&r.from, "from", "", "begin: a time such as 2026-11-28T20:00:00+08:00, or how long ago, such as 2h; at most 72 h")
	f.StringVar(&r.to, "to", "", "end, as --from (default: now)")
	f.BoolVar(&r.really, "really", false, "give those without a decision to the rule service")
	f.BoolVar(&r.shadow, "shadow", false, "compare the draft with the live rules instead; sends nothing")
	f.Float64Var(&r.rate, "rate", 50, "most replays in a second")
	f.BoolVarP(&r.yes, "yes", "y", false, "do not ask")
	f.StringVar(&r.address, "address", "", "gRPC address of the rule service, for --shadow (default: grpc.addresses.rule of the file)")
	return cmd
}

// read checks the flags and turns them into a span.
func (r *replayFlags) read() error {
	switch {
	case r.account == "" || r.from == "":
		return usagef("replay needs --account and --from")
	case r.really && r.shadow:
		return usagef("replay takes one of --really and --shadow")
	case r.shadow && r.to != "":
		return usagef("replay --shadow reads up to now: leave --to out")
	case r.rate <= 0:
		return usagef("--rate must be more than 0")
	}
	r.span = replay.Span{Account: r.account}
	var err error
	if r.span.From, err = r.moment("--from", r.from); err != nil {
		return err
	}
	if r.to != "" {
		if r.span.To, err = r.moment("--to", r.to); err != nil {
			return err
		}
	}
	r.hours = int32(min(max(r.now().Sub(r.span.From).Hours()+0.999, 1), 72))
	return nil
}

func (r *replayFlags) moment(flag, text string) (time.Time, error) {
	if ago, err := time.ParseDuration(text); err == nil {
		return r.now().Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, usagef("%s %q: want a time such as 2026-11-28T20:00:00+08:00, or how long ago, such as 2h", flag, text)
	}
	return at, nil
}

func (r *replayFlags) compare(a *app) func(context.Context, rulev1.RuleServiceClient) error {
	return func(ctx context.Context, c rulev1.RuleServiceClient) error {
		result, err := a.followShadow(ctx, c, &rulev1.ShadowRunRequest{Account: r.account, Hours: r.hours})
		if err != nil {
			return err
		}
		if a.json {
			return a.printProto(result)
		}
		return printShadow(a.stdout, result)
	}
}

func (a *app) replay(ctx context.Context, r *replayFlags) error {
	return a.withBus(ctx, "replay", func(ctx context.Context, shared config.Shared, conn *bus.Conn) error {
		topo, err := process.NewTopology(shared)
		if err != nil {
			return err
		}
		r.conn, r.topo = conn, topo
		return a.replayOn(ctx, r)
	})
}

func (a *app) replayOn(ctx context.Context, r *replayFlags) error {
	count, err := a.replayOnce(ctx, r, false)
	if err != nil || !r.really || count.Undecided == 0 {
		return a.printReplay(count, err)
	}
	if !a.json {
		if err := a.printReplay(count, nil); err != nil {
			return err
		}
	}
	if err := a.confirmed(r.yes, fmt.Sprintf("Give %d pushes to the rule service?", count.Undecided)); err != nil {
		return err
	}
	count, err = a.replayOnce(ctx, r, true)
	return a.printReplay(count, err)
}

func (a *app) replayOnce(ctx context.Context, r *replayFlags, really bool) (replay.Count, error) {
	o := replay.Options{Conn: r.conn, Topology: r.topo, Really: really, Rate: r.rate}
	if isTerminal(a.stderr) && !a.json {
		o.Progress = func(read, total int64) { fmt.Fprintf(a.stderr, "\r%s %d of %d\x1b[K", bar(read, total), read, total) }
		defer fmt.Fprint(a.stderr, "\r\x1b[K")
	}
	return replay.Run(ctx, r.span, o)
}

// printReplay prints a count, also one that an error ended.
func (a *app) printReplay(c replay.Count, err error) error {
	if a.json {
		if printErr := a.printJSON(c); printErr != nil {
			return printErr
		}
		return err
	}
	fmt.Fprintf(a.stdout, "%d pushes: %d with a decision, %d without", c.Events, c.Decided, c.Undecided)
	if c.Unreadable > 0 {
		fmt.Fprintf(a.stdout, ", %d unreadable", c.Unreadable)
	}
	if c.Replayed+c.Repeated > 0 {
		fmt.Fprintf(a.stdout, "; %d given to the rule service, %d were a moment ago", c.Replayed, c.Repeated)
	}
	fmt.Fprintln(a.stdout)
	return err
}
