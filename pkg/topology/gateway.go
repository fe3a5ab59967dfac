package topology

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The streams of the gateway.
const (
	StreamInbound = "INBOUND"
	StreamSpill   = "INBOUND_SPILL"
)

func gatewayStreams() []streamSpec {
	return []streamSpec{
		{
			writer: ServiceGateway, readers: "rule, sender, agent-routing, console (events out, timelines)",
			types: "wxbus.event.v1.InboundEvent", key: "`id` (dedupe key of the push)", share: 300,
			note: "Limits, not WorkQueue: a work queue forgets its dedupe ids after a restart.",
			config: jetstream.StreamConfig{
				Name: StreamInbound, Description: "pushes of WeChat, one message for each push",
				Subjects:  []string{prefixInbound + ">"},
				Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
				MaxAge: 3 * day, Duplicates: duplicates, MaxMsgSize: maxMsgSize,
			},
		},
		{
			writer: ServiceGateway, readers: "gateway (spill mover)",
			types: "wxbus.event.v1.InboundEvent", key: "`id` (dedupe key of the push)", share: 40,
			note: "Its leader is kept on another server than that of INBOUND.",
			config: jetstream.StreamConfig{
				Name: StreamSpill, Description: "pushes that INBOUND did not acknowledge in time",
				Subjects:  []string{prefixSpill + ">"},
				Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
				MaxAge: 3 * day, Duplicates: duplicates, MaxMsgSize: maxMsgSize,
			},
		},
	}
}

// moverAckWait is how long a spilled push waits that got lost between the server and the mover, and its fan's next ones
// with it. What the mover holds is confirmed three times within it, so that an election of up to 9 s does not deliver it again.
const moverAckWait = 15 * time.Second

func gatewayConsumers(t *Topology) []Consumer {
	c := t.consumer(ServiceGateway, StreamSpill, DurableSpillMover, "brings spilled pushes to INBOUND", []string{prefixSpill + ">"})
	c.Config.AckWait = min(c.Config.AckWait, moverAckWait)
	return []Consumer{c}
}

// inboundOf returns the filter of one partition of INBOUND.
func inboundOf(partition uint32) []string {
	return []string{fmt.Sprintf("%s*.%d.>", prefixInbound, partition)}
}
