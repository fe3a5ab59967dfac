// Package drill rehearses what operators hope never to need, with the real program on real data.
package drill

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/tests/stack"
)

const account = "shop"

func start(t *testing.T) *stack.Stack {
	t.Helper()
	return stack.Start(t, options())
}

// options are one account and one rule, in one process.
func options() stack.Options {
	return stack.Options{Mode: stack.All, Gateways: 1, Config: map[string]any{
		"accounts": []map[string]any{{
			"name": account, "appid": "wx00000000000d1111", "original_id": "gh_shop", "kind": "service", "format": "xml", "mode": "secure",
			"token": "tokenshop", "encoding_aes_key": "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "app_secret": "secret-of-shop", "reply": "passive",
		}},
	}, Rules: "rules:\n  - {name: hello, match: {exact: [你好]}, do: [{reply: {text: 你好}}]}\n"}
}

// push lets WeChat push a text and returns whether the fan was answered passively, and with what.
func push(t *testing.T, s *stack.Stack, openid, msgID, text string) string {
	t.Helper()
	var out struct {
		Push struct{ Shown string }
	}
	s.Sim(t, http.MethodPost, "/sim/v1/push", map[string]any{
		"account": account, "openid": openid, "type": "text", "msg_id": msgID, "fields": map[string]any{"Content": text},
	}, &out)
	return out.Push.Shown
}

// wxbus runs a command against the data of a system that is stopped.
func wxbus(t *testing.T, s *stack.Stack, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(s.BinDir(), "wxbus"), append(args, "--config", s.File)...)
	cmd.Dir = s.Dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "wxbus %v: %s", args, out)
	return string(out)
}

// decisions counts the decision records, as the status of the console sees them.
func decisions(t *testing.T, s *stack.Stack) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Console+"/api/v1/status", nil)
	require.NoError(t, err)
	resp, err := stack.HTTP.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	var out struct {
		Streams []struct {
			Name     string
			Messages json.Number
		}
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&out))
	for _, row := range out.Streams {
		if row.Name == "DECISIONS" {
			n, err := row.Messages.Int64()
			require.NoError(t, err)
			return int(n)
		}
	}
	t.Fatal("the status has no DECISIONS")
	return 0
}

func TestARestoredSystemGoesOnWhereTheBackupWas(t *testing.T) {
	s := start(t)
	for i := range 5 {
		require.Equal(t, "passive", push(t, s, "oFan", "9000"+string(rune('0'+i)), "你好"))
	}
	require.Eventually(t, func() bool { return decisions(t, s) == 5 }, time.Minute, 100*time.Millisecond)
	live, err := s.CLI(t, "rules", "list", "--json")
	require.NoError(t, err, live)

	dir := filepath.Join(t.TempDir(), "backup")
	out, err := s.CLI(t, "backup", "--to", dir)
	require.NoError(t, err, out)
	require.Contains(t, out, "kept")

	s.Gateways[0].Kill() // the loss of the machine
	for _, part := range []string{"nats", "sql"} {
		require.NoError(t, os.RemoveAll(filepath.Join(s.Dir, "data", part)))
	}
	require.Contains(t, wxbus(t, s, "restore", "--from", dir), "restored")
	s.RestartSender(t) // in one process: everything

	again, err := s.CLI(t, "rules", "list", "--json")
	require.NoError(t, err, again)
	require.JSONEq(t, live, again, "the rules are those of the backup")
	require.Equal(t, 5, decisions(t, s))
	require.Equal(t, "passive", push(t, s, "oFan", "90004", "你好"), "a push that WeChat repeats gets the reply that was decided")
	require.Equal(t, 5, decisions(t, s), "and is not decided again")
	require.Equal(t, "passive", push(t, s, "oFan", "90009", "你好"), "new ones are answered")
}

func TestAReplayDecidesWhatWasNeverDecided(t *testing.T) {
	s := start(t)
	for i := range 3 {
		require.Equal(t, "passive", push(t, s, "oFan", "8000"+string(rune('0'+i)), "你好"))
	}
	require.Eventually(t, func() bool { return decisions(t, s) == 3 }, time.Minute, 100*time.Millisecond)
	replayed := func(args ...string) map[string]int {
		out, err := s.CLI(t, append([]string{"replay", "--account", account, "--from", "1h", "--json"}, args...)...)
		require.NoError(t, err, out)
		counts := map[string]int{}
		require.NoError(t, json.Unmarshal([]byte(out), &counts), out)
		return counts
	}
	require.Equal(t, 3, replayed()["decided"])
	require.Zero(t, replayed("--really", "--yes")["replayed"], "what has a decision is not given again")

	conn, err := nats.Connect(s.NATS[0])
	require.NoError(t, err)
	defer conn.Close()
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	stream, err := js.Stream(t.Context(), "DECISIONS")
	require.NoError(t, err)
	require.NoError(t, stream.Purge(t.Context())) // as if the rule service had never seen the pushes
	require.Equal(t, 3, replayed()["undecided"])
	require.Equal(t, 3, replayed("--really", "--yes")["replayed"])
	require.Eventually(t, func() bool { return decisions(t, s) == 3 }, time.Minute, 100*time.Millisecond, "the rule service does not decide")
	require.Zero(t, replayed("--really", "--yes")["undecided"])
}
