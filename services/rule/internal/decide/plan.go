package decide

import (
	"time"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/decision"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

// Reasons of routes that are not the passive one although a reply was wanted.
const (
	reasonLate       = "too late for a passive reply"
	reasonNoReply    = "WeChat shows no reply to this event"
	reasonNoKf       = "the account may not use the customer-service API"
	reasonNativeMode = "only a passive reply can hand over to WeChat's own agents"
)

// gatewayWaits tells whether an attempt of WeChat may be answered with a reply: a gateway holds the
// connection of the first one, or a stretch account will have a later one answered.
func gatewayWaits(ev *eventv1.InboundEvent) bool {
	if !ev.GetAcceptsPassive() || ev.GetReplyMode() == eventv1.ReplyMode_REPLY_MODE_ACK {
		return false
	}
	return ev.GetReplyMode() == eventv1.ReplyMode_REPLY_MODE_STRETCH || isHeld(ev)
}

// isHeld tells whether a gateway holds the connection of the first attempt for an offer.
func isHeld(ev *eventv1.InboundEvent) bool {
	return ev.GetPassiveDeadlineUnixMs() > 0 && ev.GetGatewayInstance() != ""
}

// plan makes the first version of the record of an event: the way that the first reply takes, and
// the claim of the gateway that it is about to be offered to.
func plan(ev *eventv1.InboundEvent, acct account.Account, v verdict, now time.Time, o Options) *rulev1.DecisionMade {
	received := time.UnixMilli(ev.GetReceivedUnixMs())
	rec := &rulev1.DecisionMade{
		Id: ev.GetId(), Account: ev.GetAccount(), Openid: ev.GetOpenid(), CreateTime: ev.GetCreateTime(),
		Rule: v.rule, RuleSetVersion: v.version, Matched: v.matched,
		Replies: v.replies, Queue: v.queue, Tags: v.tags, Reason: v.reason,
		DecidedUnixMs:      now.UnixMilli(),
		PassiveUntilUnixMs: decision.PassiveUntil(received, o.AttemptTimeout).UnixMilli(),
		KfAllowed:          acct.AllowsKf(),
		ClearTags:          v.untag, DelaysMs: v.delaysMs(), OwnerEpoch: v.epoch, Fan: v.fan,
	}
	switch {
	case v.queue != "":
		planQueue(rec, ev, acct, now, o)
	case len(v.replies) == 0:
		rec.Route = rulev1.Route_ROUTE_NONE
	case ev.GetKind() == eventv1.EventKind_EVENT_KIND_UNSUBSCRIBE:
		rec.Route, rec.Reason = rulev1.Route_ROUTE_NONE, reasonNoReply
	case v.replies[0].GetNativeTransfer() != nil:
		planNative(rec, ev, acct, now, o)
	default:
		planContent(rec, ev, acct, now, o)
	}
	return rec
}

// planQueue lets the fan join a queue. The welcome goes passively when there is time: it costs no quota then, and
// accounts without the customer-service API have no other way.
func planQueue(rec *rulev1.DecisionMade, ev *eventv1.InboundEvent, acct account.Account, now time.Time, o Options) {
	rec.Route = rulev1.Route_ROUTE_QUEUE
	if len(rec.GetReplies()) > 0 && offersContent(ev, rec.GetReplies()[0]) && servable(rec, ev, acct, now, o) {
		rec.Route = rulev1.Route_ROUTE_PASSIVE
	}
}

// offersContent tells whether the fan could see a message as the answer to the event.
func offersContent(ev *eventv1.InboundEvent, c *eventv1.Content) bool {
	return gatewayWaits(ev) && ev.GetAccountKind() != eventv1.AccountKind_ACCOUNT_KIND_MINIPROGRAM && ruleset.PassiveForm(c)
}

// planNative routes a hand-over to WeChat's own agents, which exists only as a passive reply.
func planNative(rec *rulev1.DecisionMade, ev *eventv1.InboundEvent, acct account.Account, now time.Time, o Options) {
	switch {
	case !gatewayWaits(ev):
		rec.Route, rec.Reason = rulev1.Route_ROUTE_REFUSED, reasonNativeMode
	case !servable(rec, ev, acct, now, o):
		rec.Route, rec.Reason = rulev1.Route_ROUTE_REFUSED, reasonLate
	default:
		rec.Route = rulev1.Route_ROUTE_NATIVE
	}
}

// planContent routes a message: passively when there is time, else by the sender, else not at all.
func planContent(rec *rulev1.DecisionMade, ev *eventv1.InboundEvent, acct account.Account, now time.Time, o Options) {
	wanted := offersContent(ev, rec.GetReplies()[0])
	switch {
	case wanted && servable(rec, ev, acct, now, o):
		rec.Route = rulev1.Route_ROUTE_PASSIVE
	case acct.AllowsKf():
		rec.Route = rulev1.Route_ROUTE_ASYNC
		if wanted {
			rec.Reason = reasonLate
		}
	case wanted:
		rec.Route, rec.Reason = rulev1.Route_ROUTE_REFUSED, reasonLate+", and "+reasonNoKf
	case !ev.GetAcceptsPassive():
		rec.Route, rec.Reason = rulev1.Route_ROUTE_NONE, reasonNoReply
	default:
		rec.Route, rec.Reason = rulev1.Route_ROUTE_REFUSED, reasonNoKf
	}
}

// servable tells whether an attempt of WeChat can still be answered. It adds the claim of the gateway
// that holds the connection, unless the attempts are held on purpose and the last one will claim.
func servable(rec *rulev1.DecisionMade, ev *eventv1.InboundEvent, acct account.Account, now time.Time, o Options) bool {
	if holdsAttempts(ev, acct) {
		return now.UnixMilli() < rec.GetPassiveUntilUnixMs()
	}
	deadline := time.UnixMilli(ev.GetPassiveDeadlineUnixMs())
	if deadline.Sub(now) < o.MinTimeLeft {
		return false
	}
	rec.Claims = []*rulev1.Claim{{
		Server: ev.GetGatewayInstance(), State: rulev1.ClaimState_CLAIM_STATE_PENDING, UntilUnixMs: ev.GetPassiveDeadlineUnixMs(),
	}}
	return true
}

// holdsAttempts tells whether attempts 1 and 2 are left to time out, so that nothing is offered.
func holdsAttempts(ev *eventv1.InboundEvent, acct account.Account) bool {
	return ev.GetReplyMode() == eventv1.ReplyMode_REPLY_MODE_STRETCH && (!acct.StretchAnswerEarly || !isHeld(ev))
}
