package lifecycle_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/lifecycle"
)

// journal records what happens to components, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.lines...)
}

// part is a component whose every step can be replaced.
type part struct {
	name    string
	journal *journal
	start   func(context.Context) error
	stop    func(context.Context) error
	failed  chan error
}

func (p *part) Name() string { return p.name }

func (p *part) Start(ctx context.Context) error {
	p.journal.add("start " + p.name)
	if p.start != nil {
		return p.start(ctx)
	}
	return nil
}

func (p *part) Stop(ctx context.Context) error {
	p.journal.add("stop " + p.name)
	if p.stop != nil {
		return p.stop(ctx)
	}
	return nil
}

func (p *part) Failed() <-chan error { return p.failed }

func parts(j *journal) (nats, rule, gateway *part) {
	return &part{name: "nats", journal: j, failed: make(chan error, 1)},
		&part{name: "rule", journal: j},
		&part{name: "gateway", journal: j, failed: make(chan error, 1)}
}

var errBroken = errors.New("disk is full")

func TestStartsInOrderAndStopsInReverse(t *testing.T) {
	j := &journal{}
	nats, rule, gateway := parts(j)
	ctx, cancel := context.WithCancel(t.Context())
	g := lifecycle.NewGroup(nil, nats, rule, gateway).With(lifecycle.Options{OnReady: func() {
		j.add("ready")
		cancel()
	}})
	require.NoError(t, g.Run(ctx))
	require.Equal(t, []string{
		"start nats", "start rule", "start gateway", "ready", "stop gateway", "stop rule", "stop nats",
	}, j.all())
}

func TestFailedStartStopsWhatHasStarted(t *testing.T) {
	j := &journal{}
	nats, rule, gateway := parts(j)
	rule.start = func(context.Context) error { return errBroken }
	nats.stop = func(context.Context) error { return errors.New("nats is stuck") }
	err := lifecycle.NewGroup(nil, nats, rule, gateway).Run(t.Context())
	require.ErrorIs(t, err, errBroken)
	require.EqualError(t, err, "start rule: disk is full\nstop nats: nats is stuck")
	require.Equal(t, []string{"start nats", "start rule", "stop nats"}, j.all())
}

func TestFailureStopsAllAndNamesTheComponent(t *testing.T) {
	j := &journal{}
	nats, rule, gateway := parts(j)
	ready := lifecycle.NewReadiness()
	g := lifecycle.NewGroup(nil, nats, rule, gateway).With(lifecycle.Options{
		Readiness:  ready,
		DrainDelay: time.Hour, // a broken process does not wait
		OnReady:    func() { gateway.failed <- errBroken },
	})
	err := g.Run(t.Context())
	require.ErrorIs(t, err, errBroken)
	require.EqualError(t, err, "component gateway: disk is full")
	require.Equal(t, []string{"stop gateway", "stop rule", "stop nats"}, j.all()[3:])
	require.ErrorIs(t, ready.Ready(t.Context()), lifecycle.ErrStopping)
}

func TestClosedFailureChannelIsAFailure(t *testing.T) {
	j := &journal{}
	nats, _, _ := parts(j)
	close(nats.failed)
	require.EqualError(t, lifecycle.NewGroup(nil, nats).Run(t.Context()), "component nats: ended unexpectedly")
}

func TestSignalDuringStartIsAnOrderlyStop(t *testing.T) {
	j := &journal{}
	nats, rule, gateway := parts(j)
	ctx, cancel := context.WithCancel(t.Context())
	rule.start = func(ctx context.Context) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}
	require.NoError(t, lifecycle.NewGroup(nil, nats, rule, gateway).Run(ctx))
	require.Equal(t, []string{"start nats", "start rule", "stop nats"}, j.all())
}

func TestFailureDuringStartIsNotHiddenByTheSignal(t *testing.T) {
	j := &journal{}
	nats, rule, _ := parts(j)
	ctx, cancel := context.WithCancel(t.Context())
	rule.start = func(context.Context) error { cancel(); return errBroken }
	require.ErrorIs(t, lifecycle.NewGroup(nil, nats, rule).Run(ctx), errBroken)
}

// The signal ends intake only: a Stop sees a live context with its own deadline.
func TestEveryStopHasItsOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		nats, rule, gateway := parts(j)
		ctx, cancel := context.WithCancel(t.Context())
		hang := func(ctx context.Context) error {
			require.NoError(t, ctx.Err(), "the signal does not cut the stop")
			<-ctx.Done()
			return ctx.Err()
		}
		gateway.stop, rule.stop = hang, hang
		g := lifecycle.NewGroup(nil, nats, rule, gateway).With(lifecycle.Options{Grace: 10 * time.Second, OnReady: cancel})
		begin := time.Now()
		err := g.Run(ctx)
		require.Equal(t, 20*time.Second, time.Since(begin))
		require.EqualError(t, err, "stop gateway: context deadline exceeded\nstop rule: context deadline exceeded")
		require.Contains(t, j.all(), "stop nats", "the others are stopped all the same")
	})
}

func TestNotReadyBeforeTheDrainDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		nats, _, _ := parts(j)
		ready := lifecycle.NewReadiness()
		nats.start = func(ctx context.Context) error {
			require.ErrorIs(t, ready.Ready(ctx), lifecycle.ErrStarting)
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		running := make(chan struct{})
		g := lifecycle.NewGroup(nil, nats).With(lifecycle.Options{
			Readiness: ready, DrainDelay: 5 * time.Second, OnReady: func() { close(running) },
		})
		done := make(chan error)
		go func() { done <- g.Run(ctx) }()
		<-running
		require.NoError(t, ready.Ready(t.Context()))
		cancel()
		synctest.Wait()
		require.ErrorIs(t, ready.Ready(t.Context()), lifecycle.ErrStopping)
		require.NotContains(t, j.all(), "stop nats", "load balancers still send")
		begin := time.Now()
		require.NoError(t, <-done)
		require.Equal(t, 5*time.Second, time.Since(begin))
		require.Contains(t, j.all(), "stop nats")
	})
}

func TestFailureEndsTheDrainDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		nats, _, _ := parts(j)
		ctx, cancel := context.WithCancel(t.Context())
		g := lifecycle.NewGroup(nil, nats).With(lifecycle.Options{DrainDelay: time.Hour, OnReady: func() {
			cancel()
			time.AfterFunc(time.Second, func() { nats.failed <- errBroken })
		}})
		begin := time.Now()
		require.NoError(t, g.Run(ctx))
		require.Equal(t, time.Second, time.Since(begin))
	})
}

func TestGroupsNest(t *testing.T) {
	j := &journal{}
	nats, rule, gateway := parts(j)
	inner := lifecycle.NewGroup(nil, rule, gateway).With(lifecycle.Options{Name: "services"})
	outer := lifecycle.NewGroup(nil, nats, inner).With(lifecycle.Options{OnReady: func() { gateway.failed <- errBroken }})
	require.EqualError(t, outer.Run(t.Context()), "component services: gateway: disk is full")
	require.Equal(t, []string{
		"start nats", "start rule", "start gateway", "stop gateway", "stop rule", "stop nats",
	}, j.all())
}

func TestStopIsSafeTwiceAndWithoutStart(t *testing.T) {
	j := &journal{}
	nats, rule, _ := parts(j)
	g := lifecycle.NewGroup(nil, nats, rule)
	require.NoError(t, g.Stop(t.Context()))
	require.Empty(t, j.all())
	require.NoError(t, g.Start(t.Context()))
	require.NoError(t, g.Stop(t.Context()))
	require.NoError(t, g.Stop(t.Context()))
	require.Equal(t, []string{"start nats", "start rule", "stop rule", "stop nats"}, j.all())
}

func TestReadinessReportsEveryFailingCheck(t *testing.T) {
	var r lifecycle.Readiness // the zero value is usable
	require.NoError(t, r.Ready(t.Context()))
	r.Add("nats", func(context.Context) error { return errBroken })
	r.Add("rules", func(context.Context) error { return nil })
	r.Add("token", func(context.Context) error { return errors.New("no token") })
	require.EqualError(t, r.Ready(t.Context()), "nats: disk is full\ntoken: no token")
	require.Equal(t, []lifecycle.CheckResult{
		{Name: "lifecycle"}, {Name: "nats", Err: errBroken}, {Name: "rules"}, {Name: "token", Err: errors.New("no token")},
	}, r.Report(t.Context()))

	r.Add("nats", func(context.Context) error { return nil })
	r.Add("token", func(context.Context) error { return nil })
	require.NoError(t, r.Ready(t.Context()), "a check is replaced by its name")

	r.SetStopping()
	require.EqualError(t, r.Ready(t.Context()), "lifecycle: stopping")
}

func TestSlowCheckIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := lifecycle.NewReadiness()
		r.Add("slow", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		begin := time.Now()
		require.ErrorIs(t, r.Ready(t.Context()), context.DeadlineExceeded)
		require.Equal(t, 2*time.Second, time.Since(begin))
	})
}
