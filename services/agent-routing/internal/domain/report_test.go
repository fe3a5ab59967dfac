package domain_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

// story is one conversation, told in minutes after the question.
type story struct {
	minute float64
	what   string
	agent  string
	from   string
	score  int
}

func told(name, group string, asked time.Time, lines []story) []domain.Entry {
	var out []domain.Entry
	for i, l := range lines {
		out = append(out, domain.Entry{
			Account: "shop", Conversation: name, Number: uint64(i + 1), At: asked.Add(time.Duration(l.minute * float64(time.Minute))), What: l.what,
			Group: group, Agent: l.agent, FromAgent: l.from, Score: l.score, Asked: asked,
		})
	}
	return out
}

func TestReportsCountFromTheLog(t *testing.T) {
	day := time.Date(2026, 11, 20, 2, 0, 0, 0, time.UTC)
	served := told("served", "sales", day, []story{
		{0, "opened", "", "", 0}, {0, "fan_message", "", "", 0}, {1, "offered", "a", "", 0}, {2, "declined", "", "a", 0},
		{3, "offered", "b", "", 0}, {4, "accepted", "b", "b", 0}, {6, "agent_message", "b", "", 0}, {10, "held", "b", "b", 0},
		{20, "resumed", "b", "b", 0}, {24, "transferred", "", "b", 0}, {25, "assigned", "c", "", 0}, {30, "closed", "c", "c", 0},
		{31, "survey", "c", "", 5},
	})
	lost := told("lost", "sales", day, []story{{0, "opened", "", "", 0}, {10, "closed", "", "", 0}})
	open := told("open", "repair", day, []story{{0, "opened", "", "", 0}, {2, "taken", "a", "", 0}})

	fold := func(by domain.By, agent string) map[string]domain.Measures {
		r := domain.NewReport(by, day.Add(-time.Hour), day.Add(time.Hour), time.UTC)
		r.Agent = agent
		for _, entries := range [][]domain.Entry{served, lost, open} {
			for _, e := range entries {
				r.Fold(e)
			}
		}
		out := map[string]domain.Measures{}
		for _, m := range r.Rows() {
			out[m.Key] = m
		}
		return out
	}
	total := fold(domain.ByTotal, "")["total"]
	require.EqualValues(t, 3, total.Opened)
	require.EqualValues(t, 2, total.Served)
	require.EqualValues(t, 2, total.Closed)
	require.EqualValues(t, 1, total.Abandoned)
	require.EqualValues(t, 1, total.Backlog)
	require.EqualValues(t, 1, total.Transferred)
	require.EqualValues(t, 2, total.Offers)
	require.EqualValues(t, 1, total.Missed)
	require.EqualValues(t, 1, total.Surveys)
	require.Equal(t, []time.Duration{4 * time.Minute, 2 * time.Minute}, total.Waiting)
	require.Equal(t, []time.Duration{6 * time.Minute}, total.FirstResponse)
	require.Equal(t, []time.Duration{10 * time.Minute, 5 * time.Minute}, total.Handling, "20 minutes of b without 10 on hold; 5 minutes of c")

	agents := fold(domain.ByAgent, "")
	require.Equal(t, []time.Duration{10 * time.Minute}, agents["b"].Handling)
	require.EqualValues(t, 1, agents["b"].Transferred, "counted for who gave it away")
	require.EqualValues(t, 1, agents["a"].Missed)
	require.EqualValues(t, 1, agents["a"].Backlog)
	require.NotContains(t, agents, "")
	require.EqualValues(t, 1, fold(domain.ByGroup, "")["repair"].Opened)
	require.EqualValues(t, 1, fold(domain.ByTotal, "c")["total"].Closed, "only what one agent did")
	require.EqualValues(t, 1, fold(domain.ByDay, "")["2026-11-20"].Backlog)
}

func TestAReportOfYesterdayStaysTheSame(t *testing.T) {
	day := time.Date(2026, 11, 20, 2, 0, 0, 0, time.UTC)
	entries := told("c", "g", day, []story{{0, "opened", "", "", 0}, {1, "taken", "a", "", 0}, {2 * 24 * 60, "closed", "a", "a", 0}})
	r := domain.NewReport(domain.ByTotal, day, day.Add(time.Hour), time.UTC)
	for _, e := range entries {
		r.Fold(e)
	}
	require.EqualValues(t, 1, r.Rows()[0].Backlog, "it was open then, whatever came later")
	require.Zero(t, r.Rows()[0].Closed)
}

func TestPercentilesAreValuesThatOccurred(t *testing.T) {
	require.Equal(t, domain.Spread{}, domain.SpreadOf(nil))
	var spans []time.Duration
	for n := 10; n >= 1; n-- {
		spans = append(spans, time.Duration(n)*time.Second)
	}
	require.Equal(t, domain.Spread{Count: 10, Average: 5500, Median: 5000, P90: 9000, Max: 10000}, domain.SpreadOf(spans))
}
