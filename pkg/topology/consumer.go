package topology

import (
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// The names of the services, as they appear in durables, dead letters and metrics.
const (
	ServiceGateway      = "gateway"
	ServiceRule         = "rule"
	ServiceToken        = "token"
	ServiceSender       = "sender"
	ServiceAgentRouting = "agent-routing"
	ServiceConsole      = "console"
)

// maxAckPending bounds what one durable has given out or parked for a later try. It is larger than
// any reader's window, so that messages which wait for their delay do not stop the others.
const maxAckPending = 2048

// durableStems are the durables without their partition, by service and stream.
var durableStems = map[[2]string]string{
	{ServiceRule, StreamInbound}:           "rule",
	{ServiceSender, StreamInbound}:         "sender-in",
	{ServiceSender, StreamOutbound}:        "sender-out",
	{ServiceAgentRouting, StreamInbound}:   "agent-in",
	{ServiceAgentRouting, StreamDecisions}: "agent-dec",
	{ServiceAgentRouting, StreamDelivery}:  "agent-dlv",
}

// Durable returns the name of the durable with which a service reads one partition of a stream, for
// example "rule-07", or "" when the service does not read the stream by partition. The campaign lane
// of OUTBOUND has durables of its own: DurableCampaign.
func Durable(service, stream string, partition uint32) string {
	stem, ok := durableStems[[2]string{service, stream}]
	if !ok {
		return ""
	}
	return numbered(stem, partition)
}

// DurableCampaign returns the name of the durable with which the sender reads the campaign lane of one
// partition. Bulk traffic is read apart, so that a campaign that waits for its quota never stands in
// front of an agent's message.
func DurableCampaign(partition uint32) string { return numbered("sender-bulk", partition) }

// DurableSpillMover is the durable with which gateways bring spilled pushes home; it has no partitions.
const DurableSpillMover = "spill-mover"

// DurableLater is the durable with which the sender brings messages whose time has come to OUTBOUND; it has no
// partitions.
const DurableLater = "sender-later"

func numbered(stem string, partition uint32) string { return fmt.Sprintf("%s-%02d", stem, partition) }

// partitioned returns one durable for each partition. filters gives the filter subjects of a partition.
func partitioned(t *Topology, service, stream, description string, filters func(partition uint32) []string) []Consumer {
	out := make([]Consumer, t.opts.Partitions)
	for p := range uint32(t.opts.Partitions) {
		out[p] = t.consumer(service, stream, Durable(service, stream, p), description, filters(p))
		out[p].Partition = p
	}
	return out
}

// consumer returns one pinned durable: of all processes that read it, one gets the messages and the
// others stand by.
func (t *Topology) consumer(service, stream, durable, description string, filters []string) Consumer {
	c := jetstream.ConsumerConfig{
		Durable:        durable,
		Description:    description,
		DeliverPolicy:  jetstream.DeliverAllPolicy,
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        t.opts.AckWait,
		MaxDeliver:     MaxDeliver,
		MaxAckPending:  maxAckPending,
		ReplayPolicy:   jetstream.ReplayInstantPolicy,
		PriorityPolicy: jetstream.PriorityPolicyPinned,
		PriorityGroups: []string{PriorityGroup},
		PinnedTTL:      t.opts.PinnedTTL,
		Metadata: map[string]string{
			"wxbus.service":     service,
			"wxbus.dead_letter": prefixDeadLetter + service + "." + stream,
		},
	}
	if len(filters) == 1 {
		c.FilterSubject = filters[0]
	} else {
		c.FilterSubjects = filters
	}
	return Consumer{Stream: stream, Service: service, Config: c}
}
