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

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

const (
	// margin covers the difference between WeChat's clock, ours and the server's.
	margin = time.Minute
	// longMargin is tried when the event was not found with the first one.
	longMargin = time.Hour
	// maxRead bounds the events that one question reads.
	maxRead = 500
	// readWait bounds one question; all that is read is already stored.
	readWait = 3 * time.Second
	// leftBehind is when the server removes the reader of a process that died.
	leftBehind = 10 * time.Second
)

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

// Since returns the event with the given id and the messages of the fan after it, oldest first. at
// is about when the event was made. An event that is not in the stream any more gives nothing.
func (r *Reader) Since(ctx context.Context, account, openID, event string, at time.Time) ([]domain.Message, error) {
	for _, before := range []time.Duration{margin, longMargin} {
		events, err := r.read(ctx, account, openID, at.Add(-before))
		if err != nil {
			return nil, err
		}
		if messages := from(events, event); messages != nil {
			return messages, nil
		}
	}
	return nil, nil
}

func from(events []*eventv1.InboundEvent, id string) []domain.Message {
	first := slices.IndexFunc(events, func(ev *eventv1.InboundEvent) bool { return ev.GetId() == id })
	if first < 0 {
		return nil
	}
	out := []domain.Message{wire.Message(events[first])}
	for _, ev := range events[first+1:] {
		if ev.GetKind() == eventv1.EventKind_EVENT_KIND_MESSAGE {
			out = append(out, wire.Message(ev))
		}
	}
	return out
}

// read uses a reader of its own that the server forgets: the durables of this service belong to its
// partitions, and a direct get finds only the last event of a subject.
func (r *Reader) read(ctx context.Context, account, openID string, since time.Time) ([]*eventv1.InboundEvent, error) {
	ctx, cancel := context.WithTimeout(ctx, readWait)
	defer cancel()
	filters, err := r.filters(account, openID)
	if err != nil {
		return nil, err
	}
	consumer, err := r.js.CreateConsumer(ctx, topology.StreamInbound, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since, FilterSubjects: filters,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: leftBehind,
	})
	if err != nil {
		return nil, fault.Errorf(fault.Unavailable, "read what the fan said: %w", err)
	}
	info := consumer.CachedInfo()
	// The server forgets the reader by itself when this fails.
	defer func() { _ = r.js.DeleteConsumer(context.WithoutCancel(ctx), topology.StreamInbound, info.Name) }()
	if info.NumPending == 0 {
		return nil, nil
	}
	batch, err := consumer.Fetch(int(min(info.NumPending, maxRead)), jetstream.FetchContext(ctx))
	if err != nil {
		return nil, fault.Errorf(fault.Unavailable, "read what the fan said: %w", err)
	}
	var events []*eventv1.InboundEvent
	for msg := range batch.Messages() {
		ev := new(eventv1.InboundEvent)
		if err := proto.Unmarshal(msg.Data(), ev); err != nil {
			return nil, fault.Errorf(fault.Permanent, "decode event: %w", err)
		}
		events = append(events, ev)
	}
	if err := batch.Error(); err != nil {
		return nil, fault.Errorf(fault.Unavailable, "read what the fan said: %w", err)
	}
	return events, nil
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
