package readback

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// WaitForRest returns when nobody has anything left to do on some streams. It decides only when to look, not what is
// right; after limit the test fails.
func WaitForRest(t *testing.T, js jetstream.JetStream, limit time.Duration, streams ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var busy error
	tell := time.NewTicker(20 * time.Second)
	defer tell.Stop()
	for quiet := 0; quiet < 3; { // a message that left one stream may not have reached the next one
		if busy = leftToDo(ctx, js, streams); busy != nil {
			quiet = 0
		} else {
			quiet++
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not at rest after %s: %v", limit, busy)
		case <-tell.C:
			t.Logf("still busy: %v", busy)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// leftToDo tells what is left to do, or nil.
func leftToDo(ctx context.Context, js jetstream.JetStream, streams []string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var errs []error
	for _, name := range streams {
		stream, err := js.Stream(ctx, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
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
