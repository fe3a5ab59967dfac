package topology_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/topology"
)

func newTopology(t *testing.T, o topology.Options) *topology.Topology {
	t.Helper()
	top, err := topology.New(o)
	require.NoError(t, err)
	return top
}

func TestGolden(t *testing.T) {
	top := newTopology(t, topology.Options{Partitions: 2, Replicas: 3})
	got, err := json.MarshalIndent(map[string]any{
		"streams": top.Streams(), "buckets": top.Buckets(), "object_stores": top.ObjectStores(), "consumers": top.Consumers(),
	}, "", "  ")
	require.NoError(t, err)
	testkit.Golden(t, "topology.golden.json", string(got)+"\n")
}

func TestNoSubjectIsStoredTwice(t *testing.T) {
	type filter struct{ stream, subject string }
	var all []filter
	top := newTopology(t, topology.Options{})
	for _, s := range top.Streams() {
		for _, subject := range s.Subjects {
			all = append(all, filter{s.Name, subject})
		}
	}
	for _, b := range top.Buckets() {
		all = append(all, filter{"KV_" + b.Bucket, "$KV." + b.Bucket + ".>"})
	}
	for i, a := range all {
		for _, b := range all[i+1:] {
			require.Falsef(t, overlap(a.subject, b.subject), "%s (%s) and %s (%s)", a.subject, a.stream, b.subject, b.stream)
		}
	}
}

func TestOverlapOfFilters(t *testing.T) {
	require.True(t, overlap("wx.in.>", "wx.in.*.1.>"))
	require.True(t, overlap("wx.*.b", "wx.a.*"))
	require.False(t, overlap("wx.in.>", "wx.in"))
	require.False(t, overlap("wx.in.*.1.>", "wx.in.*.2.>"))
}

// overlap reports whether some subject matches both filters.
func overlap(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		if as[i] == ">" || bs[i] == ">" {
			return true
		}
		if as[i] != "*" && bs[i] != "*" && as[i] != bs[i] {
			return false
		}
	}
	return len(as) == len(bs)
}

// inside reports whether every subject of filter matches one of outer.
func inside(filter string, outer []string) bool {
	for _, o := range outer {
		if prefix, ok := strings.CutSuffix(o, ">"); ok && strings.HasPrefix(filter, prefix) {
			return true
		}
	}
	return false
}

func filters(c jetstream.ConsumerConfig) []string {
	if c.FilterSubject != "" {
		return []string{c.FilterSubject}
	}
	return c.FilterSubjects
}

func TestEveryDurableReadsItsStreamAndHasAWayOut(t *testing.T) {
	top := newTopology(t, topology.Options{Partitions: 3})
	subjects := make(map[string][]string)
	for _, s := range top.Streams() {
		subjects[s.Name] = s.Subjects
	}
	seen := make(map[string]bool)
	for _, c := range top.Consumers() {
		require.NotEmpty(t, filters(c.Config), c.Config.Durable)
		for _, f := range filters(c.Config) {
			require.True(t, inside(f, subjects[c.Stream]), "%s reads %s, outside of %s", c.Config.Durable, f, c.Stream)
		}
		require.False(t, seen[c.Stream+"/"+c.Config.Durable], "%s twice", c.Config.Durable)
		seen[c.Stream+"/"+c.Config.Durable] = true
		require.Equal(t, topology.MaxDeliver, c.Config.MaxDeliver, c.Config.Durable)
		deadLetter, err := topology.SubjectDeadLetter(c.Service, c.Stream)
		require.NoError(t, err)
		require.Equal(t, deadLetter, c.Config.Metadata["wxbus.dead_letter"])
		require.True(t, inside(deadLetter, subjects[topology.StreamDeadLetters]), deadLetter)
		require.Equal(t, jetstream.AckExplicitPolicy, c.Config.AckPolicy)
		require.Equal(t, jetstream.PriorityPolicyPinned, c.Config.PriorityPolicy)
	}
}

func TestPartitionsOfAWorkQueueDoNotOverlap(t *testing.T) {
	top := newTopology(t, topology.Options{Partitions: 3})
	var all []string
	for _, c := range top.Consumers() {
		if c.Stream == topology.StreamOutbound {
			all = append(all, filters(c.Config)...)
		}
	}
	require.Len(t, all, 3*4, "one filter for each lane and partition")
	for i, a := range all {
		for _, b := range all[i+1:] {
			require.False(t, overlap(a, b), "%s and %s", a, b)
		}
	}
}

func TestNamesAreAllowedByADR6(t *testing.T) {
	name := regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}$`)
	top := newTopology(t, topology.Options{})
	for _, s := range top.Streams() {
		require.Regexp(t, name, s.Name)
	}
	for _, b := range top.Buckets() {
		require.Regexp(t, name, b.Bucket)
	}
	for _, o := range top.ObjectStores() {
		require.Regexp(t, name, o.Bucket)
	}
	for _, c := range top.Consumers() {
		require.Regexp(t, name, c.Config.Durable)
		require.LessOrEqual(t, len(c.Config.PriorityGroups[0]), 16)
	}
}

func TestEveryStreamIsBounded(t *testing.T) {
	const store = 4 << 30
	top := newTopology(t, topology.Options{Store: store})
	var sum int64
	for _, s := range top.Streams() {
		require.Positive(t, s.MaxBytes, s.Name)
		require.Positive(t, s.MaxAge, s.Name)
		require.Positive(t, s.MaxMsgSize, s.Name)
		window := 5 * time.Minute
		if s.Name == topology.StreamOutbound || s.Name == topology.StreamDelivery {
			window = 75 * time.Second // the repeats of one publish take 68 s at most
		}
		require.Equal(t, window, s.Duplicates, s.Name)
		require.NotEmpty(t, s.Description, s.Name)
		sum += s.MaxBytes
	}
	for _, b := range top.Buckets() {
		require.Positive(t, b.MaxBytes, b.Bucket)
		sum += b.MaxBytes
	}
	for _, o := range top.ObjectStores() {
		require.Positive(t, o.MaxBytes, o.Bucket)
		sum += o.MaxBytes
	}
	require.LessOrEqual(t, sum, int64(store), "the shares must fit into the store")
}

func TestEachStreamHasOneWriterInTheReference(t *testing.T) {
	top := newTopology(t, topology.Options{})
	reference := top.EventReference()
	for _, s := range top.Streams() {
		require.Contains(t, reference, "`"+s.Name+"`")
	}
	testkit.Golden(t, "events.golden.md", reference)
}

func TestWrongOptionsAreNamedAllAtOnce(t *testing.T) {
	_, err := topology.New(topology.Options{Partitions: 101, Replicas: 2, AckWait: time.Millisecond, PinnedTTL: time.Second, Store: 1})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	for _, field := range []string{"partitions", "replicas", "ack wait", "pinned ttl", "store"} {
		require.ErrorContains(t, err, field)
	}
	_, err = topology.New(topology.Options{MaxBytes: map[string]int64{"INBUOND": 1 << 20}})
	require.ErrorContains(t, err, `no stream "INBUOND"`)
}

func TestReadsSeeOwnWrites(t *testing.T) {
	direct := func(replicas int) bool {
		for _, s := range newTopology(t, topology.Options{Replicas: replicas}).Streams() {
			if s.Name == topology.StreamDecisions {
				return s.AllowDirect
			}
		}
		return false
	}
	require.True(t, direct(1), "one copy: a direct read is the fast one")
	require.False(t, direct(3), "a follower may be behind")
}

func TestDurableNames(t *testing.T) {
	require.Equal(t, "rule-07", topology.Durable(topology.ServiceRule, topology.StreamInbound, 7))
	require.Equal(t, "sender-in-07", topology.Durable(topology.ServiceSender, topology.StreamInbound, 7))
	require.Equal(t, "sender-out-31", topology.Durable(topology.ServiceSender, topology.StreamOutbound, 31))
	require.Equal(t, "sender-bulk-00", topology.DurableCampaign(0))
	require.Equal(t, "agent-dec-00", topology.Durable(topology.ServiceAgentRouting, topology.StreamDecisions, 0))
	require.Empty(t, topology.Durable(topology.ServiceToken, topology.StreamInbound, 0))
	top := newTopology(t, topology.Options{Partitions: 2})
	require.Equal(t, []string{"rule-00", "rule-01"}, top.Durables(topology.ServiceRule, topology.StreamInbound))
}
