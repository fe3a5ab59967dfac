// Package transcript reads what a fan and the rules said before the desk knew the fan: from the stream INBOUND what the fan said, from
// DECISIONS and DELIVERY what the rules answered and what became of it.
package transcript

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
)

const (
	// maxBefore bounds that history, and the events whose answers are looked for on either side.
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

// Around returns what was said before an event, at most maxBefore lines of it, and the event with what was said since; oldest first.
// made is about when the event was made. An event that is not in the stream any more gives nothing since.
func (r *Reader) Around(ctx context.Context, account, openID, event string, made time.Time) (before, since []app.Line, err error) {
	events, err := r.events(ctx, account, openID, made)
	if err != nil {
		return nil, nil, err
	}
	first := slices.IndexFunc(events, func(ev *eventv1.InboundEvent) bool { return ev.GetId() == event })
	if first < 0 {
		first = len(events)
	}
	old, rest := events[max(0, first-maxBefore):first], events[first:]
	answers, err := r.answers(ctx, account, openID, slices.Concat(old, rest[:min(len(rest), maxBefore)]))
	if err != nil {
		return nil, nil, err
	}
	before = lines(messages(old), old, answers)
	if len(rest) > 0 {
		since = lines(append(rest[:1:1], messages(rest[1:])...), rest, answers)
	}
	return before[max(0, len(before)-maxBefore):], since, nil
}

// events returns what the fan did before and since, from as far back as one question reads.
func (r *Reader) events(ctx context.Context, account, openID string, made time.Time) ([]*eventv1.InboundEvent, error) {
	filters, err := r.filters(account, openID)
	if err != nil {
		return nil, err
	}
	var events []*eventv1.InboundEvent
	for _, back := range earlier {
		since := made.Add(-back)
		events = nil
		whole, err := r.read(ctx, topology.StreamInbound, filters, &since, func(msg jetstream.Msg) error {
			ev := new(eventv1.InboundEvent)
			if err := proto.Unmarshal(msg.Data(), ev); err != nil {
				return fault.Errorf(fault.Permanent, "decode event: %w", err)
			}
			if meta, err := msg.Metadata(); ev.GetReceivedUnixMs() == 0 && err == nil {
				ev.ReceivedUnixMs = meta.Timestamp.UnixMilli()
			}
			events = append(events, ev)
			return nil
		})
		if err != nil {
			return nil, err
		}
		if whole {
			break
		}
	}
	return events, nil
}

// lines puts events and the answers to all of asked into the order of time.
func lines(events, asked []*eventv1.InboundEvent, answers map[string][]*agentroutingv1.Message) []app.Line {
	out := make([]app.Line, 0, len(events))
	for _, ev := range events {
		out = append(out, app.Line{Event: ev})
	}
	for _, ev := range asked {
		for _, m := range answers[ev.GetId()] {
			m.AtUnixMs = max(m.GetAtUnixMs(), ev.GetReceivedUnixMs()) // clocks differ, an answer follows its question
			out = append(out, app.Line{Answer: m})
		}
	}
	slices.SortStableFunc(out, func(a, b app.Line) int { return cmp.Compare(a.AtUnixMs(), b.AtUnixMs()) })
	return out
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
// partitions, and a direct get finds only the last message of a subject. whole is false when there was more than is read.
func (r *Reader) read(ctx context.Context, stream string, filters []string, since *time.Time, visit func(jetstream.Msg) error) (whole bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, readWait)
	defer cancel()
	cfg := jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverAllPolicy, FilterSubjects: filters,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: leftBehind,
	}
	if since != nil {
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, since
	}
	consumer, err := r.js.CreateConsumer(ctx, stream, cfg)
	if err != nil {
		return false, fault.Errorf(fault.Unavailable, "read what was said: %w", err)
	}
	info := consumer.CachedInfo()
	// The server forgets the reader by itself when this fails.
	defer func() { _ = r.js.DeleteConsumer(context.WithoutCancel(ctx), stream, info.Name) }()
	if info.NumPending == 0 {
		return true, nil
	}
	batch, err := consumer.Fetch(int(min(info.NumPending, maxRead)), jetstream.FetchContext(ctx))
	if err != nil {
		return false, fault.Errorf(fault.Unavailable, "read what was said: %w", err)
	}
	var failed error
	for msg := range batch.Messages() {
		failed = errors.Join(failed, visit(msg))
	}
	if failed != nil {
		return false, failed
	}
	if err := batch.Error(); err != nil {
		return false, fault.Errorf(fault.Unavailable, "read what was said: %w", err)
	}
	return info.NumPending <= maxRead, nil
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
