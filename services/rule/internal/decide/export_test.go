package decide

import (
	"time"

	"github.com/wxbus/wxbus/pkg/account"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

// Plan is plan for a rule with one reply.
func Plan(ev *eventv1.InboundEvent, acct account.Account, native bool, now time.Time, attempt, minTimeLeft time.Duration) *rulev1.DecisionMade {
	content := &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: "x"}}}
	if native {
		content = &eventv1.Content{Body: &eventv1.Content_NativeTransfer{NativeTransfer: &eventv1.NativeTransfer{}}}
	}
	v := verdict{replies: []*eventv1.Content{content}}
	return plan(ev, acct, v, now, Options{AttemptTimeout: attempt, MinTimeLeft: minTimeLeft})
}
