package stack

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wxbus/wxbus/tests/link"
)

// Network is the proxies between everybody and the NATS servers. Servers do not tell each other or their
// clients any other way.
type Network struct {
	servers []string                // host:port for clients
	between [][]*link.Link          // routes, by who connects and to whom
	clients map[string][]*link.Link // by process, one for each server
}

func newNetwork(t testing.TB, urls []string, ports []int) *Network {
	n := &Network{clients: map[string][]*link.Link{}}
	for from, u := range urls {
		n.servers = append(n.servers, strings.TrimPrefix(u, "nats://"))
		row := make([]*link.Link, len(ports))
		for to, port := range ports {
			if to != from {
				row[to] = link.New(t, fmt.Sprintf("127.0.0.1:%d", port))
			}
		}
		n.between = append(n.between, row)
	}
	return n
}

// Servers returns the links between two NATS servers: the first and the second are by who connects.
func (n *Network) Servers(a, b int) []*link.Link {
	return []*link.Link{n.between[a][b], n.between[b][a]}
}

// Clients returns the links of a process to the NATS servers, for example of "gateway-0".
func (n *Network) Clients(process string) []*link.Link { return n.clients[process] }

// Processes calls f with the links of each process to the NATS servers.
func (n *Network) Processes(f func(process string, links []*link.Link)) {
	for process, links := range n.clients {
		f(process, links)
	}
}

// routes are those of one server. What a server tells the others about itself leads nowhere: they have a
// route to it already.
func (n *Network) routes(from int) string {
	var urls []string
	for to, l := range n.between[from] {
		if to != from {
			urls = append(urls, "nats://"+l.Addr())
		}
	}
	return `advertise: "127.0.0.1:1", routes: [` + strings.Join(urls, ", ") + "]"
}

// urls are the servers as one process sees them; a process that starts again keeps its links.
func (n *Network) urls(t testing.TB, process string) []string {
	if n.clients[process] == nil {
		for _, server := range n.servers {
			n.clients[process] = append(n.clients[process], link.New(t, server))
		}
	}
	var urls []string
	for _, l := range n.clients[process] {
		urls = append(urls, "nats://"+l.Addr())
	}
	return urls
}
