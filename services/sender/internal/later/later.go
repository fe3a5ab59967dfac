// Package later keeps messages until their own time: the server of the bus moves each one when it is due, and Move
// brings it to OUTBOUND.
package later

import (
	"context"
	"fmt"
	"strings"
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
	conn        *bus.Conn
	now, server func() time.Time

	mu     sync.Mutex // guards full and looked
	full   bool
	looked time.Time
}

// New returns the messages that wait on the stream LATER. now is the caller's clock and server that of NATS: they differ
// in tests only.
func New(conn *bus.Conn, now, server func() time.Time) *Later {
	return &Later{conn: conn, now: now, server: server}
}

// Why is why a message is kept.
type Why string

// The reasons.
const (
	OwnTime Why = "own"    // it is to be sent at a time of its own
	Parked  Why = "parked" // its API does not take it now
	Result  Why = "result" // it was sent, and its result may become overdue
)

// Put keeps m until at, by the caller's clock. Of several puts of one message for one reason the last one counts.
// Messages of one fan that are due at the same time come back in the order in which they were put.
func (l *Later) Put(ctx context.Context, why Why, at time.Time, m *senderv1.OutboundMessage) error {
	name := string(why) + "-" + topology.LaneToken(m.GetLane()) + "-" + m.GetId()
	if err := l.room(ctx); err != nil {
		return err
	}
	schedule, due, err := topology.SubjectLater(m.GetAccount(), name, m.GetOpenid())
	if err != nil {
		return err
	}
	data, err := proto.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode outbound message: %w", err)
	}
	at = l.server().Add(at.Sub(l.now()))
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

// Waiting counts the messages of an account that are kept, by reason and lane.
func (l *Later) Waiting(ctx context.Context, account string) (map[Why]map[senderv1.Lane]uint64, error) {
	filter, err := topology.FilterLater(account)
	if err != nil {
		return nil, err
	}
	subjects, err := Subjects(ctx, l.conn.JS(), topology.StreamLater, filter)
	if err != nil {
		return nil, err
	}
	out := map[Why]map[senderv1.Lane]uint64{OwnTime: {}, Parked: {}, Result: {}}
	for subject, n := range subjects {
		parts := strings.SplitN(subject[strings.LastIndexByte(subject, '.')+1:], "-", 3)
		if lanes := out[Why(parts[0])]; lanes != nil && len(parts) == 3 {
			lanes[topology.ParseLaneToken(parts[1])] += n
		}
	}
	return out, nil
}

// Subjects returns how many messages a stream holds below a filter, by subject.
func Subjects(ctx context.Context, js jetstream.JetStream, stream, filter string) (map[string]uint64, error) {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, fmt.Errorf("look at %s: %w", stream, err))
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, fmt.Errorf("look at %s: %w", stream, err))
	}
	return info.State.Subjects, nil
}
