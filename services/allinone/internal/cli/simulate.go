package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wxbus/wxbus/pkg/fault"
)

// simulatorURL is where wxbus up --demo has the simulator.
const simulatorURL = "http://127.0.0.1:8082"

func (a *app) simulateCommand() *cobra.Command {
	sim := &simulatorClient{http: &http.Client{Timeout: 2 * time.Minute}}
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Be WeChat: push messages, make load and faults, read the report",
		Long:  "Talks to a running simulator (wxbus up --demo, or wxbus up --target simulator).",
		Example: `  wxbus simulate push --account shop --openid oFan1 --text 你好
  wxbus simulate push --account shop --openid oFan1 --type CLICK --field EventKey=DEALS
  wxbus simulate load --account shop --rate 200 --duration 30s
  wxbus simulate faults -f faults.json
  wxbus simulate rules --count 1000 > numbered.yaml
  wxbus simulate report`,
	}
	cmd.PersistentFlags().StringVar(&sim.base, "simulator", simulatorURL, "base URL of the simulator")
	cmd.AddCommand(a.simulatePush(sim), a.simulateLoad(sim), a.simulateFaults(sim), a.simulateRules(sim), a.simulateReport(sim))
	return cmd
}

func (a *app) simulatePush(sim *simulatorClient) *cobra.Command {
	var account, openid, kind, text string
	var fields []string
	var copies int
	cmd := &cobra.Command{
		Use: "push", Short: "Push one message or event as WeChat does, and wait for the answer", Args: noArgs,
		Example: `  wxbus simulate push --account shop --openid oFan1 --text 你好
  wxbus simulate push --account shop --openid oFan1 --type subscribe
  wxbus simulate push --account shop --openid oFan1 --text hi --copies 3`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			body := map[string]any{"account": account, "openid": openid, "type": kind, "copies": copies}
			elements := map[string]any{}
			if text != "" {
				elements["Content"] = text
			}
			for _, f := range fields {
				name, value, ok := strings.Cut(f, "=")
				if !ok {
					return usagef("--field must be Name=value, got %q", f)
				}
				elements[name] = value
			}
			body["fields"] = elements
			if account == "" || openid == "" {
				return usagef("simulate push needs --account and --openid")
			}
			if err := sim.call(cmd.Context(), http.MethodPost, "/sim/v1/accounts/"+url.PathEscape(account)+"/fans",
				map[string]any{"openid": openid, "following": true}, nil); err != nil {
				return err
			}
			var out any
			if err := sim.call(cmd.Context(), http.MethodPost, "/sim/v1/push", body, &out); err != nil {
				return err
			}
			return a.printJSON(out)
		},
	}
	f := cmd.Flags()
	f.StringVar(&account, "account", "", "account that is pushed to")
	f.StringVar(&openid, "openid", "", "fan who acts")
	f.StringVar(&kind, "type", "text", "text, image, …, or an event: subscribe, CLICK, SCAN, …")
	f.StringVar(&text, "text", "", "Content of a text")
	f.StringArrayVar(&fields, "field", nil, "further element, Name=value; may be repeated")
	f.IntVar(&copies, "copies", 1, "send the same push so many times at once")
	return cmd
}

func (a *app) simulateLoad(sim *simulatorClient) *cobra.Command {
	var accounts []string
	var rate float64
	var duration time.Duration
	var count, fans, keywords int
	cmd := &cobra.Command{
		Use: "load", Short: "Push at a constant rate and print the simulator's report", Args: noArgs,
		Long: `Open loop: pushes come at their time whether or not earlier ones were answered, and latency counts from the scheduled time.
Fans say numbered keywords (k0001, …); "wxbus simulate rules" writes the rules that answer them, so that the report can tell
a reply seen twice or out of order.`,
		Example: `  wxbus simulate rules --count 1000 > numbered.yaml && wxbus rules apply -f numbered.yaml
  wxbus simulate load --account shop --rate 200 --duration 30s
  wxbus simulate load --rate 500 --count 20000 --fans 2000 --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			plan := map[string]any{"rate": rate, "accounts": accounts, "count": count, "fans": fans, "keywords": keywords}
			if count == 0 {
				plan["duration"] = duration.String()
			}
			if err := sim.call(cmd.Context(), http.MethodPost, "/sim/v1/load", plan, nil); err != nil {
				return err
			}
			if err := a.followLoad(cmd.Context(), sim); err != nil {
				return err
			}
			return a.printReport(cmd.Context(), sim)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&accounts, "account", nil, "account to push to; may be repeated (default: all)")
	f.Float64Var(&rate, "rate", 100, "pushes per second")
	f.DurationVar(&duration, "duration", 10*time.Second, "how long")
	f.IntVar(&count, "count", 0, "how many pushes, instead of a duration")
	f.IntVar(&fans, "fans", 100, "fans per account")
	f.IntVar(&keywords, "keywords", 0, "numbered keywords that have a rule (default: as the simulator thinks)")
	return cmd
}

// followLoad shows progress until the run is over. Ctrl-C stops the run and still prints the report.
func (a *app) followLoad(ctx context.Context, sim *simulatorClient) error {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	interactive := isTerminal(a.stderr) && !a.json
	for {
		var status struct {
			Running  bool `json:"running"`
			Progress struct {
				Due      int    `json:"due"`
				Expected int    `json:"expected"`
				InFlight int    `json:"in_flight"`
				Settling bool   `json:"settling"`
				Error    string `json:"error"`
			} `json:"progress"`
		}
		select {
		case <-ctx.Done():
			return sim.call(context.WithoutCancel(ctx), http.MethodDelete, "/sim/v1/load", nil, nil)
		case <-tick.C:
		}
		if err := sim.call(ctx, http.MethodGet, "/sim/v1/load", nil, &status); err != nil {
			return err
		}
		if interactive {
			state := "pushing"
			if status.Progress.Settling {
				state = "waiting for late replies"
			}
			fmt.Fprintf(a.stderr, "\r%s %d of %d, %d in flight\x1b[K", state, status.Progress.Due, status.Progress.Expected, status.Progress.InFlight)
		}
		if !status.Running {
			if interactive {
				fmt.Fprintln(a.stderr)
			}
			if status.Progress.Error != "" {
				return fault.New(fault.Permanent, status.Progress.Error)
			}
			return nil
		}
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (a *app) simulateFaults(sim *simulatorClient) *cobra.Command {
	var file string
	var clear bool
	cmd := &cobra.Command{
		Use: "faults", Short: "Show, set or clear the fault script", Args: noArgs,
		Example: `  echo '{"rules":[{"on":"api","path":"/cgi-bin/message/custom/send","kind":"hang","rate":0.05}]}' | wxbus simulate faults -f -
  wxbus simulate faults --clear`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			method, body := http.MethodGet, any(nil)
			switch {
			case clear:
				method = http.MethodDelete
			case file != "":
				script, err := readFile(file)
				if err != nil {
					return err
				}
				method, body = http.MethodPut, json.RawMessage(script)
			}
			var out any
			if err := sim.call(cmd.Context(), method, "/sim/v1/faults", body, &out); err != nil {
				return err
			}
			return a.printJSON(out)
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "fault script (JSON), - for standard input")
	cmd.Flags().BoolVar(&clear, "clear", false, "no faults any more")
	return cmd
}

func (a *app) simulateRules(sim *simulatorClient) *cobra.Command {
	var count int
	var account string
	cmd := &cobra.Command{
		Use: "rules", Short: "Write rules that answer the numbered keywords of simulate load", Args: noArgs,
		Example: `  wxbus simulate rules --count 1000 > numbered.yaml`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"count": {fmt.Sprint(count)}}
			if account != "" {
				q.Set("account", account)
			}
			return sim.copy(cmd.Context(), "/sim/v1/rules.yaml?"+q.Encode(), a.stdout)
		},
	}
	cmd.Flags().IntVar(&count, "count", 1000, "how many")
	cmd.Flags().StringVar(&account, "account", "", "only for one account")
	return cmd
}

func (a *app) simulateReport(sim *simulatorClient) *cobra.Command {
	return &cobra.Command{
		Use: "report", Short: "Print what WeChat saw and what the fans received", Args: noArgs,
		Example: `  wxbus simulate report --json | jq .violations`,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.printReport(cmd.Context(), sim) },
	}
}

func (a *app) printReport(ctx context.Context, sim *simulatorClient) error {
	path := "/sim/v1/report.txt"
	if a.json {
		path = "/sim/v1/report"
	}
	return sim.copy(context.WithoutCancel(ctx), path, a.stdout)
}

// simulatorClient calls the simulator's control API.
type simulatorClient struct {
	base string
	http *http.Client
}

func (c *simulatorClient) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.base, "/")+path, r)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("is the simulator running at %s? %w", c.base, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var problem struct {
		Error string `json:"error"`
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if json.Unmarshal(text, &problem) != nil || problem.Error == "" {
		problem.Error = strings.TrimSpace(string(text))
	}
	return nil, fmt.Errorf("simulator: %s: %s", resp.Status, problem.Error)
}

func (c *simulatorClient) call(ctx context.Context, method, path string, body, out any) error {
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

func (c *simulatorClient) copy(ctx context.Context, path string, w io.Writer) error {
	resp, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	return err
}
