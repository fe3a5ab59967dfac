package bench_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/tests/bench"
)

const output = `goos: linux
pkg: github.com/wxbus/wxbus/pkg/tokens
BenchmarkCurrent-2   	12345678	        95.50 ns/op	       0 B/op	       0 allocs/op
BenchmarkCurrent-2   	12345678	       105.5 ns/op	       0 B/op	       0 allocs/op
BenchmarkCurrent-2   	12345678	       100.5 ns/op	       0 B/op	       0 allocs/op
BenchmarkMatch/near/100000         	  100000	     10250 ns/op
BenchmarkReload100k 	       2	 650000000 ns/op	  12.50 MB/s	 100 B/op	   3 allocs/op
BenchmarkSearch-2   	      10	 950000000 ns/op	       412.5 p95-ms
=== RUN   TestTenThousandCallers
--- PASS: TestTenThousandCallers (0.52s)
--- FAIL: TestOther (0.01s)
ok  	github.com/wxbus/wxbus/pkg/tokens	3.1s
`

func TestOutputOfGoTest(t *testing.T) {
	got, err := bench.ReadResults(strings.NewReader(output))
	require.NoError(t, err)
	require.Len(t, got, 5)
	current, ok := got.Median("BenchmarkCurrent")
	require.True(t, ok)
	require.Equal(t, bench.Result{Time: 100, Nanos: 100.5, Allocs: 0}, current)
	near, _ := got.Median("BenchmarkMatch/near/100000")
	require.Equal(t, bench.Result{Time: 10250, Nanos: 10250, Allocs: -1}, near)
	reload, _ := got.Median("BenchmarkReload100k")
	require.Equal(t, bench.Result{Time: 650 * time.Millisecond, Nanos: 650e6, Allocs: 3}, reload)
	search, _ := got.Median("BenchmarkSearch")
	require.InDelta(t, 412.5, search.P95, 0)
	callers, _ := got.Median("TestTenThousandCallers")
	require.Equal(t, 520*time.Millisecond, callers.Time)
	_, ok = got.Median("TestOther")
	require.False(t, ok, "a test that failed measured nothing")
}

func TestLogOfACampaign(t *testing.T) {
	rows := bench.CampaignRows([]byte("    campaign_test.go:70: campaign of 100000: 396.4 messages a second of 400, memory 61 MB above idle, 0 double sends, sent 99998\n"))
	require.Len(t, rows, 3)
	for i, want := range []string{"396.4 of 400/s (0.9 % off), 100000 recipients", "61 MB", "0 of 100000"} {
		require.Equal(t, want, rows[i].Measured)
		require.Equal(t, "kept", rows[i].Verdict())
	}
	rows = bench.CampaignRows([]byte("campaign of 10: 9.0 messages a second of 10, memory 160 MB above idle, 1 double sends"))
	for _, row := range rows {
		require.Contains(t, row.Verdict(), "missed")
	}
	require.Contains(t, bench.CampaignRows(nil)[0].Verdict(), "not measured")
}

func TestTable(t *testing.T) {
	require.Equal(t, `| what | measured | budget | verdict |
|---|---|---|---|
| a | 1.5 | ≤ 2 | kept |
| b | 3 | ≤ 2 | **missed**, 1.5 × the budget |
| c |  | ≤ 2 | not measured: no benchmark |
| d | 7 |  | for information |
`, bench.Table([]bench.Row{
		{What: "a", Measured: "1.5", Budget: "≤ 2", Value: 1.5, Limit: 2},
		{What: "b", Measured: "3", Budget: "≤ 2", Value: 3, Limit: 2},
		{What: "c", Budget: "≤ 2", Limit: 2, Missing: "no benchmark"},
		{What: "d", Measured: "7"},
	}))
}
