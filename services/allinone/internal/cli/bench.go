package cli

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// benchFlags are what is measured, and until when.
type benchFlags struct {
	accounts []string
	rates    []string
	time     time.Duration
	limit    time.Duration
	fans     int
	admin    string

	steps []float64
}

// benchStep is what one rate gave. Latencies count from the time at which a push was due.
type benchStep struct {
	Rate     float64       `json:"rate"`
	Pushes   int           `json:"pushes"`
	NotAcked int           `json:"not_acked"`
	Kept     bool          `json:"kept"`
	P50      time.Duration `json:"ack_p50_ns"`
	P99      time.Duration `json:"ack_p99_ns"`
	P999     time.Duration `json:"ack_p999_ns"`
	Max      time.Duration `json:"ack_max_ns"`
	Reply    time.Duration `json:"reply_p99_ns,omitempty"`
	CPU      time.Duration `json:"cpu_ns_per_push,omitempty"`
	Memory   int64         `json:"memory_bytes,omitempty"`
}

func (a *app) benchCommand() *cobra.Command {
	sim := &simulatorClient{http: &http.Client{Timeout: 2 * time.Minute}}
	b := &benchFlags{}
	cmd := &cobra.Command{
		Use: "bench", Short: "Find the rate of pushes that this installation holds", Args: noArgs,
		Long: `Lets a running simulator push at one rate after the other, in an open loop, and stops at the first one that is not held:
a push that was not acknowledged, or a p99 above --limit. Latency counts from the time at which a push was due. With --admin,
the address of a process's metrics, it also tells that process's CPU for each push and its memory.

The simulator's books are cleared before each rate. Never point it at a system with real fans: it needs accounts whose WeChat
is the simulator. Replies are measured when there are rules for numbered keywords (wxbus simulate rules).

Exit codes: 0 the first rate is held, 3 not even that.`,
		Example: `  wxbus up --demo &
  wxbus bench --account shop
  wxbus bench --rates 200,400,800 --duration 30s --limit 100ms --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := b.read(); err != nil {
				return err
			}
			return a.bench(cmd.Context(), sim, b)
		},
	}
	f := cmd.Flags()
	f.StringVar(&sim.base, "simulator", simulatorURL, "base URL of the simulator")
	f.StringArrayVar(&b.accounts, "account", nil, "account to push to; may be repeated (default: all)")
	f.StringSliceVar(&b.rates, "rates", []string{"50", "100", "200", "400", "800", "1600"}, "pushes per second, rising")
	f.DurationVar(&b.time, "duration", 10*time.Second, "how long each rate lasts")
	f.DurationVar(&b.limit, "limit", 250*time.Millisecond, "p99 of acknowledgements that still counts as held")
	f.IntVar(&b.fans, "fans", 1000, "fans per account")
	f.StringVar(&b.admin, "admin", "http://127.0.0.1:9080", "admin address of the process whose CPU and memory are read; empty for none")
	return cmd
}

func (b *benchFlags) read() error {
	for i, text := range b.rates {
		rate, err := strconv.ParseFloat(text, 64)
		if err != nil || rate <= 0 || i > 0 && rate <= b.steps[i-1] {
			return usagef("--rates %q: want rising numbers of pushes per second", strings.Join(b.rates, ","))
		}
		b.steps = append(b.steps, rate)
	}
	if b.time < time.Second || b.limit <= 0 || b.fans <= 0 {
		return usagef("--duration must be at least 1s, --limit and --fans more than 0")
	}
	return nil
}

func (a *app) bench(ctx context.Context, sim *simulatorClient, b *benchFlags) error {
	var steps []benchStep
	for _, rate := range b.steps {
		step, err := a.benchRate(ctx, sim, b, rate)
		if err != nil {
			return err
		}
		steps = append(steps, step)
		if !step.Kept {
			break
		}
	}
	if err := a.printBench(steps, b.limit); err != nil {
		return err
	}
	if !steps[0].Kept {
		return errProblems
	}
	return nil
}

func (a *app) benchRate(ctx context.Context, sim *simulatorClient, b *benchFlags, rate float64) (benchStep, error) {
	step := benchStep{Rate: rate}
	if err := sim.call(ctx, http.MethodPost, "/sim/v1/reset", nil, nil); err != nil {
		return step, err
	}
	before := readProcess(ctx, sim.http, b.admin)
	plan := map[string]any{"rate": rate, "accounts": b.accounts, "fans": b.fans, "duration": b.time.String()}
	if err := sim.call(ctx, http.MethodPost, "/sim/v1/load", plan, nil); err != nil {
		return step, err
	}
	a.note("%g/s", rate)
	if err := a.followLoad(ctx, sim); err != nil {
		return step, err
	}
	if ctx.Err() != nil {
		return step, ctx.Err()
	}
	after := readProcess(ctx, sim.http, b.admin)
	var r struct {
		Pushes   int `json:"pushes"`
		NotAcked int `json:"not_acked"`
		Ack      struct {
			P50  time.Duration `json:"p50_ns"`
			P99  time.Duration `json:"p99_ns"`
			P999 time.Duration `json:"p999_ns"`
			Max  time.Duration `json:"max_ns"`
		} `json:"ack"`
		Reply struct {
			P99 time.Duration `json:"p99_ns"`
		} `json:"reply"`
	}
	if err := sim.call(ctx, http.MethodGet, "/sim/v1/report", nil, &r); err != nil {
		return step, err
	}
	step.Pushes, step.NotAcked, step.Reply = r.Pushes, r.NotAcked, r.Reply.P99
	step.P50, step.P99, step.P999, step.Max = r.Ack.P50, r.Ack.P99, r.Ack.P999, r.Ack.Max
	step.Kept = r.Pushes > 0 && r.NotAcked == 0 && r.Ack.P99 <= b.limit
	if r.Pushes > 0 && after.cpu > before.cpu {
		step.CPU, step.Memory = (after.cpu-before.cpu)/time.Duration(r.Pushes), after.memory
	}
	return step, nil
}

func (a *app) printBench(steps []benchStep, limit time.Duration) error {
	if a.json {
		return a.printJSON(steps)
	}
	worst := limit
	for _, s := range steps {
		worst = max(worst, s.P99)
	}
	tw := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "rate/s\tpushes\tnot acked\tp50\tp99\tp99.9\tmax\treply p99\tCPU/push\tmemory\t")
	for _, s := range steps {
		fmt.Fprintf(tw, "%g\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", s.Rate, s.Pushes, s.NotAcked, milliseconds(s.P50), milliseconds(s.P99), milliseconds(s.P999),
			milliseconds(s.Max), milliseconds(s.Reply), microseconds(s.CPU), megabytes(s.Memory))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "\np99 of acknowledgements, limit %s\n", limit)
	held := 0.0
	for _, s := range steps {
		fmt.Fprintf(a.stdout, "%8g/s %s %s\n", s.Rate, track(0, int64(s.P99), int64(worst)), milliseconds(s.P99))
		if s.Kept {
			held = s.Rate
		}
	}
	if held == 0 {
		_, err := fmt.Fprintf(a.stdout, "not even %g/s is held\n", steps[0].Rate)
		return err
	}
	_, err := fmt.Fprintf(a.stdout, "held: %g pushes a second\n", held)
	return err
}

func milliseconds(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

func microseconds(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%d µs", d.Microseconds())
}

func megabytes(n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%d MB", n>>20)
}

// processState is what the metrics of a process say about itself.
type processState struct {
	cpu    time.Duration
	memory int64
}

// readProcess reads the metrics of a process; zeros when there are none, which only leaves columns empty.
func readProcess(ctx context.Context, client *http.Client, admin string) (s processState) {
	if admin == "" {
		return s
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(admin, "/")+"/metrics", nil)
	if err != nil {
		return s
	}
	resp, err := client.Do(req)
	if err != nil {
		return s
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), " ")
		value, err := strconv.ParseFloat(text, 64)
		switch {
		case err != nil:
		case name == "process_cpu_seconds_total":
			s.cpu = time.Duration(value * float64(time.Second))
		case name == "process_resident_memory_bytes":
			s.memory = int64(value)
		}
	}
	return s
}
