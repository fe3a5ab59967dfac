package rule_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

func TestTheNextPushWaitsUntilTheRepliesToTheLastOneHaveLeft(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var left atomic.Bool
	asked := make(chan struct{}, 1000)
	r.sender.state = func(string) senderv1.SendState {
		asked <- struct{}{}
		if left.Load() {
			return senderv1.SendState_SEND_STATE_SENT
		}
		return senderv1.SendState_SEND_STATE_CALLING
	}
	r.replica("rule-a", r.rules(rulesText))

	first := r.push(r.text("ackonly", "o_fan", "hello"))
	second := r.push(r.text("ackonly", "o_fan", "hello"))
	r.record(first, hasRoute(rulev1.Route_ROUTE_ASYNC))
	for range 5 { // the first message is under way, and the sender is asked again and again
		<-asked
	}
	require.Len(t, r.sender.got(), 1, "the second push is decided only after the first reply has left")
	left.Store(true)
	r.record(second, hasRoute(rulev1.Route_ROUTE_ASYNC))
	require.Eventually(t, func() bool { return len(r.sender.got()) == 2 }, 30*time.Second, 10*time.Millisecond)
}

func TestAParkedReplyDoesNotHoldTheFan(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.sender.state = func(string) senderv1.SendState { return senderv1.SendState_SEND_STATE_PARKED }
	r.replica("rule-a", r.rules(rulesText))
	r.push(r.text("ackonly", "o_fan", "hello"))
	r.push(r.text("ackonly", "o_fan", "hello"))
	require.Eventually(t, func() bool { return len(r.sender.got()) == 2 }, 30*time.Second, 10*time.Millisecond)
}
