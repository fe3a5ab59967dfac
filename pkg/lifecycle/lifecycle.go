// Package lifecycle starts the parts of a process in order and stops them in the reverse order.
//
// A part is a Component: Start returns when it is ready to serve, Stop returns when all its
// goroutines have ended. A Group holds components in flow order: what the others need comes first.
// Readiness tells the orchestrator when to send traffic; it says no before Start is done and from
// the first moment of stopping.
//
// The context given to Run only ends the intake: it is the signal to stop. Every Stop gets its own
// deadline from a context that the signal does not cancel, so that work in flight can finish.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Component is a part of a process that runs until it is stopped.
type Component interface {
	// Name is used in logs and errors.
	Name() string
	// Start returns when the component is ready to serve. The context bounds the start only; the
	// component goes on after it ends. A Start that fails leaves nothing behind.
	Start(ctx context.Context) error
	// Stop ends intake, finishes what is in flight until the context ends, and waits for every
	// goroutine. It is safe to call twice, and without Start.
	Stop(ctx context.Context) error
}

// Failer is implemented by components that can fail while they run. The channel yields at most
// one error; it may stay open for ever, and must be the same channel in every call.
type Failer interface {
	Failed() <-chan error
}

// DefaultGrace is how long each component may take to stop.
const DefaultGrace = 15 * time.Second

// Options tune a Group. The zero value is fine.
type Options struct {
	// Name of the group when it is a component of another one; default "group".
	Name string
	// Readiness follows the group: starting, running, stopping. Nil for none.
	Readiness *Readiness
	// Grace is the deadline of each Stop; default DefaultGrace.
	Grace time.Duration
	// DrainDelay is the time between "not ready" and the first Stop, in which load balancers take the
	// process out; default 0.
	DrainDelay time.Duration
	// OnReady is called once by Run when every component has started.
	OnReady func()
}

// Group is an ordered list of components. It is itself a Component and a Failer, so groups nest.
type Group struct {
	log        *slog.Logger
	components []Component
	opts       Options

	mu      sync.Mutex // guards started and watch
	started []Component
	watch   context.CancelFunc
	watched sync.WaitGroup
	failed  chan error
}

var (
	_ Component = (*Group)(nil)
	_ Failer    = (*Group)(nil)
)

// NewGroup returns a group of components in start order. A nil log discards.
func NewGroup(log *slog.Logger, cs ...Component) *Group {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Group{log: log, components: cs, failed: make(chan error, 1), opts: Options{Name: "group", Grace: DefaultGrace}}
}

// With sets options and returns the group. Call it before Start.
func (g *Group) With(o Options) *Group {
	if o.Name == "" {
		o.Name = "group"
	}
	if o.Grace <= 0 {
		o.Grace = DefaultGrace
	}
	g.opts = o
	return g
}

// Name returns the name from Options.
func (g *Group) Name() string { return g.opts.Name }

// Failed yields the first run-time error of a component, with the component's name.
func (g *Group) Failed() <-chan error { return g.failed }

// Start starts the components one after the other. When one fails or ctx ends, those that have
// started are stopped again, and the error names the component.
func (g *Group) Start(ctx context.Context) error {
	if g.opts.Readiness != nil {
		g.opts.Readiness.setStarting()
	}
	for _, c := range g.components {
		begin := time.Now()
		err := ctx.Err()
		if err == nil {
			err = c.Start(ctx)
		}
		if err != nil {
			err = fmt.Errorf("start %s: %w", c.Name(), err)
			return errors.Join(err, g.Stop(ctx))
		}
		g.mu.Lock()
		g.started = append(g.started, c)
		g.mu.Unlock()
		g.log.DebugContext(ctx, "component started", "component", c.Name(), "took", time.Since(begin))
	}
	g.watchFailures(ctx)
	if g.opts.Readiness != nil {
		g.opts.Readiness.setRunning()
	}
	return nil
}

// watchFailures forwards the first failure of any component to g.failed.
func (g *Group) watchFailures(ctx context.Context) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	g.mu.Lock()
	g.watch = cancel
	g.mu.Unlock()
	for _, c := range g.components {
		f, ok := c.(Failer)
		if !ok {
			continue
		}
		g.watched.Go(func() {
			select {
			case err := <-f.Failed():
				if err == nil {
					err = errors.New("ended unexpectedly")
				}
				select {
				case g.failed <- fmt.Errorf("%s: %w", c.Name(), err):
				default: // only the first failure counts; it stops the others
				}
			case <-ctx.Done():
			}
		})
	}
}

// Stop stops the started components in reverse order. Each gets its own deadline of Options.Grace,
// however long the others took, and the end of ctx does not cut it short. Errors are joined.
func (g *Group) Stop(ctx context.Context) error {
	if g.opts.Readiness != nil {
		g.opts.Readiness.SetStopping()
	}
	g.mu.Lock()
	started, watch := g.started, g.watch
	g.started, g.watch = nil, nil
	g.mu.Unlock()
	if watch != nil {
		watch()
	}
	g.watched.Wait()
	var errs []error
	for i := len(started) - 1; i >= 0; i-- {
		if err := g.stopOne(ctx, started[i]); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (g *Group) stopOne(ctx context.Context, c Component) error {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.opts.Grace)
	defer cancel()
	if err := c.Stop(ctx); err != nil {
		return fmt.Errorf("stop %s: %w", c.Name(), err)
	}
	g.log.DebugContext(ctx, "component stopped", "component", c.Name(), "took", time.Since(begin))
	return nil
}

// Run starts the group, waits until ctx ends or a component fails, and stops the group: first
// not ready, then the drain delay, then the components. It returns nil after an orderly stop
// that ctx asked for, also when that came during the start; a second signal is the caller's business.
func (g *Group) Run(ctx context.Context) error {
	if err := g.Start(ctx); err != nil {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			g.log.InfoContext(ctx, "stopped during start", "error", err)
			return nil
		}
		return err
	}
	if g.opts.OnReady != nil {
		g.opts.OnReady()
	}
	var failure error
	select {
	case <-ctx.Done():
		g.drain(ctx)
	case failure = <-g.failed:
		failure = fmt.Errorf("component %w", failure)
		if g.opts.Readiness != nil {
			g.opts.Readiness.SetStopping()
		}
	}
	return errors.Join(failure, g.Stop(ctx))
}

// drain says "not ready" and gives load balancers time to notice. A component that fails
// meanwhile ends the wait.
func (g *Group) drain(ctx context.Context) {
	if g.opts.Readiness != nil {
		g.opts.Readiness.SetStopping()
	}
	if g.opts.DrainDelay <= 0 {
		return
	}
	g.log.InfoContext(ctx, "draining", "delay", g.opts.DrainDelay)
	timer := time.NewTimer(g.opts.DrainDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case err := <-g.failed:
		g.log.WarnContext(ctx, "component failed while draining", "error", err)
	}
}
