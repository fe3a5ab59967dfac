package bus_test

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

func grants(t testing.TB, e *bustest.Env) jetstream.KeyValue {
	t.Helper()
	kv, err := e.JS.KeyValue(t.Context(), topology.BucketGrants)
	require.NoError(t, err)
	return kv
}

func TestUpdateKV(t *testing.T) {
	e := bustest.Start(t)
	kv := grants(t, e)
	key, err := topology.FanKey("shop", "粉丝")
	require.NoError(t, err)
	created, first, err := bus.UpdateKV(t.Context(), kv, key, func(cur *senderv1.GrantRecord, exists bool) (*senderv1.GrantRecord, error) {
		require.False(t, exists)
		cur.Remaining = 5
		return cur, nil
	})
	require.NoError(t, err)
	require.EqualValues(t, 5, created.GetRemaining())
	same, revision, err := bus.UpdateKV(t.Context(), kv, key, func(cur *senderv1.GrantRecord, exists bool) (*senderv1.GrantRecord, error) {
		require.True(t, exists)
		return nil, bus.ErrUnchanged
	})
	require.NoError(t, err)
	require.Equal(t, first, revision)
	require.EqualValues(t, 5, same.GetRemaining())
	own := fault.New(fault.Refused, "window is closed")
	_, _, err = bus.UpdateKV(t.Context(), kv, key, func(*senderv1.GrantRecord, bool) (*senderv1.GrantRecord, error) { return nil, own })
	require.ErrorIs(t, err, own)
	require.NoError(t, kv.Delete(t.Context(), key))
	_, _, err = bus.UpdateKV(t.Context(), kv, key, func(cur *senderv1.GrantRecord, exists bool) (*senderv1.GrantRecord, error) {
		require.False(t, exists, "a deleted key does not exist")
		return cur, nil
	})
	require.NoError(t, err)
}

func TestUpdateKVLosesNoWriteOfAnother(t *testing.T) {
	e := bustest.Start(t)
	kv := grants(t, e)
	const writers, each = 4, 10
	var group errgroup.Group
	for range writers {
		group.Go(func() error {
			for range each {
				for {
					_, _, err := bus.UpdateKV(t.Context(), kv, "shop.a", func(cur *senderv1.GrantRecord, _ bool) (*senderv1.GrantRecord, error) {
						cur.Remaining++
						return cur, nil
					})
					if err == nil {
						break
					}
					if fault.KindOf(err) != fault.Conflict {
						return err
					}
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	entry, _, err := bus.UpdateKV(t.Context(), kv, "shop.a", func(*senderv1.GrantRecord, bool) (*senderv1.GrantRecord, error) { return nil, bus.ErrUnchanged })
	require.NoError(t, err)
	require.EqualValues(t, writers*each, entry.GetRemaining())
}

func TestUpdateKVGivesUp(t *testing.T) {
	e := bustest.Start(t)
	kv := grants(t, e)
	calls := 0
	_, err := bus.UpdateKVBytes(t.Context(), kv, "shop.a", func(_ []byte, _ bool) ([]byte, error) {
		calls++
		_, err := kv.PutString(t.Context(), "shop.a", strconv.Itoa(calls)) // somebody is always faster
		return []byte("mine"), err
	})
	require.Equal(t, fault.Conflict, fault.KindOf(err))
	require.ErrorIs(t, err, bus.ErrWrongSequence)
	require.Equal(t, 16, calls)
	_, _, err = bus.UpdateKV(t.Context(), kv, "shop.a", func(cur *senderv1.GrantRecord, _ bool) (*senderv1.GrantRecord, error) { return cur, nil })
	require.Equal(t, fault.Permanent, fault.KindOf(err), "what is stored is no GrantRecord")
	_, err = bus.UpdateKVBytes(t.Context(), kv, "no key", func([]byte, bool) ([]byte, error) { return nil, nil })
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = bus.UpdateKVBytes(ended, kv, "shop.a", func([]byte, bool) ([]byte, error) { return nil, errors.New("not reached") })
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
}
