package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

// letters waits until there are n dead letters.
func letters(t testing.TB, c *bus.Conn, n int) []bus.DeadLetter {
	t.Helper()
	var out []bus.DeadLetter
	require.Eventually(t, func() bool {
		var err error
		out, err = c.DeadLetters().List(t.Context(), bus.DeadLetterFilter{}, 100)
		return err == nil && len(out) == n
	}, wait, 10*time.Millisecond, "have %d", len(out))
	return out
}

func TestWhatHelpsNoRetryIsDeadLetteredAtOnce(t *testing.T) {
	e := bustest.Start(t)
	for _, tc := range []struct {
		name string
		kind fault.Kind
	}{{"wrong form", fault.Invalid}, {"gone", fault.NotFound}, {"impossible", fault.Permanent}, {"refused", fault.Refused}} {
		publish(t, e.Conn, "a", tc.name)
	}
	var calls atomic.Int64
	bustest.Run(t, e.Conn.NewConsumer(ruleConsumer(nil), func(_ context.Context, d *bus.Delivery) error {
		calls.Add(1)
		kinds := map[string]fault.Kind{"wrong form": fault.Invalid, "gone": fault.NotFound, "impossible": fault.Permanent, "refused": fault.Refused}
		return fault.New(kinds[string(d.Data)], "no way")
	}))
	got := letters(t, e.Conn, 4)
	require.EqualValues(t, 4, calls.Load())
	for i, kind := range []string{"invalid", "not_found", "permanent", "refused"} {
		require.Equal(t, kind, got[i].Kind)
		require.EqualValues(t, 1, got[i].Deliveries)
	}
}

func TestDeadLetterTellsTheWholeStory(t *testing.T) {
	e := bustest.Start(t)
	ack, err := e.Conn.Publish(t.Context(), bus.Msg{Subject: inbound(t, 0, "a"), ID: "id-1", Data: []byte("body"),
		Header: nats.Header{bus.HeaderType: {"wxbus.event.v1.InboundEvent"}, "traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}})
	require.NoError(t, err)
	var tries atomic.Int64
	bustest.Run(t, e.Conn.NewConsumer(ruleConsumer(nil), func(context.Context, *bus.Delivery) error {
		tries.Add(1)
		return fmt.Errorf("match rules: %w", fmt.Errorf("load set:\r\n%w", errors.New("disk on fire")))
	}))
	list := letters(t, e.Conn, 1)
	require.Nil(t, list[0].Data, "a list is without data")
	require.EqualValues(t, 5, tries.Load())
	d, err := e.Conn.DeadLetters().Get(t.Context(), list[0].Seq)
	require.NoError(t, err)
	require.Equal(t, "body", string(d.Data))
	require.Equal(t, "rule", d.Service)
	require.Equal(t, "INBOUND", d.Stream)
	require.Equal(t, ack.Seq, d.StreamSeq)
	require.Equal(t, inbound(t, 0, "a"), d.Subject)
	require.EqualValues(t, 5, d.Deliveries)
	require.Equal(t, "internal", d.Kind)
	require.Contains(t, d.Reason, "gave up after 5 tries: match rules: load set:")
	require.Equal(t, "disk on fire", d.Causes[len(d.Causes)-1])
	require.Equal(t, "wxbus.event.v1.InboundEvent", d.Header.Get(bus.HeaderType))
	require.Equal(t, "id-1", d.Header.Get("Nats-Msg-Id"))
	require.Contains(t, d.Header.Get("traceparent"), "0af7651916cd43dd8448eb211c80319c")
	require.WithinDuration(t, time.Now(), d.At, time.Minute)

	reader, err := e.JS.Consumer(t.Context(), "INBOUND", "rule-00")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		info, err := reader.Info(t.Context())
		return err == nil && info.NumAckPending == 0 && info.NumPending == 0
	}, wait, 10*time.Millisecond, "the message must be settled")
	counts, err := e.Conn.DeadLetters().Counts(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]map[string]uint64{"rule": {"INBOUND": 1}}, counts)
}

func TestPanicBecomesADeadLetterWithItsStack(t *testing.T) {
	e := bustest.Start(t)
	publish(t, e.Conn, "a", "1")
	bustest.Run(t, e.Conn.NewConsumer(ruleConsumer(func(cfg *bus.ConsumerConfig) { cfg.DeadLetterAfter = 2 }), func(context.Context, *bus.Delivery) error {
		panic("nil map")
	}))
	d := letters(t, e.Conn, 1)[0]
	require.Contains(t, d.Reason, "panic: nil map")
	require.Contains(t, d.Stack, "TestPanicBecomesADeadLetterWithItsStack")
	require.LessOrEqual(t, len(d.Stack), 4200)
}

func TestNoDeadLetterNoTerm(t *testing.T) {
	e := bustest.Start(t)
	require.NoError(t, e.JS.DeleteStream(t.Context(), topology.StreamDeadLetters))
	publish(t, e.Conn, "a", "1")
	var tries atomic.Int64
	bustest.Run(t, e.Conn.NewConsumer(ruleConsumer(nil), func(context.Context, *bus.Delivery) error {
		tries.Add(1)
		return fault.New(fault.Invalid, "broken")
	}))
	// The server would give up silently after its last delivery; the reader must not let it come to that.
	require.Eventually(t, func() bool { return tries.Load() == topology.MaxDeliver-1 }, wait, 5*time.Millisecond)
	require.Never(t, func() bool { return tries.Load() >= topology.MaxDeliver }, 300*time.Millisecond, 20*time.Millisecond)
	reader, err := e.JS.Consumer(t.Context(), "INBOUND", "rule-00")
	require.NoError(t, err)
	info, err := reader.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, info.NumAckPending, "a message without a dead letter must stay")
	require.NoError(t, e.Topology.Ensure(t.Context(), e.JS))
	letters(t, e.Conn, 1)
}

func TestRequeueReachesTheHandlerAgain(t *testing.T) {
	e := bustest.Start(t)
	publish(t, e.Conn, "a", "0af7651916cd43dd8448eb211c80319c")
	var broken atomic.Bool
	broken.Store(true)
	ids := make(chan string, 10)
	bustest.Run(t, e.Conn.NewConsumer(ruleConsumer(nil), func(_ context.Context, d *bus.Delivery) error {
		if broken.Load() {
			return fault.New(fault.Permanent, "defect of this release")
		}
		ids <- d.Header.Get("Nats-Msg-Id") + " " + d.Header.Get(bus.HeaderReplay) + " " + string(d.Data)
		return nil
	}))
	all := e.Conn.DeadLetters()
	first := letters(t, e.Conn, 1)[0]
	_, err := all.Requeue(t.Context(), first.Seq)
	require.NoError(t, err)
	var second bus.DeadLetter
	require.Eventually(t, func() bool { // it failed again: a new dead letter in place of the first
		list, err := all.List(t.Context(), bus.DeadLetterFilter{Service: "rule", Stream: "INBOUND", After: first.Seq}, 10)
		if err != nil || len(list) != 1 {
			return false
		}
		second = list[0]
		return true
	}, wait, 10*time.Millisecond)
	_, err = all.Get(t.Context(), first.Seq)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.Equal(t, "0af7651916cd43dd8448eb211c80319c:requeue:1", second.Header.Get("Nats-Msg-Id"))
	broken.Store(false)
	ack, err := all.Requeue(t.Context(), second.Seq)
	require.NoError(t, err)
	require.False(t, ack.Duplicate)
	require.Equal(t, "0af7651916cd43dd8448eb211c80319c:requeue:2 rule 0af7651916cd43dd8448eb211c80319c", <-ids)
	letters(t, e.Conn, 0)
	_, err = all.Requeue(t.Context(), second.Seq)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.Equal(t, fault.NotFound, fault.KindOf(all.Delete(t.Context(), second.Seq)))
}

func TestRequeueOfWork(t *testing.T) {
	e := bustest.Start(t)
	subject, err := topology.SubjectOutbound(senderv1.Lane_LANE_RULE, "shop", 0, "a")
	require.NoError(t, err)
	_, err = e.Conn.Publish(t.Context(), bus.Msg{Subject: subject, ID: "send-1", Data: []byte("work")})
	require.NoError(t, err)
	var broken atomic.Bool
	broken.Store(true)
	var done record
	bustest.Run(t, e.Conn.NewConsumer(bus.ConsumerConfig{Service: "sender", Stream: "OUTBOUND", Partitions: 2}, func(_ context.Context, d *bus.Delivery) error {
		if broken.Load() {
			return fault.New(fault.Refused, "account is closed")
		}
		done.add(string(d.Data))
		return nil
	}))
	d := letters(t, e.Conn, 1)[0]
	require.Equal(t, "sender", d.Service)
	broken.Store(false)
	_, err = e.Conn.DeadLetters().Requeue(t.Context(), d.Seq)
	require.NoError(t, err)
	done.eventually(t, "work")
}

func TestRequeueOfARecordAnnouncesItsPresentState(t *testing.T) {
	e := bustest.Start(t)
	subject, err := topology.SubjectDecision("shop", 0, "id")
	require.NoError(t, err)
	var broken atomic.Bool
	broken.Store(true)
	var done record
	bustest.Run(t, e.Conn.NewConsumer(bus.ConsumerConfig{Service: "agent-routing", Stream: "DECISIONS", Partitions: 1}, func(_ context.Context, d *bus.Delivery) error {
		if broken.Load() {
			return fault.New(fault.Permanent, "defect")
		}
		done.add(string(d.Data))
		return nil
	}))
	zero := uint64(0)
	ack, err := e.Conn.Publish(t.Context(), bus.Msg{Subject: subject, Data: []byte("old"), ExpectLastSubjectSeq: &zero})
	require.NoError(t, err)
	d := letters(t, e.Conn, 1)[0]
	broken.Store(false)
	_, err = e.Conn.Publish(t.Context(), bus.Msg{Subject: subject, Data: []byte("new"), ExpectLastSubjectSeq: &ack.Seq})
	require.NoError(t, err)
	done.eventually(t, "new")
	_, err = e.Conn.DeadLetters().Requeue(t.Context(), d.Seq)
	require.NoError(t, err)
	done.eventually(t, "new", "new")
}

func TestListPagesAndFilters(t *testing.T) {
	e := bustest.Start(t)
	for i := range 7 {
		service := []string{"rule", "sender"}[i%2]
		subject, err := topology.SubjectDeadLetter(service, "INBOUND")
		require.NoError(t, err)
		_, err = e.Conn.Publish(t.Context(), bus.Msg{Subject: subject, Data: []byte{byte(i)}, Header: nats.Header{"Wxbus-Dlq-Service": {service}}})
		require.NoError(t, err)
	}
	all := e.Conn.DeadLetters()
	page, err := all.List(t.Context(), bus.DeadLetterFilter{Service: "rule"}, 3)
	require.NoError(t, err)
	require.Len(t, page, 3)
	rest, err := all.List(t.Context(), bus.DeadLetterFilter{Service: "rule", After: page[2].Seq}, 3)
	require.NoError(t, err)
	require.Len(t, rest, 1)
	require.EqualValues(t, 7, rest[0].Seq)
	_, err = all.List(t.Context(), bus.DeadLetterFilter{Service: "a.b"}, 1)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	_, err = all.Requeue(t.Context(), page[0].Seq)
	require.Equal(t, fault.Permanent, fault.KindOf(err), "it does not say where it came from")
	require.True(t, strings.Contains(err.Error(), "where it came from"))
}
