package topology_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/topology"
)

func TestMain(m *testing.M) { testkit.Main(m) }

var small = topology.Options{Partitions: 2, Memory: true}

func TestEnsureTwiceChangesNothing(t *testing.T) {
	e := bustest.Start(t, bustest.WithTopology(small))
	require.NoError(t, e.Topology.Check(t.Context(), e.JS))
	require.NoError(t, e.Topology.Ensure(t.Context(), e.JS))
	require.NoError(t, e.Topology.Check(t.Context(), e.JS))
}

func TestSeveralProcessesMayProvisionAtOnce(t *testing.T) {
	e := bustest.Start(t, bustest.WithTopology(small))
	for _, s := range []string{"INBOUND", "DECISIONS", "OUTBOUND", "DELIVERY", "KV_sends", "OBJ_rule_sets"} {
		require.NoError(t, e.JS.DeleteStream(t.Context(), s))
	}
	var group errgroup.Group
	for i := range 4 {
		js := e.NewConn(t, "provision"+string(rune('0'+i))).JS()
		group.Go(func() error { return e.Topology.Ensure(t.Context(), js) })
	}
	require.NoError(t, group.Wait())
	require.NoError(t, e.Topology.Check(t.Context(), e.JS))
}

func TestCheckNamesEveryDifferenceAndTheWayOut(t *testing.T) {
	e := bustest.Start(t, bustest.WithTopology(small))
	require.NoError(t, e.JS.DeleteStream(t.Context(), topology.StreamSpill))
	require.NoError(t, e.JS.DeleteKeyValue(t.Context(), topology.BucketGrants))
	require.NoError(t, e.JS.DeleteConsumer(t.Context(), topology.StreamInbound, "rule-01"))
	stream, err := e.JS.Stream(t.Context(), topology.StreamOutbound)
	require.NoError(t, err)
	changed := stream.CachedInfo().Config
	changed.MaxAge = time.Hour
	_, err = e.JS.UpdateStream(t.Context(), changed)
	require.NoError(t, err)

	err = e.Topology.Check(t.Context(), e.JS)
	require.Equal(t, fault.Permanent, fault.KindOf(err))
	for _, want := range []string{
		"stream INBOUND_SPILL: missing", "stream KV_grants: missing", "durable rule-01 on INBOUND: missing",
		"durable spill-mover on INBOUND_SPILL: missing", "stream OUTBOUND: max age is 1h0m0s, want 72h0m0s", `run "wxbus provision"`,
	} {
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, e.Topology.Ensure(t.Context(), e.JS))
	require.NoError(t, e.Topology.Check(t.Context(), e.JS))
}

func TestEnsureUpdatesWhatChanged(t *testing.T) {
	e := bustest.Start(t, bustest.WithTopology(small))
	more := small
	more.Partitions, more.AckWait, more.MaxBytes = 3, 20*time.Second, map[string]int64{"INBOUND": 5 << 20}
	next, err := topology.New(more)
	require.NoError(t, err)
	require.ErrorContains(t, next.Check(t.Context(), e.JS), "durable rule-02 on INBOUND: missing")
	require.NoError(t, next.Ensure(t.Context(), e.JS))
	require.NoError(t, next.Check(t.Context(), e.JS))
}

func TestEnsureKeepsWhatAnOperatorSet(t *testing.T) {
	e := bustest.Start(t, bustest.WithTopology(small))
	stream, err := e.JS.Stream(t.Context(), topology.StreamInbound)
	require.NoError(t, err)
	changed := stream.CachedInfo().Config
	changed.Metadata = map[string]string{"team": "ingress"}
	changed.MaxAge = time.Hour
	_, err = e.JS.UpdateStream(t.Context(), changed)
	require.NoError(t, err)
	require.NoError(t, e.Topology.Ensure(t.Context(), e.JS))
	stream, err = e.JS.Stream(t.Context(), topology.StreamInbound)
	require.NoError(t, err)
	require.Equal(t, "ingress", stream.CachedInfo().Config.Metadata["team"])
	require.Equal(t, 72*time.Hour, stream.CachedInfo().Config.MaxAge)
}

func TestWhatCannotBeChangedIsAnErrorWithItsName(t *testing.T) {
	e := bustest.Start(t, bustest.WithTopology(small))
	files := small
	files.Memory, files.Store = false, 64<<20
	other, err := topology.New(files)
	require.NoError(t, err)
	err = other.Ensure(t.Context(), e.JS)
	require.ErrorContains(t, err, "provision stream INBOUND")
	require.Equal(t, fault.Permanent, fault.KindOf(err))
}

func TestBucketsAreWhatTheClientExpects(t *testing.T) {
	e := bustest.Start(t, bustest.WithTopology(small))
	for _, b := range e.Topology.Buckets() {
		kv, err := e.JS.KeyValue(t.Context(), b.Bucket)
		require.NoError(t, err)
		rev, err := kv.Create(t.Context(), "k", []byte("v"))
		require.NoError(t, err)
		entry, err := kv.Get(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, rev, entry.Revision())
		// The client's own idea of this bucket must be ours, or its next version would quarrel.
		ours := streamConfig(t, e.JS, "KV_"+b.Bucket)
		b.Bucket += "_ref"
		_, err = e.JS.CreateKeyValue(t.Context(), b)
		require.NoError(t, err)
		theirs := streamConfig(t, e.JS, "KV_"+b.Bucket)
		theirs.Name, theirs.Subjects = ours.Name, ours.Subjects
		require.Equal(t, theirs, ours)
	}
	for _, o := range e.Topology.ObjectStores() {
		store, err := e.JS.ObjectStore(t.Context(), o.Bucket)
		require.NoError(t, err)
		_, err = store.PutBytes(t.Context(), "set", []byte("rules"))
		require.NoError(t, err)
		ours := streamConfig(t, e.JS, "OBJ_"+o.Bucket)
		o.Bucket += "_ref"
		_, err = e.JS.CreateObjectStore(t.Context(), o)
		require.NoError(t, err)
		theirs := streamConfig(t, e.JS, "OBJ_"+o.Bucket)
		theirs.Name, theirs.Subjects = ours.Name, ours.Subjects
		require.Equal(t, theirs, ours)
	}
}

func streamConfig(t *testing.T, js jetstream.JetStream, name string) jetstream.StreamConfig {
	t.Helper()
	stream, err := js.Stream(t.Context(), name)
	require.NoError(t, err)
	c := stream.CachedInfo().Config
	c.Metadata = nil
	return c
}

func TestLeadersOfInboundAndSpillAreApart(t *testing.T) {
	e := bustest.Cluster(t, 3, bustest.WithTopology(topology.Options{Partitions: 1}))
	leader := func(name string) string {
		stream, err := e.JS.Stream(t.Context(), name)
		if err != nil || stream.CachedInfo().Cluster == nil {
			return ""
		}
		return stream.CachedInfo().Cluster.Leader
	}
	require.Eventually(t, func() bool {
		if err := e.Topology.SpreadLeaders(t.Context(), e.JS); err != nil {
			return false
		}
		home, spill := leader(topology.StreamInbound), leader(topology.StreamSpill)
		return home != "" && spill != "" && home != spill
	}, 30*time.Second, 100*time.Millisecond)
	require.NoError(t, e.Topology.Check(t.Context(), e.JS))
	// Ensure again, now against streams that have elected their leaders.
	require.NoError(t, e.Topology.Ensure(t.Context(), e.JS))
}

// forming answers like a cluster whose servers have not all found each other, a few times.
type forming struct {
	jetstream.JetStream
	refusals atomic.Int32
	refused  func() // told of each refusal, when set
}

func (f *forming) CreateStream(ctx context.Context, c jetstream.StreamConfig) (jetstream.Stream, error) {
	if f.refusals.Add(-1) >= 0 {
		if f.refused != nil {
			f.refused()
		}
		return nil, &jetstream.APIError{Code: 400, ErrorCode: 10005, Description: "no suitable peers for placement"}
	}
	return f.JetStream.CreateStream(ctx, c)
}

func TestEnsureWaitsForAClusterThatIsForming(t *testing.T) {
	e := bustest.Start(t, bustest.WithTopology(small))
	require.NoError(t, e.JS.DeleteStream(t.Context(), topology.StreamDelivery))
	js := &forming{JetStream: e.JS}
	js.refusals.Store(2)
	require.NoError(t, e.Topology.Ensure(t.Context(), js))
	require.NoError(t, e.Topology.Check(t.Context(), e.JS))
}

func TestEnsureGivesUpOnAClusterThatStaysTooSmallWithItsContext(t *testing.T) {
	e := bustest.Start(t, bustest.WithTopology(small))
	require.NoError(t, e.JS.DeleteStream(t.Context(), topology.StreamDelivery))
	js := &forming{JetStream: e.JS}
	js.refusals.Store(1 << 20)
	ctx, cancel := context.WithCancel(t.Context())
	js.refused = cancel
	err := e.Topology.Ensure(ctx, js)
	require.ErrorContains(t, err, "provision stream DELIVERY")
	require.ErrorContains(t, err, "no suitable peers for placement")
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
}
