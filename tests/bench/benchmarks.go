// Package bench measures the budgets of the design and prints one table: make bench.
//
// What runs in one function is measured by the benchmarks of the packages, whose output scripts/bench.sh
// hands over; what needs processes is measured here, behind the build tag bench. None of it fails for a
// number: a budget that is missed is a line of the table.
package bench

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Result is one line of go test -bench.
type Result struct {
	Time   time.Duration // of one operation
	Nanos  float64       // the same, not rounded
	Allocs float64       // of one operation; -1 when not reported
	P95    float64       // the metric p95-ms; 0 when not reported
}

// Results are the lines by benchmark, without the suffix for GOMAXPROCS.
type Results map[string][]Result

// ReadResults reads the output of go test -bench, and of go test -v: tests that passed are results
// with the time they took. Other lines are left out.
func ReadResults(r io.Reader) (Results, error) {
	out := Results{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, result, ok := parseLine(lines.Text())
		if ok {
			out[name] = append(out[name], result)
		}
	}
	return out, lines.Err()
}

func parseLine(line string) (name string, r Result, ok bool) {
	f := strings.Fields(line)
	switch {
	case len(f) == 4 && f[0] == "---" && f[1] == "PASS:":
		took, err := time.ParseDuration(strings.Trim(f[3], "()"))
		return f[2], Result{Time: took, Nanos: float64(took), Allocs: -1}, err == nil
	case len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") || f[3] != "ns/op":
		return "", Result{}, false
	}
	ns, err := strconv.ParseFloat(f[2], 64)
	if err != nil {
		return "", Result{}, false
	}
	r = Result{Time: time.Duration(ns), Nanos: ns, Allocs: -1}
	for i := 4; i+1 < len(f); i += 2 {
		into := map[string]*float64{"allocs/op": &r.Allocs, "p95-ms": &r.P95}[f[i+1]]
		if into == nil {
			continue
		}
		if *into, err = strconv.ParseFloat(f[i], 64); err != nil {
			return "", Result{}, false
		}
	}
	return withoutProcs(f[0]), r, true
}

// withoutProcs cuts "-8" off "BenchmarkX/y-8".
func withoutProcs(name string) string {
	i := strings.LastIndexByte(name, '-')
	if i < 0 {
		return name
	}
	if _, err := strconv.Atoi(name[i+1:]); err != nil {
		return name
	}
	return name[:i]
}

// Median returns the result in the middle of all runs of a benchmark by time.
func (r Results) Median(name string) (Result, bool) {
	runs := slices.Clone(r[name])
	if len(runs) == 0 {
		return Result{}, false
	}
	slices.SortFunc(runs, func(a, b Result) int { return int(a.Nanos - b.Nanos) })
	return runs[len(runs)/2], true
}

// Row is one budget and what was measured.
type Row struct {
	What, Measured, Budget string
	// Value and Limit decide; a row without a limit is for information.
	Value, Limit float64
	// Missing tells why nothing was measured.
	Missing string
}

// Verdict says whether the budget was kept, and by how much it was missed.
func (r Row) Verdict() string {
	switch {
	case r.Missing != "":
		return "not measured: " + r.Missing
	case r.Limit == 0:
		return "for information"
	case r.Value <= r.Limit:
		return "kept"
	default:
		return fmt.Sprintf("**missed**, %.1f × the budget", r.Value/r.Limit)
	}
}

var campaignLine = regexp.MustCompile(`campaign of (\d+): ([\d.]+) messages a second of (\d+), memory (-?\d+) MB above idle, (\d+) double sends`)

// CampaignRows returns the rows of a campaign whose sender is killed twice, from the log of its test.
func CampaignRows(log []byte) []Row {
	rate := Row{What: "campaign, killed twice: rate between the kills", Budget: "its bucket ± 2 %", Limit: 2}
	memory := Row{What: "the same: memory of the process while it sends", Budget: "≤ 100 MB above idle", Limit: 100}
	twice := Row{What: "the same: fans with the message twice", Budget: "0", Limit: 0.5}
	m := campaignLine.FindSubmatch(log)
	if m == nil {
		for _, r := range []*Row{&rate, &memory, &twice} {
			r.Missing = "no log of the campaign"
		}
		return []Row{rate, memory, twice}
	}
	number := func(i int) float64 {
		n, _ := strconv.ParseFloat(string(m[i]), 64) // the expression has digits only
		return n
	}
	rate.Value = 100 * math.Abs(number(2)-number(3)) / number(3)
	rate.Measured = fmt.Sprintf("%s of %s/s (%.1f %% off), %s recipients", m[2], m[3], rate.Value, m[1])
	memory.Value, memory.Measured = number(4), fmt.Sprintf("%s MB", m[4])
	twice.Value, twice.Measured = number(5), fmt.Sprintf("%s of %s", m[5], m[1])
	return []Row{rate, memory, twice}
}

// Table returns the rows as Markdown.
func Table(rows []Row) string {
	var b strings.Builder
	b.WriteString("| what | measured | budget | verdict |\n|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.What, r.Measured, r.Budget, r.Verdict())
	}
	return b.String()
}
