package chaos

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/process"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/tests/chaos/record"
	"github.com/wxbus/wxbus/tests/stack"
)

// wrongClocks are how far the clocks in the world of clocks are off. One gateway's, and those of the servers of NATS
// and of the other services, are right.
func wrongClocks() map[string]time.Duration {
	return map[string]time.Duration{"gateway-0": 10 * time.Minute, "gateway-1": -10 * time.Minute, "sender-0": time.Hour, "sender-1": -time.Hour}
}

// tolerance of timestamps in the world of clocks.
const tolerance = 5 * time.Minute

func clockRow() row {
	return row{number: 18, name: "clocks: gateways ten minutes off, senders an hour", world: clocks, short: 30 * time.Second, steps: goByClocks, checks: clockChecks}
}

const (
	noteWindow   = "answers by the age of a timestamp"
	noteOwnTimes = "messages with a time of their own"
	noteClicks   = "messages after a click"
)

// goByClocks asks for everything that goes by a clock, at each gateway and at each sender.
func goByClocks(x *trial) {
	x.broke("the clocks are off: %v", wrongClocks())
	x.at(0.1)
	x.notes[noteWindow] = x.signatureWindow()
	x.at(0.2)
	x.notes[noteOwnTimes] = x.ownTimes(x.span / 2)
	x.notes[noteClicks] = x.clicks()
	x.at(1)
}

// signatureWindow sends each gateway a genuine push with a timestamp of now, and two whose timestamps are outside of
// the tolerance, and returns the answers.
func (x *trial) signatureWindow() map[string]map[string]int {
	out := map[string]map[string]int{"now": {}, "past": {}, "future": {}}
	for age, by := range map[string]time.Duration{"now": 0, "past": -2 * tolerance, "future": 2 * tolerance} {
		for i, gw := range x.Gateways {
			e := genuine(text(fmt.Sprintf("%d%d%d", time.Now().Unix(), i, len(age)), "hello"))
			e.stamp = time.Now().Add(by)
			out[age][x.send(gw.URL, e, "clock"+age+strconv.Itoa(i))]++
		}
	}
	return out
}

// ownTime is a message that was given a time of its own.
type ownTime struct {
	fan string
	at  time.Time
}

// ownTimes asks each sender to send a message later, to a fan of its own.
func (x *trial) ownTimes(in time.Duration) (out []ownTime) {
	for i := range replicas {
		m := ownTime{fan: fmt.Sprintf("%sLater%d", x.prefix, i), at: time.Now().Add(in)}
		x.pushOnce(m.fan, "text", map[string]any{"Content": "hello"})
		x.ask(i, &senderv1.SendRequest{
			Openid: m.fan, Content: words("later"), NotBeforeUnixMs: m.at.UnixMilli(), Evidence: evidence(m.fan, eventv1.EventKind_EVENT_KIND_MESSAGE, ""),
		})
		out = append(out, m)
	}
	return out
}

// clicks lets fans click, which opens a window of one minute, and asks each sender to answer at once. It returns the fans.
func (x *trial) clicks() (fans []string) {
	for i := range replicas {
		fan := fmt.Sprintf("%sClick%d", x.prefix, i)
		x.pushOnce(fan, "CLICK", map[string]any{"EventKey": "clocks"})
		x.ask(i, &senderv1.SendRequest{Openid: fan, Content: words("at once"), Evidence: evidence(fan, eventv1.EventKind_EVENT_KIND_CLICK, "click")})
		fans = append(fans, fan)
	}
	return fans
}

func (x *trial) pushOnce(fan, kind string, fields map[string]any) {
	x.t.Helper()
	x.Sim(x.t, http.MethodPost, "/sim/v1/push", map[string]any{"account": byAPI, "openid": fan, "type": kind, "fields": fields}, nil)
}

func words(text string) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: text}}}
}

// evidence is what the rule service would say about the fan's action.
func evidence(fan string, kind eventv1.EventKind, event string) *senderv1.GrantEvidence {
	now := time.Now()
	return &senderv1.GrantEvidence{EventId: "clocks-" + fan, Kind: kind, Event: event, CreateTime: now.Unix(), ReceivedUnixMs: now.UnixMilli()}
}

// ask gives a message to one replica of the sender.
func (x *trial) ask(replica int, m *senderv1.SendRequest) {
	x.t.Helper()
	conn, err := process.DialPlain(x.t.Context(), x.Replica("sender", replica))
	require.NoError(x.t, err)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(x.t.Context(), patience)
	defer cancel()
	m.Account, m.Lane, m.IdempotencyKey = byAPI, senderv1.Lane_LANE_RULE, m.GetOpenid()
	_, err = senderv1.NewSenderServiceClient(conn).Send(ctx, m)
	require.NoError(x.t, err)
}

// arrivals returns when a fan saw messages that answer no push.
func (x *trial) arrivals(fan string) (at []time.Time) {
	x.t.Helper()
	var view struct {
		Timeline []struct {
			At  time.Time `json:"at"`
			Way string    `json:"way"`
		} `json:"timeline"`
	}
	x.Sim(x.t, http.MethodGet, "/sim/v1/accounts/"+byAPI+"/fans/"+fan, nil, &view)
	for _, line := range view.Timeline {
		if line.Way == "kf" {
			at = append(at, line.At)
		}
	}
	return at
}

// offsets are what the processes say about their own clocks, in seconds.
func (x *trial) offsets() map[string]float64 {
	out := map[string]float64{}
	for name, p := range x.processes() {
		out[name] = x.metric([]*stack.Process{p}, "wxbus_process_clock_offset_seconds", "")
	}
	return out
}

func clockChecks(x *trial) []record.Check {
	window := x.notes[noteWindow].(map[string]map[string]int)
	early, sent, slowest := 0, 0, time.Duration(0)
	messages := x.notes[noteOwnTimes].([]ownTime)
	for _, m := range messages {
		at := x.arrivals(m.fan)
		if len(at) != 1 {
			continue
		}
		sent++
		if at[0].Before(m.at.Add(-time.Second)) { // the clocks of NATS servers may differ a little
			early++
		}
		slowest = max(slowest, at[0].Sub(m.at))
	}
	answered := 0
	clicked := x.notes[noteClicks].([]string)
	for _, fan := range clicked {
		answered += len(x.arrivals(fan))
	}
	refreshes := 0
	for _, of := range x.facts.Report.Calls[tokenPath] {
		refreshes += of
	}
	unnamed, wrong := 0, []string{}
	offsets := x.offsets()
	for _, name := range slices.Sorted(maps.Keys(offsets)) {
		want := wrongClocks()[name].Seconds()
		if math.Abs(offsets[name]-want) > 5 {
			unnamed++
		}
		if math.Abs(offsets[name]) > 5 {
			wrong = append(wrong, fmt.Sprintf("%s %+.0f s", name, offsets[name]))
		}
	}
	all := len(x.Gateways)
	return []record.Check{
		count("answers to a timestamp of now", "each gateway: success", window["now"]["200 success"] == all, "%v", window["now"]),
		count("answers to timestamps outside of the tolerance", "each gateway: refused", window["past"]["403 refused"]+window["future"]["403 refused"] == 2*all, "%v, %v", window["past"], window["future"]),
		count("messages with a time of their own, by each sender", "all sent once, none before its time", sent == len(messages) && early == 0, "%d of %d sent, %d too early", sent, len(messages), early),
		atMost("the latest of them after its time", 2*time.Second, slowest),
		count("messages in the minute after a click, by each sender", "each sent once", answered == len(clicked), "%d of %d", answered, len(clicked)),
		count("token refreshes", fmt.Sprintf("≤ 1 for each of %d accounts", len(accounts())+1), refreshes <= len(accounts())+1, "%d", refreshes),
		count("clocks that are off, by wxbus_process_clock_offset_seconds", fmt.Sprint(wrongClocks()), unnamed == 0, "%v", wrong),
		x.acknowledged(), x.slowestAnswer(time.Second),
	}
}
