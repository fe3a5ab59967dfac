// Package catchup looks at what a fan did a moment ago, before the sender's own reader of INBOUND has come to it.
//
// A business system that is told of a push answers within milliseconds, and may be faster than the reader that keeps the
// windows. The push is stored by then. So whoever would refuse asks the stream for the fan's pushes that the reader has
// not acknowledged, and folds them itself; folding one again changes nothing.
package catchup

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/sender/internal/grants"
	"github.com/wxbus/wxbus/services/sender/internal/windows"
)

const (
	// most bounds the pushes of a fan that are folded ahead of the reader.
	most = 64
	// within bounds the questions to the bus; a caller that gets no answer calls again.
	within = 2 * time.Second
)

// Reader is safe for concurrent use.
type Reader struct {
	bus      *bus.Conn
	topology *topology.Topology
	windows  *windows.Ledger
}

// New returns a reader that folds into ledger.
func New(b *bus.Conn, t *topology.Topology, ledger *windows.Ledger) *Reader {
	return &Reader{b, t, ledger}
}

// Fold folds what the fan did and the reader has not acknowledged. found is false when there is nothing of that kind.
func (r *Reader) Fold(ctx context.Context, fan windows.Fan) (found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	partition := r.topology.Partition(fan.Account, fan.OpenID)
	filter, err := topology.FilterFan(fan.Account, partition, fan.OpenID)
	if err != nil {
		return false, err
	}
	durable := topology.Durable(topology.ServiceSender, topology.StreamInbound, partition)
	reader, err := r.bus.JS().Consumer(ctx, topology.StreamInbound, durable)
	if err != nil {
		return false, fault.Wrap(fault.Unavailable, fmt.Errorf("ask how far %s is: %w", durable, err))
	}
	seq := reader.CachedInfo().AckFloor.Stream
	for range most {
		msg, err := r.next(ctx, seq+1, filter)
		if err != nil || msg == nil {
			return found, err
		}
		seq = msg.Seq
		ev := &eventv1.InboundEvent{}
		if err := proto.Unmarshal(msg.Data, ev); err != nil {
			continue // the reader says so
		}
		if err := r.windows.Fold(ctx, fan, grants.EvidenceOf(ev)); err != nil {
			return found, err
		}
		found = true
	}
	return found, nil
}

// stored is a message as the leader of a stream returns it.
type stored struct {
	Seq  uint64 `json:"seq"`
	Data []byte `json:"data"`
}

// next returns the first message from seq on; nil when there is none. The leader is asked: another server may be behind, and
// would hide exactly the push that this is about.
func (r *Reader) next(ctx context.Context, seq uint64, filter string) (*stored, error) {
	question, err := json.Marshal(map[string]any{"seq": seq, "next_by_subj": filter})
	if err != nil {
		return nil, fmt.Errorf("encode question: %w", err)
	}
	msg, err := r.bus.Request(ctx, jetstream.DefaultAPIPrefix+"STREAM.MSG.GET."+topology.StreamInbound, question)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, fmt.Errorf("read pushes of the fan: %w", err))
	}
	var answer struct {
		Message *stored             `json:"message"`
		Error   *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(msg.Data, &answer); {
	case err != nil:
		return nil, fault.Errorf(fault.Permanent, "read pushes of the fan: %w", err)
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, nil
	case answer.Error != nil:
		return nil, fault.Errorf(fault.Unavailable, "read pushes of the fan: %w", answer.Error)
	}
	return answer.Message, nil
}
