package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/tests/chaos/record"
)

// row is one line of the fault table.
type row struct {
	number int
	name   string
	ci     bool // part of the short form
	// world is what the row needs besides the usual system.
	world world
	// accounts that are pushed to; default all.
	accounts []string
	// short and full are how long pushes are made; default 10 s and 60 s.
	short, full time.Duration
	// factor of the usual rate; default 1.
	factor float64
	// burst multiplies the rate in the third quarter of the time; default 1.
	burst float64
	// faults is the simulator's script while pushes are made.
	faults []fault
	// lasting faults go on until everything is at rest, so that each is met however slow the machine is.
	lasting bool
	// steps breaks things while pushes are made, and heals them. It returns when everything is healed.
	steps func(x *trial)
	// checks are what the row expects besides that nothing is lost, doubled, disordered or without an end.
	checks func(x *trial) []record.Check
	// after tidies up for the next trial, when everything was read.
	after func(x *trial)
	// allowed are classes of the simulator's report that the row is about.
	allowed []string
}

// table returns the rows in their order. Row 24, power loss, is not here: see docs/faults.md.
func table() []row {
	rows := slices.Concat(processRows(), natsRows(), apiRows(), inputRows(), []row{clockRow()})
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.number, b.number) })
	return rows
}

func (r row) span() time.Duration {
	switch {
	case *duration > 0:
		return max(*duration, r.short)
	case full() && r.full > 0:
		return r.full
	case full():
		return time.Minute
	case r.short > 0:
		return r.short
	default:
		return 10 * time.Second
	}
}

// world names a system in which rows run one after the other.
type world string

// Worlds.
const (
	usual  world = "usual"
	wires  world = "wires"  // with a proxy in every connection to NATS
	clocks world = "clocks" // gateways and senders whose clocks are off
	disks  world = "disks"  // the stores of NATS on file systems of their own, which can be filled
)

// TestFaults runs the table. Rows of one world share its system: each has fans of its own, and begins when
// everything is at rest.
func TestFaults(t *testing.T) {
	rows, began := wanted(t), time.Now()
	var records []record.Record
	// Also when a row takes the rest of its world with it, and when a world does not start.
	defer func() { report(t, rows, records) }()
	for _, w := range []world{usual, wires, clocks, disks} {
		mine := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.world != w && (r.world != "" || w != usual) })
		if len(mine) == 0 {
			continue
		}
		todo := turns(mine)
		for before := 0; len(todo) != before && len(todo) > 0; { // until a world does not even start
			before = len(todo)
			t.Run(string(w), func(t *testing.T) {
				s := start(t, w)
				for len(todo) > 0 {
					next := todo[0]
					todo = todo[1:]
					rec, ok := s.run(t, next.row, next.trial)
					if !ok {
						return // what is broken stays broken: the rows behind it get a world of their own
					}
					records = append(records, rec)
					tell(began, rec, len(records), *trials*len(rows))
				}
			})
		}
	}
}

// turn is one trial of a row that is to be made.
type turn struct {
	row   row
	trial int
}

// turns are all rows, then all rows again for the next trial.
func turns(rows []row) (out []turn) {
	for n := range *trials {
		for _, r := range rows {
			out = append(out, turn{r, n + 1})
		}
	}
	return out
}

// tell says how far a run is.
func tell(began time.Time, r record.Record, done, all int) {
	fmt.Printf("[%d of %d after %s] row %d trial %d: %s, L=%d D=%d O=%d of %d pushes\n", done, all, time.Since(began).Round(time.Second),
		r.Row, r.Trial, r.Outcome(), r.Verdict.Lost(), r.Verdict.Doubled(), r.Verdict.Disordered(), r.Facts.Pushes)
}

// report writes the list of all trials, and the table for docs/faults.md.
func report(t *testing.T, rows []row, records []record.Record) {
	t.Helper()
	names := map[int]string{}
	for _, r := range rows {
		names[r.number] = r.name
	}
	for _, r := range records {
		t.Logf("row %2d trial %d: %-11s L=%d D=%d O=%d of %d pushes, %d not acknowledged, slowest answer %s: %s", r.Row, r.Trial, r.Outcome(),
			r.Verdict.Lost(), r.Verdict.Doubled(), r.Verdict.Disordered(), r.Facts.Pushes, r.Facts.NotAcked, time.Duration(r.Ack.Max).Round(time.Millisecond), r.Name)
	}
	table := record.Markdown(records, names)
	fmt.Printf("\n%s\n", table)
	if *outFolder != "" {
		require.NoError(t, record.WriteTable(*outFolder, table))
		require.NoError(t, record.WriteIndex(*outFolder, records))
	}
}
