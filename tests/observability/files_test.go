// Package observability checks what operators look at: alerts, runbooks and dashboards agree with each other, and
// every metric that they name is there when a real Prometheus reads the real system. scripts/prometheus.sh puts
// prometheus and promtool into bin/.
package observability

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// root is the folder of the repository: tests run in the folder of their package.
func root(t testing.TB, path ...string) string {
	t.Helper()
	here, err := os.Getwd()
	require.NoError(t, err)
	return filepath.Join(append([]string{here, "..", ".."}, path...)...)
}

// tool returns a program of bin/.
func tool(t testing.TB, name string) string {
	t.Helper()
	path := root(t, "bin", name)
	require.FileExists(t, path, "run scripts/prometheus.sh first")
	return path
}

// rule is one rule of rules.yaml.
type rule struct {
	Record, Alert, Expr string
	Labels              map[string]string
	Annotations         map[string]string
}

func rules(t testing.TB) (alerts, records []rule) {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []rule }
	}
	b, err := os.ReadFile(root(t, "deploy", "observability", "rules.yaml"))
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(b, &file))
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Alert != "" {
				alerts = append(alerts, r)
			} else {
				records = append(records, r)
			}
		}
	}
	require.NotEmpty(t, alerts)
	require.NotEmpty(t, records)
	return alerts, records
}

// dashboard is what the test reads of a dashboard.
type dashboard struct {
	file   string
	UID    string
	Title  string
	Panels []struct {
		ID      int
		Title   string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr string }
		Config  struct {
			Defaults struct{ Unit string }
		} `json:"fieldConfig"`
	}
	Templating struct {
		List []struct {
			Name  string
			Type  string
			Query any
		}
	}
}

func dashboards(t testing.TB) []dashboard {
	t.Helper()
	files, err := filepath.Glob(root(t, "deploy", "observability", "dashboards", "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var out []dashboard
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		d := dashboard{file: filepath.Base(f)}
		require.NoError(t, json.Unmarshal(b, &d), f)
		out = append(out, d)
	}
	return out
}

// expressions returns every expression of a dashboard with its variables at "all".
func (d dashboard) expressions() []string {
	var out []string
	add := func(s string) {
		for _, v := range d.Templating.List {
			s = strings.ReplaceAll(s, "$"+v.Name, ".*")
		}
		out = append(out, strings.ReplaceAll(s, "$__rate_interval", "1m"))
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			add(target.Expr)
		}
	}
	return out
}

func TestEveryAlertHasARunbookAndEveryRunbookAnAlert(t *testing.T) {
	alerts, _ := rules(t)
	want := map[string]bool{"README.md": true}
	index, err := os.ReadFile(root(t, "docs", "runbooks", "README.md"))
	require.NoError(t, err)
	for _, a := range alerts {
		file := a.Alert + ".md"
		require.False(t, want[file], "%s is there twice", a.Alert)
		want[file] = true
		require.True(t, strings.HasSuffix(a.Annotations["runbook_url"], "/docs/runbooks/"+file), "%s: runbook_url", a.Alert)
		require.NotEmpty(t, a.Annotations["summary"], a.Alert)
		require.Contains(t, []string{"page", "ticket"}, a.Labels["severity"], a.Alert)
		text, err := os.ReadFile(root(t, "docs", "runbooks", file))
		require.NoError(t, err)
		require.Contains(t, string(text), "**"+a.Labels["severity"]+"**", "%s: the runbook names another severity", a.Alert)
		for _, part := range []string{"## What it means", "## What to look at", "## What to do", "## How to verify"} {
			require.Contains(t, string(text), part, a.Alert)
		}
		require.Contains(t, string(index), "("+file+")", "the index lacks %s", a.Alert)
	}
	entries, err := os.ReadDir(root(t, "docs", "runbooks"))
	require.NoError(t, err)
	for _, e := range entries {
		require.True(t, want[e.Name()], "no alert leads to docs/runbooks/%s", e.Name())
	}
}

func TestDashboardsAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range dashboards(t) {
		require.NotEmpty(t, d.Title, d.file)
		require.False(t, seen[d.UID] || d.UID == "", "%s: uid", d.file)
		seen[d.UID] = true
		ids := map[int]bool{}
		taken := map[string]string{}
		for _, p := range d.Panels {
			require.NotEmpty(t, p.Title, d.file)
			require.NotEmpty(t, p.Targets, "%s: %s", d.file, p.Title)
			require.NotEmpty(t, p.Config.Defaults.Unit, "%s: %s has no unit", d.file, p.Title)
			require.False(t, ids[p.ID], "%s: panel %d twice", d.file, p.ID)
			ids[p.ID] = true
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					cell := fmt.Sprintf("%d/%d", x, y)
					require.Empty(t, taken[cell], "%s: %s lies over another panel", d.file, p.Title)
					taken[cell] = p.Title
				}
			}
		}
	}
	for _, uid := range []string{"gateway", "bus", "rules", "sending", "desk", "tokens"} {
		require.True(t, seen["wxbus-"+uid], uid)
	}
}

func TestRulesAreValidAndFireWhenTheyShould(t *testing.T) {
	alerts, _ := rules(t)
	cases, err := os.ReadFile(root(t, "deploy", "observability", "rules_test.yaml"))
	require.NoError(t, err)
	var file struct {
		Tests []struct {
			Checks []struct {
				Expr    string
				Samples []struct{} `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		}
	}
	require.NoError(t, yaml.Unmarshal(cases, &file))
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, c := range test.Checks {
			if len(c.Samples) > 0 {
				fires[c.Expr] = true
			} else {
				quiet[c.Expr] = true
			}
		}
	}
	for _, a := range alerts {
		expr := fmt.Sprintf(`ALERTS{alertname=%q,alertstate="firing"}`, a.Alert)
		require.True(t, fires[expr], "no case in which %s fires", a.Alert)
		require.True(t, quiet[expr], "no case in which %s does not fire", a.Alert)
	}
	promtool := tool(t, "promtool")
	for _, args := range [][]string{
		{"check", "rules", "rules.yaml"}, {"check", "config", "prometheus.yaml"}, {"test", "rules", "rules_test.yaml"},
	} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = root(t, "deploy", "observability")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "promtool %v: %s", args, out)
	}
}
