package chaos

import (
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/tests/chaos/judge"
	"github.com/wxbus/wxbus/tests/chaos/record"
)

// Rows about the NATS servers.
func natsRows() []row {
	return []row{
		{number: 3, name: "kill -9 of the NATS server that leads INBOUND", ci: true, short: 12 * time.Second, steps: killLeader, checks: leaderChecks(2500 * time.Millisecond)},
		{number: 4, name: "SIGSTOP of the NATS server that leads INBOUND for 15 s", short: 25 * time.Second, steps: pauseLeader, checks: leaderChecks(3 * time.Second)},
		{number: 5, name: "kill -9 of all NATS servers, back after 10 s", short: 25 * time.Second, steps: killAll, checks: outageChecks},
		{number: 7, name: "partitions: a NATS server from the others, a gateway, services, one direction only", world: wires, short: time.Minute, full: 2 * time.Minute, allowed: inOutages(), steps: partition, checks: outageChecks},
		{number: 8, name: "disk full: a follower, the leader, all", world: disks, short: time.Minute, full: 2 * time.Minute, allowed: inOutages(), steps: fillDisks, checks: diskChecks},
		{number: 9, name: "streams full", short: 20 * time.Second, steps: fillStreams, checks: fullChecks},
		{number: 22, name: "rolling upgrade of NATS, gateways and services", short: 90 * time.Second, full: 4 * time.Minute, steps: roll, checks: rollChecks},
		{number: 23, name: "a NATS server loses its disk", short: 30 * time.Second, steps: loseDisk, checks: leaderChecks(2500 * time.Millisecond)},
	}
}

// inOutages is the exception of the promise of order (docs/guarantees.md): while the spill stream takes nothing and the
// home stream does, storing a push is worth more than its place. Only rows that cut streams off from each other meet
// it; inOrder reports what they find.
func inOutages() []string { return []string{judge.ClassOrder} }

func killLeader(x *trial) {
	x.at(0.25)
	i := x.leader(x.t, topology.StreamInbound)
	x.broke("kill -9 nats-%d", i)
	x.Servers[i].Kill()
	x.after(max(3*time.Second, x.span/6))
	x.serverBack(i)
	x.at(1)
}

func (x *trial) serverBack(servers ...int) {
	x.t.Helper()
	for _, i := range servers {
		x.StartServer(i)
	}
	for _, i := range servers {
		x.Servers[i].WaitReady(x.t, patience)
		x.healed("nats-%d is back", i)
	}
}

func pauseLeader(x *trial) {
	x.at(0.2)
	i := x.leader(x.t, topology.StreamInbound)
	x.broke("SIGSTOP nats-%d", i)
	require.NoError(x.t, x.Servers[i].Signal(syscall.SIGSTOP))
	x.after(15 * time.Second)
	require.NoError(x.t, x.Servers[i].Signal(syscall.SIGCONT))
	x.healed("SIGCONT nats-%d", i)
	x.at(1)
}

// leaderChecks are those of a leader that is gone: pushes go to the spill stream meanwhile.
func leaderChecks(slowest time.Duration) func(x *trial) []record.Check {
	return func(x *trial) []record.Check {
		spilled := x.state(topology.StreamSpill).LastSeq + 1 - x.from[topology.StreamSpill]
		return []record.Check{
			x.acknowledged(), x.attemptsInTime(), x.slowestAnswer(slowest), x.atRest(30 * time.Second),
			timing("pushes that took the spill stream", "some", spilled > 0, "%d", spilled), x.inOrder(),
		}
	}
}

// inOrder reports replies out of order, also where the judge does not fail for them.
func (x *trial) inOrder() record.Check {
	n, spilled, open := x.record.Verdict.Disordered(), len(x.record.Verdict.AfterSpill), x.facts.Report.OrderUnclear.Count
	return timing("replies out of order", "0", n == 0, "%d, %d of them after a spill; besides %d whose pushes were open at the same time", n, spilled, open)
}

func killAll(x *trial) {
	x.at(0.2)
	all := x.random.Perm(len(x.Servers))
	for _, i := range all {
		x.Servers[i].Kill()
	}
	x.broke("kill -9 of all NATS servers")
	x.after(10 * time.Second)
	x.serverBack(all...)
	x.at(1)
}

func outageChecks(x *trial) []record.Check {
	r := x.facts.Report
	return []record.Check{
		timing("pushes that WeChat gave up", "only such whose three attempts end before NATS is back", true, "%d of %d", r.NotAcked, r.Pushes),
		x.atRest(time.Minute), x.inOrder(),
	}
}
