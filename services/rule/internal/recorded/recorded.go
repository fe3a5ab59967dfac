// Package recorded reads what a stream has stored, from a place in it on, without leaving a trace on the server.
package recorded

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/wxbus/wxbus/pkg/fault"
)

const (
	// maxResets bounds how often a reader that lost its place finds it again before it gives up.
	maxResets = 10
	// batch is how many messages are asked for at once.
	batch = 512
	// heartbeat of the server: two missed ones, and the reader begins again where it was.
	heartbeat = time.Second
)

// From is where to begin. Since counts when Seq is zero.
type From struct {
	Seq    uint64
	Since  time.Time
	Filter string // subject; empty is everything
}

// Message is a stored message.
type Message struct {
	Seq    uint64
	Stored time.Time
	Data   []byte
}

// Reader reads a stream in order. It is for one goroutine.
type Reader struct {
	// Pending is how many messages there were to read at the start.
	Pending uint64
	// Last is the last sequence of the stream at the start.
	Last uint64
	// Created is when the stream was made: sequences of another one mean nothing.
	Created time.Time

	consumer jetstream.Consumer
	iter     jetstream.MessagesContext
}

// Open begins to read. The caller closes the reader.
func Open(ctx context.Context, js jetstream.JetStream, stream string, from From) (*Reader, error) {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, fault.Errorf(fault.Unavailable, "open stream %s: %w", stream, err)
	}
	info := s.CachedInfo()
	cfg := jetstream.OrderedConsumerConfig{MaxResetAttempts: maxResets, DeliverPolicy: jetstream.DeliverAllPolicy}
	switch {
	case from.Seq > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, from.Seq
	case !from.Since.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &from.Since
	}
	if from.Filter != "" {
		cfg.FilterSubjects = []string{from.Filter}
	}
	consumer, err := s.OrderedConsumer(ctx, cfg)
	if err != nil {
		return nil, fault.Errorf(fault.Unavailable, "read stream %s: %w", stream, err)
	}
	r := &Reader{Pending: consumer.CachedInfo().NumPending, Last: info.State.LastSeq, Created: info.Created, consumer: consumer}
	if r.iter, err = consumer.Messages(jetstream.PullMaxMessages(batch), jetstream.PullHeartbeat(heartbeat)); err != nil {
		return nil, fault.Errorf(fault.Unavailable, "read stream %s: %w", stream, err)
	}
	return r, nil
}

// ErrNothing means that nothing came within the time.
var ErrNothing = errors.New("nothing more to read now")

// Next returns the next message, or ErrNothing after wait.
func (r *Reader) Next(ctx context.Context, wait time.Duration) (Message, error) {
	if ctx.Err() != nil { // also when messages are at hand
		return Message{}, fault.Errorf(fault.Unavailable, "read: %w", ctx.Err())
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	msg, err := r.iter.Next(jetstream.NextContext(waiting))
	switch {
	case ctx.Err() == nil && (errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded)):
		return Message{}, ErrNothing
	case err != nil:
		return Message{}, fault.Errorf(fault.Unavailable, "read: %w", err)
	}
	meta, err := msg.Metadata()
	if err != nil {
		return Message{}, fault.Errorf(fault.Unavailable, "read: %w", err)
	}
	return Message{Seq: meta.Sequence.Stream, Stored: meta.Timestamp, Data: msg.Data()}, nil
}

// Remaining returns how many messages the server has not given out yet.
func (r *Reader) Remaining(ctx context.Context) (uint64, error) {
	info, err := r.consumer.Info(ctx)
	if err != nil {
		return 0, fault.Errorf(fault.Unavailable, "ask how much there is to read: %w", err)
	}
	return info.NumPending, nil
}

// Close ends the reading.
func (r *Reader) Close() { r.iter.Stop() }
