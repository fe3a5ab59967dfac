package chaos

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/tests/chaos/judge"
	"github.com/wxbus/wxbus/tests/chaos/record"
)

// fault is one line of the simulator's script.
type fault struct {
	Name     string  `json:"name,omitempty"`
	On       string  `json:"on"`
	Account  string  `json:"account,omitempty"`
	Path     string  `json:"path,omitempty"`
	Attempts []int   `json:"attempts,omitempty"`
	Kind     string  `json:"kind"`
	When     string  `json:"when,omitempty"`
	Delay    string  `json:"delay,omitempty"`
	Status   int     `json:"status,omitempty"`
	ErrCode  int     `json:"errcode,omitempty"`
	Copies   int     `json:"copies,omitempty"`
	Rate     float64 `json:"rate,omitempty"`
	Skip     int     `json:"skip,omitempty"`
	Every    int     `json:"every,omitempty"`
	Count    int     `json:"count,omitempty"`
	From     string  `json:"from,omitempty"` // since the script was set, that is since the load began
	To       string  `json:"to,omitempty"`

	Matched int `json:"matched,omitempty"`
	Hits    int `json:"hits,omitempty"`
}

// trial is one run of a row.
type trial struct {
	t *testing.T
	*system
	row    row
	record record.Record
	random *rand.Rand
	prefix string // of the fans
	began  time.Time
	span   time.Duration
	rate   float64
	from   map[string]uint64 // first sequence of each stream that belongs to the trial
	facts  judge.Facts
	notes  map[string]any // of steps for checks
	missed string         // faults that never happened
}

func newTrial(t *testing.T, s *system, r row, n int) *trial {
	t.Helper()
	x := &trial{
		t: t, system: s, row: r, span: r.span(), rate: usualRate(), notes: map[string]any{},
		random: rand.New(rand.NewPCG(*seed, uint64(r.number)<<32|uint64(n))), prefix: fmt.Sprintf("oRow%02dT%02d", r.number, n),
	}
	if r.factor > 0 {
		x.rate *= r.factor
	}
	x.record = record.Record{Row: r.number, Name: r.name, Trial: n, Seed: *seed, Commit: s.commit, Form: *form, Started: time.Now().UTC(),
		Rate: x.rate, Span: record.Seconds(x.span)}
	t.Logf("seed %d, %.0f pushes a second for %s", *seed, x.rate, x.span)
	return x
}

func (x *trial) accounts() []string {
	if len(x.row.accounts) > 0 {
		return x.row.accounts
	}
	return accounts()
}

// warm begins a new book at the simulator and waits until every account answers: its tokens are new as well.
func (x *trial) warm() {
	x.t.Helper()
	x.waitForRest(x.t)
	x.from = x.positions()
	x.Sim(x.t, http.MethodDelete, "/sim/v1/faults", nil, nil)
	x.Sim(x.t, http.MethodPost, "/sim/v1/reset", nil, nil)
	for _, account := range x.accounts() {
		x.answers(account)
	}
}

// answers asks the first question as a fan of an account and waits for the reply.
func (x *trial) answers(account string) {
	x.t.Helper()
	fan := x.prefix + "Warm"
	x.Sim(x.t, http.MethodPost, "/sim/v1/push", map[string]any{"account": account, "openid": fan, "type": "text", "fields": map[string]any{"Content": "k0001"}}, nil)
	require.Eventually(x.t, func() bool { return len(x.replies(account, fan)) > 0 }, patience, 50*time.Millisecond, "%s does not answer", account)
}

// replies returns the numbers whose replies a fan saw, in order.
func (x *trial) replies(account, fan string) (seen []int) {
	x.t.Helper()
	var view struct {
		Replies []struct {
			Number int `json:"number"`
		} `json:"replies"`
	}
	x.Sim(x.t, http.MethodGet, "/sim/v1/accounts/"+account+"/fans/"+fan, nil, &view)
	for _, r := range view.Replies {
		seen = append(seen, r.Number)
	}
	return seen
}

// plan is the load. Each fan asks every four seconds or so, also in a burst.
func (x *trial) plan() map[string]any {
	burst := max(x.row.burst, 1)
	pushes := x.rate * x.span.Seconds() * (0.75 + 0.25*burst)
	n := float64(len(x.accounts()))
	fans := max(x.rate*burst*4/n, pushes/(n*(numbers-1))+1, 1)
	plan := map[string]any{
		"accounts": x.accounts(), "fans": int(fans), "rate": x.rate, "duration": x.span.String(), "keywords": numbers,
		"fan_prefix": x.prefix, "settle": "1s", "max_in_flight": 100_000,
	}
	if x.row.burst > 0 {
		plan["burst"] = map[string]any{"every": (x.span / 2).String(), "for": (x.span / 4).String(), "factor": burst}
		plan["duration"], plan["count"] = (2 * x.span).String(), int(pushes)
	}
	return plan
}

// push makes the load and breaks what the row breaks, and returns when everything is healed and at rest.
func (x *trial) push() {
	x.t.Helper()
	if len(x.row.faults) > 0 {
		x.setFaults(x.row.faults...)
	}
	x.began = time.Now()
	x.Sim(x.t, http.MethodPost, "/sim/v1/load", x.plan(), nil)
	if x.row.steps != nil {
		x.row.steps(x)
	}
	x.waitForLoad()
	if len(x.row.faults) > 0 && !x.row.lasting {
		x.endFaults()
	}
	x.WaitReady(x.t)
	over := time.Now()
	x.waitForRest(x.t)
	x.record.Rest = record.Seconds(time.Since(over))
	if x.row.lasting {
		x.endFaults()
	}
	x.facts.Load.Error += x.missed
}

// waitForLoad returns when every push is over.
func (x *trial) waitForLoad() {
	x.t.Helper()
	var status struct {
		Running  bool       `json:"running"`
		Progress judge.Load `json:"progress"`
	}
	require.Eventually(x.t, func() bool {
		x.Sim(x.t, http.MethodGet, "/sim/v1/load", nil, &status)
		return !status.Running
	}, x.span+patience, 250*time.Millisecond, "the load does not end")
	x.facts.Load = status.Progress
}

// at returns when a share of the time of the load has gone by.
func (x *trial) at(share float64) {
	x.after(time.Until(x.began.Add(time.Duration(share * float64(x.span)))))
}

// after returns when so much time has gone by, or the test ends.
func (x *trial) after(d time.Duration) {
	select {
	case <-time.After(d):
	case <-x.t.Context().Done():
	}
}

// sometime returns a random time up to most.
func (x *trial) sometime(most time.Duration) time.Duration {
	return time.Duration(x.random.Int64N(int64(most)))
}

// broke and healed write down what happened when.
func (x *trial) broke(format string, a ...any)  { x.mark(false, format, a...) }
func (x *trial) healed(format string, a ...any) { x.mark(true, format, a...) }

func (x *trial) mark(heal bool, format string, a ...any) {
	m := record.Mark{At: record.Seconds(time.Since(x.began)), Text: fmt.Sprintf(format, a...), Heal: heal}
	x.record.Marks = append(x.record.Marks, m)
	x.t.Logf("%6.2f s  %s", time.Duration(m.At).Seconds(), m.Text)
}

func (x *trial) setFaults(rules ...fault) {
	x.t.Helper()
	x.Sim(x.t, http.MethodPut, "/sim/v1/faults", map[string]any{"rules": rules}, nil)
}

// endFaults ends the script. Of a fault that never happened nothing is known, so the trial is incomplete then.
func (x *trial) endFaults() {
	x.t.Helper()
	var status struct {
		Rules []fault `json:"rules"`
	}
	x.Sim(x.t, http.MethodGet, "/sim/v1/faults", nil, &status)
	for _, r := range status.Rules {
		x.t.Logf("fault %s %s %s %s: %d of %d", r.Name, r.On, r.Kind, r.When, r.Hits, r.Matched)
		if r.Hits == 0 {
			x.missed += "a fault never happened: " + r.Kind + " "
		}
	}
	x.Sim(x.t, http.MethodDelete, "/sim/v1/faults", nil, nil)
}

// judge reads everything, decides, and writes the result down.
func (x *trial) judge() {
	x.t.Helper()
	x.read()
	r := &x.record
	r.Load, r.Facts, r.Read, r.Pushes = x.facts.Load, x.facts.Report, x.facts.Readings, x.facts.Pushes
	r.Verdict = judge.Judge(x.facts, x.row.allowed...)
	r.Ack = record.AckLatency(x.facts.Pushes)
	if x.row.checks != nil {
		r.Checks = x.row.checks(x)
	}
	if x.row.after != nil {
		x.row.after(x)
	}
	if *outFolder != "" {
		dir := filepath.Join(*outFolder, r.Folder())
		require.NoError(x.t, r.Write(dir))
		x.tellOrder(dir)
	}
}

const shownViolations = 20

// explain logs what was found and fails for what decides.
func (x *trial) explain() {
	x.t.Helper()
	r := x.record
	x.t.Logf("%s: %d pushes, %d acknowledged, %d not; fates %v; attempts %v; answers %v; at rest after %s", r.Outcome(), r.Facts.Pushes, r.Facts.Acked, r.Facts.NotAcked,
		r.Verdict.Fates, r.Facts.Attempts, r.Facts.Outcomes, time.Duration(r.Rest).Round(time.Millisecond))
	for _, c := range r.Checks {
		x.t.Logf("%-5t %s: expected %s, measured %s", c.Met, c.Name, c.Expected, c.Measured)
	}
	for _, v := range r.Verdict.Violations[:min(len(r.Verdict.Violations), shownViolations)] {
		x.t.Logf("%s: %s: %s", v.Class, v.ID, v.Detail)
	}
	require.Empty(x.t, r.Verdict.Incomplete, "INCOMPLETE: nothing can be said")
	require.Empty(x.t, r.Verdict.Counts, "broken promises")
	for _, c := range r.Checks {
		require.True(x.t, c.Met || !c.Decides, "%s: expected %s, measured %s", c.Name, c.Expected, c.Measured)
	}
}

// count is an expectation that decides.
func count(name, expected string, met bool, format string, a ...any) record.Check {
	return record.Check{Name: name, Expected: expected, Measured: fmt.Sprintf(format, a...), Met: met, Decides: true}
}

// timing is an expectation of a time or a size: it is reported and fails nothing.
func timing(name, expected string, met bool, format string, a ...any) record.Check {
	c := count(name, expected, met, format, a...)
	c.Decides = false
	return c
}

// atMost reports a time.
func atMost(name string, limit, measured time.Duration) record.Check {
	return timing(name, "≤ "+limit.String(), measured <= limit, "%s", measured.Round(time.Millisecond))
}
