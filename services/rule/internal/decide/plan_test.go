package decide_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/account"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/decide"
)

func TestTheFirstRouteDependsOnTheTimeLeft(t *testing.T) {
	received := time.UnixMilli(1_700_000_000_000)
	at := func(d time.Duration) time.Time { return received.Add(d) }
	yes := true
	tests := []struct {
		name   string
		mode   eventv1.ReplyMode
		acct   account.Account
		native bool
		now    time.Time
		want   rulev1.Route
		claims int
	}{
		{"in time", passive, account.Account{}, false, at(time.Second), rulev1.Route_ROUTE_PASSIVE, 1},
		{"just in time", passive, account.Account{}, false, at(4400 * time.Millisecond), rulev1.Route_ROUTE_PASSIVE, 1},
		{"just too late", passive, account.Account{}, false, at(4401 * time.Millisecond), rulev1.Route_ROUTE_ASYNC, 0},
		{"hours late", passive, account.Account{}, false, at(time.Hour), rulev1.Route_ROUTE_ASYNC, 0},
		{"native in time", passive, account.Account{}, true, at(time.Second), rulev1.Route_ROUTE_NATIVE, 1},
		{"native too late", passive, account.Account{}, true, at(4401 * time.Millisecond), rulev1.Route_ROUTE_REFUSED, 0},
		{"stretch after attempt 1", stretch, account.Account{Reply: account.ReplyStretch}, false, at(9 * time.Second), rulev1.Route_ROUTE_PASSIVE, 0},
		{"stretch native", stretch, account.Account{Reply: account.ReplyStretch}, true, at(9 * time.Second), rulev1.Route_ROUTE_NATIVE, 0},
		{"stretch after the span", stretch, account.Account{Reply: account.ReplyStretch}, false, at(16 * time.Second), rulev1.Route_ROUTE_REFUSED, 0},
		{"stretch with the API after the span", stretch, account.Account{Reply: account.ReplyStretch, KfAPI: &yes}, false, at(16 * time.Second), rulev1.Route_ROUTE_ASYNC, 0},
		{"stretch that answers early", stretch, account.Account{Reply: account.ReplyStretch, StretchAnswerEarly: true}, false, at(time.Second), rulev1.Route_ROUTE_PASSIVE, 1},
		{"ack", eventv1.ReplyMode_REPLY_MODE_ACK, account.Account{}, false, at(0), rulev1.Route_ROUTE_ASYNC, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ev := &eventv1.InboundEvent{
				Id: "x", Kind: eventv1.EventKind_EVENT_KIND_MESSAGE, ReceivedUnixMs: received.UnixMilli(), ReplyMode: tt.mode, AcceptsPassive: true,
				PassiveDeadlineUnixMs: at(4500 * time.Millisecond).UnixMilli(), GatewayInstance: "gw-1",
			}
			rec := decide.Plan(ev, tt.acct, tt.native, tt.now, 5*time.Second, 100*time.Millisecond)
			require.Equal(t, tt.want, rec.GetRoute(), rec.GetReason())
			require.Len(t, rec.GetClaims(), tt.claims)
			require.Equal(t, at(16*time.Second).UnixMilli(), rec.GetPassiveUntilUnixMs())
			if tt.claims == 1 {
				require.Equal(t, "gw-1", rec.GetClaims()[0].GetServer())
				require.Equal(t, ev.GetPassiveDeadlineUnixMs(), rec.GetClaims()[0].GetUntilUnixMs())
			}
		})
	}
}

const (
	passive = eventv1.ReplyMode_REPLY_MODE_PASSIVE
	stretch = eventv1.ReplyMode_REPLY_MODE_STRETCH
)
