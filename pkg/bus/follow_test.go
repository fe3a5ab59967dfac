package bus_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
)

// copied is what a follower told.
type copied struct {
	mu      sync.Mutex
	values  map[string]string
	batches int
}

func (c *copied) apply(entries []jetstream.KeyValueEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.batches++
	for _, e := range entries {
		if e.Operation() == jetstream.KeyValuePut {
			c.values[e.Key()] = string(e.Value())
		} else {
			delete(c.values, e.Key())
		}
	}
}

func (c *copied) get(key string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.values[key]
	return v, ok
}

func TestAFollowerKnowsABucketAndItsChanges(t *testing.T) {
	e := bustest.Start(t)
	kv := grants(t, e)
	for i := range 1500 {
		_, err := e.JS.PublishAsync("$KV."+kv.Bucket()+fmt.Sprintf(".k%d", i), []byte("old"))
		require.NoError(t, err)
	}
	<-e.JS.PublishAsyncComplete()
	c := &copied{values: map[string]string{}}
	f := bus.NewFollower(kv, slog.New(slog.DiscardHandler), c.apply)
	require.NoError(t, f.Stop(t.Context()), "before Start")
	require.NoError(t, f.Start(t.Context()))
	require.Len(t, c.values, 1500, "all of it when Start returns")
	require.Equal(t, 2, c.batches, "in few calls")
	require.ErrorContains(t, f.Start(t.Context()), "already started")

	_, err := kv.PutString(t.Context(), "k7", "new")
	require.NoError(t, err)
	require.NoError(t, kv.Delete(t.Context(), "k8"))
	require.Eventually(t, func() bool {
		v, _ := c.get("k7")
		_, ok := c.get("k8")
		return v == "new" && !ok
	}, 30*time.Second, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	require.NoError(t, f.Stop(ctx))
	require.NoError(t, f.Stop(ctx), "twice")
}

// watched is a bucket that tells of each watch that is opened.
type watched struct {
	jetstream.KeyValue
	opened chan jetstream.KeyWatcher
}

func (w watched) WatchFiltered(ctx context.Context, keys []string, opts ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	watcher, err := w.KeyValue.WatchFiltered(ctx, keys, opts...)
	if err == nil {
		w.opened <- watcher
	}
	return watcher, err
}

// TestAFollowerOpensALostWatchAgain: the client library ends a watch that it cannot set up anew after a loss.
func TestAFollowerOpensALostWatchAgain(t *testing.T) {
	e := bustest.Start(t)
	kv := watched{grants(t, e), make(chan jetstream.KeyWatcher, 8)}
	c := &copied{values: map[string]string{}}
	f := bus.NewFollower(kv, slog.New(slog.DiscardHandler), c.apply).Only("mine.*")
	require.NoError(t, f.Start(t.Context()))
	for _, value := range []string{"one", "two", "three"} {
		require.NoError(t, (<-kv.opened).Stop())
		_, err := kv.PutString(t.Context(), "other.k", value)
		require.NoError(t, err)
		_, err = kv.PutString(t.Context(), "mine.k", value)
		require.NoError(t, err)
		require.Eventually(t, func() bool { v, _ := c.get("mine.k"); return v == value }, wait, time.Millisecond)
	}
	_, found := c.get("other.k")
	require.False(t, found, "a key that does not match")
	require.NoError(t, f.Stop(t.Context()))
}

func TestAFollowerThatCannotReadDoesNotStart(t *testing.T) {
	e := bustest.Start(t)
	kv := grants(t, e)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := bus.NewFollower(kv, slog.New(slog.DiscardHandler), func([]jetstream.KeyValueEntry) {})
	require.ErrorContains(t, f.Start(ctx), "follow bucket "+kv.Bucket())
	require.NoError(t, f.Stop(t.Context()))
}
