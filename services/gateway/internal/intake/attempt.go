package intake

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/fault"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
)

// Attempts tells which attempt of WeChat a repeated push is, without any memory in this process: the
// stored event says when the first one arrived.
type Attempts struct {
	js      jetstream.JetStream
	timeout time.Duration // of one attempt
}

// NewAttempts returns Attempts for WeChat's time limit of one attempt.
func NewAttempts(js jetstream.JetStream, timeout time.Duration) *Attempts {
	return &Attempts{js: js, timeout: timeout}
}

// Number returns the number of the attempt that arrived at a moment, from 1. A push that was not stored
// before is attempt 1.
func (a *Attempts) Number(ctx context.Context, at Stored, arrived time.Time) (int, error) {
	if !at.Duplicate {
		return 1, nil
	}
	first, err := a.firstArrival(ctx, at)
	if err != nil {
		return 0, fmt.Errorf("read the first attempt: %w", err)
	}
	elapsed := arrived.Sub(first)
	return 1 + max(0, int(math.Round(float64(elapsed)/float64(a.timeout)))), nil
}

// followerTries covers a follower that answers the read before it has what the leader acknowledged.
const (
	followerTries = 5
	followerPause = 30 * time.Millisecond
)

func (a *Attempts) firstArrival(ctx context.Context, at Stored) (time.Time, error) {
	stream, err := a.js.Stream(ctx, at.Stream)
	if err != nil {
		return time.Time{}, fault.Wrap(fault.Unavailable, err)
	}
	msg, err := stream.GetMsg(ctx, at.Seq)
	for try := 1; errors.Is(err, jetstream.ErrMsgNotFound) && try < followerTries; try++ {
		if !sleep(ctx, followerPause) {
			break
		}
		msg, err = stream.GetMsg(ctx, at.Seq)
	}
	if err != nil {
		return time.Time{}, fault.Wrap(fault.Unavailable, err)
	}
	var e eventv1.InboundEvent
	if err := proto.Unmarshal(msg.Data, &e); err != nil {
		return time.Time{}, fault.Wrap(fault.Invalid, err)
	}
	return time.UnixMilli(e.GetReceivedUnixMs()), nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
