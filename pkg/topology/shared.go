package topology

import "github.com/nats-io/nats.go/jetstream"

// The streams that no single service owns.
const (
	StreamDeadLetters = "DLQ"
	StreamAdvisories  = "ADVISORIES"
)

func sharedStreams() []streamSpec {
	return []streamSpec{
		{
			writer: "every reader, through pkg/bus, below its own name", readers: "console, command line",
			types: "the message that could not be handled", key: "`dlq:<stream>:<sequence>:<service>`", share: 30,
			config: jetstream.StreamConfig{
				Name: StreamDeadLetters, Description: "messages that could not be handled",
				Subjects:  []string{prefixDeadLetter + ">"},
				Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
				MaxAge: 30 * day, Duplicates: duplicates, MaxMsgSize: maxMsgSize + 64<<10,
			},
		},
		{
			writer: "the NATS server", readers: "console, alerts", types: "JSON advisories of JetStream", key: "none", share: 2,
			note: "Old ones give way: the server does not wait for an answer.",
			config: jetstream.StreamConfig{
				Name: StreamAdvisories, Description: "advisories of JetStream: deliveries that were given up, lost leaders",
				Subjects:  []string{prefixAdvisory + "CONSUMER.MAX_DELIVERIES.>", prefixAdvisory + "CONSUMER.MSG_TERMINATED.>", prefixAdvisory + "STREAM.>"},
				Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
				MaxAge: 3 * day, Duplicates: duplicates, MaxMsgSize: maxMsgSize,
			},
		},
	}
}
