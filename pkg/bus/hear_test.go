package bus_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/bus/bustest"
)

func TestHearListensOnEveryConnection(t *testing.T) {
	t.Parallel()
	e := bustest.Cluster(t, 3)
	c := e.NewClientConn(t, "listener", 2)
	var mu sync.Mutex
	heard := map[string]int{} // how often, by subject
	h, err := c.Hear([]string{"a.>", "b"}, func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		heard[m.Subject]++
	}, func() {})
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close()) }()
	// The other servers hear of the subscriptions in their own time.
	n := 0
	require.Eventually(t, func() bool {
		n++
		require.NoError(t, e.Conn.NC().Publish(fmt.Sprintf("a.%d", n), nil))
		mu.Lock()
		defer mu.Unlock()
		for _, times := range heard {
			if times == 2 {
				return true
			}
		}
		return false
	}, 30*time.Second, 10*time.Millisecond, "one message once on each connection")
}

func TestWhoHasNoConnectionIsDeaf(t *testing.T) {
	e := bustest.Start(t, bustest.WithListen())
	c := e.NewConn(t, "listener")
	deaf := make(chan struct{}, 8)
	h, err := c.Hear([]string{"a"}, func(*nats.Msg) {}, func() { deaf <- struct{}{} })
	require.NoError(t, err)
	require.NoError(t, e.Server.Stop(t.Context()))
	<-deaf
	require.NoError(t, h.Close())
	require.NoError(t, h.Close(), "twice is fine")
}
