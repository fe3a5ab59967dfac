package observability

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/wxbus/wxbus/pkg/certs/certstest"
	"github.com/wxbus/wxbus/tests/stack"
)

// patience is for what must happen; a run is not judged by its time.
const patience = 2 * time.Minute

const (
	desk  = "desk"  // answers passively
	count = "count" // says success at once
)

func accountOf(i int, name, reply string) map[string]any {
	return map[string]any{
		"name": name, "appid": fmt.Sprintf("wx%016x", 0x0b5e0+i), "original_id": "gh_" + name, "kind": "service", "format": "xml",
		"mode": "secure", "token": "token" + name, "encoding_aes_key": "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
		"app_secret": "secret-of-" + name, "reply": reply,
	}
}

const twoReplies = `
rules:
  - {name: two, match: {exact: [两条]}, do: [{reply: {text: 第一条}}, {reply: {text: 第二条}}]}
  - {name: people, match: {exact: [转人工]}, do: [{transfer: {queue: desk}}]}
`

func startSystem(t *testing.T) *stack.Stack {
	t.Helper()
	files := certstest.New(t).Issue(t, "grpc", "wxbus")
	return stack.Start(t, stack.Options{Mode: stack.All, Gateways: 1, Config: map[string]any{
		"accounts":      []map[string]any{accountOf(1, desk, "passive"), accountOf(2, count, "ack")},
		"agent_routing": map[string]any{"groups": []map[string]any{{"id": "sales", "first_response": "1h"}}},
		"grpc":          map[string]any{"tls_cert_file": files.Cert, "tls_key_file": files.Key, "tls_ca_file": files.CA},
	}, Rules: twoReplies})
}

// prometheus is a real one that reads the system.
type prometheus struct{ url string }

func startPrometheus(t *testing.T, target string) *prometheus {
	t.Helper()
	dir := t.TempDir()
	config, err := yaml.Marshal(map[string]any{
		"global":     map[string]any{"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
		"rule_files": []string{root(t, "deploy", "observability", "rules.yaml")},
		"scrape_configs": []map[string]any{{
			"job_name": "wxbus", "scrape_timeout": "1s", "static_configs": []map[string]any{{"targets": []string{target}}},
		}},
	})
	require.NoError(t, err)
	file := filepath.Join(dir, "prometheus.yaml")
	require.NoError(t, os.WriteFile(file, config, 0o600))
	cmd := exec.Command(tool(t, "prometheus"), "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "tsdb"),
		"--web.listen-address=127.0.0.1:0", "--log.format=json")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	log, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	address, ended := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(log)
		for lines.Scan() {
			var line struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "Listening on" {
				address <- line.Address
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = cmd.Wait()
	})
	select {
	case a := <-address:
		return &prometheus{url: "http://" + a}
	case <-ended:
		t.Fatal("prometheus ended at its start")
	case <-time.After(patience):
		t.Fatal("prometheus does not listen")
	}
	return nil
}

// query returns how many series an expression has now.
func (p *prometheus) query(ctx context.Context, expr string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/api/v1/query?query="+url.QueryEscape(expr), nil)
	if err != nil {
		return 0, err
	}
	resp, err := stack.HTTP.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var out struct {
		Status, Error string
		Data          struct{ Result []json.RawMessage }
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return 0, err
	}
	if out.Status != "success" {
		return 0, fmt.Errorf("%s: %s", expr, out.Error)
	}
	return len(out.Data.Result), nil
}

// selector finds metrics, with the labels that are asked for.
var selector = regexp.MustCompile(`\b(wxbus[_:][a-z0-9_:]+|(?:rpc_server|rpc_client|http_server|process)_[a-z_]+|up\b)(\{[^}]*\})?`)

// wanted returns what must exist: for alerts with all labels, because an alert on a series that is not there is
// silent; for dashboards the metric.
func wanted(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	alerts, records := rules(t)
	for _, r := range append(alerts, records...) {
		for _, s := range selector.FindAllString(r.Expr, -1) {
			out[s] = r.Alert + r.Record
		}
	}
	for _, d := range dashboards(t) {
		for _, e := range d.expressions() {
			for _, m := range selector.FindAllStringSubmatch(e, -1) {
				out[m[1]] = d.file
			}
		}
	}
	require.Greater(t, len(out), 40)
	return out
}

// patient waits for three attempts of a push on the slowest machine.
var patient = &http.Client{Timeout: patience}

// push lets WeChat push a text and returns when WeChat is done with it.
func push(ctx context.Context, simulator, account, openid, text string) error {
	body, err := json.Marshal(map[string]any{"account": account, "openid": openid, "type": "text", "fields": map[string]any{"Content": text}})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, simulator+"/sim/v1/push", strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	resp, err := patient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("push of %s: %s", openid, resp.Status)
	}
	return err
}

// talk makes everything happen once that a healthy system counts.
func talk(t *testing.T, s *stack.Stack) {
	t.Helper()
	for _, text := range []string{"两条", "转人工", "天气"} {
		require.NoError(t, push(t.Context(), s.Simulator, desk, "oTalk", text))
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Console+"/", nil)
	require.NoError(t, err)
	resp, err := stack.HTTP.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
}

func TestEveryMetricOfAlertsAndDashboardsExists(t *testing.T) {
	s := startSystem(t)
	p := startPrometheus(t, s.Gateways[0].Admin)
	talk(t, s)
	missing := wanted(t)
	deadline := time.Now().Add(patience)
	for len(missing) > 0 {
		require.NoError(t, push(t.Context(), s.Simulator, count, "oTalk", "天气")) // a rate needs two scrapes
		for expr := range missing {
			n, err := p.query(t.Context(), expr)
			require.NoError(t, err)
			if n > 0 {
				delete(missing, expr)
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no series for what these ask for: %v", missing)
		}
		select {
		case <-time.After(500 * time.Millisecond): // the next scrape
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
	for _, d := range dashboards(t) {
		for _, e := range d.expressions() {
			_, err := p.query(t.Context(), e)
			require.NoError(t, err, d.file)
		}
	}
	n, err := p.query(t.Context(), `ALERTS{alertstate="firing"}`)
	require.NoError(t, err)
	require.Zero(t, n, "an alert fires on a healthy system")
}

// fans is how many fans write in the test of the labels.
const fans = 10_000

func TestTenThousandFansAddNoSeries(t *testing.T) {
	s := startSystem(t)
	talk(t, s)
	for i := range 100 {
		require.NoError(t, push(t.Context(), s.Simulator, count, fmt.Sprintf("oWarm%d", i), "天气"))
	}
	admin := "http://" + s.Gateways[0].Admin
	handled := func(least int) []string {
		var lines []string
		require.Eventually(t, func() bool {
			lines = scrape(t, admin)
			return sum(t, lines, `wxbus_bus_handled_total{outcome="ack",service="rule",stream="INBOUND"}`) >= least
		}, patience, 500*time.Millisecond, "the rule service does not handle %d pushes", least)
		return lines
	}
	before := handled(100)
	pushAll(t, s.Simulator)
	after := handled(fans * 9 / 10) // WeChat gives a push up that a slow machine answers too late, three times
	t.Logf("series: %d before, %d after %d fans", len(before), len(after), fans)
	// What happens for the first time adds series, a histogram of an outcome about twenty; a label per fan would add 10 000.
	require.Less(t, len(after)-len(before), 300)
	for _, line := range after {
		require.NotContains(t, line, "oFan", "an openid is a label")
	}
}

// pushAll lets every fan write once.
func pushAll(t *testing.T, simulator string) {
	t.Helper()
	next := make(chan int)
	errs := make(chan error, 16)
	var workers sync.WaitGroup
	for range cap(errs) {
		workers.Go(func() {
			var failed error
			for i := range next {
				if failed == nil {
					failed = push(t.Context(), simulator, count, fmt.Sprintf("oFan%05d", i), "天气")
				}
			}
			errs <- failed
		})
	}
	for i := range fans {
		next <- i
	}
	close(next)
	workers.Wait()
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
}

// scrape returns the series of a process, one a line.
func scrape(t *testing.T, admin string) []string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, admin+"/metrics", nil)
	require.NoError(t, err)
	resp, err := stack.HTTP.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	var out []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

func sum(t *testing.T, lines []string, series string) int {
	t.Helper()
	for _, line := range lines {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			var n float64
			_, err := fmt.Sscan(value, &n)
			require.NoError(t, err)
			return int(n)
		}
	}
	return 0
}
