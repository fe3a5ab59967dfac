//go:build k8s

package k8s

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/tests/image"
	"github.com/wxbus/wxbus/tests/stack"
)

var script = flag.String("cluster", "", "script that starts a cluster when KUBECONFIG is not set: check, up, load, assets, down")

// cluster is a real Kubernetes and our way to it.
type cluster struct {
	kubectl string
	env     []string
	load    func(t *testing.T, layouts ...string)

	facts []string // what the present step measured
	rows  []string // of the report
}

// note logs what a step measured, and keeps it for the report.
func (c *cluster) note(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Logf(format, args...)
	c.facts = append(c.facts, fmt.Sprintf(format, args...))
}

// done ends a step.
func (c *cluster) done(step string, took time.Duration) {
	c.rows = append(c.rows, fmt.Sprintf("| %s | %.0f s | %s |", step, took.Seconds(), strings.Join(c.facts, "; ")))
	c.facts = nil
}

// report prints the table that docs/kubernetes.md has of the last run.
func (c *cluster) report(t *testing.T) {
	commit, _ := exec.Command("git", "-C", root(), "rev-parse", "--short", "HEAD").Output()
	version, _, _ := c.run(t, nil, "get", "nodes", "-o", "jsonpath={.items[0].status.nodeInfo.kubeletVersion}")
	t.Logf("%s, commit %s, make test-k8s, Kubernetes %s\n\n| step | took | measured |\n|---|---|---|\n%s\n",
		time.Now().UTC().Format("2006-01-02"), strings.TrimSpace(string(commit)), version, strings.Join(c.rows, "\n"))
}

// startCluster returns the cluster of KUBECONFIG, into which $K8S_LOAD puts images, or starts one and takes it down at the end.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	if os.Getenv("KUBECONFIG") != "" {
		loader := os.Getenv("K8S_LOAD")
		return &cluster{kubectl: "kubectl", env: os.Environ(), load: func(t *testing.T, layouts ...string) {
			if loader == "" {
				t.Log("K8S_LOAD is not set: the images must be there")
				return
			}
			for _, l := range layouts {
				out, err := exec.CommandContext(t.Context(), loader, l).CombinedOutput()
				require.NoError(t, err, "%s %s: %s", loader, l, out)
			}
		}}
	}
	if *script == "" {
		t.Skip("set KUBECONFIG, or K8S_CLUSTER to a script that starts a cluster")
	}
	out, err := exec.CommandContext(t.Context(), *script, "check").CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 77 || errors.Is(err, os.ErrNotExist) {
		t.Skipf("no cluster on this machine: %s%v", out, err)
	}
	require.NoError(t, err, string(out))
	config := output(t, *script, "up")
	if os.Getenv("K8S_KEEP") == "" {
		t.Cleanup(func() { down(t) })
	}
	return &cluster{
		kubectl: filepath.Join(output(t, *script, "assets"), "kubectl"),
		// Behind a proxy nothing on this machine would be found.
		env: append(os.Environ(), "KUBECONFIG="+config, "HTTPS_PROXY=", "HTTP_PROXY=", "https_proxy=", "http_proxy="),
		load: func(t *testing.T, layouts ...string) {
			output(t, *script, append([]string{"load"}, layouts...)...)
		},
	}
}

func down(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, *script, "down").CombinedOutput()
	require.NoError(t, err, string(out))
	ctx, cancel = context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.Error(t, exec.CommandContext(ctx, *script, "status").Run(), "something is left of the cluster")
}

// output runs a program and returns the last line that it printed.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s %v: %s", name, args, stderr.String())
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// run runs kubectl with an input and returns what it printed and what it warned of.
func (c *cluster) run(t *testing.T, input []byte, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), c.kubectl, args...)
	cmd.Env, cmd.Stdin = c.env, bytes.NewReader(input)
	var out, warn bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &warn
	err = cmd.Run()
	return strings.TrimSpace(out.String()), warn.String(), err
}

// do runs kubectl in the namespace; it must succeed.
func (c *cluster) do(t *testing.T, args ...string) string {
	t.Helper()
	out, warn, err := c.run(t, nil, append([]string{"-n", namespace}, args...)...)
	require.NoError(t, err, "kubectl %v: %s", args, warn)
	return out
}

const namespace = "wxbus"

// stream joins rendered objects to what kubectl reads.
func stream(objects []object) []byte {
	var b bytes.Buffer
	for _, o := range objects {
		b.Write(o.raw)
		b.WriteString("\n")
	}
	return b.Bytes()
}

// apply applies a folder as the server sees it; a warning is a failure.
func (c *cluster) apply(t *testing.T, folder string) {
	t.Helper()
	out, warn, err := c.run(t, stream(renderFolder(t, folder)), "apply", "--server-side", "--force-conflicts", "-f", "-")
	require.NoError(t, err, warn)
	require.NotContains(t, strings.ToLower(warn), "warning")
	require.NotEmpty(t, out)
}

var serviceNames = []string{"gateway", "rule", "token", "sender", "agent-routing", "console"}

// ready waits until everything of an apply is there.
func (c *cluster) ready(t *testing.T) {
	t.Helper()
	c.do(t, "rollout", "status", "statefulset/postgres", "--timeout=300s")
	c.do(t, "rollout", "status", "statefulset/nats", "--timeout=300s")
	c.do(t, "wait", "--for=condition=Complete", "job/provision", "--timeout=300s")
	c.do(t, "rollout", "status", "deployment/simulator", "--timeout=300s")
	for _, s := range serviceNames {
		c.do(t, "rollout", "status", "deployment/"+s, "--timeout=420s")
	}
}

// forwarded returns a local address of a port of the cluster, for as long as the test runs.
func (c *cluster) forward(t *testing.T, target string, port int) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, c.kubectl, "-n", namespace, "port-forward", target, ":"+strconv.Itoa(port))
	cmd.Env = c.env
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	require.NoError(t, err, "port-forward %s", target)
	go func() { _, _ = io.Copy(io.Discard, lines) }() // ends with the command
	m := regexp.MustCompile(`from (127\.0\.0\.1:\d+)`).FindStringSubmatch(line)
	require.NotNil(t, m, line)
	return m[1]
}

// eventually waits for something that the cluster does by itself.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	require.Eventually(t, ok, limit, time.Second, what)
	return time.Since(start).Round(time.Second)
}

// images returns the layouts of make images, and those of the services again under the tag of a former release.
func images(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, name := range append([]string{"simulator", "nats-server", "wxbus"}, serviceNames...) {
		dir, err := filepath.Abs(filepath.Join(root(), "bin", "images", name))
		require.NoError(t, err)
		require.FileExists(t, filepath.Join(dir, "index.json"), "run make images first")
		out = append(out, dir)
		if name == "simulator" || name == "nats-server" {
			continue
		}
		index, err := layout.ImageIndexFromPath(dir)
		require.NoError(t, err)
		manifest, err := index.IndexManifest()
		require.NoError(t, err)
		img, err := index.Image(manifest.Manifests[0].Digest)
		require.NoError(t, err)
		former := filepath.Join(t.TempDir(), name)
		require.NoError(t, image.Write(former, "wxbus.local/"+name+":previous", img))
		out = append(out, former)
	}
	return append(out, postgresImage(t, "wxbus.local/postgres:debian"))
}

// simulator is WeChat's side.
type simulator struct{ stack.Control }

// shown pushes a text of a fan through the Service of the gateway and returns how the fan saw the answer.
func (s simulator) shown(t *testing.T, fan, text string) string {
	t.Helper()
	var out struct {
		Push struct {
			Shown    string
			Attempts []json.RawMessage
		}
	}
	s.Call(t, http.MethodPost, "/sim/v1/push", map[string]any{"account": "shop", "openid": fan, "type": "text", "fields": map[string]any{"Content": text}}, &out)
	return out.Push.Shown
}

// loadStatus is how far a load run is.
type loadStatus struct {
	Running  bool
	Progress struct {
		Due, Shed, Failed int
		Error             string
	}
}

// judged is how many pushes of one run the simulator can judge.
const judged = 90_000

// start begins a load run; stop ends it and returns when its pushes are over.
func (s simulator) start(t *testing.T, rate int) {
	t.Helper()
	s.Call(t, http.MethodPost, "/sim/v1/reset", nil, nil)
	s.Call(t, http.MethodPost, "/sim/v1/load", map[string]any{
		"accounts": []string{"shop"}, "rate": rate, "duration": fmt.Sprintf("%ds", min(1200, judged/rate)), "fans": 200, "keywords": numbers, "settle": "10s",
		"fan_prefix": fmt.Sprintf("oLoad%d", time.Now().Unix()),
	}, nil)
}

func (s simulator) stop(t *testing.T) loadStatus {
	t.Helper()
	s.Call(t, http.MethodDelete, "/sim/v1/load", nil, nil)
	var status loadStatus
	eventually(t, 2*time.Minute, "the load run ends", func() bool {
		s.Call(t, http.MethodGet, "/sim/v1/load", nil, &status)
		return !status.Running
	})
	return status
}

// numbers is how many numbered questions the rules answer.
const numbers = 2000

// verdict is what the tests read of the simulator's report.
type verdict struct {
	Pushes, Open, Acked, Numbered, Answered uint64
	Passive                                 uint64 `json:"replies_passive"`
	Kf                                      uint64 `json:"replies_kf"`
	NotAcked                                uint64 `json:"not_acked"`
	AmbiguousCount                          uint64 `json:"ambiguous_count"`
	Unanswered                              int
	Attempts                                map[int]uint64
	Ack                                     struct {
		P50 time.Duration `json:"p50_ns"`
		P99 time.Duration `json:"p99_ns"`
		Max time.Duration `json:"max_ns"`
	}
	Violations map[string]struct{ Count uint64 }
	Checker    struct{ State, Reason string }
}

// judge reads back what the bus stored, and requires that nothing was lost, doubled or out of order.
func (s simulator) judge(t *testing.T, c *cluster, step string) verdict {
	t.Helper()
	s.stop(t)
	var r verdict
	eventually(t, 2*time.Minute, "every push gets its reply, or is known not to", func() bool {
		s.Call(t, http.MethodGet, "/sim/v1/report", nil, &r)
		return r.Open == 0 && uint64(r.Unanswered) <= r.AmbiguousCount
	})
	s.tellStored(t, c)
	r = verdict{}
	s.Call(t, http.MethodGet, "/sim/v1/report", nil, &r)
	c.note(t, "%s: %d pushes, %d acknowledged, %d passive, %d by the API, %d ambiguous; ack p50 %s p99 %s max %s; attempts %v", step,
		r.Pushes, r.Acked, r.Passive, r.Kf, r.AmbiguousCount, r.Ack.P50.Round(time.Millisecond), r.Ack.P99.Round(time.Millisecond), r.Ack.Max.Round(time.Millisecond), r.Attempts)
	require.Equal(t, "complete", r.Checker.State, r.Checker.Reason)
	require.Empty(t, r.Violations, "lost, doubled or out of order")
	require.Zero(t, r.NotAcked, "pushes that WeChat gave up")
	return r
}
