package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Control is the simulator's control API, by its base URL.
type Control string

// Call makes a call, which must be answered with 200. body and out may be nil; an out of type *[]byte gets the
// answer as it is, any other is read as JSON.
func (c Control) Call(t testing.TB, method, path string, body, out any) {
	t.Helper()
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		require.NoError(t, err)
		r = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, string(c)+path, r)
	require.NoError(t, err)
	resp, err := HTTP.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s %s: %s", method, path, text)
	switch out := out.(type) {
	case nil:
	case *[]byte:
		*out = text
	default:
		require.NoError(t, json.Unmarshal(text, out), "%s %s: %s", method, path, text)
	}
}

// Sim calls the control API of the stack's own simulator, as Control.Call does.
func (s *Stack) Sim(t testing.TB, method, path string, body, out any) {
	t.Helper()
	Control(s.Simulator).Call(t, method, path, body, out)
}

// probes is how many fans ask for a reply; enough to reach every partition of both shapes.
const probes = 16

// PublishNumberedRules publishes the rules that answer the simulator's numbered pushes 1 to count of every
// account, and returns when every partition answers those of the given account, which must answer
// passively. The simulator forgets what happened until then.
func (s *Stack) PublishNumberedRules(t testing.TB, account string, count int) {
	t.Helper()
	var rules []byte
	s.Sim(t, http.MethodGet, fmt.Sprintf("/sim/v1/rules.yaml?count=%d", count), nil, &rules)
	file := filepath.Join(s.Dir, "numbered.yaml")
	require.NoError(t, os.WriteFile(file, rules, 0o600))
	out, err := s.CLI(t, "rules", "apply", "-f", file)
	require.NoError(t, err, out)
	silent := 0
	deadline := time.Now().Add(patience) // replicas switch by themselves
	for fan := 0; fan < probes; {
		if s.answersPassively(t, account, fmt.Sprintf("oProbe%02d", fan)) {
			fan++
			continue
		}
		silent++
		require.False(t, time.Now().After(deadline), "no passive reply by the numbered rules after %d pushes", silent)
	}
	s.Sim(t, http.MethodPost, "/sim/v1/reset", nil, nil)
}

// answersPassively pushes the first question of a fan and waits until WeChat is done with it.
func (s *Stack) answersPassively(t testing.TB, account, fan string) bool {
	t.Helper()
	var out struct {
		Push struct {
			Shown string `json:"shown"`
		} `json:"push"`
	}
	s.Sim(t, http.MethodPost, "/sim/v1/push", map[string]any{
		"account": account, "openid": fan, "type": "text", "fields": map[string]any{"Content": "k0001"},
	}, &out)
	return out.Push.Shown == "passive"
}

// Load runs a plan of the simulator's load generator to its end, at most for limit. Every push of the
// plan must have been made in time.
func (s *Stack) Load(t testing.TB, plan map[string]any, limit time.Duration) {
	t.Helper()
	s.Sim(t, http.MethodPost, "/sim/v1/load", plan, nil)
	var status struct {
		Running  bool `json:"running"`
		Progress struct {
			Due      int    `json:"due"`
			Expected int    `json:"expected"`
			Shed     int    `json:"shed"`
			Failed   int    `json:"failed"`
			Error    string `json:"error"`
		} `json:"progress"`
	}
	require.Eventually(t, func() bool {
		s.Sim(t, http.MethodGet, "/sim/v1/load", nil, &status)
		return !status.Running
	}, limit, 250*time.Millisecond, "the load does not end")
	p := status.Progress
	require.Empty(t, p.Error)
	require.GreaterOrEqual(t, p.Due, p.Expected-1, "the plan was cut short")
	require.Zero(t, p.Shed, "the load generator could not keep up")
	require.Zero(t, p.Failed)
}
