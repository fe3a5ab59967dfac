package chaos

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/topology"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/tests/chaos/record"
)

// partitions of the system, the default.
const partitions = 4

// Rows about what comes in.
func inputRows() []row {
	return []row{
		{
			number: 17, name: "each push three times at once to three gateways, and copies on the spill stream", ci: true, factor: 0.5,
			faults: []fault{{On: "push", Kind: "duplicate", Copies: 3}}, steps: spillCopies, checks: copyChecks,
		},
		{number: 19, name: "messages on INBOUND that nobody can handle", ci: true, steps: poison, checks: poisonChecks},
		malformedRow(),
		{number: 20, name: "a burst of ten times the rate", ci: true, factor: 0.5, burst: 10, full: 2 * time.Minute, steps: limitCalls, checks: burstChecks},
	}
}

const noteCopies = "copies"

// spillCopies stores some of the pushes that are at home already on the spill stream as well, under their own
// ids, as a gateway does that did not hear the answer of the home stream.
func spillCopies(x *trial) {
	copies, at := 0, x.from[topology.StreamInbound]
	for _, share := range []float64{0.3, 0.5, 0.7, 0.9} {
		x.at(share)
		last := x.state(topology.StreamInbound).LastSeq
		for ; at <= last; at += 5 {
			x.copyToSpill(at)
			copies++
		}
		x.broke("%d copies on the spill stream", copies)
	}
	x.notes[noteCopies] = copies
	x.at(1)
}

func (x *trial) copyToSpill(seq uint64) {
	x.t.Helper()
	stream, err := x.js.Stream(x.t.Context(), topology.StreamInbound)
	require.NoError(x.t, err)
	m, err := stream.GetMsg(x.t.Context(), seq)
	require.NoError(x.t, err)
	var e eventv1.InboundEvent
	require.NoError(x.t, proto.Unmarshal(m.Data, &e))
	subject, err := topology.SubjectSpill(e.GetAccount(), e.GetPartition(), e.GetKind(), e.GetOpenid())
	require.NoError(x.t, err)
	x.publish(&nats.Msg{Subject: subject, Data: m.Data, Header: nats.Header{jetstream.MsgIDHeader: {e.GetId()}}})
}

// publish stores a message; it tries again until the stream acknowledges.
func (x *trial) publish(m *nats.Msg) {
	x.t.Helper()
	require.Eventually(x.t, func() bool {
		ctx, cancel := context.WithTimeout(x.t.Context(), 5*time.Second)
		defer cancel()
		_, err := x.js.PublishMsg(ctx, m)
		return err == nil
	}, patience, 100*time.Millisecond, "%s does not take a message", m.Subject)
}

func copyChecks(x *trial) []record.Check {
	copies := x.notes[noteCopies].(int)
	attempts := 0
	for _, of := range x.facts.Report.Outcomes {
		attempts += of
	}
	r := x.facts.Report
	return []record.Check{
		count("copies on the spill stream", "some", copies > 0, "%d", copies),
		count("attempts", "about 3 for each push", attempts >= 2*r.Pushes, "%d for %d pushes", attempts, r.Pushes),
		count("replies", "at most 1 for each push", r.Passive+r.Kf <= r.Pushes, "%d passive and %d by the API for %d pushes", r.Passive, r.Kf, r.Pushes),
		x.acknowledged(),
	}
}

// badMessages are messages on INBOUND that are no event that anybody can handle.
func badMessages(account, fan string) map[string][]byte {
	encode := func(e *eventv1.InboundEvent) []byte {
		b, err := proto.Marshal(e)
		if err != nil {
			panic(err) // plain texts always marshal
		}
		return b
	}
	return map[string][]byte{
		"no protobuf":             []byte("\xff\xfe\xfd no event"),
		"nothing":                 {},
		"no id":                   encode(&eventv1.InboundEvent{Account: account, Openid: fan}),
		"no account":              encode(&eventv1.InboundEvent{Id: "poison-" + fan, Openid: fan}),
		"an account of nobody":    encode(&eventv1.InboundEvent{Id: "poison-nobody-" + fan, Account: "nobody", Openid: fan}),
		"nearly a megabyte":       append([]byte("\xff"), make([]byte, 900_000)...),
		"a text that is no UTF-8": append([]byte{1<<3 | 2, 4}, "\xff\xfe\xc3\x28"...),
	}
}

const notePoison = "poison"

// poison puts messages on INBOUND that nobody can handle, into the lanes of fans who go on writing.
func poison(x *trial) {
	sent := 0
	for _, share := range []float64{0.3, 0.6} {
		x.at(share)
		for _, account := range x.accounts() {
			fan := fmt.Sprintf("%s%06d", x.prefix, x.random.IntN(10))
			subject, err := topology.SubjectInbound(account, topology.PartitionOf(account, fan, partitions), eventv1.EventKind_EVENT_KIND_MESSAGE, fan)
			require.NoError(x.t, err)
			for name, data := range badMessages(account, fan) {
				x.publish(&nats.Msg{Subject: subject, Data: data, Header: nats.Header{jetstream.MsgIDHeader: {fmt.Sprintf("%s %s %s %v", name, account, fan, share)}}})
				sent++
			}
		}
		x.broke("%d messages that nobody can handle", sent)
	}
	x.notes[notePoison] = sent
	x.at(1)
}

func poisonChecks(x *trial) []record.Check {
	sent := x.notes[notePoison].(int)
	byService, silent, most := map[string]int{}, 0, 0
	for _, d := range x.books().dead {
		byService[d.service]++
		if d.reason == "" {
			silent++
		}
		if n, err := strconv.Atoi(d.deliveries); err == nil {
			most = max(most, n)
		}
	}
	return []record.Check{
		count("dead letters of the rule service", fmt.Sprintf("each of %d once", sent), byService[topology.ServiceRule] == sent, "%d; by service: %v", byService[topology.ServiceRule], byService),
		count("dead letters without a reason", "0", silent == 0, "%d", silent),
		timing("deliveries before a message is given up", "≤ 5; 1 where no retry can help", most <= 5, "at most %d", most),
		x.acknowledged(), x.slowestAnswer(time.Second),
	}
}

// limitCalls lets WeChat refuse more calls in a minute than the sender's own rate allows.
func limitCalls(x *trial) {
	x.Sim(x.t, http.MethodPut, "/sim/v1/accounts/"+byAPI+"/limit", map[string]any{"path": sendPath, "minute": apiRate*60 + apiRate}, nil)
	x.at(0.5)
	x.broke("%.0f pushes a second", x.rate*x.row.burst)
	x.at(0.75)
	x.healed("%.0f pushes a second", x.rate)
	x.at(1)
}

func burstChecks(x *trial) []record.Check {
	over := x.calls(sendPath, 45009) + x.calls(sendPath, 45011)
	shed := x.facts.Report.Outcomes["status"]
	return []record.Check{
		count("calls over the quota", "0", over == 0, "%d", over),
		timing("attempts that were shed with 503", "any number, none of them a false success", true, "%d", shed),
		x.acknowledged(), x.attemptsInTime(), x.atRest(2 * time.Minute),
	}
}
