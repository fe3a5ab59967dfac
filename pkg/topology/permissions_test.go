package topology_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

func permissions(t *testing.T, user string) topology.Permissions {
	t.Helper()
	topo, err := topology.New(topology.Options{Partitions: 2})
	require.NoError(t, err)
	p, err := topo.Permissions(user)
	require.NoError(t, err)
	return p
}

func TestEachStreamHasOneUserThatWritesIt(t *testing.T) {
	topo, err := topology.New(topology.Options{})
	require.NoError(t, err)
	shared := []string{topology.StreamDeadLetters, topology.StreamAdvisories, topology.StreamDecisions}
	for _, s := range topo.Streams() {
		if slices.Contains(shared, s.Name) {
			continue
		}
		var writers []string
		for _, user := range topology.Users() {
			if user != topology.UserOperator && slices.Contains(permissions(t, user).Publish, s.Subjects[0]) {
				writers = append(writers, user)
			}
		}
		require.Len(t, writers, 1, "%s is written by %v", s.Name, writers)
	}
	for _, b := range topo.Buckets() {
		var writers []string
		for _, user := range topology.Users() {
			if user != topology.UserOperator && slices.Contains(permissions(t, user).Publish, "$KV."+b.Bucket+".>") {
				writers = append(writers, user)
			}
		}
		require.Len(t, writers, 1, "%s is written by %v", b.Bucket, writers)
	}
}

func TestAReaderMayNotTakeTheWorkOfAnother(t *testing.T) {
	const work = "$JS.API.CONSUMER.MSG.NEXT.INBOUND."
	require.Contains(t, permissions(t, "rule").Publish, work+"rule-01")
	for _, other := range []string{"agent-routing", "console"} {
		require.Contains(t, permissions(t, other).DenyPublish, work+"rule-01", other)
		require.Contains(t, permissions(t, other).DenyPublish, "$JS.API.CONSUMER.DELETE.INBOUND.rule-01", other)
	}
	for _, other := range []string{"gateway", "token", "sender"} {
		require.NotContains(t, permissions(t, other).Publish, work+"*", other)
	}
}

func TestNobodyButProvisionChangesStreams(t *testing.T) {
	for _, user := range topology.Users() {
		if user == topology.UserOperator {
			continue
		}
		for _, s := range permissions(t, user).Publish {
			require.NotEqual(t, ">", s)
			require.False(t, strings.HasPrefix(s, "$JS.API.STREAM.DELETE"), "%s: %s", user, s)
			if user != topology.UserProvision {
				require.False(t, strings.HasPrefix(s, "$JS.API.STREAM.CREATE") || strings.HasPrefix(s, "$JS.API.STREAM.UPDATE"), "%s: %s", user, s)
			}
		}
		require.Equal(t, "_INBOX_"+user+".>", permissions(t, user).Subscribe[0])
	}
}

func TestAnUnknownUserHasNoPermissions(t *testing.T) {
	topo, err := topology.New(topology.Options{})
	require.NoError(t, err)
	_, err = topo.Permissions("stranger")
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}
