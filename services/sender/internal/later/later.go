// Package later keeps messages until their own time: the server of the bus moves each one when it is due, and Move
// brings it to OUTBOUND.
package later

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/sender/internal/facts"
)

// MaxAhead is how far ahead a message may be kept.
const MaxAhead = 72 * time.Hour

// The stream drops its oldest messages when it is full, so nothing is accepted from nearlyFull on. The fill is
// asked for at most once in lookEvery.
const (
	nearlyFull = 0.9
	lookEvery  = 5 * time.Second
)

// ErrFull is returned when there is no room: the caller tries again later.
var ErrFull = fault.New(fault.Exhausted, "too many messages wait for their own time")

// Later is safe for concurrent use.
type Later struct {
	conn *bus.Conn

	mu     sync.Mutex // guards full and looked
	full   bool
	looked time.Time
}

// New returns the messages that wait on the stream LATER.
func New(conn *bus.Conn) *Later { return &Later{conn: conn} }

// Put keeps m until at. Of several messages under one name the last one counts.
func (l *Later) Put(ctx context.Context, name string, at time.Time, m *senderv1.OutboundMessage) error {
	if err := l.room(ctx); err != nil {
		return err
	}
	schedule, due, err := topology.SubjectLater(m.GetAccount(), name)
	if err != nil {
		return err
	}
	data, err := proto.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode outbound message: %w", err)
	}
	return facts.Publish(ctx, l.conn, bus.Msg{
		Subject: schedule, Data: data, ExpectStream: topology.StreamLater,
		Header: nats.Header{
			jetstream.ScheduleHeader:       {"@at " + at.UTC().Format(time.RFC3339Nano)},
			jetstream.ScheduleTargetHeader: {due},
		},
	})
}

// Move is a bus.Handler for what is due.
func (l *Later) Move(ctx context.Context, d *bus.Delivery) error {
	m := &senderv1.OutboundMessage{}
	if err := proto.Unmarshal(d.Data, m); err != nil {
		return fault.Errorf(fault.Invalid, "decode outbound message: %w", err)
	}
	subject, err := topology.SubjectOutbound(m.GetLane(), m.GetAccount(), m.GetPartition(), m.GetOpenid())
	if err != nil {
		return err
	}
	return facts.Publish(ctx, l.conn, bus.Msg{
		Subject: subject, ID: fmt.Sprintf("%s:due:%d", m.GetId(), d.Seq), Data: d.Data, ExpectStream: topology.StreamOutbound,
	})
}

// room fails with ErrFull when a message that waits longer could be lost for this one.
func (l *Later) room(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.looked) > lookEvery {
		stream, err := l.conn.JS().Stream(ctx, topology.StreamLater)
		if err != nil {
			return fault.Wrap(fault.Unavailable, fmt.Errorf("look at %s: %w", topology.StreamLater, err))
		}
		info := stream.CachedInfo()
		l.full = info.Config.MaxBytes > 0 && float64(info.State.Bytes) > nearlyFull*float64(info.Config.MaxBytes)
		l.looked = time.Now()
	}
	if l.full {
		return ErrFull
	}
	return nil
}
