package webhooks

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
)

// readerLife is how long the server keeps a reader that nobody uses.
const readerLife = time.Minute

// reader reads one stream from a position in batches. It keeps nothing on the server that matters: after any failure
// it begins anew at the position that is stored in SQL.
type reader struct {
	js      jetstream.JetStream
	stream  string
	filters []string

	consumer jetstream.Consumer
	next     uint64 // consumer sequence of the next message: a hole means that something got lost on the way
	last     uint64 // stream sequence that was read last
}

// batch returns up to limit messages after a position, without waiting for new ones.
func (r *reader) batch(ctx context.Context, after uint64, limit int) ([]message, error) {
	out, err := r.fetch(ctx, after, limit)
	if err != nil {
		r.consumer = nil
	}
	return out, err
}

func (r *reader) fetch(ctx context.Context, after uint64, limit int) ([]message, error) {
	if r.consumer == nil || r.last != after {
		consumer, err := r.js.CreateConsumer(ctx, r.stream, jetstream.ConsumerConfig{
			Description: "events out", AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
			FilterSubjects: r.filters, InactiveThreshold: readerLife, Replicas: 1, MemoryStorage: true,
		})
		if err != nil {
			return nil, fault.Errorf(fault.Unavailable, "read %s: %w", r.stream, err)
		}
		r.consumer, r.next, r.last = consumer, 1, after
	}
	got, err := r.consumer.FetchNoWait(limit)
	if err != nil {
		return nil, fault.Errorf(fault.Unavailable, "read %s: %w", r.stream, err)
	}
	var out []message
	for m := range got.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return nil, err
		}
		if meta.Sequence.Consumer != r.next {
			return nil, fault.Errorf(fault.Unavailable, "read %s: a message got lost on the way", r.stream)
		}
		r.next, r.last = r.next+1, meta.Sequence.Stream
		out = append(out, message{stream: r.stream, seq: meta.Sequence.Stream, atMS: meta.Timestamp.UnixMilli(), subject: m.Subject(), kind: m.Headers().Get(bus.HeaderType), data: m.Data()})
	}
	if err := got.Error(); err != nil {
		return nil, fault.Errorf(fault.Unavailable, "read %s: %w", r.stream, err)
	}
	return out, nil
}

// stored returns one message by its place; false when the stream does not keep it any more.
func stored(ctx context.Context, js jetstream.JetStream, name string, seq uint64) (message, bool, error) {
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return message{}, false, fault.Errorf(fault.Unavailable, "read %s: %w", name, err)
	}
	m, err := stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return message{}, false, nil
	}
	if err != nil {
		return message{}, false, fault.Errorf(fault.Unavailable, "read %s: %w", name, err)
	}
	return message{stream: name, seq: seq, atMS: m.Time.UnixMilli(), subject: m.Subject, kind: m.Header.Get(bus.HeaderType), data: m.Data}, true, nil
}
