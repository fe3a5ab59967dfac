package chaos

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/tests/chaos/judge"
	"github.com/wxbus/wxbus/tests/chaos/record"
	"github.com/wxbus/wxbus/tests/stack"
)

// Rows about the processes of wxbus.
func processRows() []row {
	return []row{
		{number: 1, name: "nothing breaks", ci: true, full: 10 * time.Minute, steps: noteMemory, checks: steadyChecks},
		{number: 2, name: "kill -9 of a gateway, again and again", ci: true, steps: killGateways, checks: func(x *trial) []record.Check {
			return []record.Check{x.acknowledged(), x.slowestAnswer(2500 * time.Millisecond)}
		}},
		{
			number: 6, name: "kill -9 of rule, token, sender and agent-routing in turn", ci: true, short: 15 * time.Second,
			// Slow calls: so that kills meet them.
			faults: []fault{{On: "api", Path: sendPath, Kind: "delay", Delay: "200ms"}},
			steps:  killServices, checks: serviceChecks,
		},
	}
}

const noteRSS = "memory"

// noteMemory looks at the memory of each process after the first quarter of the time.
func noteMemory(x *trial) {
	x.at(0.25)
	x.notes[noteRSS] = x.memories()
	x.at(1)
}

func steadyChecks(x *trial) []record.Check {
	before, now := x.notes[noteRSS].(map[string]float64), x.memories()
	worst, share := "", 0.0
	for name, mb := range now {
		if grown := mb/before[name] - 1; grown > share {
			worst, share = name, grown
		}
	}
	ack := x.record.Ack
	p99, p999 := time.Duration(record.AckLatency(x.facts.Pushes).P99), time.Duration(ack.P999)
	return []record.Check{
		x.acknowledged(), atMost("p99 of the answer", 250*time.Millisecond, p99), atMost("p99.9 of the answer", time.Second, p999),
		timing("memory after the first quarter", "grows by less than 5 %", share < 0.05, "most: %s by %.1f %%", worst, 100*share),
	}
}

// memories is the resident memory of each process of wxbus in MB.
func (x *trial) memories() map[string]float64 {
	out := map[string]float64{}
	for name, p := range x.processes() {
		out[name] = memory(x, p)
	}
	return out
}

// processes are the gateways and services by name.
func (x *trial) processes() map[string]*stack.Process {
	out := map[string]*stack.Process{}
	for i, gw := range x.Gateways {
		out[fmt.Sprintf("gateway-%d", i)] = gw.Process
	}
	for service, ps := range x.Services {
		if service == "simulator" {
			continue
		}
		for i, p := range ps {
			out[fmt.Sprintf("%s-%d", service, i)] = p
		}
	}
	return out
}

func memory(x *trial, p *stack.Process) float64 {
	x.t.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID()) + "/status")
	require.NoError(x.t, err)
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			require.NoError(x.t, err)
			return kb / 1024
		}
	}
	x.t.Fatal("no resident memory")
	return 0
}

// acknowledged reports how many pushes WeChat gave up. On a machine that is busy with something else three
// attempts may not be enough, so it does not decide: none of them may look like a success, and that does.
func (x *trial) acknowledged() record.Check {
	r := x.facts.Report
	return timing("pushes that WeChat gave up", "0", r.NotAcked == 0, "%d of %d", r.NotAcked, r.Pushes)
}

func (x *trial) slowestAnswer(limit time.Duration) record.Check {
	return atMost("slowest answer since the push was due", limit, time.Duration(x.record.Ack.Max))
}

// attemptsInTime reports attempts that took so long that WeChat hung up or was about to.
func (x *trial) attemptsInTime() record.Check {
	const limit = 4500 * time.Millisecond
	longest, over := record.Attempts(x.facts.Pushes, limit)
	return timing("attempts that take longer than 4.5 s", "0", over == 0, "%d, the longest %s", over, longest.Round(time.Millisecond))
}

func (x *trial) atRest(limit time.Duration) record.Check {
	return atMost("everything at rest after the heal", limit, time.Duration(x.record.Rest))
}

// killGateways kills one gateway at a time, at random moments, and starts it again.
func killGateways(x *trial) {
	kills := max(3, int(x.span/(5*time.Second)))
	for n := range kills {
		x.at((float64(n) + 0.3) / float64(kills))
		x.after(x.sometime(time.Second))
		i := x.random.IntN(len(x.Gateways))
		x.broke("kill -9 gateway-%d", i)
		x.Gateways[i].Kill()
		x.after(x.sometime(time.Second))
		x.RestartGateway(x.t, i)
		x.healed("gateway-%d is back", i)
	}
	x.at(1)
}

const noteKills = "kills of the sender"

// killServices kills a replica of each service in turn and starts it again.
func killServices(x *trial) {
	services := []string{"sender", "rule", "token", "agent-routing"}
	kills := max(len(services), int(x.span/(5*time.Second)))
	senders := 0
	for n := range kills {
		x.at((float64(n) + 0.3) / float64(kills))
		service, i := services[n%len(services)], x.random.IntN(replicas)
		x.after(x.sometime(500 * time.Millisecond))
		x.broke("kill -9 %s-%d", service, i)
		x.Services[service][i].Kill()
		if service == "sender" {
			senders++
		}
		x.after(x.sometime(time.Second))
		x.Restart(x.t, service, i)
		x.healed("%s-%d is back", service, i)
	}
	x.notes[noteKills] = senders
	x.at(1)
}

func serviceChecks(x *trial) []record.Check {
	senders, ambiguous := x.notes[noteKills].(int), x.record.Verdict.Fates[judge.FateSend]
	most := senders * apiInFlight
	return []record.Check{
		x.acknowledged(),
		count("ambiguous sends, listed by id", fmt.Sprintf("≤ calls under way at %d kills of a sender: %d", senders, most), ambiguous <= most, "%d", ambiguous),
		x.atRest(40 * time.Second),
	}
}

// fates sums the pushes with a fate that begins like one of these.
func (x *trial) fates(prefixes ...string) (n int) {
	for fate, of := range x.record.Verdict.Fates {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(fate, p) }) {
			n += of
		}
	}
	return n
}
