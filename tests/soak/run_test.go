package soak

import (
	"cmp"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/tests/readback"
	"github.com/wxbus/wxbus/tests/stack"
)

// size of a run.
type size struct {
	pushes, rate int
	fans         int           // per account
	rest         time.Duration // until everything must be over
}

// Classes of the simulator's report that would break a promise.
const (
	ackedNotStored = "acked_not_stored"
	seenTwice      = "reply_seen_twice"
	outOfOrder     = "out_of_order"
)

// shownIncidents of each class are shown with the screen of the fan.
const shownIncidents = 5

// report is the simulator's verdict.
type report struct {
	Pushes     int `json:"pushes"`
	Open       int `json:"open"`
	Acked      int `json:"acked"`
	Numbered   int `json:"numbered"`
	Answered   int `json:"answered"`
	Unanswered int `json:"unanswered"`
	// UnansweredIDs are the first thousand of them.
	UnansweredIDs []string `json:"unanswered_ids"`
	Violations    map[string]struct {
		Count     int `json:"count"`
		Incidents []struct {
			ID     string `json:"id"`
			Detail string `json:"detail"`
		} `json:"incidents"`
	} `json:"violations"`
	Checker struct {
		State  string `json:"state"`
		Reason string `json:"reason"`
		Stored int    `json:"stored"`
	} `json:"checker"`
}

func run(t *testing.T, size size) {
	size.rate, size.pushes = cmp.Or(*rate, size.rate), cmp.Or(*pushes, size.pushes)
	began := time.Now()
	s := start(t)
	perFan := size.pushes/(size.fans*len(accounts)) + 1
	s.PublishNumberedRules(t, accounts[0], perFan)
	s.setFaults(t)
	t.Logf("started in %s", time.Since(began).Round(time.Millisecond))

	s.Load(t, map[string]any{"accounts": accounts, "fans": size.fans, "rate": size.rate, "count": size.pushes, "keywords": perFan, "settle": "1s"},
		time.Duration(size.pushes/size.rate)*time.Second+size.rest)
	readback.WaitForRest(t, s.js, size.rest, topology.StreamInbound, topology.StreamSpill, topology.StreamDecisions, topology.StreamOutbound)
	readback.TellInbound(t, s.js, stack.Control(s.Simulator))
	s.struck(t)
	s.judge(t, size)
	t.Logf("took %s", time.Since(began).Round(time.Millisecond))
}

// judge prints the report and requires that every promise was kept.
func (s *system) judge(t *testing.T, size size) {
	t.Helper()
	var text []byte
	s.Sim(t, http.MethodGet, "/sim/v1/report.txt", nil, &text)
	t.Logf("the simulator's report\n%s", text)
	var r report
	s.Sim(t, http.MethodGet, "/sim/v1/report", nil, &r)
	require.Equal(t, size.pushes, r.Pushes)
	require.Equal(t, size.pushes, r.Numbered)
	require.Zero(t, r.Open)
	require.Equal(t, "complete", r.Checker.State, "CHECKER INCOMPLETE: %s", r.Checker.Reason)
	require.GreaterOrEqual(t, r.Checker.Stored, r.Acked)
	for class, v := range r.Violations {
		for _, i := range v.Incidents[:min(len(v.Incidents), shownIncidents)] {
			t.Logf("%s: %s: %s\n%s", class, i.ID, i.Detail, s.screen(t, i.ID))
		}
	}
	for _, class := range []string{ackedNotStored, seenTwice, outOfOrder} {
		require.Zero(t, r.Violations[class].Count, class)
	}
	require.Empty(t, r.Violations, "nothing else may be wrong either")
	s.explain(t, r.UnansweredIDs, r.Unanswered)
}

// screen returns what happened on the screen of the fan that an incident is about.
func (s *system) screen(t *testing.T, incident string) string {
	t.Helper()
	fan, _, _ := strings.Cut(incident, " ")
	account, openid, _ := strings.Cut(fan, "/")
	var view struct {
		Timeline []struct {
			At      time.Time `json:"at"`
			Way     string    `json:"way"`
			Push    int       `json:"push"`
			Attempt int       `json:"attempt"`
			Content struct {
				Text string `json:"text"`
			} `json:"content"`
		} `json:"timeline"`
	}
	s.Sim(t, http.MethodGet, "/sim/v1/accounts/"+account+"/fans/"+openid, nil, &view)
	var b strings.Builder
	for _, e := range view.Timeline {
		line(&b, e.At.Format("15:04:05.000")+" "+e.Way, "%s (push %d, attempt %d)", e.Content.Text, e.Push, e.Attempt)
	}
	return b.String()
}
