package record

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Markdown is the table of a run for docs/faults.md: one line for each row, over all of its trials. rows are the names of
// all rows of the run; one without a record has no verdict.
func Markdown(records []Record, rows map[int]string) string {
	var b strings.Builder
	b.WriteString("| # | fault | trials | pushes | L | D | O | given up | slowest answer | at rest | expectations not met | kept |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	of := map[int][]Record{}
	for _, r := range records {
		of[r.Row] = append(of[r.Row], r)
	}
	for _, n := range slices.Sorted(maps.Keys(rows)) {
		if len(of[n]) == 0 {
			fmt.Fprintf(&b, "| %d | %s | 0 | | | | | | | | | **no verdict** |\n", n, cell(rows[n]))
			continue
		}
		b.WriteString(line(of[n]))
	}
	return b.String()
}

// line is one row over its trials: sums of counts, the worst of times.
func line(trials []Record) string {
	var pushes, lost, doubled, disordered, givenUp int
	var slowest, rest time.Duration
	var unmet, outcomes []string
	for _, r := range trials {
		v := r.Verdict
		pushes, givenUp = pushes+r.Facts.Pushes, givenUp+r.Facts.NotAcked
		lost, doubled, disordered = lost+v.Lost(), doubled+v.Doubled(), disordered+v.Disordered()
		slowest, rest = max(slowest, time.Duration(r.Ack.Max)), max(rest, time.Duration(r.Rest))
		for _, c := range r.Checks {
			if text := fmt.Sprintf("%s: %s, expected %s", c.Name, c.Measured, c.Expected); !c.Met && !slices.Contains(unmet, text) {
				unmet = append(unmet, text)
			}
		}
		for _, class := range slices.Sorted(maps.Keys(v.Counts)) {
			unmet = append(unmet, fmt.Sprintf("**%s: %d**", class, v.Counts[class]))
		}
		unmet = append(unmet, v.Incomplete...)
		outcomes = append(outcomes, r.Outcome())
	}
	slices.Sort(outcomes)
	return fmt.Sprintf("| %d | %s | %d | %d | %d | %d | %d | %d | %s | %s | %s | %s |\n", trials[0].Row, cell(trials[0].Name), len(trials),
		pushes, lost, doubled, disordered, givenUp, short(slowest), short(rest), cell(strings.Join(unmet, "; ")), strings.Join(slices.Compact(outcomes), ", "))
}

// short is a time with as many digits as anybody reads.
func short(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

func cell(text string) string { return strings.ReplaceAll(text, "|", "\\|") }

// WriteTable stores the table in the folder of the run.
func WriteTable(dir, table string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "table.md"), []byte(table), 0o644)
}
