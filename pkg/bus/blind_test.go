package bus

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// looks is a durable that tells about itself, or not.
type looks struct {
	jetstream.Consumer
	info *jetstream.ConsumerInfo
}

func (l *looks) Info(context.Context) (*jetstream.ConsumerInfo, error) {
	if l.info == nil {
		return nil, errors.New("no answer")
	}
	return l.info, nil
}

// shelf is a stream of one fan, with some of its messages.
type shelf struct {
	jetstream.Stream
	seqs []uint64
}

func (s *shelf) GetMsg(_ context.Context, from uint64, _ ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	for _, seq := range s.seqs {
		if seq >= from {
			return &jetstream.RawStreamMsg{Sequence: seq}, nil
		}
	}
	return nil, jetstream.ErrMsgNotFound
}

// blind returns a partition that took over without knowing what the former reader had, and a lane with a message.
func blind(t *testing.T) (*partition, *lane, *looks) {
	t.Helper()
	reader := &looks{}
	p := &partition{
		c:      &Consumer{conn: &Conn{log: slog.New(slog.DiscardHandler)}, cfg: ConsumerConfig{Lane: func(*Delivery) string { return "fan" }}},
		reader: reader, stream: &shelf{seqs: []uint64{5, 7}}, config: jetstream.ConsumerConfig{FilterSubject: ">", AckWait: time.Minute}, base: t.Context(), expiry: time.Minute,
		watch: make(chan struct{}, 1), lanes: map[string]*lane{},
		draining: true, // nothing starts by itself
	}
	p.recoverLanes()
	l := &lane{key: "fan", waiting: []*holding{{delivery: &Delivery{Seq: 7}}}}
	p.lanes[l.key] = l
	require.Nil(t, p.takeNext(l), "an earlier message of the fan may be on the server")
	return p, l, reader
}

func TestABlindTakeoverWaitsForTheServer(t *testing.T) {
	p, l, reader := blind(t)
	other := &lane{key: "other", waiting: []*holding{{delivery: &Delivery{Seq: 8}}}}
	p.lanes[other.key] = other
	require.True(t, p.endRecovery(), "the server does not answer")
	require.Nil(t, p.takeNext(l))
	require.Nil(t, p.takeNext(other))
	floor, last := jetstream.SequenceInfo{Stream: 4}, jetstream.SequenceInfo{Stream: 8}
	reader.info = &jetstream.ConsumerInfo{AckFloor: floor, Delivered: last, NumAckPending: 3} // ours, and 5 of the former reader
	require.True(t, p.endRecovery())
	require.Nil(t, p.takeNext(l))
	require.NotNil(t, p.takeNext(other), "now it is known whose message is on the server")
	p.expire(time.Now().Add(2 * time.Minute))
	require.Nil(t, p.takeNext(l), "the former reader may be at work on it for longer than AckWait")
	reader.info = &jetstream.ConsumerInfo{AckFloor: floor, Delivered: last, NumAckPending: 2}
	require.False(t, p.endRecovery())
	require.NotNil(t, p.takeNext(l))
}

func TestABlindTakeoverDoesNotWaitForEver(t *testing.T) {
	p, l, _ := blind(t)
	p.expire(time.Now().Add(p.config.AckWait + slowServer - time.Second))
	require.Nil(t, p.takeNext(l))
	p.expire(time.Now().Add(p.config.AckWait + slowServer + time.Second))
	require.NotNil(t, p.takeNext(l))
}

// What this reader gave back for a later try goes to whoever has the partition then.
func TestWhatAnotherReaderTriedAgainHoldsNoLane(t *testing.T) {
	p, l, reader := blind(t)
	l.parked = map[uint64]parking{5: {until: time.Now().Add(time.Hour)}}
	reader.info = &jetstream.ConsumerInfo{AckFloor: jetstream.SequenceInfo{Stream: 4}, Delivered: jetstream.SequenceInfo{Stream: 7}, NumAckPending: 2}
	require.True(t, p.endRecovery())
	require.Nil(t, p.takeNext(l), "it is not done")
	reader.info.NumAckPending = 1 // ours
	require.False(t, p.endRecovery())
	require.NotNil(t, p.takeNext(l))
}
