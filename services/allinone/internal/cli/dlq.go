package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/config"
)

func (a *app) dlqCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "Inspect and requeue dead letters",
		Long: `A dead letter is a message that a service could not handle. It keeps its reason, its causes and its original subject.
Requeueing publishes it again under a new id, marked as a replay, and removes the dead letter.`,
		Example: `  wxbus dlq list
  wxbus dlq list --service rule
  wxbus dlq show 17
  wxbus dlq requeue 17 18
  wxbus dlq delete 17`,
	}
	cmd.AddCommand(a.dlqList(), a.dlqShow(),
		a.dlqChange("requeue", "Publish dead letters again and remove them", "requeued", func(ctx context.Context, d *bus.DeadLetters, seq uint64) error {
			_, err := d.Requeue(ctx, seq)
			return err
		}),
		a.dlqChange("delete", "Remove dead letters for good", "deleted", func(ctx context.Context, d *bus.DeadLetters, seq uint64) error {
			return d.Delete(ctx, seq)
		}))
	return cmd
}

func (a *app) dlqList() *cobra.Command {
	var service string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List dead letters, oldest first", Args: noArgs,
		Example: `  wxbus dlq list --service sender --limit 20`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withDeadLetters(cmd.Context(), func(ctx context.Context, d *bus.DeadLetters) error {
				letters, err := d.List(ctx, bus.DeadLetterFilter{Service: service}, limit)
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(letters)
				}
				if len(letters) == 0 {
					fmt.Fprintln(a.stdout, "no dead letters")
					return nil
				}
				tw := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', 0)
				fmt.Fprintln(tw, "SEQ\tSINCE\tSERVICE\tSTREAM\tDELIVERIES\tREASON")
				for _, l := range letters {
					fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%d\t%s\n", l.Seq, l.At.UTC().Format(time.RFC3339), l.Service, l.Stream, l.Deliveries, l.Reason)
				}
				return tw.Flush()
			})
		},
	}
	cmd.Flags().StringVar(&service, "service", "", "only those of one service")
	cmd.Flags().IntVar(&limit, "limit", 100, "at most so many")
	return cmd
}

func (a *app) dlqShow() *cobra.Command {
	return &cobra.Command{
		Use: "show SEQ", Short: "Show one dead letter", Args: oneArg("the SEQ of wxbus dlq list"),
		Example: `  wxbus dlq show 17 --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			seq, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return usagef("SEQ must be a number, got %q", args[0])
			}
			return a.withDeadLetters(cmd.Context(), func(ctx context.Context, d *bus.DeadLetters) error {
				l, err := d.Get(ctx, seq)
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(l)
				}
				fmt.Fprintf(a.stdout, "seq         %d\nsince       %s\nservice     %s\nstream      %s (sequence %d)\nsubject     %s\ndeliveries  %d\nreason      %s\nbytes       %d\n",
					l.Seq, l.At.UTC().Format(time.RFC3339), l.Service, l.Stream, l.StreamSeq, l.Subject, l.Deliveries, l.Reason, len(l.Data))
				for _, cause := range l.Causes {
					fmt.Fprintf(a.stdout, "cause       %s\n", strings.ReplaceAll(cause, "\n", "\n            "))
				}
				return nil
			})
		},
	}
}

func (a *app) dlqChange(verb, short, done string, change func(context.Context, *bus.DeadLetters, uint64) error) *cobra.Command {
	return &cobra.Command{
		Use: verb + " SEQ...", Short: short,
		Example: "  wxbus dlq " + verb + " 17 18",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("%s needs at least one SEQ of wxbus dlq list", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withDeadLetters(cmd.Context(), func(ctx context.Context, d *bus.DeadLetters) error {
				for _, arg := range args {
					seq, err := strconv.ParseUint(arg, 10, 64)
					if err != nil {
						return usagef("SEQ must be a number, got %q", arg)
					}
					if err := change(ctx, d, seq); err != nil {
						return fmt.Errorf("%s %d: %w", verb, seq, err)
					}
					fmt.Fprintf(a.stdout, "%s %d\n", done, seq)
				}
				return nil
			})
		},
	}
}

// withDeadLetters connects to the NATS of the configuration, or to the embedded one of a running wxbus up.
func (a *app) withDeadLetters(ctx context.Context, run func(context.Context, *bus.DeadLetters) error) error {
	return a.withBus(ctx, "dlq", func(ctx context.Context, _ config.Shared, conn *bus.Conn) error {
		return run(ctx, conn.DeadLetters())
	})
}
