package soak

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/wxbus/wxbus/pkg/topology"
)

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
