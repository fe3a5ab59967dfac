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

// blind returns a partition that took over without knowing what the former reader had, and a lane with a message.
func blind(t *testing.T) (*partition, *lane, *looks) {
	t.Helper()
	reader := &looks{}
	p := &partition{
		c: &Consumer{conn: &Conn{log: slog.New(slog.DiscardHandler)}}, reader: reader, base: t.Context(), expiry: time.Minute,
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
	require.True(t, p.endRecovery(), "the server does not answer")
	require.Nil(t, p.takeNext(l))
	reader.info = &jetstream.ConsumerInfo{NumAckPending: 2} // ours, and one of the former reader
	require.True(t, p.endRecovery())
	require.Nil(t, p.takeNext(l))
	reader.info = &jetstream.ConsumerInfo{NumAckPending: 1}
	require.False(t, p.endRecovery())
	require.NotNil(t, p.takeNext(l))
}

func TestABlindTakeoverDoesNotWaitForEver(t *testing.T) {
	p, l, _ := blind(t)
	p.expire(time.Now().Add(slowServer - time.Second))
	require.Nil(t, p.takeNext(l))
	p.expire(time.Now().Add(slowServer + time.Second))
	require.NotNil(t, p.takeNext(l))
}
