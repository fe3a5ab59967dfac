package agentrouting

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/wxbus/wxbus/pkg/telemetry/logkey"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/index"
)

const (
	careEvery = 2 * time.Second
	// leftBehind is when facts in a record count as forgotten: their process had time to publish them.
	leftBehind = 2 * time.Second
	// careBatch bounds the fans of one round.
	careBatch = 100
	// careTimeout bounds the work for one fan.
	careTimeout = 5 * time.Second
)

// caretaker ends holds that lasted too long and publishes facts that a dead process left behind.
// Every replica runs one: a hold ends once, by compare-and-set, and a fact has an id.
type caretaker struct {
	desk   *app.Desk
	index  *index.Index
	limits domain.Limits
	log    *slog.Logger
	now    func() time.Time

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
	now := c.now()
	for _, row := range c.index.Due(careBatch, func(r index.Row) bool {
		return !r.Unpublished.IsZero() && now.Sub(r.Unpublished) > leftBehind
	}) {
		c.care(ctx, "publish owner change", row, c.desk.Flush)
	}
	for _, row := range c.index.Due(careBatch, func(r index.Row) bool { return c.limits.Over(r.Owner, r.Active, now) != "" }) {
		c.care(ctx, "end hold", row, c.desk.Expire)
	}
}

func (c *caretaker) care(ctx context.Context, what string, row index.Row, do func(ctx context.Context, account, openID string) error) {
	ctx, cancel := context.WithTimeout(ctx, careTimeout)
	defer cancel()
	if err := do(ctx, row.Account, row.OpenID); err != nil && ctx.Err() == nil {
		c.log.WarnContext(ctx, "will be tried again", "work", what, logkey.Account, row.Account, logkey.Epoch, row.Owner.Epoch, logkey.Error, err)
	}
}
