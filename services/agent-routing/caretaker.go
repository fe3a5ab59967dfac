package agentrouting

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/wxbus/wxbus/pkg/telemetry/logkey"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

const (
	careEvery = time.Second
	// careTimeout bounds one round.
	careTimeout = 20 * time.Second
)

// caretaker does what is due, and what dead processes left behind. Every replica runs one: whoever locks a fan first does the
// work, and the others find it done.
type caretaker struct {
	desk  *app.Desk
	store *store.Store
	log   *slog.Logger

	cancel context.CancelFunc
	done   sync.WaitGroup
}

func (c *caretaker) start(ctx context.Context) {
	ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	c.done.Go(func() {
		ticker := time.NewTicker(careEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				c.round(ctx)
			}
		}
	})
}

func (c *caretaker) stop() {
	if c.cancel != nil {
		c.cancel()
	}
	c.done.Wait()
}

func (c *caretaker) round(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, careTimeout)
	defer cancel()
	if err := c.desk.Care(ctx); err != nil && ctx.Err() == nil {
		c.log.WarnContext(ctx, "what is due will be tried again", logkey.Error, err)
	}
}
