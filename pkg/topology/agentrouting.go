package topology

import (
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// The stream and bucket of agent routing.
const (
	StreamConversations = "CONVERSATIONS"
	BucketOwners        = "owners"
)

func agentRoutingStreams() []streamSpec {
	return []streamSpec{{
		writer: ServiceAgentRouting, readers: "console", types: "wxbus.agentrouting.v1.ConversationEvent, wxbus.agentrouting.v1.OwnerChanged",
		key: "`<account>:<conversation>:<number>`, `<account>:<openid>:<epoch>`", share: 120,
		note: "Numbered by the stream, so that a browser resumes without a gap.",
		config: jetstream.StreamConfig{
			Name: StreamConversations, Description: "facts of conversations",
			Subjects:  []string{prefixConversation + ">"},
			Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
			MaxAge: 180 * day, Duplicates: duplicates, MaxMsgSize: maxMsgSize,
		},
	}}
}

func agentRoutingBuckets() []bucketSpec {
	return []bucketSpec{{
		writer: ServiceAgentRouting, readers: "rule, sender, console", types: "wxbus.agentrouting.v1.OwnerRecord",
		key: "`<account>.<openid>`", share: 29,
		config: jetstream.KeyValueConfig{Bucket: BucketOwners, Description: "who may talk to a fan", History: 1, TTL: 30 * day},
	}}
}

func agentRoutingConsumers(t *Topology) []Consumer {
	out := partitioned(t, ServiceAgentRouting, StreamInbound, "keeps what fans say", inboundOf)
	out = append(out, partitioned(t, ServiceAgentRouting, StreamDecisions, "puts fans into waiting lists", func(p uint32) []string {
		return []string{fmt.Sprintf("%s*.%d.>", prefixDecision, p)}
	})...)
	return append(out, partitioned(t, ServiceAgentRouting, StreamDelivery, "tells agents what became of their messages", func(p uint32) []string {
		return []string{fmt.Sprintf("%s*.%d.>", prefixDelivery, p)}
	})...)
}
