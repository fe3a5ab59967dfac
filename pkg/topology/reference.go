package topology

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// EventReference returns docs/events.md: what is on the bus, who writes it, who reads it, for how long.
// It is generated, so that it cannot differ from what is provisioned.
func (t *Topology) EventReference() string {
	var b strings.Builder
	b.WriteString("# Events\n\nGenerated from `pkg/topology`; do not edit.\n\n")
	b.WriteString("Messages are protobuf unless said. Every message carries `traceparent`; its `Nats-Msg-Id` is the key below.\n")
	b.WriteString("A stream, bucket or store has one writing service; the sizes are shares of `nats.max_store`.\n\n## Streams\n\n")
	for _, s := range t.streams {
		t.writeStream(&b, s)
	}
	b.WriteString("## Buckets\n\n| bucket | writer | readers | value | key | kept |\n|---|---|---|---|---|---|\n")
	for _, k := range t.buckets {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", k.config.Bucket, k.writer, k.readers, note(k.types, k.note), k.key, age(k.config.TTL))
	}
	b.WriteString("\n## Object stores\n\n| store | writer | readers | objects | name |\n|---|---|---|---|---|\n")
	for _, o := range t.objects {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", o.config.Bucket, o.writer, o.readers, note(o.types, o.note), o.key)
	}
	b.WriteString("\n## Core NATS\n\n| subject | request | answer |\n|---|---|---|\n")
	fmt.Fprintf(&b, "| `%s{instance}` | `wxbus.gateway.v1.OfferReplyRequest` | `wxbus.gateway.v1.OfferReplyResponse` |\n", prefixOffer)
	fmt.Fprintf(&b, "| `%s` | `wxbus.gateway.v1.CollectEvidenceRequest` | `wxbus.gateway.v1.CollectEvidenceResponse`, one from each instance |\n", subjectEvidence)
	fmt.Fprintf(&b, "| `%s` | the id of a push that was spilled and is on INBOUND now, as text | none |\n", subjectHome)
	fmt.Fprintf(&b, "| `%s{account}.{conversation}` | `wxbus.agentrouting.v1.DeskSignal` | none: lost when nobody listens |\n", prefixDeskSignal)
	return b.String()
}

func (t *Topology) writeStream(b *strings.Builder, s streamSpec) {
	fmt.Fprintf(b, "### `%s`\n\n%s.\n\n", s.config.Name, note(sentence(s.config.Description), s.note))
	b.WriteString("| | |\n|---|---|\n")
	row := func(name, value string) { fmt.Fprintf(b, "| %s | %s |\n", name, value) }
	row("subjects", templates(s.config))
	row("messages", s.types)
	row("key", s.key)
	row("writer", s.writer)
	row("readers", s.readers)
	row("kept", fmt.Sprintf("%s, at most %.1f %% of the store; then %s", age(s.config.MaxAge), float64(s.share)/10, discard(s.config.Discard)))
	if s.config.Retention == jetstream.WorkQueuePolicy {
		row("retention", "work queue: gone when acknowledged")
	}
	if durables := t.durableStems(s.config.Name); len(durables) > 0 {
		row("durables", strings.Join(durables, ", "))
	}
	b.WriteString("\n")
}

// durableStems lists the durables of a stream, with NN for the partition.
func (t *Topology) durableStems(stream string) []string {
	var out []string
	for _, c := range t.consumers {
		if c.Stream != stream {
			continue
		}
		name := c.Config.Durable
		if n := len(name); n > 3 && name[n-3] == '-' && name[n-1] >= '0' && name[n-1] <= '9' {
			name = name[:n-2] + "NN"
		}
		text := fmt.Sprintf("`%s` (%s: %s)", name, c.Service, c.Config.Description)
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return out
}

func templates(c jetstream.StreamConfig) string {
	for _, r := range routes {
		if r.stream == c.Name && r.prefix != prefixAdvisory {
			return "`" + r.template + "`"
		}
	}
	return "`" + strings.Join(c.Subjects, "`, `") + "`"
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func note(text, more string) string {
	if more == "" {
		return text
	}
	return text + ". " + strings.TrimSuffix(more, ".")
}

func age(d time.Duration) string {
	switch {
	case d == 0:
		return "for ever"
	case d%day == 0:
		return fmt.Sprintf("%d days", d/day)
	}
	return fmt.Sprintf("%d hours", d/time.Hour)
}

func discard(p jetstream.DiscardPolicy) string {
	if p == jetstream.DiscardOld {
		return "the oldest goes"
	}
	return "new ones are refused"
}
