package rule_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkDecide takes events from INBOUND through match, record, offer and settling, with the server,
// the gateway and the rule service in one process; 32 fans at a time.
func BenchmarkDecide(b *testing.B) {
	r := newRig(b)
	answered := make(chan struct{}, 1024)
	answer := always(delivered)
	r.gateway(func(o *offer) (outcome, error) {
		answered <- struct{}{}
		return answer(o)
	})
	r.replica("rule-a", r.rules(rulesText))
	inFlight := 0
	b.ResetTimer()
	for i := range b.N {
		ev := r.text("shop", fmt.Sprintf("fan%d", i%997), "hello")
		ev.PassiveDeadlineUnixMs = time.Now().Add(time.Minute).UnixMilli()
		r.push(ev)
		if inFlight++; inFlight == 32 {
			<-answered
			inFlight--
		}
	}
	for range inFlight {
		select {
		case <-answered:
		case <-time.After(patience):
			require.Fail(b, "an event was not offered")
		}
	}
	b.StopTimer()
	r.settled()
}
