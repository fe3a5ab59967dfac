package chaos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/tests/chaos/judge"
	"github.com/wxbus/wxbus/tests/chaos/record"
	"github.com/wxbus/wxbus/tests/stack"
)

// Sizes of the world of disks: each server has a file system of its own, and the streams reserve less.
const (
	diskSize  = "512m"
	diskStore = "256MiB"
)

// mountDisk makes a file system for a NATS server, which goes when the test ends.
func mountDisk(t *testing.T, server int) string {
	t.Helper()
	require.Zero(t, os.Getuid(), "row 8 mounts file systems of its own: run it as root")
	dir := filepath.Join(t.TempDir(), fmt.Sprintf("disk-%d", server))
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+diskSize))
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill takes the rest of a server's disk.
func (x *trial) fill(server int) {
	x.t.Helper()
	f, err := os.Create(x.ballast(server))
	require.NoError(x.t, err)
	defer f.Close()
	block := make([]byte, 1<<20)
	for size := len(block); size > 0; {
		if _, err := f.Write(block[:size]); err != nil {
			size /= 2 // down to the last byte
		}
	}
	x.broke("the disk of nats-%d is full", server)
}

func (x *trial) ballast(server int) string { return filepath.Join(x.disks[server], "ballast") }

// freeDisk makes room again, and starts the server anew: a store that had an error stays out of service until then.
func (x *trial) freeDisk(servers ...int) {
	x.t.Helper()
	for _, i := range servers {
		require.NoError(x.t, os.Remove(x.ballast(i)))
		x.Servers[i].Kill()
	}
	x.serverBack(servers...)
}

func fillDisks(x *trial) {
	leader := x.leader(x.t, topology.StreamInbound)
	follower := (leader + 1) % len(x.Servers)
	x.at(0.1)
	x.fill(follower)
	x.at(0.2)
	x.freeDisk(follower)
	x.at(0.4)
	leader = x.leader(x.t, topology.StreamInbound)
	x.fill(leader)
	x.at(0.5)
	x.freeDisk(leader)
	x.at(0.7)
	all := []int{0, 1, 2}
	for _, i := range all {
		x.fill(i)
	}
	x.at(0.8)
	x.freeDisk(all...)
	x.at(1)
}

func diskChecks(x *trial) []record.Check {
	return append(outageChecks(x), x.slowestAnswer(3*time.Second))
}

const noteRefused = "refused before"

// eventSize is about what a push takes on INBOUND.
const eventSize = 600

// fillStreams gives the streams of pushes a limit just above what they have.
func fillStreams(x *trial) {
	x.notes[noteRefused] = x.metric(x.gateways(), "wxbus_gateway_refused_total", `reason="stream_full"`)
	x.at(0.2)
	limits := map[string]int64{}
	room := int64(x.rate * x.span.Seconds() * 0.1 * eventSize) // a fifth of what comes until they have their size again
	for _, name := range []string{topology.StreamInbound, topology.StreamSpill} {
		limits[name] = x.limit(name, int64(x.state(name).Bytes)+room)
	}
	x.broke("INBOUND and INBOUND_SPILL each take %d KiB more", room>>10)
	x.at(0.7)
	for name, limit := range limits {
		x.limit(name, limit)
	}
	x.healed("they have their usual size")
	x.at(1)
}

// limit changes the size of a stream and returns what it was. It asks again when the answer got lost.
func (x *trial) limit(name string, limit int64) (was int64) {
	x.t.Helper()
	require.Eventually(x.t, func() bool {
		ctx, cancel := context.WithTimeout(x.t.Context(), 5*time.Second)
		defer cancel()
		stream, err := x.js.Stream(ctx, name)
		if err != nil {
			return false
		}
		c := stream.CachedInfo().Config
		if c.MaxBytes != limit {
			was, c.MaxBytes = c.MaxBytes, limit
		}
		_, err = x.js.UpdateStream(ctx, c)
		return err == nil
	}, patience, 100*time.Millisecond, "%s does not change its size", name)
	return was
}

func fullChecks(x *trial) []record.Check {
	refused := x.metric(x.gateways(), "wxbus_gateway_refused_total", `reason="stream_full"`) - x.notes[noteRefused].(float64)
	status := x.facts.Report.Outcomes["status"]
	return []record.Check{
		count("attempts that were refused", "some", status > 0, "%d", status),
		timing("wxbus_gateway_refused_total{reason=\"stream_full\"}", fmt.Sprintf("the same, but for other reasons: %d", status), int(refused) == status, "%.0f", refused),
		timing("pushes that WeChat gave up", "those that were refused three times", true, "%d", x.fates(judge.FateNotStored)),
		x.atRest(30 * time.Second), x.inOrder(),
	}
}

func (x *trial) gateways() (out []*stack.Process) {
	for _, gw := range x.Gateways {
		out = append(out, gw.Process)
	}
	return out
}

// metric sums a metric over processes.
func (x *trial) metric(of []*stack.Process, name, label string) (sum float64) {
	x.t.Helper()
	for _, p := range of {
		for line := range strings.Lines(x.scrape(p.Admin)) {
			if rest, ok := strings.CutPrefix(line, name); ok && strings.ContainsAny(rest[:1], "{ ") && strings.Contains(line, label) {
				var v float64
				_, err := fmt.Sscan(line[strings.LastIndex(line, " ")+1:], &v)
				require.NoError(x.t, err, line)
				sum += v
			}
		}
	}
	return sum
}

// loseDisk takes the disk of the server that leads INBOUND away while it is down, and starts it with an empty one.
func loseDisk(x *trial) {
	x.at(0.2)
	i := x.leader(x.t, topology.StreamInbound)
	x.broke("nats-%d is down and its disk is lost", i)
	x.Servers[i].Kill()
	x.after(2 * time.Second)
	require.NoError(x.t, os.RemoveAll(x.stores[i]))
	x.serverBack(i)
	x.complete(i)
	x.healed("every stream has its three copies again")
	x.at(1)
}

// complete waits until the streams have three copies that are up to date.
func (x *trial) complete(server int) {
	x.t.Helper()
	require.Eventually(x.t, func() bool {
		ctx, cancel := context.WithTimeout(x.t.Context(), 10*time.Second)
		defer cancel()
		for name := range readStreams() {
			stream, err := x.js.Stream(ctx, name)
			if err != nil || !copies(stream.CachedInfo().Cluster, len(x.Servers)) {
				return false
			}
		}
		return true
	}, patience, 250*time.Millisecond, "nats-%d does not get its copies", server)
}

func copies(c *jetstream.ClusterInfo, want int) bool {
	if c == nil || c.Leader == "" {
		return false
	}
	n := 1
	for _, r := range c.Replicas {
		if r.Current && !r.Offline {
			n++
		}
	}
	return n == want
}
