package chaos

import (
	"time"

	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/tests/link"
)

// partition cuts the network in four ways, one after the other. What is cut is silent: nobody gets a reset.
func partition(x *trial) {
	leader := x.leader(x.t, topology.StreamInbound)
	ways := []struct {
		what  string
		links []*link.Link
		drop  []link.Way
	}{
		{"the leader of INBOUND from the other servers", x.around(leader), nil},
		{"gateway-0 from one NATS server", x.Network.Clients("gateway-0")[x.random.IntN(len(x.NATS)):][:1], nil},
		{"sender-0 and rule-0 from NATS", append(x.Network.Clients("sender-0"), x.Network.Clients("rule-0")...), nil},
		{"what two servers send to the third, not the way back", x.around(x.random.IntN(len(x.NATS))), []link.Way{link.There}},
	}
	for n, way := range ways {
		x.at((float64(n) + 0.2) / float64(len(ways)))
		x.broke("cut off: %s", way.what)
		for _, l := range way.links {
			l.Drop(way.drop...)
		}
		x.after(max(8*time.Second, x.span/10))
		for _, l := range way.links {
			l.Heal()
		}
		x.healed("healed: %s", way.what)
	}
	x.at(1)
}

// around are the routes between one server and the others.
func (x *trial) around(server int) (links []*link.Link) {
	for other := range x.NATS {
		if other != server {
			links = append(links, x.Network.Servers(server, other)...)
		}
	}
	return links
}
