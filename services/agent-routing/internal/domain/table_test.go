package domain

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/fault"
)

var start = time.Date(2026, 11, 20, 2, 0, 0, 0, time.UTC)

var columns = []State{Waiting, Offered, Active, OnHold, LeftMessage, Closed}

// The comment above the table is what people read, so it must say what the code does.
func TestTheTableIsAsWritten(t *testing.T) {
	source, err := os.ReadFile("table.go")
	require.NoError(t, err)
	rows := 0
	for line := range strings.Lines(string(source)) {
		cells, ok := strings.CutPrefix(line, "//\t")
		if !ok || strings.HasPrefix(strings.TrimSpace(cells), "waiting") {
			continue
		}
		rows++
		name := strings.TrimSpace(cells[:17])
		change := Change(strings.ReplaceAll(name, "… to_agent", "transferred_to_agent"))
		require.Contains(t, table, change, name)
		rest := []rune(cells)[17:]
		for i, from := range columns {
			cell := strings.TrimSpace(string(rest[min(i*13, len(rest)):min((i+1)*13, len(rest))]))
			want := "-"
			if to, ok := table[change][from]; ok {
				want = strings.ReplaceAll(to.String(), "_", " ")
			}
			cell = strings.ReplaceAll(strings.ReplaceAll(cell, "left m.", "left message"), "_", " ")
			require.Equal(t, want, cell, "%s from %s", change, from)
		}
	}
	require.Equal(t, len(table), rows, "a change is missing in the comment")
}

func TestWhatTheTableLeavesOutIsRefused(t *testing.T) {
	for change, row := range table {
		for _, from := range columns {
			c := Conversation{ID: "c", State: from, ClosedAt: start, Number: 7, Agent: "a"}
			got, err := c.Apply(Step{Change: change, Agent: "b"}, start)
			if _, ok := row[from]; !ok {
				require.Equal(t, fault.Refused, fault.KindOf(err), "%s from %s", change, from)
				require.Equal(t, c, got)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, uint64(8), got.Number)
			kind, _ := got.Owner()
			require.Equal(t, got.State.Open() && got.State != LeftMessage, kind != Bot, "%s from %s", change, from)
		}
	}
}

func TestAnOfferThatEndsLeavesNoAgent(t *testing.T) {
	c := Open("shop", "fan", "c", Group{ID: "g"}, "", "rule", start, start)
	c, err := c.Apply(Step{Change: OfferMade, Agent: "a", Until: start.Add(time.Minute)}, start)
	require.NoError(t, err)
	step, due := c.Due(Group{ID: "g"}, Limits{})
	require.Equal(t, OfferExpired, step.Change)
	require.Equal(t, start.Add(time.Minute), due)
	c, err = c.Apply(step, due)
	require.NoError(t, err)
	require.Empty(t, c.Agent)
	require.Equal(t, []string{"a"}, c.Declined)
	require.Equal(t, start, c.WaitingSince, "the place in the queue stays")
}

func TestAConversationThatGoesBackKeepsTheTimeOfTheQuestion(t *testing.T) {
	c := Open("shop", "fan", "c", Group{ID: "g"}, "", "rule", start, start)
	c, err := c.Apply(Step{Change: Taken, Agent: "a"}, start.Add(time.Minute))
	require.NoError(t, err)
	asked := start.Add(5 * time.Minute)
	unanswered := c.FanWrote(asked, "?")
	back, err := unanswered.Apply(Step{Change: Requeued}, start.Add(9*time.Minute))
	require.NoError(t, err)
	require.Equal(t, asked, back.WaitingSince)
	back, err = unanswered.AgentWrote(start.Add(6*time.Minute), "!").Apply(Step{Change: Requeued}, start.Add(9*time.Minute))
	require.NoError(t, err)
	require.Equal(t, start.Add(9*time.Minute), back.WaitingSince, "who was answered waits from now on")
}

func TestTimersOfAnActiveConversation(t *testing.T) {
	g, l := Group{ID: "g"}, Limits{Serving: 30 * time.Minute}
	c := Conversation{State: Active, IdleFrom: start}
	step, due := c.Due(g, l)
	require.Equal(t, IdleWarned, step.Change)
	require.Equal(t, start.Add(25*time.Minute), due)
	c, err := c.Apply(step, due)
	require.NoError(t, err)
	step, due = c.Due(g, l)
	require.Equal(t, ClosedNow, step.Change)
	require.Equal(t, start.Add(30*time.Minute), due)
	renewed, err := c.Apply(Step{Change: Renewed}, start.Add(28*time.Minute))
	require.NoError(t, err)
	_, due = renewed.Due(g, l)
	require.Equal(t, start.Add(53*time.Minute), due)
	_, due = c.FanWrote(start.Add(29*time.Minute), "x").Due(g, l)
	require.Equal(t, start.Add(54*time.Minute), due, "a word of either side renews it")
	_, due = c.Due(Group{IdleS: -1}, l)
	require.True(t, due.IsZero())
	step, _ = Conversation{State: Active, IdleFrom: start}.Due(Group{WarnS: -1}, l)
	require.Equal(t, ClosedNow, step.Change, "no warning")
}

func ExampleState() {
	fmt.Println(Waiting, OnHold, State(0))
	// Output: waiting on_hold none
}
