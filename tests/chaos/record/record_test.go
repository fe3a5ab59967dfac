package record_test

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/tests/chaos/judge"
	"github.com/wxbus/wxbus/tests/chaos/record"
)

var at = time.Date(2026, 11, 28, 8, 0, 0, 0, time.UTC)

// trial has 1000 pushes, one every 10 ms, acknowledged after 1 ms to 1000 ms; the last one never.
func trial() record.Record {
	r := record.Record{Row: 3, Name: "kill -9 <leader>", Trial: 2, Seed: 7, Commit: "abc", Started: at, Rate: 100, Span: record.Seconds(10 * time.Second),
		Marks:   []record.Mark{{At: record.Seconds(time.Second), Text: "kill -9 <nats-1>"}, {At: record.Seconds(2 * time.Second), Text: "started", Heal: true}},
		Verdict: judge.Verdict{Counts: map[string]int{}, Fates: map[string]int{"replied": 999}}}
	for i := range 1000 {
		p := judge.Push{ID: uint64(i), Scheduled: at.Add(time.Duration(i) * 10 * time.Millisecond), Attempts: []judge.Attempt{{Start: at, End: at.Add(time.Duration(i) * time.Millisecond)}}}
		if i < 999 {
			p.Acked = p.Scheduled.Add(time.Duration(i+1) * time.Millisecond)
			p.ReplySeen, p.ReplyAt = 1, p.Acked
		}
		r.Pushes = append(r.Pushes, p)
	}
	r.Ack = record.AckLatency(r.Pushes)
	return r
}

func TestLatencyCountsFromWhenAPushWasDue(t *testing.T) {
	l := trial().Ack
	require.Equal(t, 999, l.Count, "what was never acknowledged has no time")
	require.Equal(t, []record.Seconds{record.Seconds(500 * time.Millisecond), record.Seconds(990 * time.Millisecond), record.Seconds(999 * time.Millisecond), record.Seconds(999 * time.Millisecond)},
		[]record.Seconds{l.P50, l.P99, l.P999, l.Max})
	sum := 0
	for _, b := range l.Histogram {
		sum += b.Count
	}
	require.Equal(t, l.Count, sum)
	require.Equal(t, 512, l.Histogram[9].Count+sumTo(l.Histogram, 9), "up to 512 ms")
	require.Zero(t, record.AckLatency(nil).Count)
}

func sumTo(b []record.Bucket, n int) (sum int) {
	for _, x := range b[:n] {
		sum += x.Count
	}
	return sum
}

func TestAttemptsOverALimitAreCounted(t *testing.T) {
	longest, over := record.Attempts(trial().Pushes, 899*time.Millisecond)
	require.Equal(t, 999*time.Millisecond, longest)
	require.Equal(t, 100, over)
}

// TestOnlyCountsDecide: a time that is not met is reported, a count that is not met fails the trial.
func TestOnlyCountsDecide(t *testing.T) {
	r := trial()
	require.Equal(t, "kept", r.Outcome())
	r.Checks = []record.Check{{Name: "slowest answer", Met: false}}
	require.False(t, r.Failed())
	require.Equal(t, "kept, late", r.Outcome())
	r.Checks[0].Decides = true
	require.True(t, r.Failed())
	require.Equal(t, "FAILED", r.Outcome())
	r.Checks = nil
	r.Verdict.Counts["acked_not_stored"] = 1
	require.Equal(t, "FAILED", r.Outcome())
	r.Verdict.Incomplete = []string{"INBOUND was not read"}
	require.True(t, r.Failed())
	require.Equal(t, "INCOMPLETE", r.Outcome())
}

func TestATrialIsWrittenForMachinesAndPeople(t *testing.T) {
	dir := t.TempDir()
	r := trial()
	r.Verdict.Counts["reply_seen_twice"] = 1
	r.Verdict.Violations = []judge.Violation{{Class: "reply_seen_twice", ID: "one/oFan number 3", Detail: "<seen> 2 times"}}
	require.NoError(t, r.Write(filepath.Join(dir, r.Folder())))
	require.NoError(t, record.WriteIndex(dir, []record.Record{r}))

	var back struct {
		Row, Trial int
		Seed       uint64
		Commit     string
		Ack        struct {
			Max float64 `json:"max_s"`
		}
		Verdict judge.Verdict
	}
	text, err := os.ReadFile(filepath.Join(dir, "row-03-trial-02", "result.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, 3, back.Row)
	require.EqualValues(t, 7, back.Seed)
	require.InDelta(t, 0.999, back.Ack.Max, 1e-9)
	require.Equal(t, r.Verdict.Violations, back.Verdict.Violations)

	page := read(t, filepath.Join(dir, "row-03-trial-02", "page.html"))
	require.Contains(t, page, "one/oFan number 3")
	require.Contains(t, page, "kill -9 &lt;leader&gt;")
	require.NotContains(t, page, "<seen>")
	require.Equal(t, 2, strings.Count(page, "<svg"))
	require.Contains(t, read(t, filepath.Join(dir, "index.html")), `href="row-03-trial-02/page.html"`)
	wellFormed(t, read(t, filepath.Join(dir, "row-03-trial-02", "ack.svg")))
}

func TestATrialWithoutPushesIsStillWritten(t *testing.T) {
	r := record.Record{Row: 1, Trial: 1}
	require.NoError(t, r.Write(t.TempDir()))
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(text)
}

func wellFormed(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		_, err := d.Token()
		if err == io.EOF { //nolint:errorlint // the decoder returns it as it is
			return
		}
		require.NoError(t, err)
	}
}

func TestTheTableHasALineForEachRow(t *testing.T) {
	first, second := trial(), trial()
	first.Facts.Pushes, second.Facts.Pushes = 1000, 1000
	second.Trial, second.Facts.NotAcked = 3, 1
	second.Verdict = judge.Verdict{Counts: map[string]int{judge.ClassLost: 2}, Excused: map[string]int{judge.ClassOrder: 4}}
	second.Checks = []record.Check{{Name: "attempts | late", Expected: "0", Measured: "7"}, {Name: "met", Met: true}}
	lines := strings.Split(record.Markdown([]record.Record{second, first}, map[int]string{3: "kill", 8: "disk full"}), "\n")
	require.Equal(t, []string{
		"| 3 | kill -9 <leader> | 2 | 2000 | 2 | 0 | 4 | 1 | 999ms | 0s | attempts \\| late: 7, expected 0; **acked_not_stored: 2** | FAILED, kept |",
		"| 8 | disk full | 0 | | | | | | | | | **no verdict** |", "",
	}, lines[2:])
	for _, line := range lines[:3] {
		require.Equal(t, 13, strings.Count(line, "|")-strings.Count(line, "\\|"))
	}
	dir := filepath.Join(t.TempDir(), "out")
	require.NoError(t, record.WriteTable(dir, "| x |"))
	text, err := os.ReadFile(filepath.Join(dir, "table.md"))
	require.NoError(t, err)
	require.Equal(t, "| x |", string(text))
}
