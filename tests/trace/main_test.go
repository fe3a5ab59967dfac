// Package trace follows one push through the whole system by its trace id: HTTP, NATS, gRPC and the call
// to WeChat's API, with every service in this process and spans kept in memory.
package trace

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/wxbus/wxbus/pkg/testkit"
)

// nats.go 1.55.0 leaves this goroutine behind for each object put, now and then; the rule service puts its rules.
func TestMain(m *testing.M) {
	testkit.Main(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats.go/jetstream.(*jetStream).resetPendingAcksOnReconnect"))
}
