// Package transcript reads from the stream INBOUND what a fan said before the desk knew them.
package transcript

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

const (
	// maxBefore bounds that history.
	maxBefore = 50
	// maxRead bounds the events that one question reads.
	maxRead = 500
	// readWait bounds one question; all that is read is already stored.
	readWait = 3 * time.Second
	// leftBehind is when the server removes the reader of a process that died.
	leftBehind = 10 * time.Second
)

// earlier is how far back to look: what the fan said before the conversation is part of its history. A fan who said more than is
// read is looked at from nearer.
var earlier = []time.Duration{72 * time.Hour, time.Hour, time.Minute}

// The kinds of events that a fan causes by talking or tapping; one of them asked for an agent.
var spoken = []eventv1.EventKind{
	eventv1.EventKind_EVENT_KIND_MESSAGE, eventv1.EventKind_EVENT_KIND_CLICK, eventv1.EventKind_EVENT_KIND_SCAN,
	eventv1.EventKind_EVENT_KIND_SUBSCRIBE, eventv1.EventKind_EVENT_KIND_LOCATION, eventv1.EventKind_EVENT_KIND_EVENT,
}

// Reader reads the stream. It is safe for concurrent use.
type Reader struct {
	js       jetstream.JetStream
	topology *topology.Topology
}

// New returns a reader.
func New(js jetstream.JetStream, t *topology.Topology) *Reader { return &Reader{js: js, topology: t} }

// Around returns what the fan did before an event, at most maxBefore of it, and the event with the fan's messages after it; oldest
// first. made is about when the event was made. An event that is not in the stream any more gives nothing since.
func (r *Reader) Around(ctx context.Context, account, openID, event string, made time.Time) (before, since []*eventv1.InboundEvent, err error) {
	var events []*eventv1.InboundEvent
	for _, back := range earlier {
		var whole bool
		if events, whole, err = r.read(ctx, account, openID, made.Add(-back)); err != nil {
			return nil, nil, err
		}
		if whole {
			break
		}
	}
	first := slices.IndexFunc(events, func(ev *eventv1.InboundEvent) bool { return ev.GetId() == event })
	if first < 0 {
		return messages(events), nil, nil
	}
	before = messages(events[:first])
	return before[max(0, len(before)-maxBefore):], append(events[first:first+1:first+1], messages(events[first+1:])...), nil
}

// messages keeps what a fan said.
func messages(events []*eventv1.InboundEvent) []*eventv1.InboundEvent {
	var out []*eventv1.InboundEvent
	for _, ev := range events {
		if ev.GetKind() == eventv1.EventKind_EVENT_KIND_MESSAGE {
			out = append(out, ev)
		}
	}
	return out
}

// read uses a reader of its own that the server forgets: the durables of this service belong to its
// partitions, and a direct get finds only the last event of a subject. whole is false when there was more than is read.
func (r *Reader) read(ctx context.Context, account, openID string, since time.Time) (events []*eventv1.InboundEvent, whole bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, readWait)
	defer cancel()
	filters, err := r.filters(account, openID)
	if err != nil {
		return nil, false, err
	}
	consumer, err := r.js.CreateConsumer(ctx, topology.StreamInbound, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since, FilterSubjects: filters,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: leftBehind,
	})
	if err != nil {
		return nil, false, fault.Errorf(fault.Unavailable, "read what the fan said: %w", err)
	}
	info := consumer.CachedInfo()
	// The server forgets the reader by itself when this fails.
	defer func() { _ = r.js.DeleteConsumer(context.WithoutCancel(ctx), topology.StreamInbound, info.Name) }()
	if info.NumPending == 0 {
		return nil, true, nil
	}
	batch, err := consumer.Fetch(int(min(info.NumPending, maxRead)), jetstream.FetchContext(ctx))
	if err != nil {
		return nil, false, fault.Errorf(fault.Unavailable, "read what the fan said: %w", err)
	}
	for msg := range batch.Messages() {
		ev := new(eventv1.InboundEvent)
		if err := proto.Unmarshal(msg.Data(), ev); err != nil {
			return nil, false, fault.Errorf(fault.Permanent, "decode event: %w", err)
		}
		if meta, err := msg.Metadata(); ev.GetReceivedUnixMs() == 0 && err == nil {
			ev.ReceivedUnixMs = meta.Timestamp.UnixMilli()
		}
		events = append(events, ev)
	}
	if err := batch.Error(); err != nil {
		return nil, false, fault.Errorf(fault.Unavailable, "read what the fan said: %w", err)
	}
	return events, info.NumPending <= maxRead, nil
}

func (r *Reader) filters(account, openID string) ([]string, error) {
	partition := r.topology.Partition(account, openID)
	out := make([]string, 0, len(spoken))
	for _, kind := range spoken {
		subject, err := topology.SubjectInbound(account, partition, kind, openID)
		if err != nil {
			return nil, fmt.Errorf("name what the fan said: %w", err)
		}
		out = append(out, subject)
	}
	return out, nil
}
