package soak

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/topology"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
)

// stored names a push for the simulator.
type stored struct {
	Account    string `json:"account"`
	OpenID     string `json:"openid"`
	MsgID      string `json:"msg_id,omitempty"`
	Event      string `json:"event,omitempty"`
	CreateTime int64  `json:"create_time,omitempty"`
}

// storedPart is how many pushes go into one request.
const storedPart = 5000

// postStored reads INBOUND from its first to its last message and tells the simulator.
func (s *system) postStored(t *testing.T) {
	t.Helper()
	list, err := s.readStored(t.Context())
	require.NoError(t, err)
	for {
		n := min(storedPart, len(list))
		s.Sim(t, http.MethodPost, "/sim/v1/stored", map[string]any{"pushes": list[:n], "complete": n == len(list)}, nil)
		list = list[n:]
		if len(list) == 0 {
			return
		}
	}
}

func (s *system) readStored(ctx context.Context) ([]stored, error) {
	var list []stored
	err := s.readStream(ctx, topology.StreamInbound, func(m jetstream.Msg) error {
		var e eventv1.InboundEvent
		if err := proto.Unmarshal(m.Data(), &e); err != nil {
			return err
		}
		list = append(list, stored{Account: e.GetAccount(), OpenID: e.GetOpenid(), MsgID: e.GetMsgId(), Event: e.GetEvent(), CreateTime: e.GetCreateTime()})
		return nil
	})
	return list, err
}

// readStream gives every message of a stream to take, up to the last one that is there now. It fails
// rather than end early.
func (s *system) readStream(ctx context.Context, name string, take func(jetstream.Msg) error) error {
	stream, err := s.js.Stream(ctx, name)
	if err != nil {
		return err
	}
	last := stream.CachedInfo().State.LastSeq
	reader, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return err
	}
	messages, err := reader.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for at := uint64(0); at < last; {
		m, err := messages.Next(jetstream.NextMaxWait(10 * time.Second))
		if err != nil {
			return fmt.Errorf("read %s after %d of %d: %w", name, at, last, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		at = meta.Sequence.Stream
		if err := take(m); err != nil {
			return fmt.Errorf("message %d of %s: %w", at, name, err)
		}
	}
	return nil
}

// waitForRest returns when no service has anything left to do. It decides only when to look, not what
// is right.
func (s *system) waitForRest(t *testing.T, limit time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var busy error
	for quiet := 0; quiet < 3; { // a message that left one stream may not have reached the next one
		if busy = s.busy(ctx); busy != nil {
			quiet = 0
		} else {
			quiet++
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not at rest after %s: %v", limit, busy)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// busy tells what is left to do, or nil.
func (s *system) busy(ctx context.Context) error {
	var errs []error
	for _, name := range []string{topology.StreamInbound, topology.StreamSpill, topology.StreamDecisions, topology.StreamOutbound} {
		stream, err := s.js.Stream(ctx, name)
		if err != nil {
			return err
		}
		consumers := stream.ListConsumers(ctx)
		for c := range consumers.Info() {
			if c.Config.Durable != "" && (c.NumPending > 0 || c.NumAckPending > 0) {
				errs = append(errs, fmt.Errorf("%s %s: %d pending, %d in hand", name, c.Name, c.NumPending, c.NumAckPending))
			}
		}
		errs = append(errs, consumers.Err())
	}
	return errors.Join(errs...)
}
