package bench

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func run(bare, gateway float64) Scale {
	return Scale{Cells: []Cell{
		{Name: "bare", CPU: map[string]float64{"bare": bare}},
		{Name: "1 gateways", CPU: map[string]float64{"gateway": gateway, "nats": 40}, P99: 3},
	}}
}

func TestOnlyARatioThatGrewIsWorse(t *testing.T) {
	last := run(20, 50)
	require.Empty(t, run(40, 100).Worse(last), "a slower machine is slower at both")
	require.Empty(t, run(20, 60).Worse(last), "within the tolerance")
	require.Equal(t, []string{"1 gateways: 4.00 × the bare handler, was 2.50 ×"}, run(20, 80).Worse(last))
	require.Empty(t, run(20, 80).Worse(Scale{}), "nothing to compare with")
}

func TestACellIsComparedWithTheBareHandlerOfItsRate(t *testing.T) {
	s := run(20, 50)
	s.Cells = append(s.Cells,
		Cell{Name: "bare, 4000/s", Rate: 4000, CPU: map[string]float64{"bare": 10}},
		Cell{Name: "1 000 fans, 4000/s", Rate: 4000, CPU: map[string]float64{"gateway": 30}})
	require.InDelta(t, 2.5, s.Ratio(s.Cells[1]), 0)
	require.InDelta(t, 3, s.Ratio(s.Cells[3]), 0)
	require.Zero(t, s.Ratio(Cell{Rate: 1}), "no bare handler at that rate")
}

func TestTableAndPlotHoldEveryCell(t *testing.T) {
	s := run(20, 50)
	require.Contains(t, s.Table(), "| 1 gateways | 0 | 50 µs | 2.50 × | 40 µs |")
	require.Contains(t, s.SVG(), "50 + 40 µs, p99 3.0 ms")
}

func TestQuantile(t *testing.T) {
	v := []float64{5, 1, 4, 2, 3}
	require.InDelta(t, 3, quantile(v, .5), 0)
	require.InDelta(t, 5, quantile(v, .999), 0)
	require.InDelta(t, 1, quantile(v, 0), 0)
}
