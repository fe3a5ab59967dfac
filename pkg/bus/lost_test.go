package bus_test

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/topology"
)

// leaky is a way to a server on which what the server sends can get lost.
type leaky struct {
	listener net.Listener
	server   string
	running  sync.WaitGroup

	mu    sync.Mutex // guards pipes
	pipes []*pipe
}

func newLeaky(t *testing.T, url string) *leaky {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &leaky{listener: listener, server: strings.TrimPrefix(url, "nats://")}
	l.running.Go(l.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		l.reset()
		l.running.Wait()
	})
	return l
}

func (l *leaky) url() string { return "nats://" + l.listener.Addr().String() }

func (l *leaky) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return // closed
		}
		far, err := net.Dial("tcp", l.server)
		if err != nil {
			_ = near.Close()
			continue
		}
		p := &pipe{near: near, far: far}
		l.mu.Lock()
		l.pipes = append(l.pipes, p)
		l.mu.Unlock()
		for _, copy := range []func(){func() { _, _ = io.Copy(far, near) }, func() { _, _ = io.Copy(p, far) }} {
			l.running.Go(func() {
				defer p.close()
				copy()
			})
		}
	}
}

// lose lets everything get lost that the server sends on the connections there are.
func (l *leaky) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.pipes {
		p.losing.Store(true)
	}
}

// reset ends every connection; new ones work and lose nothing.
func (l *leaky) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.pipes {
		p.close()
	}
	l.pipes = nil
}

// pipe is one connection. Written to it is what the server sends.
type pipe struct {
	near, far net.Conn
	losing    atomic.Bool
}

func (p *pipe) Write(b []byte) (int, error) {
	if p.losing.Load() {
		return len(b), nil
	}
	return p.near.Write(b)
}

func (p *pipe) close() {
	_ = p.near.Close()
	_ = p.far.Close()
}

// TestWhatGotLostOnTheWayHoldsItsLane loses a message between the server and the reader, whose connection breaks then.
// The reader keeps the partition, so nothing is taken over; the server delivers the message again only after AckWait,
// and newer ones of the same fan before.
func TestWhatGotLostOnTheWayHoldsItsLane(t *testing.T) {
	e := bustest.Start(t, bustest.WithListen(), bustest.WithTopology(topology.Options{Partitions: 1, PinnedTTL: 2 * time.Minute, AckWait: 5 * time.Second}))
	way := newLeaky(t, e.URL)
	conn, err := bus.Connect(t.Context(), bus.Options{Name: "reader", URLs: []string{way.url()}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	var done record
	bustest.Run(t, conn.NewConsumer(ruleConsumer(nil), func(_ context.Context, d *bus.Delivery) error {
		done.add(string(d.Data))
		return nil
	}))
	publish(t, e.Conn, "a", "a1")
	durable, err := e.JS.Consumer(t.Context(), "INBOUND", "rule-00")
	require.NoError(t, err)
	server := func(knows func(*jetstream.ConsumerInfo) bool) {
		require.Eventually(t, func() bool {
			info, err := durable.Info(t.Context())
			return err == nil && knows(info)
		}, wait, 5*time.Millisecond)
	}
	server(func(i *jetstream.ConsumerInfo) bool { return i.AckFloor.Stream == 1 })

	way.lose()
	publish(t, e.Conn, "a", "a2")
	server(func(i *jetstream.ConsumerInfo) bool { return i.Delivered.Stream == 2 })
	way.reset()
	require.Eventually(t, func() bool { return conn.NC().Stats().Reconnects > 0 && conn.Healthy() == nil }, wait, 5*time.Millisecond)
	publish(t, e.Conn, "a", "a3")
	done.eventually(t, "a1", "a2", "a3")
}
