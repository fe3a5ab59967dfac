package hist_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/services/simulator/internal/hist"
)

func TestQuantilesStayWithinTheirError(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(1, 3_600_000_000), 1, 300).Draw(t, "microseconds")
		var h hist.Histogram
		for _, us := range values {
			h.Record(time.Duration(us) * time.Microsecond)
		}
		slices.Sort(values)
		for _, q := range []float64{0, 0.5, 0.9, 0.99, 1} {
			rank := max(int(math.Ceil(q*float64(len(values)))), 1)
			want := float64(values[rank-1])
			got := float64(h.Quantile(q).Microseconds())
			if got < want || got > want*1.016+1 {
				t.Fatalf("quantile %v: got %v, want %v", q, got, want)
			}
		}
	})
}

func TestEmptyHistogramIsZero(t *testing.T) {
	var h hist.Histogram
	require.Zero(t, h.Quantile(0.99))
	require.Zero(t, h.Mean())
}

func TestExtremesAreExact(t *testing.T) {
	var h hist.Histogram
	for _, d := range []time.Duration{0, 3 * time.Millisecond, 400 * 24 * time.Hour} {
		h.Record(d)
	}
	require.Equal(t, 400*24*time.Hour, h.Max())
	require.Zero(t, h.Min())
	require.EqualValues(t, 3, h.Count())
	c := h.Clone()
	c.Record(time.Second)
	require.EqualValues(t, 3, h.Count())
}
