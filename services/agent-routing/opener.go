package agentrouting

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
)

const (
	// openWait is how long the start waits for the database before it goes on without.
	openWait = 10 * time.Second
	// openPause is the time between two tries.
	openPause = 2 * time.Second
)

// opener runs open until it succeeds, in the background when that takes long: a database that is away stops the desk, never the
// process, which may serve more than the desk.
type opener struct {
	open func(ctx context.Context) error

	cancel context.CancelFunc
	done   sync.WaitGroup
}

func (o *opener) start(ctx context.Context, log *slog.Logger) error {
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	o.cancel = cancel
	first := make(chan error, 1)
	o.done.Go(func() {
		for {
			err := o.open(run)
			select {
			case first <- err:
			default:
			}
			if err == nil || run.Err() != nil || fault.KindOf(err) != fault.Unavailable {
				return
			}
			log.WarnContext(run, "the desk waits for its database", logkey.Error, err)
			select {
			case <-run.Done():
				return
			case <-time.After(openPause):
			}
		}
	})
	select {
	case err := <-first:
		if err != nil && fault.KindOf(err) != fault.Unavailable {
			o.stop()
			return err
		}
	case <-time.After(openWait):
	case <-ctx.Done():
		o.stop()
		return fault.Errorf(fault.Unavailable, "start the desk: %w", ctx.Err())
	}
	return nil
}

// stop ends the tries and waits. It is safe to call twice, and without start.
func (o *opener) stop() {
	if o.cancel != nil {
		o.cancel()
	}
	o.done.Wait()
}
