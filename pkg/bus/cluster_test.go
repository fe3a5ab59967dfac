package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/topology"
)

// TestReplicated runs what behaves differently with three copies, on one cluster because it takes
// seconds to start.
func TestReplicated(t *testing.T) {
	t.Parallel()
	e := bustest.Cluster(t, 3, bustest.WithTopology(topology.Options{Partitions: 1, PinnedTTL: 2 * time.Second}))
	conn := e.NewClientConn(t, "gateway", 2)

	t.Run("the same id at once is stored once", func(t *testing.T) {
		// On replicated streams the later ones may hear "in process", which is neither success nor failure.
		for i := range 20 {
			var group errgroup.Group
			seqs := make([]uint64, 3)
			for n := range seqs {
				group.Go(func() error {
					for {
						ack, err := conn.Publish(t.Context(), bus.Msg{Subject: inbound(t, 0, "a"), ID: fmt.Sprint("id", i)})
						if err == nil {
							seqs[n] = ack.Seq
							return nil
						}
						if !errors.Is(err, bus.ErrDuplicateInProcess) {
							return err
						}
						<-time.After(20 * time.Millisecond)
					}
				})
			}
			require.NoError(t, group.Wait())
			require.Equal(t, []uint64{seqs[0], seqs[0], seqs[0]}, seqs)
		}
	})

	t.Run("compare-and-set has its other error code", func(t *testing.T) {
		subject, err := topology.SubjectDecision("shop", 0, "id")
		require.NoError(t, err)
		zero := uint64(0)
		_, err = conn.Publish(t.Context(), bus.Msg{Subject: subject, ExpectLastSubjectSeq: &zero})
		require.NoError(t, err)
		_, err = conn.Publish(t.Context(), bus.Msg{Subject: subject, ExpectLastSubjectSeq: &zero})
		require.ErrorIs(t, err, bus.ErrWrongSequence)
	})

	t.Run("bucket", func(t *testing.T) {
		kv := grants(t, e.Env)
		var group errgroup.Group
		for range 3 {
			group.Go(func() error {
				_, _, err := bus.UpdateKV(t.Context(), kv, "shop.a", func(cur *senderv1.GrantRecord, _ bool) (*senderv1.GrantRecord, error) {
					cur.Remaining++
					return cur, nil
				})
				return err
			})
		}
		require.NoError(t, group.Wait())
		got, _, err := bus.UpdateKV(t.Context(), kv, "shop.a", func(*senderv1.GrantRecord, bool) (*senderv1.GrantRecord, error) { return nil, bus.ErrUnchanged })
		require.NoError(t, err)
		require.EqualValues(t, 3, got.GetRemaining())
	})

	t.Run("two connections use two servers", func(t *testing.T) {
		require.Len(t, conn.Servers(), 2)
		require.NotEqual(t, conn.Servers()[0], conn.Servers()[1])
	})

	t.Run("consumer and publisher survive the loss of a server", func(t *testing.T) {
		var done record
		reader := e.NewClientConn(t, "reader", 1)
		bustest.Run(t, reader.NewConsumer(ruleConsumer(func(cfg *bus.ConsumerConfig) { cfg.Lane = func(*bus.Delivery) string { return "one" } }),
			func(_ context.Context, d *bus.Delivery) error {
				if len(d.Data) > 0 {
					done.add(string(d.Data))
				}
				return nil
			}))
		e.Servers[2].Shutdown()
		for i := range 10 {
			require.Eventually(t, func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err := conn.Publish(ctx, bus.Msg{Subject: inbound(t, 0, "a"), ID: fmt.Sprint("after", i), Data: fmt.Append(nil, i)})
				return err == nil
			}, 30*time.Second, 50*time.Millisecond)
		}
		done.eventually(t, "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
	})
}
