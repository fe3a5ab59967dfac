package process

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/wxbus/wxbus/pkg/lifecycle"
)

// Go lets as much garbage gather as memory is in use. In a process with all services that is mostly what NATS keeps of its
// streams, and half of the process would be garbage; so there it is bounded, see ADR 0075.
const (
	garbageMost = 64 << 20
	// garbageLeast is the smallest share of the memory in use, in per cent, that may gather: more frequent collections would
	// cost more than they save.
	garbageLeast = 25
	garbageUsual = 100 // Go's own
	garbageLook  = time.Second
)

// garbage sets the pace of the collector by what is in use.
type garbage struct {
	stop chan struct{}
	done chan struct{}
}

var _ lifecycle.Component = (*garbage)(nil)

// boundsGarbage tells whether a process of some modules does it; GOGC in the environment wins.
func boundsGarbage(modules []Module) bool { return len(modules) > 1 && os.Getenv("GOGC") == "" }

// Name returns "garbage".
func (g *garbage) Name() string { return "garbage" }

// Start begins to look at the memory in use.
func (g *garbage) Start(context.Context) error {
	g.stop, g.done = make(chan struct{}), make(chan struct{})
	go g.run()
	return nil
}

// Stop restores the pace.
func (g *garbage) Stop(context.Context) error {
	if g.stop == nil {
		return nil
	}
	close(g.stop)
	<-g.done
	g.stop = nil
	return nil
}

func (g *garbage) run() {
	defer close(g.done)
	usual := debug.SetGCPercent(garbageUsual)
	defer debug.SetGCPercent(usual)
	tick := time.NewTicker(garbageLook)
	defer tick.Stop()
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for now := garbageUsual; ; {
		metrics.Read(sample)
		// Every change stops the world for a moment.
		if next := garbagePercent(sample[0].Value.Uint64()); next < now-now/10 || next > now+now/10 {
			now = next
			debug.SetGCPercent(now)
		}
		select {
		case <-tick.C:
		case <-g.stop:
			return
		}
	}
}

// garbagePercent returns the GOGC for a number of bytes in use.
func garbagePercent(live uint64) int {
	return int(min(max(garbageMost*100/max(live, 1), garbageLeast), garbageUsual))
}
