package topology

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/wxbus/wxbus/pkg/fault"
)

// MaxPartitions is the largest number of partitions: durables end in two digits.
const MaxPartitions = 100

// PriorityGroup is the one priority group of every pinned durable.
const PriorityGroup = "wxbus"

// MaxDeliver is the last line behind our own dead letters: the bus dead-letters a message at its fifth
// delivery, so a message that the server gives up on is a defect and raises an advisory.
const MaxDeliver = 8

const (
	defaultPartitions = 4
	defaultReplicas   = 1
	defaultAckWait    = 30 * time.Second
	defaultPinnedTTL  = 5 * time.Second
	defaultStore      = 16 << 30
	memoryStore       = 1 << 30
	maxMsgSize        = 3 << 19 // 1.5 MiB: a push of at most 1 MiB and its envelope
	duplicates        = 5 * time.Minute
	repeats           = 75 * time.Second // covers every repeat of one publish, for streams whose ids mean nothing later, see ADR 0075
	day               = 24 * time.Hour
)

// Options are what may differ between two installations.
type Options struct {
	// Partitions per stream, 1 to 100; 4 when zero. It must never change while events are stored,
	// because a fan would move to another partition.
	Partitions int
	// Replicas of every stream, bucket and durable: 1, 3 or 5; 1 when zero.
	Replicas int
	// Memory keeps everything in memory, for tests.
	Memory bool
	// Store is the number of bytes that all streams and buckets may take together, shared out between
	// them; 16 GiB when zero. The server reserves it: it must be within its max_file_store.
	Store int64
	// MaxBytes overrides the share of single streams, by stream name (KV_<bucket>, OBJ_<store>).
	MaxBytes map[string]int64
	// AckWait is how long the server waits for an ack before it delivers again; 30 s when zero.
	AckWait time.Duration
	// PinnedTTL is how long a silent reader keeps a partition before another one gets it; 5 s when
	// zero, at least 2 s. Readers ask again after less than half of it.
	PinnedTTL time.Duration
}

// Topology is the declaration for one set of Options. It is immutable and safe for concurrent use.
type Topology struct {
	opts      Options
	streams   []streamSpec
	buckets   []bucketSpec
	objects   []objectSpec
	consumers []Consumer
}

// Consumer is one durable.
type Consumer struct {
	// Stream that it reads.
	Stream string
	// Service that reads it.
	Service string
	// Partition that it covers; zero for durables without partitions.
	Partition uint32
	// Config as created on the server.
	Config jetstream.ConsumerConfig
}

type streamSpec struct {
	writer, readers, types, key, note string
	share                             int64 // of Options.Store, in thousandths
	leaderReads                       bool  // reads must see every acknowledged write
	config                            jetstream.StreamConfig
}

type bucketSpec struct {
	writer, readers, types, key, note string
	share                             int64
	config                            jetstream.KeyValueConfig
}

type objectSpec struct {
	writer, readers, types, key, note string
	share                             int64
	config                            jetstream.ObjectStoreConfig
}

// New returns the topology for o, or an Invalid fault that joins everything wrong with o.
func New(o Options) (*Topology, error) {
	o = withDefaults(o)
	if err := validate(o); err != nil {
		return nil, err
	}
	t := &Topology{opts: o}
	t.streams = slices.Concat(gatewayStreams(), ruleStreams(), tokenStreams(), senderStreams(), agentRoutingStreams(), sharedStreams())
	t.buckets = slices.Concat(ruleBuckets(), tokenBuckets(), senderBuckets(), agentRoutingBuckets())
	t.objects = slices.Concat(ruleObjects(), senderObjects())
	t.complete()
	t.consumers = slices.Concat(gatewayConsumers(t), ruleConsumers(t), senderConsumers(t), agentRoutingConsumers(t))
	return t, t.checkOverrides()
}

func withDefaults(o Options) Options {
	if o.Partitions == 0 {
		o.Partitions = defaultPartitions
	}
	if o.Replicas == 0 {
		o.Replicas = defaultReplicas
	}
	if o.AckWait == 0 {
		o.AckWait = defaultAckWait
	}
	if o.PinnedTTL == 0 {
		o.PinnedTTL = defaultPinnedTTL
	}
	if o.Store == 0 {
		o.Store = defaultStore
		if o.Memory {
			o.Store = memoryStore
		}
	}
	return o
}

func validate(o Options) error {
	var errs []error
	if o.Partitions < 1 || o.Partitions > MaxPartitions {
		errs = append(errs, fmt.Errorf("partitions: must be 1 to %d, is %d", MaxPartitions, o.Partitions))
	}
	if o.Replicas != 1 && o.Replicas != 3 && o.Replicas != 5 {
		errs = append(errs, fmt.Errorf("replicas: must be 1, 3 or 5, is %d", o.Replicas))
	}
	if o.AckWait < time.Second {
		errs = append(errs, fmt.Errorf("ack wait: must be at least 1s, is %s", o.AckWait))
	}
	if o.PinnedTTL < 2*time.Second {
		errs = append(errs, fmt.Errorf("pinned ttl: must be at least 2s, is %s", o.PinnedTTL))
	}
	if o.Store < 64<<20 {
		errs = append(errs, fmt.Errorf("store: must be at least 64 MiB, is %d bytes", o.Store))
	}
	return fault.Wrap(fault.Invalid, errors.Join(errs...))
}

// complete fills in what is the same for all streams and buckets.
func (t *Topology) complete() {
	for i := range t.streams {
		s := &t.streams[i]
		c := &s.config
		c.Replicas, c.Storage = t.opts.Replicas, t.storage()
		c.MaxBytes = t.bytes(c.Name, s.share)
		c.MaxMsgs, c.MaxConsumers = -1, -1
		if c.MaxMsgsPerSubject == 0 {
			c.MaxMsgsPerSubject = -1
		}
		c.AllowDirect = !s.leaderReads || t.opts.Replicas == 1
	}
	for i := range t.buckets {
		b := &t.buckets[i]
		b.config.Replicas, b.config.Storage = t.opts.Replicas, t.storage()
		b.config.MaxBytes = t.bytes(bucketStream(b.config.Bucket), b.share)
	}
	for i := range t.objects {
		o := &t.objects[i]
		o.config.Replicas, o.config.Storage = t.opts.Replicas, t.storage()
		o.config.MaxBytes = t.bytes(objectStream(o.config.Bucket), o.share)
	}
}

func (t *Topology) storage() jetstream.StorageType {
	if t.opts.Memory {
		return jetstream.MemoryStorage
	}
	return jetstream.FileStorage
}

func (t *Topology) bytes(stream string, share int64) int64 {
	if n, ok := t.opts.MaxBytes[stream]; ok {
		return n
	}
	return t.opts.Store / 1000 * share
}

func (t *Topology) checkOverrides() error {
	known := make(map[string]bool)
	for _, s := range t.streams {
		known[s.config.Name] = true
	}
	for _, b := range t.buckets {
		known[bucketStream(b.config.Bucket)] = true
	}
	for _, o := range t.objects {
		known[objectStream(o.config.Bucket)] = true
	}
	var errs []error
	for name, n := range t.opts.MaxBytes {
		if !known[name] {
			errs = append(errs, fmt.Errorf("max bytes: no stream %q", name))
		} else if n < 1<<10 {
			errs = append(errs, fmt.Errorf("max bytes: %s: must be at least 1024, is %d", name, n))
		}
	}
	return fault.Wrap(fault.Invalid, errors.Join(errs...))
}

// Streams returns the configuration of every stream that is not a bucket, in the order of creation.
func (t *Topology) Streams() []jetstream.StreamConfig {
	out := make([]jetstream.StreamConfig, len(t.streams))
	for i, s := range t.streams {
		out[i] = s.config
	}
	return out
}

// Buckets returns the configuration of every key-value bucket.
func (t *Topology) Buckets() []jetstream.KeyValueConfig {
	out := make([]jetstream.KeyValueConfig, len(t.buckets))
	for i, b := range t.buckets {
		out[i] = b.config
	}
	return out
}

// ObjectStores returns the configuration of every object store.
func (t *Topology) ObjectStores() []jetstream.ObjectStoreConfig {
	out := make([]jetstream.ObjectStoreConfig, len(t.objects))
	for i, o := range t.objects {
		out[i] = o.config
	}
	return out
}

// Consumers returns every durable.
func (t *Topology) Consumers() []Consumer { return slices.Clone(t.consumers) }

// Partitions returns the number of partitions.
func (t *Topology) Partitions() int { return t.opts.Partitions }

// Partition returns the partition of a fan: PartitionOf with our number of partitions.
func (t *Topology) Partition(account, openid string) uint32 {
	return PartitionOf(account, openid, t.opts.Partitions)
}

// Durables returns the names of the durables with which a service reads a stream, one for each
// partition; none when it does not read that stream.
func (t *Topology) Durables(service, stream string) []string {
	var names []string
	for _, c := range t.consumers {
		if c.Service == service && c.Stream == stream {
			names = append(names, c.Config.Durable)
		}
	}
	return names
}

func bucketStream(bucket string) string { return "KV_" + bucket }

func objectStream(store string) string { return "OBJ_" + store }
