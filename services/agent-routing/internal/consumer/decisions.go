// Package consumer brings what happens on the bus to the desk.
package consumer

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// Decisions returns the handler of the stream DECISIONS. Decisions about fans who left matter, and those that put a fan into
// a queue, whichever way their welcome goes; later versions carry the same id and change nothing. So does a reply that was written to a
// fan whom the desk knows. A hand-over to the native desk changes no owner: kf_create_session does, if an agent there takes the fan.
func Decisions(desk *app.Desk) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		var made rulev1.DecisionMade
		if err := proto.Unmarshal(d.Data, &made); err != nil {
			return fault.Errorf(fault.Invalid, "decode decision: %w", err)
		}
		if made.GetFan().GetUnsubscribed() && made.GetOpenid() != "" {
			return desk.LeftTheRules(ctx, made.GetAccount(), made.GetOpenid())
		}
		if made.GetQueue() == "" && made.GetRoute() != rulev1.Route_ROUTE_QUEUE {
			return passive(ctx, desk, &made)
		}
		if made.GetAccount() == "" || made.GetOpenid() == "" || made.GetId() == "" {
			return fault.New(fault.Invalid, "decision without account, fan or id")
		}
		decided := time.UnixMilli(made.GetDecidedUnixMs()).UTC()
		if made.GetDecidedUnixMs() == 0 {
			decided = d.Stored
		}
		if err := desk.Join(ctx, app.Join{
			Account: made.GetAccount(), OpenID: made.GetOpenid(), Event: made.GetId(), Queue: queueOf(&made), Reason: "rule " + made.GetRule(),
			Asked: decided, Made: eventTime(&made, decided),
		}); err != nil {
			return err
		}
		return passive(ctx, desk, &made)
	}
}

// passive keeps a reply that a gateway wrote.
func passive(ctx context.Context, desk *app.Desk, made *rulev1.DecisionMade) error {
	m := wire.Passive(made)
	if m == nil || m.GetAccount() == "" || m.GetOpenid() == "" {
		return nil
	}
	return desk.Answered(ctx, m)
}

// defaultQueue takes fans of a rule that names none: they must not be lost over that.
const defaultQueue = "default"

func queueOf(made *rulev1.DecisionMade) string {
	if q := made.GetQueue(); q != "" {
		return q
	}
	return defaultQueue
}

// eventTime is when the event was made. WeChat's own time is the best guess unless it is in the
// future.
func eventTime(made *rulev1.DecisionMade, decided time.Time) time.Time {
	created := time.Unix(made.GetCreateTime(), 0).UTC()
	if made.GetCreateTime() <= 0 || created.After(decided) {
		return decided
	}
	return created
}
