package topology

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The stream, buckets and object store of the rule service.
const (
	StreamDecisions = "DECISIONS"
	BucketRules     = "rules"
	BucketFans      = "fans"
	BucketDialogs   = "dialogs"
	StoreRuleSets   = "rule_sets"
)

func ruleStreams() []streamSpec {
	return []streamSpec{{
		writer: "rule (gateways change claims only, by compare-and-set)", readers: "gateway, agent-routing, console",
		types: "wxbus.rule.v1.DecisionMade", key: "`id` of the push; every write expects the last sequence of the subject",
		share: 120, leaderReads: true,
		note: "One message for each subject: the record of the decision as it is now.",
		config: jetstream.StreamConfig{
			Name: StreamDecisions, Description: "one decision record for each push",
			Subjects:  []string{prefixDecision + ">"},
			Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, MaxMsgsPerSubject: 1,
			MaxAge: 3 * day, Duplicates: duplicates, MaxMsgSize: maxMsgSize,
		},
	}}
}

func ruleBuckets() []bucketSpec {
	return []bucketSpec{{
		writer: ServiceRule, readers: "rule", types: "pointer to a published rule set", key: "name of the pointer", share: 1,
		note:   "Every replica watches it and swaps the compiled set.",
		config: jetstream.KeyValueConfig{Bucket: BucketRules, Description: "which rule set is published", History: 1},
	}, {
		writer: ServiceRule, readers: "rule", types: "wxbus.rule.v1.FanRecord", key: "`<account>.<openid>`", share: 10,
		note:   "Read only for rules with conditions about the fan.",
		config: jetstream.KeyValueConfig{Bucket: BucketFans, Description: "what rules know about a fan", History: 1, LimitMarkerTTL: time.Minute},
	}, {
		writer: ServiceRule, readers: "rule", types: "wxbus.rule.v1.FormState, wxbus.rule.v1.ChatHistory, tokens of chat models",
		key: "`form.<account>.<openid>`, `chat.<account>.<openid>`, `tokens.<provider>.<day>`", share: 4,
		config: jetstream.KeyValueConfig{Bucket: BucketDialogs, Description: "conversations of fans with rules", History: 1,
			TTL: 25 * time.Hour, LimitMarkerTTL: time.Minute},
	}}
}

func ruleObjects() []objectSpec {
	return []objectSpec{{
		writer: ServiceRule, readers: "rule", types: "published rule sets", key: "version of the set", share: 30,
		config: jetstream.ObjectStoreConfig{Bucket: StoreRuleSets, Description: "published rule sets by version"},
	}}
}

func ruleConsumers(t *Topology) []Consumer {
	return partitioned(t, ServiceRule, StreamInbound, "decides about pushes", inboundOf)
}
