// Package readback reads what is on the streams after a test, each to its end, and tells the simulator what is
// stored. A reader that stopped early says so: it never takes a part for the whole.
package readback

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/topology"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/tests/stack"
)

// Reading is how far a stream was read.
type Reading struct {
	Stream string `json:"stream"`
	From   uint64 `json:"from"` // first sequence that was asked for
	Last   uint64 `json:"last"` // last sequence when the reading began
	Read   uint64 `json:"read"` // sequence of the last message that was read
	Count  int    `json:"count"`
	// Gapless streams delete nothing, so Count must be Last-From+1.
	Gapless bool   `json:"gapless,omitempty"`
	Error   string `json:"error,omitempty"`
}

// Complete tells whether every message was read.
func (r Reading) Complete() bool {
	if r.Error != "" {
		return false
	}
	if r.Last < r.From { // nothing happened
		return r.Count == 0
	}
	return r.Read >= r.Last && (!r.Gapless || r.Count >= int(r.Last-r.From+1))
}

// String says how far it came.
func (r Reading) String() string {
	return fmt.Sprintf("%s was read to %d of %d, %d messages from %d: %s", r.Stream, r.Read, r.Last, r.Count, r.From, r.Error)
}

const (
	stateTimeout = 5 * time.Second
	// messageTimeout is how long the next message may take; it is there already.
	messageTimeout = 30 * time.Second
)

// Stream gives every message of a stream from a sequence on to take, up to the last one that is there now. It ends
// early when take fails.
func Stream(ctx context.Context, js jetstream.JetStream, name string, from uint64, take func(jetstream.Msg) error) Reading {
	r := Reading{Stream: name, From: max(from, 1)}
	if err := r.read(ctx, js, take); err != nil {
		r.Error = err.Error()
	}
	return r
}

func (r *Reading) read(ctx context.Context, js jetstream.JetStream, take func(jetstream.Msg) error) error {
	short, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	stream, err := js.Stream(short, r.Stream)
	if err != nil {
		return err
	}
	if r.Last = stream.CachedInfo().State.LastSeq; r.Last < r.From {
		return nil
	}
	reader, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.From})
	if err != nil {
		return err
	}
	messages, err := reader.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for r.Read < r.Last {
		m, err := messages.Next(jetstream.NextMaxWait(messageTimeout))
		if err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if err := take(m); err != nil {
			return fmt.Errorf("message %d: %w", meta.Sequence.Stream, err)
		}
		r.Read, r.Count = meta.Sequence.Stream, r.Count+1
	}
	return nil
}

// Stored names a push for the simulator.
type Stored struct {
	Account    string `json:"account"`
	OpenID     string `json:"openid"`
	MsgID      string `json:"msg_id,omitempty"`
	Event      string `json:"event,omitempty"`
	CreateTime int64  `json:"create_time,omitempty"`
}

// StoredOf is the name of the push that an event is about.
func StoredOf(e *eventv1.InboundEvent) Stored {
	return Stored{Account: e.GetAccount(), OpenID: e.GetOpenid(), MsgID: e.GetMsgId(), Event: e.GetEvent(), CreateTime: e.GetCreateTime()}
}

// storedPart is how many pushes go into one request.
const storedPart = 5000

// Tell tells the simulator everything that is stored.
func Tell(t testing.TB, sim stack.Control, list []Stored) {
	t.Helper()
	for {
		n := min(storedPart, len(list))
		sim.Call(t, http.MethodPost, "/sim/v1/stored", map[string]any{"pushes": list[:n], "complete": n == len(list)}, nil)
		if list = list[n:]; len(list) == 0 {
			return
		}
	}
}

// TellInbound reads INBOUND from its first to its last message and tells the simulator.
func TellInbound(t testing.TB, js jetstream.JetStream, sim stack.Control) {
	t.Helper()
	list := []Stored{}
	r := Stream(t.Context(), js, topology.StreamInbound, 1, func(m jetstream.Msg) error {
		var e eventv1.InboundEvent
		if err := proto.Unmarshal(m.Data(), &e); err != nil {
			return err
		}
		list = append(list, StoredOf(&e))
		return nil
	})
	require.True(t, r.Complete(), "%s", r)
	Tell(t, sim, list)
}
