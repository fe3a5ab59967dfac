package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

func (a *app) quotaCommand() *cobra.Command {
	var address, account, openid string
	cmd := &cobra.Command{
		Use:   "quota",
		Short: "What may still be sent to a fan, or how an account stands with WeChat's quotas",
		Long: `With --openid: how many messages of the customer-service window are left, and until when.
Without: for each API the calls of today, the limit, when it will be used up at the pace of the last ten minutes, pauses and
the circuit breaker; and what waits in the lanes.

Exit codes: 0 something may be sent, 3 nothing may be sent or an API is held back.`,
		Example: `  wxbus quota --account shop --openid OPENID
  wxbus quota --account shop
  wxbus quota --account shop --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if account == "" {
				return usagef("--account is required")
			}
			return a.withSender(cmd.Context(), address, func(ctx context.Context, c senderv1.SenderServiceClient) error {
				if openid != "" {
					return a.quotaOfFan(ctx, c, account, openid)
				}
				return a.quotaOfAccount(ctx, c, account)
			})
		},
	}
	cmd.Flags().StringVar(&address, "address", "", "gRPC address of the sender (default: grpc.addresses.sender of the file)")
	cmd.Flags().StringVar(&account, "account", "", "account to ask about")
	cmd.Flags().StringVar(&openid, "openid", "", "fan to ask about")
	return cmd
}

func (a *app) quotaOfFan(ctx context.Context, c senderv1.SenderServiceClient, account, openid string) error {
	q, err := c.GetQuota(ctx, &senderv1.GetQuotaRequest{Account: account, Openid: openid})
	if err != nil {
		return err
	}
	switch {
	case a.json:
		err = a.printProto(q)
	case q.GetRemaining() > 0:
		_, err = fmt.Fprintf(a.stdout, "%d messages until %s, %d on their way\n", q.GetRemaining(), clock(q.GetDeadlineUnixMs()), q.GetReserved())
	default:
		_, err = fmt.Fprintf(a.stdout, "nothing: %s\n", q.GetReason())
	}
	if err == nil && q.GetRemaining() == 0 {
		return errProblems
	}
	return err
}

func (a *app) quotaOfAccount(ctx context.Context, c senderv1.SenderServiceClient, account string) error {
	s, err := c.GetSendingStatus(ctx, &senderv1.GetSendingStatusRequest{Account: account})
	if err != nil {
		return err
	}
	if a.json {
		err = a.printProto(s)
	} else {
		err = a.printStatus(s)
	}
	if err != nil {
		return err
	}
	for _, e := range s.GetEndpoints() {
		if e.GetPausedUntilUnixMs() != 0 || e.GetBreaker() == "open" {
			return errProblems
		}
	}
	return nil
}

func (a *app) printStatus(s *senderv1.GetSendingStatusResponse) error {
	tw := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "API\tTODAY\tLIMIT\tFOR CAMPAIGNS\tPER SECOND\tUSED UP\tBREAKER\tHELD BACK")
	for _, e := range s.GetEndpoints() {
		limit, end, held := "none", "not today", ""
		if e.GetLimit() > 0 {
			limit = fmt.Sprint(e.GetLimit())
		}
		campaigns := limit
		for _, share := range e.GetShares() {
			if share.GetLane() == senderv1.Lane_LANE_CAMPAIGN {
				campaigns = fmt.Sprint(share.GetLimit())
			}
		}
		if e.GetExhaustedUnixMs() != 0 {
			end = clock(e.GetExhaustedUnixMs())
		}
		if e.GetPausedUntilUnixMs() != 0 {
			held = fmt.Sprintf("until %s: %s", clock(e.GetPausedUntilUnixMs()), e.GetPauseReason())
		}
		fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t%.1f of %.0f\t%s\t%s\t%s\n", endpointWord(e.GetEndpoint()), e.GetUsed(), limit, campaigns, e.GetRate(), e.GetRateLimit(), end, e.GetBreaker(), held)
	}
	fmt.Fprintln(tw, "\nLANE\tWAITING\tPARKED\tLATER")
	for _, l := range s.GetLanes() {
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\n", strings.ToLower(strings.TrimPrefix(l.GetLane().String(), "LANE_")), l.GetBacklog(), l.GetParked(), l.GetLater())
	}
	fmt.Fprintf(tw, "\nWeChat counts anew at %s.\n", clock(s.GetResetsUnixMs()))
	return tw.Flush()
}

func clock(ms int64) string { return time.UnixMilli(ms).Format("2006-01-02 15:04:05") }

func endpointWord(e senderv1.SendEndpoint) string {
	return strings.ToLower(strings.TrimPrefix(e.String(), "SEND_ENDPOINT_"))
}
