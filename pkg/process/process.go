// Package process puts a process together: configuration, telemetry, NATS, the check of the
// topology, gRPC, the services, and the listeners. It is the same for one service and for all of them;
// only the list of modules differs.
//
// Start order (ADR 0006): admin ports, NATS, topology, the modules in their order with the gRPC
// server between the services that serve and those that call, public listeners. Stop is the reverse.
package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wxbus/wxbus/pkg/clock"
	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/telemetry"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
)

// Version of the build, set by the linker.
var Version = "dev"

// startTimeout bounds the start of a process, including the wait for NATS.
const startTimeout = 60 * time.Second

// Embedded is a NATS server inside the process.
type Embedded interface {
	lifecycle.Component
	// InProcess is how the process itself connects, without a socket.
	InProcess() nats.InProcessConnProvider
	// ClientURL is where others connect; empty when the server does not listen.
	ClientURL() string
}

// Spec says what a process is.
type Spec struct {
	// Name of the process in logs and on NATS: wxbus, or the name of its one service.
	Name string
	// Modules in start order.
	Modules []Module
	// Load says where configuration comes from.
	Load config.LoadOptions
	// Embed makes the embedded server that is used when nats.urls is empty; nil when the process cannot.
	Embed func(ctx context.Context, shared config.Shared, log *slog.Logger) (Embedded, error)
	// OnReady is called once when everything is ready.
	OnReady func(*Process)
	// Log receives logs; default os.Stderr.
	Log io.Writer
	// Telemetry replaces the process's own, for tests; it is not shut down.
	Telemetry *telemetry.Telemetry
	// DrainDelay is the time between "not ready" and the first stop.
	DrainDelay time.Duration
}

// Process is a running process.
type Process struct {
	spec   Spec
	shared config.Shared
	rt     *Runtime
	infra  *lifecycle.Group // admin ports, NATS, bus connection
	group  *lifecycle.Group // modules and listeners
	admins []bound
	public []bound
	nats   Embedded
	certs  certificates
	clock  *clock.Clock

	serving atomic.Bool // all modules and listeners have started
}

// Shared returns the configuration that the process runs with.
func (p *Process) Shared() config.Shared { return p.shared }

// Runtime returns what the modules were built with.
func (p *Process) Runtime() *Runtime { return p.rt }

// Run starts a process, waits until ctx ends or a part fails, and stops it in order. It returns nil
// after an orderly stop that ctx asked for.
func Run(ctx context.Context, spec Spec) error {
	p, err := Start(ctx, spec)
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	}
	telemetry.RedirectErrors(p.rt.Log)
	if spec.OnReady != nil {
		spec.OnReady(p)
	}
	var failure error
	select {
	case <-ctx.Done():
		p.drain(ctx)
	case err := <-p.group.Failed():
		failure = fmt.Errorf("component %w", err)
	case err := <-p.infra.Failed():
		failure = fmt.Errorf("component %w", err)
	}
	return errors.Join(failure, p.Stop(ctx))
}

// Start loads the configuration and starts everything. The caller stops what Start returned.
func Start(ctx context.Context, spec Spec) (*Process, error) {
	p := &Process{spec: spec}
	sections := make([]config.Section, 0, len(spec.Modules))
	for _, m := range spec.Modules {
		sections = append(sections, m.Section)
	}
	if err := config.Load(ctx, spec.Load, &p.shared, sections...); err != nil {
		return nil, fmt.Errorf("configuration is not valid:\n%w", err)
	}
	p.spec.Modules = wanted(spec.Modules, &p.shared)
	tuneGC(p.spec.Modules)
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := p.start(ctx); err != nil {
		return nil, errors.Join(err, p.Stop(context.WithoutCancel(ctx)))
	}
	return p, nil
}

// tuneGC sets the pace of the garbage collector that a service asks for when it is alone.
func tuneGC(modules []Module) {
	if len(modules) == 1 && modules[0].GCPercent > 0 && os.Getenv("GOGC") == "" {
		debug.SetGCPercent(modules[0].GCPercent)
	}
}

// wanted leaves out modules that the configuration does not ask for.
func wanted(modules []Module, shared *config.Shared) []Module {
	var out []Module
	for _, m := range modules {
		if m.Wanted == nil || m.Wanted(shared) {
			out = append(out, m)
		}
	}
	return out
}

func (p *Process) start(ctx context.Context) error {
	rt, err := p.newRuntime(ctx)
	if err != nil {
		return err
	}
	p.rt = rt
	if err := p.startInfra(ctx); err != nil {
		return err
	}
	if err := p.buildModules(ctx); err != nil {
		return err
	}
	if err := p.group.Start(ctx); err != nil {
		return err
	}
	p.serving.Store(true)
	rt.Log.InfoContext(ctx, "ready", "services", rt.services, logkey.Version, Version, "accounts", rt.Accounts.Len())
	return nil
}

// drain says "not ready" and gives load balancers time to notice.
func (p *Process) drain(ctx context.Context) {
	p.rt.Ready.SetStopping()
	if p.spec.DrainDelay <= 0 {
		return
	}
	timer := time.NewTimer(p.spec.DrainDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case err := <-p.group.Failed():
		p.rt.Log.WarnContext(ctx, "a component failed while draining", logkey.Error, err)
	}
}

// Stop stops everything in the reverse order and waits. It is safe to call twice.
func (p *Process) Stop(ctx context.Context) error {
	var errs []error
	if p.rt != nil {
		p.rt.Ready.SetStopping()
	}
	for _, g := range []*lifecycle.Group{p.group, p.infra} {
		if g != nil {
			errs = append(errs, g.Stop(ctx))
		}
	}
	errs = append(errs, p.certs.close())
	if p.rt != nil {
		p.rt.closeDialed()
		if p.spec.Telemetry == nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			errs = append(errs, p.rt.Tel.Shutdown(ctx))
		}
	}
	return errors.Join(errs...)
}

func logOutput(w io.Writer) io.Writer {
	if w == nil {
		return os.Stderr
	}
	return w
}
