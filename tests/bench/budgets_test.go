//go:build bench

package bench

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	benchmarks = flag.String("benchmarks", "", "`file` with the output of go test -bench for the packages")
	tableFile  = flag.String("table", "", "`file` to write the table to, besides the log")
	profileOut = flag.String("profile", "", "`file` for a CPU profile of the gateway under load")
	duration   = flag.Duration("load", 30*time.Second, "how long each measurement under load lasts")
)

// TestBudgets measures every budget of the design, in its order, and prints the table. A measurement
// that cannot be made fails the test; a budget that is missed does not.
func TestBudgets(t *testing.T) {
	micro := readBenchmarks(t)
	var rows []Row
	measure := func(name string, f func(t *testing.T) []Row) {
		t.Run(name, func(t *testing.T) { rows = append(rows, f(t)...) })
	}
	measure("gateway", gatewayRows)
	rows = append(rows, codecRow(micro))
	rows = append(rows, matchRows(micro)...)
	rows = append(rows, reloadRow(micro))
	measure("reply without fsync", func(t *testing.T) []Row { return replyRows(t, false) })
	measure("reply with fsync", func(t *testing.T) []Row { return replyRows(t, true) })
	rows = append(rows, tokenRow(micro), callersRow(micro))
	measure("fairness", fairnessRows)
	rows = append(rows, campaignRows(t)...)
	measure("memory", memoryRows)
	measure("screen", screenRows)
	rows = append(rows, searchRow(micro))

	text := fmt.Sprintf("%s, %d cores, %s\n\n%s", runtime.Version(), runtime.NumCPU(), runtime.GOOS+"/"+runtime.GOARCH, Table(rows))
	t.Logf("\n%s", text)
	if *tableFile != "" {
		require.NoError(t, os.WriteFile(*tableFile, []byte(text), 0o600))
	}
}

func readBenchmarks(t *testing.T) Results {
	t.Helper()
	if *benchmarks == "" {
		return Results{}
	}
	f, err := os.Open(*benchmarks)
	require.NoError(t, err)
	defer f.Close()
	r, err := ReadResults(f)
	require.NoError(t, err)
	return r
}

// campaignRows reads what the campaign that was killed twice has logged.
func campaignRows(t *testing.T) []Row {
	t.Helper()
	if *benchmarks == "" {
		return CampaignRows(nil)
	}
	text, err := os.ReadFile(*benchmarks)
	require.NoError(t, err)
	return CampaignRows(text)
}

// median fills in a row from a benchmark of a package.
func median(r Results, name string, row Row, fill func(Result, *Row)) Row {
	result, ok := r.Median(name)
	if !ok {
		row.Missing = "no result of " + name
		return row
	}
	fill(result, &row)
	return row
}

func codecRow(r Results) Row {
	row := Row{What: "allocations per push in verify + decrypt + parse + encode event", Budget: "≤ 15", Limit: 15}
	return median(r, "BenchmarkCodecPath/xml", row, func(x Result, row *Row) {
		row.Value, row.Measured = x.Allocs, fmt.Sprintf("%.0f (%.1f µs)", x.Allocs, x.Nanos/1e3)
	})
}

// Texts of 100 characters: with one keyword in the middle, and the most expensive ones, which are nothing
// but beginnings of keywords.
const (
	usualText = "BenchmarkMatch/hit/"
	worstText = "BenchmarkMatch/near/"
)

func matchRows(r Results) []Row {
	var rows []Row
	for _, text := range []struct{ name, what string }{{usualText, "one keyword in the text"}, {worstText, "the most expensive text"}} {
		few, ok := r.Median(text.name + "1000")
		time := Row{What: "rule match, 100 000 keyword rules, 100 characters, " + text.what, Budget: "≤ 10 µs", Limit: 10e3}
		growth := Row{What: "the same, compared with 1 000 rules", Budget: "≤ 1.5 ×", Limit: 1.5}
		if !ok {
			growth.Missing = "no result of " + text.name + "1000"
		}
		rows = append(rows, median(r, text.name+"100000", time, func(x Result, row *Row) {
			row.Value, row.Measured = x.Nanos, fmt.Sprintf("%.1f µs", x.Nanos/1e3)
		}), median(r, text.name+"100000", growth, func(x Result, row *Row) {
			row.Value = x.Nanos / few.Nanos
			row.Measured = fmt.Sprintf("%.2f × (%.1f µs with 1 000)", row.Value, few.Nanos/1e3)
		}))
	}
	return rows
}

func reloadRow(r Results) Row {
	row := Row{What: "reload of 100 000 rules", Budget: "≤ 1 s", Limit: float64(time.Second)}
	return median(r, "BenchmarkReload100k/everything", row, func(x Result, row *Row) {
		row.Value, row.Measured = x.Nanos, x.Time.Round(time.Millisecond).String()
	})
}

func tokenRow(r Results) Row {
	row := Row{What: "token lookup by a client", Budget: "≤ 1 µs, no network", Limit: 1000}
	return median(r, "BenchmarkCurrent", row, func(x Result, row *Row) {
		row.Value, row.Measured = x.Nanos, fmt.Sprintf("%.0f ns, %.0f allocations", x.Nanos, x.Allocs)
	})
}

func searchRow(r Results) Row {
	row := Row{What: "search over 1 000 000 messages, Postgres", Budget: "p95 ≤ 500 ms", Limit: 500}
	return median(r, "BenchmarkSearch", row, func(x Result, row *Row) {
		row.Value, row.Measured = x.P95, fmt.Sprintf("p95 %.0f ms", x.P95)
	})
}

func callersRow(r Results) Row {
	row := Row{What: "10 000 concurrent callers with a dead token, two replicas", Budget: "exactly 1 upstream refresh", Limit: 1}
	return median(r, "TestTenThousandCallersWithADeadTokenMakeOneRefresh", row, func(x Result, row *Row) {
		row.Value, row.Measured = 1, "1 (a test requires it; "+x.Time.String()+" in all)"
	})
}
