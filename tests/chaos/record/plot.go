package record

import (
	"cmp"
	"fmt"
	"html"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// The plots are drawn by hand: a picture without a script that opens everywhere.
const (
	width, height           = 900, 300
	left, right, top, below = 60, 20, 30, 40
	plotWidth               = width - left - right
	plotHeight              = height - top - below
	steps                   = 300 // points of a curve
)

// canvas maps times and values to the picture.
type canvas struct {
	strings.Builder
	span time.Duration // of the horizontal axis
	y    func(v float64) float64
}

func (c *canvas) x(at time.Duration) float64 {
	return left + plotWidth*min(max(at.Seconds()/c.span.Seconds(), 0), 1)
}

func (c *canvas) add(format string, a ...any) { fmt.Fprintf(c, format+"\n", a...) }

func (r Record) canvas(title string, span time.Duration, y func(v float64) float64) *canvas {
	c := &canvas{span: span, y: y}
	c.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`, width, height)
	c.add(`<rect width="%d" height="%d" fill="#fff"/>`, width, height)
	c.add(`<text x="%d" y="16" font-size="13">%s</text>`, left, html.EscapeString(title))
	for _, m := range r.Marks {
		colour := "#c0392b"
		if m.Heal {
			colour = "#27ae60"
		}
		x := c.x(time.Duration(m.At))
		c.add(`<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s" stroke-dasharray="3 2"/>`, x, top, x, height-below, colour)
		c.add(`<text x="%.1f" y="%d" fill="%s" transform="rotate(-90 %.1f %d)" font-size="9">%s</text>`, x-2, height-below-2, colour, x-2, height-below-2, html.EscapeString(m.Text))
	}
	for i := range 7 {
		at := span * time.Duration(i) / 6
		c.add(`<text x="%.1f" y="%d" text-anchor="middle">%.0f s</text>`, c.x(at), height-below+16, at.Seconds())
	}
	return c
}

func (c *canvas) end() string {
	c.add(`<path d="M%d %d V%d H%d" fill="none" stroke="#333"/></svg>`, left, top, height-below, width-right)
	return c.String()
}

func (c *canvas) level(v float64, text string) {
	c.add(`<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>`, left, c.y(v), width-right, c.y(v))
	c.add(`<text x="%d" y="%.1f" text-anchor="end">%s</text>`, left-4, c.y(v)+4, text)
}

func (c *canvas) curve(points [][2]float64, colour, text string, line int) {
	var d strings.Builder
	for i, p := range points {
		fmt.Fprintf(&d, "%s%.1f %.1f ", map[bool]string{true: "M", false: "L"}[i == 0], p[0], p[1])
	}
	c.add(`<path d="%s" fill="none" stroke="%s" stroke-width="1.5"/>`, strings.TrimSpace(d.String()), colour)
	c.add(`<text x="%d" y="%d" fill="%s" text-anchor="end">%s</text>`, width-right-4, top+12+14*line, colour, html.EscapeString(text))
}

// times returns the start of the axis and its length.
func (r Record) times() (from time.Time, span time.Duration) {
	span = time.Second
	for _, p := range r.Pushes {
		if from.IsZero() || p.Scheduled.Before(from) {
			from = p.Scheduled
		}
	}
	for _, p := range r.Pushes {
		span = max(span, p.Scheduled.Sub(from), p.Acked.Sub(from))
	}
	for _, m := range r.Marks {
		span = max(span, time.Duration(m.At))
	}
	return from, span
}

// latencyScale is logarithmic from 1 ms to 20 s.
func latencyScale(seconds float64) float64 {
	share := math.Log10(max(seconds, 0.001)/0.001) / math.Log10(20/0.001)
	return height - below - plotHeight*min(share, 1)
}

// ackPlot shows how long pushes waited for their answer by when they were due: the middle and the slowest
// of each step, and those that were never acknowledged.
func (r Record) ackPlot() string {
	from, span := r.times()
	c := r.canvas(fmt.Sprintf("row %d, trial %d: time until WeChat has its answer, by when the push was due", r.Row, r.Trial), span, latencyScale)
	for _, l := range []struct {
		v    float64
		text string
	}{{0.001, "1 ms"}, {0.01, "10 ms"}, {0.1, "100 ms"}, {1, "1 s"}, {5, "5 s"}, {20, "20 s"}} {
		c.level(l.v, l.text)
	}
	byStep := map[int][]time.Duration{}
	for _, p := range r.Pushes {
		due := p.Scheduled.Sub(from)
		if p.Acked.IsZero() {
			c.add(`<circle cx="%.1f" cy="%d" r="1.5" fill="#c0392b"/>`, c.x(due), top+3)
			continue
		}
		i := int(steps * due / (span + 1))
		byStep[i] = append(byStep[i], p.Acked.Sub(p.Scheduled))
	}
	var middle, slowest [][2]float64
	for _, i := range slices.Sorted(maps.Keys(byStep)) {
		all := byStep[i]
		slices.Sort(all)
		x := c.x(span * time.Duration(2*i+1) / (2 * steps))
		middle = append(middle, [2]float64{x, c.y(all[len(all)/2].Seconds())})
		slowest = append(slowest, [2]float64{x, c.y(all[len(all)-1].Seconds())})
	}
	c.curve(slowest, "#e67e22", "slowest", 0)
	c.curve(middle, "#2c3e50", "median", 1)
	c.add(`<text x="%d" y="%d" fill="#c0392b" text-anchor="end">dots: never acknowledged</text>`, width-right-4, top+12+28)
	return c.end()
}

// countPlot shows how many pushes were due, acknowledged and answered on the fan's screen.
func (r Record) countPlot() string {
	from, span := r.times()
	var due, acked, seen []time.Duration
	for _, p := range r.Pushes {
		due = append(due, p.Scheduled.Sub(from))
		if !p.Acked.IsZero() {
			acked = append(acked, p.Acked.Sub(from))
		}
		if p.ReplySeen > 0 {
			seen = append(seen, p.ReplyAt.Sub(from))
			span = max(span, p.ReplyAt.Sub(from))
		}
	}
	most := float64(max(len(due), 1))
	c := r.canvas("pushes due, acknowledged, and with their reply on the fan's screen", span, func(v float64) float64 { return height - below - plotHeight*v/most })
	for i := range 5 {
		c.level(most*float64(i)/4, fmt.Sprintf("%.0f", most*float64(i)/4))
	}
	for i, s := range []struct {
		at           []time.Duration
		colour, text string
	}{{due, "#7f8c8d", "due"}, {acked, "#2980b9", "acknowledged"}, {seen, "#27ae60", "reply seen"}} {
		c.curve(c.cumulative(s.at), s.colour, fmt.Sprintf("%s %d", s.text, len(s.at)), i)
	}
	return c.end()
}

func (c *canvas) cumulative(at []time.Duration) [][2]float64 {
	slices.Sort(at)
	points := [][2]float64{{left, c.y(0)}}
	for i := range steps {
		until := c.span * time.Duration(i+1) / steps
		n, _ := slices.BinarySearchFunc(at, until, func(a, b time.Duration) int { return cmp.Or(cmp.Compare(a, b), -1) })
		points = append(points, [2]float64{c.x(until), c.y(float64(n))})
	}
	return points
}
