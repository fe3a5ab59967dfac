// Package chaos is the fault table of docs/faults.md: each row breaks something under an open-loop load while
// three gateways, two of each service and a NATS of three run as real processes, and is then judged by what the
// simulator saw as WeChat and by a complete read-back of the streams. Counts decide; times are reported.
//
// -form=short is the form of CI: fewer pushes, the rows that find most. -form=full is make chaos.
package chaos

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wxbus/wxbus/pkg/sqldb/sqldbtest"
)

// Forms of a run.
const (
	formShort = "short"
	formFull  = "full"
)

var (
	form      = flag.String("form", formShort, "short or full")
	rowList   = flag.String("rows", "", "numbers of rows, separated by commas; default: those of the form")
	trials    = flag.Int("trials", 1, "trials of each row")
	seed      = flag.Uint64("seed", 1, "where and when faults strike follows from it")
	duration  = flag.Duration("duration", 0, "how long each row pushes instead of the usual time of the form; rows whose faults take longer take theirs")
	rate      = flag.Float64("rate", 0, "pushes a second instead of the usual rate of the form")
	outFolder = flag.String("out", "", "folder for the results; default: none are kept")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *form != formShort && *form != formFull {
		fmt.Fprintf(os.Stderr, "-form must be short or full, got %q\n", *form)
		os.Exit(2)
	}
	sqldbtest.Main(m)
}

// patience bounds the wait for what should happen soon. It is no expectation: a machine that is busy with something else
// may take its time.
const patience = 5 * time.Minute

// full tells whether there is time for everything.
func full() bool { return *form == formFull }

// usualRate of the form in pushes a second.
func usualRate() float64 {
	if full() {
		return cmp.Or(*rate, 300)
	}
	return cmp.Or(*rate, 40)
}

// wanted returns the rows of this run, in the order of the table.
func wanted(t *testing.T) []row {
	t.Helper()
	var numbers map[int]bool
	if *rowList != "" {
		numbers = map[int]bool{}
		for text := range strings.SplitSeq(*rowList, ",") {
			n, err := strconv.Atoi(strings.TrimSpace(text))
			if err != nil {
				t.Fatalf("-rows: %q is no number", text)
			}
			numbers[n] = true
		}
	}
	var out []row
	for _, r := range table() {
		if numbers[r.number] || numbers == nil && (full() || r.ci) {
			out = append(out, r)
			delete(numbers, r.number)
		}
	}
	if len(numbers) > 0 {
		t.Fatalf("-rows: the table has no row %v", numbers)
	}
	return out
}
