package bench

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
	"time"
)

// Scale is one run of the scale benchmark.
type Scale struct {
	At      time.Time `json:"at"`
	Go      string    `json:"go"`
	Cores   int       `json:"cores"`
	Rate    float64   `json:"rate"`
	Seconds float64   `json:"seconds"`
	// Cells in the order in which they were measured; the first of each rate is the bare handler, to which the others of
	// that rate are compared: a process that sleeps between pushes pays for each wake-up.
	Cells []Cell `json:"cells"`
}

// Cell is one measurement. Times are in ms, from the time at which a push was due.
type Cell struct {
	Name string `json:"name"`
	// Rate is the pushes a second of this cell where they are not those of the run.
	Rate   float64 `json:"rate,omitempty"`
	Pushes int     `json:"pushes"`
	Body   int     `json:"body_bytes"`
	// CPU is the time of each kind of process per push, in µs.
	CPU map[string]float64 `json:"cpu_us"`
	// MemoryMB is what the process that answers holds at the end, NATSMemoryMB what NATS holds.
	MemoryMB       float64 `json:"memory_mb"`
	NATSMemoryMB   float64 `json:"nats_memory_mb,omitempty"`
	P50, P99, P999 float64
}

// own is the CPU of the process that answers.
func (c Cell) own() float64 {
	if v, ok := c.CPU["gateway"]; ok {
		return v
	}
	return c.CPU["bare"]
}

// Ratio compares the CPU per push of the process that answers with that of the bare handler at the same rate in the same run.
func (s Scale) Ratio(c Cell) float64 {
	i := slices.IndexFunc(s.Cells, func(base Cell) bool { return base.Rate == c.Rate })
	if i < 0 || s.Cells[i].own() == 0 {
		return 0
	}
	return c.own() / s.Cells[i].own()
}

// tolerance is how much larger a ratio may be than that of the last run: two cores are not a quiet laboratory.
const tolerance = 1.25

// Worse names the cells whose ratio grew beyond the tolerance.
func (s Scale) Worse(last Scale) []string {
	var out []string
	for _, c := range s.Cells {
		i := slices.IndexFunc(last.Cells, func(l Cell) bool { return l.Name == c.Name })
		if i < 0 {
			continue
		}
		if before, now := last.Ratio(last.Cells[i]), s.Ratio(c); before > 0 && now > before*tolerance {
			out = append(out, fmt.Sprintf("%s: %.2f × the bare handler, was %.2f ×", c.Name, now, before))
		}
	}
	return out
}

// Table is the run for people.
func (s Scale) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d cores, %s, open loop at %g pushes/s for %g s a cell\n\n", s.At.Format(time.DateOnly), s.Cores, s.Go, s.Rate, s.Seconds)
	b.WriteString("| cell | bytes | CPU per push | of the bare handler | NATS | memory | of NATS | p50 | p99 | p99.9 |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, c := range s.Cells {
		fmt.Fprintf(&b, "| %s | %d | %.0f µs | %.2f × | %.0f µs | %.0f MB | %.0f MB | %.1f ms | %.1f ms | %.1f ms |\n",
			c.Name, c.Body, c.own(), s.Ratio(c), c.CPU["nats"], c.MemoryMB, c.NATSMemoryMB, c.P50, c.P99, c.P999)
	}
	return b.String()
}

// SVG draws CPU per push and p99 of every cell.
func (s Scale) SVG() string {
	const row, left, width = 22, 200, 420
	most := slices.MaxFunc(s.Cells, func(a, b Cell) int { return cmp.Compare(a.own()+a.CPU["nats"], b.own()+b.CPU["nats"]) })
	scale := width / math.Max(most.own()+most.CPU["nats"], 1)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", left+width+260, row*len(s.Cells)+50)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="8" y="18">CPU per push in µs: the process that answers, and NATS; p99 of the answer. %s, %g pushes/s</text>`+"\n",
		s.At.Format(time.DateOnly), s.Rate)
	for i, c := range s.Cells {
		y := 32 + i*row
		own, nats := c.own()*scale, c.CPU["nats"]*scale
		fmt.Fprintf(&b, `<text x="8" y="%d">%s</text><rect x="%d" y="%d" width="%.1f" height="14" fill="#1677ff"/><rect x="%.1f" y="%d" width="%.1f" height="14" fill="#d9d9d9"/>`,
			y+12, html.EscapeString(c.Name), left, y, own, float64(left)+own, y, nats)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d">%.0f + %.0f µs, p99 %.1f ms</text>`+"\n", float64(left)+own+nats+6, y+12, c.own(), c.CPU["nats"], c.P99)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// quantile returns the value below which the share q of the sample lies.
func quantile(sample []float64, q float64) float64 {
	v := slices.Sorted(slices.Values(sample))
	return v[min(int(q*float64(len(v))), len(v)-1)]
}
