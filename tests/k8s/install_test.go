//go:build k8s

package k8s

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/tests/stack"
)

const (
	current  = "tests/k8s/testdata/variants/cluster"
	previous = "tests/k8s/testdata/variants/previous"
)

// TestCluster installs everything in a real cluster, and then does to it what operators and machines do, while the simulator
// pushes. The steps need each other, so the first that fails ends the test.
func TestCluster(t *testing.T) {
	c := startCluster(t)
	var sim simulator
	steps := []struct {
		name string
		run  func(t *testing.T)
	}{
		{"images are loaded", func(t *testing.T) { c.load(t, images(t)...) }},
		{"a restricted namespace takes everything without a warning", func(t *testing.T) { c.apply(t, previous) }},
		{"streams are provisioned and everything is ready", c.ready},
		{"a push through the Service is answered", func(t *testing.T) {
			require.Equal(t, "passive", sim.shown(t, "oFirst", "你好"))
		}},
		{"numbered rules are published", func(t *testing.T) { c.publishNumbers(t, sim) }},
		{"an upgrade loses and doubles nothing", func(t *testing.T) { c.upgrade(t, sim) }},
		{"a rolling restart of every service loses and doubles nothing", func(t *testing.T) { c.restartAll(t, sim) }},
		{"NATS of three survives the loss of a pod", func(t *testing.T) { c.losePod(t, sim) }},
		{"a drain stops where a budget would be broken", func(t *testing.T) { c.drain(t, sim) }},
		{"the gateway scales out under load and back", func(t *testing.T) { c.scale(t, sim) }},
		{"no service was denied a subject", c.nothingDenied},
		{"production passes a dry run", c.dryRun},
		{"mutual TLS is switched on", func(t *testing.T) { c.secure(t, sim) }},
	}
	defer c.report(t)
	for _, step := range steps {
		if step.name == "a push through the Service is answered" {
			sim = simulator{stack.Control("http://" + c.forward(t, "service/simulator", 8082))}
		}
		start := time.Now()
		if !t.Run(step.name, step.run) {
			c.explain(t)
			t.FailNow()
		}
		c.done(step.name, time.Since(start))
	}
}

// explain shows what a reader of a failure wants to see first.
func (c *cluster) explain(t *testing.T) {
	for _, args := range [][]string{{"get", "pods,hpa,pvc,jobs", "-o", "wide"}, {"get", "events", "--sort-by=.lastTimestamp"}} {
		out, _, _ := c.run(t, nil, append([]string{"-n", namespace}, args...)...)
		lines := strings.Split(out, "\n")
		t.Log(strings.Join(lines[max(0, len(lines)-40):], "\n"))
	}
	pods, _, _ := c.run(t, nil, "-n", namespace, "get", "pods", "-o", "name")
	for _, pod := range strings.Fields(pods) {
		logs, _, _ := c.run(t, nil, "-n", namespace, "logs", pod, "--tail=8", "--all-containers")
		t.Logf("%s\n%s", pod, logs)
	}
}

// publishNumbers publishes the rules that answer numbered questions, by the command line, and waits until every partition
// answers them.
func (c *cluster) publishNumbers(t *testing.T, sim simulator) {
	var rules []byte
	sim.Call(t, "GET", fmt.Sprintf("/sim/v1/rules.yaml?count=%d", numbers), nil, &rules)
	dir := t.TempDir()
	file := filepath.Join(dir, "rules.yaml")
	require.NoError(t, os.WriteFile(file, rules, 0o600))
	settings := filepath.Join(dir, "wxbus.yaml")
	require.NoError(t, os.WriteFile(settings, fmt.Appendf(nil, "grpc: {addresses: {rule: %q}}\n", c.forward(t, "service/rule", 9090)), 0o600))
	out, err := exec.CommandContext(t.Context(), filepath.Join(root(), "bin", "static", "wxbus"), "rules", "apply", "-f", file, "--config", settings).CombinedOutput()
	require.NoError(t, err, string(out))
	for fan := range 16 {
		eventually(t, time.Minute, "a numbered push is answered", func() bool { return sim.shown(t, fmt.Sprintf("oProbe%02d", fan), "k0001") == "passive" })
	}
}

const steady = 30 // pushes a second while something happens

// during runs an operation under a steady load, and judges.
func (c *cluster) during(t *testing.T, sim simulator, what string, operation func()) {
	sim.start(t, steady)
	eventually(t, time.Minute, "the load has begun", func() bool {
		var r verdict
		sim.Call(t, "GET", "/sim/v1/report", nil, &r)
		return r.Acked > steady
	})
	operation()
	r := sim.judge(t, c, what)
	require.Positive(t, r.Pushes)
}

// upgrade applies the manifests of today over those of the former release. A Job cannot be changed, so it goes first.
func (c *cluster) upgrade(t *testing.T, sim simulator) {
	c.during(t, sim, "upgrade", func() {
		c.do(t, "delete", "job", "provision", "--ignore-not-found")
		c.apply(t, current)
		c.ready(t)
		eventually(t, 3*time.Minute, "the last pod of the former release is gone", func() bool {
			return !strings.Contains(c.do(t, "get", "pods", "-o", "jsonpath={.items[*].spec.containers[*].image}"), ":previous")
		})
	})
}

func (c *cluster) restartAll(t *testing.T, sim simulator) {
	c.during(t, sim, "rolling restart", func() {
		for _, target := range append([]string{"statefulset/nats"}, prefixed("deployment/", serviceNames)...) {
			start := time.Now()
			c.do(t, "rollout", "restart", target)
			c.do(t, "rollout", "status", target, "--timeout=420s") // the last of the old pods still drains
			c.note(t, "%s %.0f s", target, time.Since(start).Seconds())
		}
	})
}

func prefixed(prefix string, names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = prefix + n
	}
	return out
}

// losePod takes a server away without a farewell, and waits until it is back with its data.
func (c *cluster) losePod(t *testing.T, sim simulator) {
	const field = "jsonpath={.metadata.uid}"
	uid := c.do(t, "get", "pod", "nats-1", "-o", field)
	volume := c.do(t, "get", "pvc", "data-nats-1", "-o", "jsonpath={.spec.volumeName}")
	c.during(t, sim, "loss of nats-1", func() {
		c.do(t, "delete", "pod", "nats-1", "--grace-period=0", "--force")
		back := eventually(t, 5*time.Minute, "nats-1 is back", func() bool {
			out, _, _ := c.run(t, nil, "-n", namespace, "get", "pod", "nats-1", "-o", "jsonpath={.metadata.uid} {.status.conditions[?(@.type=='Ready')].status}")
			return strings.HasSuffix(out, " True") && !strings.HasPrefix(out, uid)
		})
		c.note(t, "back after %s", back)
	})
	require.Equal(t, volume, c.do(t, "get", "pvc", "data-nats-1", "-o", "jsonpath={.spec.volumeName}"))
}

// evict asks for the eviction of a pod, as kubectl drain does.
func (c *cluster) evict(t *testing.T, pod string) (string, error) {
	body := fmt.Appendf(nil, `{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":%q,"namespace":%q}}`, pod, namespace)
	_, warn, err := c.run(t, body, "create", "--raw", fmt.Sprintf("/api/v1/namespaces/%s/pods/%s/eviction", namespace, pod), "-f", "-")
	return warn, err
}

// drain does what kubectl drain does to a node: it closes it and evicts pods. One of each may go; a second one has to stay
// until the first is back. There is one node, so nothing is back before it is open again.
func (c *cluster) drain(t *testing.T, sim simulator) {
	node := strings.Fields(c.do(t, "get", "nodes", "-l", "!type", "-o", "jsonpath={.items[*].metadata.name}"))[0]
	c.during(t, sim, "drain", func() {
		for _, name := range []string{"gateway", "nats"} {
			c.allowsOne(t, name)
		}
		c.do(t, "cordon", node)
		defer func() { _, _, _ = c.run(t, nil, "uncordon", node) }()
		stayed := map[string]string{}
		for _, name := range []string{"gateway", "nats"} {
			pods := strings.Fields(c.do(t, "get", "pods", "-l", "app.kubernetes.io/name="+name, "-o", "jsonpath={.items[*].metadata.name}"))
			text, err := c.evict(t, pods[0])
			require.NoError(t, err, text)
			text, err = c.evict(t, pods[1])
			require.Error(t, err, "%s: the budget allows one", name)
			require.Contains(t, text, "disruption budget")
			stayed[name] = pods[1]
		}
		c.do(t, "uncordon", node)
		for name, pod := range stayed {
			c.allowsOne(t, name)
			text, err := c.evict(t, pod)
			require.NoError(t, err, "%s: the first one is back: %s", name, text)
			c.allowsOne(t, name)
		}
	})
}

// allowsOne waits until a budget allows to lose a pod: everything is there.
func (c *cluster) allowsOne(t *testing.T, budget string) {
	t.Helper()
	eventually(t, 5*time.Minute, "the budget of "+budget+" allows one", func() bool {
		return c.do(t, "get", "pdb", budget, "-o", "jsonpath={.status.disruptionsAllowed}") == "1"
	})
}

// secure switches everything to mutual TLS as docs/kubernetes.md says, and then asks as somebody with and without a
// certificate. Between servers and clients that know TLS and those that do not nothing goes, so nothing is pushed meanwhile.
func (c *cluster) secure(t *testing.T, sim simulator) {
	dir := t.TempDir()
	wxbus := filepath.Join(root(), "bin", "static", "wxbus")
	out, err := exec.CommandContext(t.Context(), wxbus, "certs", "--to", dir, "--namespace", namespace).CombinedOutput()
	require.NoError(t, err, string(out))
	c.do(t, "apply", "-f", filepath.Join(dir, "secrets.yaml"))
	start := time.Now()
	c.do(t, "delete", "job", "provision", "--ignore-not-found")
	c.apply(t, secured)
	c.do(t, "delete", "pod", "-l", "app.kubernetes.io/name=nats") // a server with TLS finds no server without
	c.ready(t)
	for fan := range 16 {
		eventually(t, 2*time.Minute, "a push is answered", func() bool { return sim.shown(t, fmt.Sprintf("oSecure%02d", fan), "k0001") == "passive" })
	}
	c.note(t, "answers again %.0f s after the apply", time.Since(start).Seconds())

	address := c.forward(t, "service/rule", 9090)
	list := func(more string) ([]byte, error) {
		settings := filepath.Join(t.TempDir(), "wxbus.yaml")
		require.NoError(t, os.WriteFile(settings, fmt.Appendf(nil, "grpc: {addresses: {rule: %q}%s}\n", address, more), 0o600))
		return exec.CommandContext(t.Context(), wxbus, "rules", "list", "--config", settings).CombinedOutput()
	}
	out, err = list("")
	require.Error(t, err, "plain text: %s", out)
	operator := filepath.Join(dir, "operator")
	out, err = list(fmt.Sprintf(", tls_cert_file: %q, tls_key_file: %q, tls_ca_file: %q, tls_server_name: rule",
		filepath.Join(operator, "tls.crt"), filepath.Join(operator, "tls.key"), filepath.Join(operator, "ca.crt")))
	require.NoError(t, err, string(out))
}

// scale pushes until the autoscaler has made more gateways, and stops until they are gone again.
func (c *cluster) scale(t *testing.T, sim simulator) {
	replicas := func() int {
		n, _ := strconv.Atoi(c.do(t, "get", "deployment", "gateway", "-o", "jsonpath={.status.readyReplicas}"))
		return n
	}
	least, err := strconv.Atoi(c.do(t, "get", "hpa", "gateway", "-o", "jsonpath={.spec.minReplicas}"))
	require.NoError(t, err)
	calm := eventually(t, 5*time.Minute, "the gateways are few before", func() bool { return replicas() == least })
	c.note(t, "%d gateways after %s of silence", least, calm)
	sim.start(t, 150)
	out := eventually(t, 5*time.Minute, "more gateways are ready", func() bool { return replicas() > least })
	c.note(t, "%d after %s of 150 pushes a second", replicas(), out)
	sim.judge(t, c, "burst")
	back := eventually(t, 5*time.Minute, "the gateways are few again", func() bool { return replicas() == least })
	c.note(t, "%d again %s after the end", least, back)
}

func (c *cluster) nothingDenied(t *testing.T) {
	for _, pod := range strings.Fields(c.do(t, "get", "pods", "-o", "name")) {
		logs, _, _ := c.run(t, nil, "-n", namespace, "logs", pod, "--all-containers")
		require.NotContains(t, strings.ToLower(logs), "permissions violation", pod)
	}
}

// dryRun lets the server judge the overlay of production, in a namespace of its own and with the custom resources that it uses.
func (c *cluster) dryRun(t *testing.T) {
	const trial = "wxbus-production"
	definitions, err := filepath.Glob("testdata/crds/*.yaml")
	require.NoError(t, err)
	for _, d := range definitions {
		_, warn, err := c.run(t, nil, "apply", "--server-side", "-f", d)
		require.NoError(t, err, warn)
	}
	_, warn, err := c.run(t, nil, "wait", "--for=condition=Established", "--timeout=60s", "customresourcedefinitions", "--all")
	require.NoError(t, err, warn)
	for _, overlay := range []string{"prod", "alternatives"} {
		var moved []object
		for _, o := range render(t, overlay) {
			moved = append(moved, move(t, o, trial))
		}
		_, warn, err = c.run(t, stream(kind(moved, "Namespace")), "apply", "--server-side", "-f", "-")
		require.NoError(t, err, warn)
		_, warn, err = c.run(t, stream(moved), "apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", "-")
		require.NoError(t, err, warn)
		require.NotContains(t, strings.ToLower(warn), "warning")
	}
}

// move puts an object into another namespace.
func move(t *testing.T, o object, to string) object {
	t.Helper()
	var tree map[string]any
	require.NoError(t, json.Unmarshal(o.raw, &tree))
	meta, _ := tree["metadata"].(map[string]any)
	switch {
	case o.Kind == "Namespace":
		meta["name"] = to
	case meta["namespace"] != nil:
		meta["namespace"] = to
	}
	var err error
	o.raw, err = json.Marshal(tree)
	require.NoError(t, err)
	return o
}
