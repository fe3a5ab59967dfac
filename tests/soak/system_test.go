package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/tests/stack"
)

// The accounts: most traffic is answered passively; one account answers by the customer-service API
// only, so that its faults are met often.
var accounts = []string{"one", "two", "three", "ack"}

// system is a running system and the way to its simulator and its NATS.
type system struct {
	*stack.Stack
	js jetstream.JetStream
}

func start(t *testing.T) *system {
	t.Helper()
	s := &system{Stack: stack.Start(t, stack.Options{Mode: stack.Mode(*mode), Config: configuration(), Rules: "rules: []\n"})}
	nc, err := nats.Connect(strings.Join(s.NATS, ","), nats.Timeout(5*time.Second))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	s.js, err = jetstream.New(nc)
	require.NoError(t, err)
	return s
}

// configuration has WeChat's own times. Shorter are only the pauses of the sender: after a hanging call,
// a full minute and an open breaker.
func configuration() map[string]any {
	var list []map[string]any
	for i, name := range accounts {
		reply := "passive"
		if name == "ack" {
			reply = "ack"
		}
		list = append(list, map[string]any{
			"name": name, "appid": fmt.Sprintf("wx%016x", 0x50a0+i), "original_id": "gh_" + name, "kind": "service",
			"format": []string{"xml", "json"}[i%2], "mode": "secure", "token": "token" + name,
			"encoding_aes_key": "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "app_secret": "secret-of-" + name, "reply": reply,
		})
	}
	return map[string]any{
		"accounts":  list,
		"simulator": map[string]any{"demo_fans": 0},
		"sender": map[string]any{
			"call_timeout": "2s", "rate_pause": "1s", "busy_pauses": []string{"300ms", "1s"},
			"pace": map[string]any{"rate": 500, "burst": 500, "in_flight": 64, "breaker_open": "1s"},
		},
	}
}

// publishRules gives every account the numbered rules and returns when they answer.
func (s *system) publishRules(t *testing.T, count int) {
	t.Helper()
	_, rules := s.call(t, http.MethodGet, fmt.Sprintf("/sim/v1/rules.yaml?count=%d", count), nil)
	file := filepath.Join(s.Dir, "numbered.yaml")
	require.NoError(t, os.WriteFile(file, rules, 0o600))
	out, err := s.CLI(t, "rules", "apply", "-f", file)
	require.NoError(t, err, out)
	// Replicas switch by themselves; fans of every partition ask until all of them answer.
	var unanswered string
	require.Eventually(t, func() bool {
		unanswered = s.probe(t)
		return unanswered == ""
	}, 30*time.Second, 100*time.Millisecond, "no reply: %s", &unanswered)
	s.sim(t, http.MethodPost, "/sim/v1/reset", nil, nil)
}

const probes = 16 // fans; enough to reach every partition of both shapes

func (s *system) probe(t *testing.T) (unanswered string) {
	t.Helper()
	for i := range probes {
		var out struct {
			Push struct{ Shown string } `json:"push"`
		}
		fan := fmt.Sprintf("oProbe%02d", i)
		s.sim(t, http.MethodPost, "/sim/v1/push", map[string]any{"account": accounts[0], "openid": fan, "type": "text",
			"fields": map[string]any{"Content": "k0001"}}, &out)
		if out.Push.Shown != "passive" {
			return fan
		}
	}
	return ""
}

// sim calls the simulator's control API.
func (s *system) sim(t testing.TB, method, path string, body, out any) {
	t.Helper()
	status, text := s.call(t, method, path, body)
	require.Equal(t, http.StatusOK, status, "%s %s: %s", method, path, text)
	if out != nil {
		require.NoError(t, json.Unmarshal(text, out), "%s %s: %s", method, path, text)
	}
}

func (s *system) call(t testing.TB, method, path string, body any) (int, []byte) {
	t.Helper()
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		require.NoError(t, err)
		r = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.Simulator+path, r)
	require.NoError(t, err)
	resp, err := stack.HTTP.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, text
}

func line(b *strings.Builder, name, format string, a ...any) {
	fmt.Fprintf(b, "  %-44s %s\n", name, fmt.Sprintf(format, a...))
}
