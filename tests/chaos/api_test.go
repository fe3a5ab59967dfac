package chaos

import (
	"fmt"
	"net/http"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/tests/chaos/judge"
	"github.com/wxbus/wxbus/tests/chaos/record"
)

// Rows about WeChat's API and its tokens. All of them push to an account that answers by the API only.
func apiRows() []row {
	only := []string{byAPI}
	return []row{
		{
			number: 10, name: "WeChat's API hangs", factor: 1.0 / 3, accounts: only, short: 20 * time.Second,
			steps: during("WeChat's API hangs", 0.2, 0.6, fault{On: "api", Path: sendPath, Kind: "hang"}), checks: hangChecks,
		},
		{
			number: 11, name: "WeChat's API refuses connections, resets, cuts, hangs, answers 502 or with a page, before and after the call",
			factor: 1.0 / 3, accounts: only, short: 30 * time.Second, lasting: true, steps: breakAnswers, checks: brokenChecks,
		},
		{
			number: 12, name: "WeChat's API says busy (-1) for 30 s", factor: 1.0 / 3, accounts: only, short: 40 * time.Second, full: 75 * time.Second,
			steps: func(x *trial) {
				during("WeChat's API is busy", 0.1, 0.1+float64(30*time.Second)/float64(x.span), fault{On: "api", Path: sendPath, Kind: "errcode", ErrCode: -1})(x)
			},
			checks: busyChecks,
		},
		{number: 13, name: "tokens go bad: 40001, 40014 and 42001", ci: true, factor: 1.0 / 3, accounts: only, steps: invalidate(3), checks: tokenChecks},
		{
			number: 14, name: "another system refreshes the token every 20 s", factor: 1.0 / 3, accounts: only, short: 45 * time.Second, full: 2 * time.Minute,
			steps: func(x *trial) { invalidate(int(x.span / (20 * time.Second)))(x) }, checks: func(x *trial) []record.Check {
				forced := x.tokens(byAPI).Forced
				return append(tokenChecks(x), count("forced refreshes", "≤ 10 a day and 1 a minute; 0 here: WeChat has another token", forced == 0, "%d", forced))
			},
		},
		{
			number: 15, name: "the quota of the day is used up (45009)", factor: 1.0 / 3, accounts: []string{small}, allowed: []string{judge.AllowParked},
			steps: useUpQuota, checks: quotaChecks, after: endPause,
		},
		{
			number: 16, name: "WeChat refuses messages: 45015, 45047, 43004", factor: 1.0 / 3, accounts: only,
			faults: []fault{
				{On: "api", Path: sendPath, Kind: "errcode", ErrCode: 45015, Rate: 0.05}, {On: "api", Path: sendPath, Kind: "errcode", ErrCode: 45047, Rate: 0.05},
				{On: "api", Path: sendPath, Kind: "errcode", ErrCode: 43004, Rate: 0.05},
			},
			checks: refusalChecks,
		},
	}
}

// during sets a fault for a part of the time.
func during(what string, from, to float64, f fault) func(x *trial) {
	return func(x *trial) {
		x.at(from)
		x.broke("%s", what)
		x.setFaults(f)
		x.at(to)
		x.endFaults()
		x.healed("%s: over", what)
		x.at(1)
	}
}

// apart is how many calls there are from one broken one to the next: fewer would open the breaker of the sender.
const apart = 3

// brokenAnswers are the ways in which an answer does not come. They take turns, in the order of the seed: after so many
// calls each of them has happened.
func (x *trial) brokenAnswers() []fault {
	out := []fault{
		{Kind: "reset", When: "before"}, {Kind: "reset", When: "after"}, {Kind: "truncate", When: "before"}, {Kind: "truncate", When: "after"},
		{Kind: "http", Status: 502, When: "before"}, {Kind: "http", Status: 502, When: "after"}, {Kind: "nonjson", When: "before"}, {Kind: "nonjson", When: "after"},
		{Kind: "hang", When: "after"},
	}
	for i, turn := range x.random.Perm(len(out)) {
		out[i].On, out[i].Path, out[i].Skip, out[i].Every = "api", sendPath, apart*turn, apart*len(out)
	}
	return out
}

const noteReset = "connections that were reset"

// breakAnswers refuses connections until a call has met that, and then breaks answers.
func breakAnswers(x *trial) {
	before := x.notSent()
	x.at(0.05)
	x.notes[noteReset] = x.API.Refuse()
	x.broke("WeChat's API refuses connections, and resets %d", x.notes[noteReset])
	require.Eventually(x.t, func() bool { return x.notSent() > before }, patience, 100*time.Millisecond, "nobody calls WeChat")
	x.API.Accept(x.t)
	x.healed("it accepts connections")
	x.setFaults(x.brokenAnswers()...)
	x.broke("of %d calls one has no usable answer", apart)
	x.at(1)
}

// notSent is how many calls the senders could not even make.
func (x *trial) notSent() float64 {
	return x.metric(x.Services["sender"], "wxbus_sender_call_duration_seconds_count", `class="not_sent"`)
}

func brokenChecks(x *trial) []record.Check {
	wrong, notSent := 0, 0
	for _, s := range x.facts.Books.Sends {
		notSent += s.NotSent
		if s.State == judge.SendAmbiguous && s.Unknown == 0 {
			wrong++
		}
	}
	return append(x.unknownChecks(x.notes[noteReset].(int)),
		count("calls that met a refused connection", "some, and none of them ambiguous for it", notSent > 0 && wrong == 0, "%d, ambiguous %d", notSent, wrong))
}

// resent counts the messages whose outcome could not be known and that came to WeChat again all the same.
func (x *trial) resent() (n int) {
	seen := map[string]bool{}
	for _, a := range x.facts.Report.Ambiguous {
		key := a.Account + " " + a.OpenID + " " + a.Text
		if a.Path == sendPath && seen[key] {
			n++
		}
		seen[key] = true
	}
	return n
}

// unknownChecks are about calls whose outcome the caller cannot know: those that WeChat left without a usable answer, and
// those under way on connections that were reset.
func (x *trial) unknownChecks(reset int) []record.Check {
	ambiguous, again := x.record.Verdict.Fates[judge.FateSend], 0
	for _, s := range x.facts.Books.Sends {
		if s.Unknown > 1 || s.State != judge.SendAmbiguous && s.Unknown > 0 {
			again++
		}
	}
	most := x.facts.Report.AmbiguousCount + reset
	return []record.Check{
		count("blind repetitions", "0", x.resent() == 0 && again == 0, "%d by WeChat's book, %d by ours", x.resent(), again),
		count("ambiguous sends, listed by id", fmt.Sprintf("≤ calls without an answer: %d", most), ambiguous <= most, "%d", ambiguous),
		x.acknowledged(),
	}
}

func hangChecks(x *trial) []record.Check {
	under := x.facts.Report.AmbiguousCount
	return append(x.unknownChecks(0),
		timing("calls that hang", fmt.Sprintf("≤ %d of the bulkhead, then one for each try of the breaker", apiInFlight), under <= 2*apiInFlight, "%d", under),
		atMost("p99 of the answer", 250*time.Millisecond, time.Duration(x.record.Ack.P99)))
}

func busyChecks(x *trial) []record.Check {
	most := 0
	for _, s := range x.facts.Books.Sends {
		most = max(most, s.Attempts)
	}
	failed := x.fates(judge.FateFailed)
	return []record.Check{
		count("calls for one message", "≤ 5; the sender makes 3", most <= 5, "%d", most),
		timing("messages that failed", "0", failed == 0, "%d, each of them known", failed),
		timing("calls that WeChat was too busy for", "some", x.calls(sendPath, -1) > 0, "%d", x.calls(sendPath, -1)),
		x.acknowledged(),
	}
}

const noteInvalidations = "invalidations"

// tokensGoBad are the codes with which WeChat refuses a token.
func tokensGoBad() []int { return []int{40001, 40014, 42001} }

// invalidate plays another system that refreshes the account's tokens, so many times.
func invalidate(times int) func(x *trial) {
	return func(x *trial) {
		for n := range times {
			x.at((float64(n) + 0.5) / float64(times))
			code := tokensGoBad()[n%len(tokensGoBad())]
			x.broke("tokens are invalid: %d", code)
			x.Sim(x.t, http.MethodPost, "/sim/v1/accounts/"+byAPI+"/invalidate", map[string]any{"errcode": code}, nil)
		}
		x.notes[noteInvalidations] = times
		x.at(1)
	}
}

func tokenChecks(x *trial) []record.Check {
	n := x.notes[noteInvalidations].(int)
	calls, more, refused := 0, 0, 0
	for _, of := range x.facts.Report.Calls[tokenPath] {
		calls += of
	}
	for _, s := range x.facts.Books.Sends {
		more = max(more, s.Attempts-1)
	}
	for _, code := range tokensGoBad() {
		refused += x.calls(sendPath, code)
	}
	const first = 1 // after the simulator began a new book
	return []record.Check{
		// Fewer when nothing was sent between two of them.
		count("refreshes by all replicas", fmt.Sprintf("1 for the start and 1 for each of %d", n), calls > first && calls <= first+n, "%d", calls),
		count("repetitions of a message", "≤ 1 for a bad token", more <= 1, "%d", more),
		timing("calls with a bad token", "some", refused > 0, "%d", refused),
		x.acknowledged(), x.slowestReply(5 * time.Second),
	}
}

// slowestReply is the longest time until a fan saw the reply.
func (x *trial) slowestReply(limit time.Duration) record.Check {
	longest := time.Duration(0)
	for _, p := range x.facts.Pushes {
		if p.ReplySeen > 0 {
			longest = max(longest, p.ReplyAt.Sub(p.Scheduled))
		}
	}
	return atMost("slowest reply", limit, longest)
}

// calls is how often a path answered with an errcode.
func (x *trial) calls(path string, code int) int {
	return x.facts.Report.Calls[path][fmt.Sprint(code)]
}

// dayCalls is the quota of the day in row 15.
const dayCalls = 20

// useUpQuota lets WeChat take a few calls only.
func useUpQuota(x *trial) {
	x.Sim(x.t, http.MethodPut, "/sim/v1/accounts/"+small+"/limit", map[string]any{"path": sendPath, "daily": dayCalls}, nil)
	x.broke("%d calls are left for the day", dayCalls)
	x.at(1)
}

func quotaChecks(x *trial) []record.Check {
	refused := x.calls(sendPath, 45009)
	parked := x.fates(judge.FateParked)
	return []record.Check{
		count("calls after the quota is used up", fmt.Sprintf("≤ those under way: %d", apiInFlight), refused <= apiInFlight, "%d", refused),
		count("messages that are parked until midnight in China", "all others", parked > 0 && parked+x.fates(judge.FateReplied, judge.FateSendDenied) >= x.facts.Report.Numbered, "%d", parked),
		x.acknowledged(),
	}
}

// endPause ends the pause by hand, as the runbook of the sender says, so that the next trial begins with a fresh
// quota: it would return at midnight in China.
func endPause(x *trial) {
	x.t.Helper()
	kv, err := x.js.KeyValue(x.t.Context(), topology.BucketSends)
	require.NoError(x.t, err)
	require.NoError(x.t, kv.Delete(x.t.Context(), "pause."+small+".custom_send"))
	for i := range replicas {
		require.NoError(x.t, x.Services["sender"][i].Terminate(patience))
		x.Restart(x.t, "sender", i)
	}
}

func refusalChecks(x *trial) []record.Check {
	again, failed := 0, 0
	for _, s := range x.facts.Books.Sends {
		switch s.ErrCode {
		case 45015, 45047, 43004:
			failed++
			if s.Attempts > 1 {
				again++
			}
		}
	}
	refused := x.calls(sendPath, 45015) + x.calls(sendPath, 45047) + x.calls(sendPath, 43004)
	return []record.Check{
		count("repetitions of a refused message", "0", again == 0, "%d of %d", again, failed),
		count("refusals that end a message, with WeChat's code", fmt.Sprintf("all of %d", refused), failed == refused, "%d", failed),
		x.acknowledged(),
	}
}
