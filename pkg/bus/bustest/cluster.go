package bustest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/natsembed"
	"github.com/wxbus/wxbus/pkg/testkit"
)

// ClusterEnv is several servers in one process with replicated streams.
type ClusterEnv struct {
	*Env
	// Servers in the order of their names: bustest-0, bustest-1, …
	Servers []*natsembed.Server
	// URLs of the servers, in the same order.
	URLs []string
}

// Cluster starts n servers with routes on loopback, TCP listeners, and streams in memory with n replicas.
func Cluster(t testing.TB, n int, opts ...Option) *ClusterEnv {
	t.Helper()
	c := newConfig(opts)
	c.topology.Replicas = n
	if c.topology.Store == 0 && !c.file {
		c.topology.Store = 256 << 20
	}
	routes, err := testkit.FreePorts(n) // NATS cannot tell its routes a port that it chose itself
	require.NoError(t, err)
	e := &ClusterEnv{Env: &Env{options: c}}
	urls := make([]string, n)
	for i, port := range routes {
		urls[i] = fmt.Sprintf("nats-route://127.0.0.1:%d", port)
	}
	for i, port := range routes {
		server := natsembed.New(natsembed.Options{
			Name: fmt.Sprintf("bustest-%d", i), Listen: "127.0.0.1:-1", Log: c.log,
			Memory: !c.file, StoreDir: storeDir(t, c.file), SyncAlways: c.file,
			Cluster: &natsembed.ClusterOptions{Name: "bustest", Listen: fmt.Sprintf("127.0.0.1:%d", port), Routes: urls},
		})
		require.NoError(t, server.Start(t.Context()))
		t.Cleanup(func() { stopServer(t, server) })
		e.Servers = append(e.Servers, server)
		e.URLs = append(e.URLs, server.ClientURL())
	}
	e.Server, e.URL = e.Servers[0], e.URLs[0]
	for _, s := range e.Servers {
		require.Eventually(t, func() bool { return s.Healthy() == nil }, 2*time.Minute, 50*time.Millisecond, "cluster has no leader")
	}
	e.provision(t)
	return e
}

// NewClientConn returns a connection over TCP that knows all servers; conns is bus.Options.Conns.
func (e *ClusterEnv) NewClientConn(t testing.TB, name string, conns int) *bus.Conn {
	t.Helper()
	o := e.connOptions(name)
	o.URLs, o.Conns = e.URLs, conns
	return connect(t, o)
}
