// Package trace follows one push through the whole system by its trace id: HTTP, NATS, gRPC and the call
// to WeChat's API, with every service in this process and spans kept in memory.
package trace

import (
	"testing"

	"github.com/wxbus/wxbus/pkg/testkit"
)

func TestMain(m *testing.M) {
	testkit.Main(m)
}
