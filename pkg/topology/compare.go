package topology

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// assets returns the configuration of all streams, those behind buckets and object stores included:
// the server knows nothing else.
func (t *Topology) assets() []jetstream.StreamConfig {
	out := t.Streams()
	for _, b := range t.buckets {
		out = append(out, t.streamOfBucket(b.config))
	}
	for _, o := range t.objects {
		out = append(out, streamOfObjects(o.config))
	}
	return out
}

// streamOfBucket is what nats.go makes of a bucket, but for direct reads: with replicas they may be
// answered by a follower that is behind, and then a caller does not see its own last write.
func (t *Topology) streamOfBucket(b jetstream.KeyValueConfig) jetstream.StreamConfig {
	window := 2 * time.Minute
	if b.TTL > 0 && b.TTL < window {
		window = b.TTL
	}
	return jetstream.StreamConfig{
		Name: bucketStream(b.Bucket), Description: b.Description, Subjects: []string{"$KV." + b.Bucket + ".>"},
		MaxMsgsPerSubject: int64(max(b.History, 1)), MaxBytes: b.MaxBytes, MaxAge: b.TTL, MaxMsgSize: -1,
		Storage: b.Storage, Replicas: b.Replicas, Discard: jetstream.DiscardNew, Duplicates: window,
		MaxMsgs: -1, MaxConsumers: -1, AllowRollup: true, DenyDelete: true,
		AllowDirect: t.opts.Replicas == 1,
		AllowMsgTTL: b.LimitMarkerTTL > 0, SubjectDeleteMarkerTTL: b.LimitMarkerTTL,
	}
}

func streamOfObjects(o jetstream.ObjectStoreConfig) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: objectStream(o.Bucket), Description: o.Description,
		Subjects: []string{"$O." + o.Bucket + ".C.>", "$O." + o.Bucket + ".M.>"},
		MaxAge:   o.TTL, MaxBytes: o.MaxBytes, MaxMsgSize: -1, Storage: o.Storage, Replicas: o.Replicas,
		Discard: jetstream.DiscardNew, Duplicates: 2 * time.Minute, MaxMsgs: -1, MaxMsgsPerSubject: -1, MaxConsumers: -1,
		AllowRollup: true, AllowDirect: true,
	}
}

// difference is one field that is not as declared.
type difference struct {
	field      string
	want, have any
}

func (d difference) String() string { return fmt.Sprintf("%s is %v, want %v", d.field, d.have, d.want) }

func describe(ds []difference) string {
	texts := make([]string, len(ds))
	for i, d := range ds {
		texts[i] = d.String()
	}
	return strings.Join(texts, "; ")
}

type comparison []difference

func compare[T comparable](c *comparison, field string, want, have T) {
	if want != have {
		*c = append(*c, difference{field, want, have})
	}
}

// diffStream lists the declared fields in which the server differs. Fields that we do not set are
// the operator's, for example placement.
func diffStream(want, have jetstream.StreamConfig) []difference {
	var c comparison
	compare(&c, "description", want.Description, have.Description)
	compare(&c, "subjects", sorted(want.Subjects), sorted(have.Subjects))
	compare(&c, "retention", want.Retention, have.Retention)
	compare(&c, "discard", want.Discard, have.Discard)
	compare(&c, "storage", want.Storage, have.Storage)
	compare(&c, "replicas", want.Replicas, have.Replicas)
	compare(&c, "max age", want.MaxAge, have.MaxAge)
	compare(&c, "max bytes", want.MaxBytes, have.MaxBytes)
	compare(&c, "max message size", want.MaxMsgSize, have.MaxMsgSize)
	compare(&c, "max messages", want.MaxMsgs, have.MaxMsgs)
	compare(&c, "max messages per subject", want.MaxMsgsPerSubject, have.MaxMsgsPerSubject)
	compare(&c, "max consumers", want.MaxConsumers, have.MaxConsumers)
	compare(&c, "duplicate window", want.Duplicates, have.Duplicates)
	compare(&c, "allow direct", want.AllowDirect, have.AllowDirect)
	compare(&c, "allow rollup", want.AllowRollup, have.AllowRollup)
	compare(&c, "deny delete", want.DenyDelete, have.DenyDelete)
	compare(&c, "allow message ttl", want.AllowMsgTTL, have.AllowMsgTTL)
	compare(&c, "delete marker ttl", want.SubjectDeleteMarkerTTL, have.SubjectDeleteMarkerTTL)
	compare(&c, "allow schedules", want.AllowMsgSchedules, have.AllowMsgSchedules)
	compare(&c, "allow atomic publish", want.AllowAtomicPublish, have.AllowAtomicPublish)
	return c
}

// diffConsumer lists the declared fields in which the server differs.
func diffConsumer(want, have jetstream.ConsumerConfig) []difference {
	var c comparison
	compare(&c, "description", want.Description, have.Description)
	compare(&c, "filters", sorted(filtersOf(want)), sorted(filtersOf(have)))
	compare(&c, "deliver policy", want.DeliverPolicy, have.DeliverPolicy)
	compare(&c, "ack policy", want.AckPolicy, have.AckPolicy)
	compare(&c, "ack wait", want.AckWait, have.AckWait)
	compare(&c, "max deliver", want.MaxDeliver, have.MaxDeliver)
	compare(&c, "max ack pending", want.MaxAckPending, have.MaxAckPending)
	compare(&c, "priority policy", want.PriorityPolicy, have.PriorityPolicy)
	compare(&c, "priority groups", sorted(want.PriorityGroups), sorted(have.PriorityGroups))
	compare(&c, "pinned ttl", want.PinnedTTL, have.PinnedTTL)
	for _, key := range slices.Sorted(maps.Keys(want.Metadata)) {
		compare(&c, "metadata "+key, want.Metadata[key], have.Metadata[key])
	}
	return c
}

func filtersOf(c jetstream.ConsumerConfig) []string {
	if c.FilterSubject != "" {
		return []string{c.FilterSubject}
	}
	return c.FilterSubjects
}

func sorted(s []string) string { return strings.Join(slices.Sorted(slices.Values(s)), " ") }
