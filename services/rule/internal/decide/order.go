package decide

import (
	"context"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

const (
	firstLook = 5 * time.Millisecond
	lastLook  = 250 * time.Millisecond
	lookTime  = time.Second // of one question to the sender
)

// awaitSettled keeps the fan's lane until the last message that the sender took has left, so that a passive
// reply to the fan's next push cannot overtake it. The sender keeps the order among its own messages, so the
// last one speaks for all. It gives up after OrderPatience, and at once for a message that is parked until a quota
// resets: answering the fan's next push late by hours is worse than out of order.
func (w *work) awaitSettled(ctx context.Context) error {
	if w.sent == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, w.OrderPatience)
	defer cancel()
	for pause := firstLook; !w.settled(ctx); pause = min(2*pause, lastLook) {
		if w.sleep(ctx, pause) != nil {
			// Out of patience, or the process stops. What had to be stored is stored: this is the end of the work.
			w.metrics.sent(ctx, "left_under_way")
			return nil
		}
	}
	return nil
}

// settled asks the sender. While it is not available the answer is no.
func (w *work) settled(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	resp, err := w.Sender.GetSend(ctx, &senderv1.GetSendRequest{Account: w.ev.GetAccount(), Id: w.sent})
	if err != nil {
		kind := fault.KindOf(fault.FromStatus(err))
		return kind != fault.Unavailable && kind != fault.Retryable && kind != fault.Exhausted
	}
	switch resp.GetRecord().GetState() {
	case senderv1.SendState_SEND_STATE_QUEUED, senderv1.SendState_SEND_STATE_CALLING:
		return false
	default:
		return true
	}
}
