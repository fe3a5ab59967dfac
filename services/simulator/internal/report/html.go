package report

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
)

//go:embed report.html
var page embed.FS

var tmpl = template.Must(template.New("report.html").Funcs(template.FuncMap{"short": short, "clock": func(t time.Time) string { return t.Format(time.TimeOnly) }}).ParseFS(page, "report.html"))

type classRow struct {
	Class string
	ledger.Violation
}

type callRow struct {
	Path, Codes string
}

// HTML returns the report as a page with the latency curve as inline SVG. It needs the style sheet at /phone/phone.css and no script.
func (r Report) HTML() ([]byte, error) {
	var classes []classRow
	for _, c := range slices.Sorted(maps.Keys(r.Violations)) {
		v := r.Violations[c]
		v.Incidents = v.Incidents[:min(len(v.Incidents), shownIncidents)]
		classes = append(classes, classRow{c, v})
	}
	var calls []callRow
	for _, p := range slices.Sorted(maps.Keys(r.Calls)) {
		calls = append(calls, callRow{p, counts(r.Calls[p])})
	}
	var b bytes.Buffer
	err := tmpl.Execute(&b, map[string]any{"R": r, "Classes": classes, "Calls": calls, "Attempts": counts(r.Attempts),
		"Outcomes": counts(r.Outcomes), "Replicas": counts(r.Replicas), "Plot": r.plot(), "Took": short(r.To.Sub(r.From))})
	if err != nil {
		return nil, fmt.Errorf("write report page: %w", err)
	}
	return b.Bytes(), nil
}

// Size of the plot.
const (
	plotW, plotH       = 720.0, 240.0
	plotL, plotB       = 64.0, 28.0
	plotRight, plotTop = 12.0, 10.0
)

type plot struct {
	Ack, Reply string // points of the curves
	X, Y       []tick
}

type tick struct {
	At    float64
	Label string
}

// plot draws time over 1/(1-quantile), both logarithmic, so that the rare slow pushes have room.
func (r Report) plot() *plot {
	low, high, nines := math.Inf(1), 0.0, 10.0
	for _, l := range []Latency{r.Ack, r.Reply} {
		for _, p := range l.Points {
			us := math.Max(float64(p.Value.Microseconds()), 1)
			low, high = math.Min(low, us), math.Max(high, us)
			if p.Quantile < 1 {
				nines = math.Max(nines, 1/(1-p.Quantile))
			}
		}
	}
	if high == 0 {
		return nil
	}
	bottom, top := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high)+1e-9)
	if top == bottom {
		top++
	}
	x := func(q float64) float64 {
		n := nines
		if q < 1 {
			n = 1 / (1 - q)
		}
		return plotL + (plotW-plotL-plotRight)*math.Min(math.Log10(n)/math.Log10(nines), 1)
	}
	y := func(us float64) float64 {
		return plotTop + (plotH-plotB-plotTop)*(1-(math.Log10(math.Max(us, 1))-bottom)/(top-bottom))
	}
	curve := func(l Latency) string {
		var parts []string
		for _, p := range l.Points {
			parts = append(parts, fmt.Sprintf("%.1f,%.1f", x(p.Quantile), y(float64(p.Value.Microseconds()))))
		}
		return strings.Join(parts, " ")
	}
	out := &plot{Ack: curve(r.Ack), Reply: curve(r.Reply)}
	for e := bottom; e <= top; e++ {
		out.Y = append(out.Y, tick{y(math.Pow(10, e)), short(time.Duration(math.Pow(10, e)) * time.Microsecond)})
	}
	for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999} {
		if 1/(1-q) <= nines*1.001 {
			out.X = append(out.X, tick{x(q), fmt.Sprintf("%g %%", math.Round(q*1e7)/1e5)})
		}
	}
	return out
}
