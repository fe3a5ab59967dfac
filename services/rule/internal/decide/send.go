package decide

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sendid"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

const (
	// sendTimeout bounds one call of the sender, which only has to store the message.
	sendTimeout = 5 * time.Second

	firstPause = 50 * time.Millisecond
	lastPause  = 2 * time.Second
)

// finish sends what the sender owns of a settled record, in order.
func (w *work) finish(ctx context.Context) error {
	if err := w.apply(ctx); err != nil {
		return err
	}
	first := 1
	switch w.rec.GetRoute() {
	case rulev1.Route_ROUTE_ASYNC, rulev1.Route_ROUTE_QUEUE:
		first = 0
	case rulev1.Route_ROUTE_NONE:
		first = len(w.rec.GetReplies())
	default: // the gateway, or nobody, has the first one
	}
	for i := first; i < len(w.rec.GetReplies()); i++ {
		if err := w.delay(ctx, i); err != nil {
			return err
		}
		goOn, err := w.send(ctx, i)
		if err != nil {
			return err
		}
		if !goOn {
			break
		}
	}
	w.report(ctx)
	return w.awaitSettled(ctx)
}

// send gives one reply to the sender. It returns false when those after it must not follow.
func (w *work) send(ctx context.Context, i int) (bool, error) {
	if !w.rec.GetKfAllowed() {
		w.metrics.sent(ctx, "not_allowed")
		return false, nil
	}
	request := w.request(i)
	if w.rec.GetQueue() == "" {
		// Somebody may have taken the fan while the rule was thinking, and given it back since. The welcome of
		// a queue is said although the queue owns the fan.
		silent, epoch := w.Owners.Of(w.ev.GetAccount(), w.ev.GetOpenid())
		if silent != "" || epoch != w.rec.GetOwnerEpoch() {
			w.metrics.sent(ctx, "silent")
			return false, nil
		}
		request.OwnerEpoch = epoch
	}
	err := w.deliver(ctx, request)
	switch {
	case err == nil, status.Code(err) == codes.AlreadyExists:
		// The key is ours alone: with other content it is this reply, sent by an earlier delivery.
		w.metrics.sent(ctx, "accepted")
	case fault.Dispose(err) == fault.DeadLetter:
		w.metrics.sent(ctx, "refused")
		w.Log.InfoContext(ctx, "reply refused", logkey.Account, w.ev.GetAccount(), logkey.EventID, w.ev.GetId(),
			logkey.ErrorKind, fault.KindOf(err), logkey.Error, err)
	default:
		w.metrics.sent(ctx, "failed")
		return false, err
	}
	return true, nil
}

func (w *work) request(i int) *senderv1.SendRequest {
	return &senderv1.SendRequest{
		Account: w.ev.GetAccount(), Openid: w.ev.GetOpenid(), IdempotencyKey: sendid.ReplyKey(w.ev.GetId(), i),
		Lane: senderv1.Lane_LANE_RULE, Content: w.rec.GetReplies()[i], Cause: w.ev.GetId(), Evidence: evidence(w.ev),
	}
}

// evidence is the action of the fan that opens the window for a reply.
func evidence(ev *eventv1.InboundEvent) *senderv1.GrantEvidence {
	return &senderv1.GrantEvidence{
		EventId: ev.GetId(), Kind: ev.GetKind(), Event: ev.GetEvent(), CreateTime: ev.GetCreateTime(),
		MenuTap: ev.GetText().GetBizMsgMenuId() != "",
	}
}

// deliver calls the sender, again while it is not available and patience lasts.
func (w *work) deliver(ctx context.Context, request *senderv1.SendRequest) error {
	giveUp := time.Now().Add(w.SendPatience)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := w.sendOnce(ctx, request)
		if err == nil || fault.Dispose(err) == fault.DeadLetter || status.Code(err) == codes.AlreadyExists {
			return err
		}
		if after, ok := fault.RetryAfter(err); ok {
			pause = max(pause, after)
		}
		if time.Now().Add(pause).After(giveUp) {
			return err
		}
		if stop := w.sleep(ctx, pause); stop != nil {
			return stop
		}
	}
}

func (w *work) sendOnce(ctx context.Context, request *senderv1.SendRequest) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	resp, err := w.Sender.Send(ctx, request)
	if err == nil {
		w.sent = resp.GetId()
		w.sentAt = time.Time{}
		if !resp.GetReplayed() {
			w.sentAt = time.Now()
		}
	}
	return fault.FromStatus(err)
}

// report writes the one line about an event.
func (w *work) report(ctx context.Context) {
	received := time.UnixMilli(w.ev.GetReceivedUnixMs())
	took := w.Now().Sub(received)
	w.metrics.finished(ctx, w.rec, took)
	w.Log.InfoContext(ctx, "decided", logkey.Account, w.ev.GetAccount(), logkey.EventID, w.ev.GetId(),
		logkey.ReplyRoute, decision.RouteName(w.rec.GetRoute()), logkey.Rule, w.rec.GetRule(), logkey.RuleVersion, w.rec.GetRuleSetVersion(),
		"replies", len(w.rec.GetReplies()), logkey.Reason, w.rec.GetReason(), logkey.Took, took)
}
