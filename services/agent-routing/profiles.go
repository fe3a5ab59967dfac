package agentrouting

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/wxbus/wxbus/pkg/telemetry/logkey"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
)

const (
	profileWorkers = 4
	// profileQueue bounds the fans who are asked about later; those beyond are asked about with their next conversation.
	profileQueue   = 1000
	profileTimeout = 10 * time.Second
)

// profiles asks WeChat about fans whom the desk begins to serve. Nobody waits for it, and nothing is lost with the process: a fan who
// was not asked about is asked about with the next conversation.
type profiles struct {
	desk *app.Desk
	log  *slog.Logger
	fans chan fanKey

	cancel context.CancelFunc
	done   sync.WaitGroup
}

type fanKey struct{ account, openID string }

func newProfiles(log *slog.Logger) *profiles {
	return &profiles{log: log, fans: make(chan fanKey, profileQueue)}
}

// met notes a fan to ask about.
func (p *profiles) met(account, openID string) {
	select {
	case p.fans <- fanKey{account, openID}:
	default:
	}
}

func (p *profiles) start(ctx context.Context) {
	ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for range profileWorkers {
		p.done.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case f := <-p.fans:
					p.ask(ctx, f)
				}
			}
		})
	}
}

func (p *profiles) stop() {
	if p.cancel != nil {
		p.cancel()
	}
	p.done.Wait()
}

func (p *profiles) ask(ctx context.Context, f fanKey) {
	ctx, cancel := context.WithTimeout(ctx, profileTimeout)
	defer cancel()
	if err := p.desk.Profile(ctx, f.account, f.openID); err != nil && ctx.Err() == nil {
		p.log.DebugContext(ctx, "fan is asked about with the next conversation", logkey.Account, f.account, logkey.Error, err)
	}
}
